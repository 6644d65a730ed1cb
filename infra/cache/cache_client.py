"""The one connection pool to Redis of a process. What lies in Redis is shared but not vital.

Redis away is said once, and once more when it is back; in between calls fail at once with ``CacheError``, and
one call a second tries again. The stores on top of this turn that into False and None, so that nothing of it
reaches the data path.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final, Self, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core.errors import CacheError
from core.events import without_secrets
from infra.settings import Settings, load_settings

T = TypeVar("T")

RETRY_S: Final = 1.0
MAX_CONNECTIONS: Final = 16
POOL_WAIT_S: Final = 10.0

Operation = Callable[[Redis], Awaitable[T]]


class RedisConnectionManager:
    """Pooled, reconnecting access to Redis; ``get_instance()`` is the process's own."""

    _instance: ClassVar["RedisConnectionManager | None"] = None

    def __init__(self) -> None:
        self.available = False
        """Whether the last call reached Redis."""
        self._client: Redis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._settings: Settings | None = None
        self._away_since_s: float | None = None
        self._try_again_s = 0.0

    @classmethod
    def get_instance(cls) -> Self:
        """The manager of this process."""
        if cls._instance is None:
            cls._instance = cls()
        assert isinstance(cls._instance, cls), "get_instance of a subclass after that of another class"
        return cls._instance

    async def initialize(self, settings: Settings | None = None) -> None:
        """Open the pool and look whether Redis answers; a second call does nothing.

        ``settings`` default to the environment's. Redis away is no error: it is said once, and tried again.
        Raises ``CacheError`` for an address that cannot be understood.
        """
        if self._client is not None and self._loop is asyncio.get_running_loop():
            return
        self._settings = settings or self._settings or load_settings()
        redis = self._settings.redis
        try:
            pool = BlockingConnectionPool.from_url(
                redis.effective_url(),
                decode_responses=True,
                max_connections=MAX_CONNECTIONS,
                timeout=POOL_WAIT_S,
                socket_timeout=redis.timeout_s,
                socket_connect_timeout=redis.timeout_s,
                retry=Retry(NoBackoff(), 1),  # a pooled connection that Redis closed meanwhile
                health_check_interval=30,
                protocol=2,
            )
        except ValueError as exc:
            raise CacheError(f"REDIS_URL: {without_secrets(str(exc))}") from exc
        self._client = Redis.from_pool(pool)
        self._loop = asyncio.get_running_loop()
        self._away_since_s, self._try_again_s = None, 0.0
        try:
            await self.execute(lambda client: client.ping())
        except CacheError:
            return  # said by execute

    async def close(self) -> None:
        """Close the pool and forget the settings; ``initialize`` opens afresh. Safe to call twice."""
        client, self._client = self._client, None
        same_loop = self._loop is asyncio.get_running_loop()
        self._loop = self._settings = None
        self.available, self._away_since_s, self._try_again_s = False, None, 0.0
        if client is not None and same_loop:
            await client.aclose()

    async def execute(self, operation: Operation[T]) -> T:
        """Run ``operation(client)``, opening the pool at the first call; raises ``CacheError``."""
        if self._client is None or self._loop is not asyncio.get_running_loop():
            await self.initialize()
        client = self._client
        assert client is not None, "initialize set it"
        if self._away_since_s is not None and time.monotonic() < self._try_again_s:
            raise CacheError("Redis is away")
        try:
            answer = await operation(client)
        except (RedisError, OSError, TimeoutError) as exc:
            self._lost(exc)
            raise CacheError(f"Redis: {without_secrets(str(exc))}") from exc
        self._found()
        return answer

    def key(self, name: str) -> str:
        """``name`` with ``GATEWAY_PREFIX`` before it."""
        if self._settings is None:
            self._settings = load_settings()
        return self._settings.gateway.topic(name)

    def _lost(self, error: BaseException) -> None:
        now_s = time.monotonic()
        self._try_again_s = now_s + RETRY_S
        self.available = False
        if self._away_since_s is None:
            self._away_since_s = now_s
            structlog.get_logger().warning("redis_away", reason=without_secrets(str(error)))

    def _found(self) -> None:
        self.available = True
        if self._away_since_s is not None:
            away_s = time.monotonic() - self._away_since_s
            self._away_since_s = None
            structlog.get_logger().info("redis_back", after_s=round(away_s, 1))
