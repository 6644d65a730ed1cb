"""What the gateway keeps in Redis: connection specs to look up, and breaker states as hints."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog
from redis.asyncio import Redis

from core.errors import CacheError
from core.identity import ConnectionScopeDomain
from core.streams import ConnectionStatus, WebsocketConnectionSpecDomain
from infra.cache.cache_client import RedisConnectionManager

CONNECTION: Final = "ws:connection:"
BREAKER: Final = "cb:"

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "*?[]^\\"})


async def _replace(client: Redis, key: str, fields: Mapping[str, Any], ttl_s: float) -> bool:
    """Put a hash in the place of whatever was there, in one step."""
    async with client.pipeline(transaction=True) as steps:
        steps.delete(key)
        steps.hset(key, mapping=dict[Any, Any](fields))
        steps.pexpire(key, max(1, round(ttl_s * 1000)))
        await steps.execute()
    return True


async def _hash(client: Redis, key: str) -> dict[str, str]:
    """A hash; the client decodes, which its types do not say."""
    found: Any = await client.hgetall(key)
    return dict(found)


class WebsocketConnectionCache:
    """``ws:connection:{scope key}``: the state of each stream, gone ``ttl_s`` after its last renewal.

    Nothing here raises when Redis is away: writes answer False, reads None or nothing.
    """

    def __init__(self, manager: RedisConnectionManager | None = None, *, ttl_s: float = 60.0) -> None:
        self._manager = manager or RedisConnectionManager.get_instance()
        self._ttl_s = ttl_s

    async def set_connection_spec(
        self, scope: ConnectionScopeDomain, spec: WebsocketConnectionSpecDomain
    ) -> bool:
        """Write and renew the time to live; False when Redis is away."""
        key, fields = self._key(scope), _fields_of(spec)
        try:
            return await self._manager.execute(lambda client: _replace(client, key, fields, self._ttl_s))
        except CacheError:
            return False

    async def get_connection_spec(self, scope: ConnectionScopeDomain) -> WebsocketConnectionSpecDomain | None:
        """The state of a stream; None when there is none, it ran out, or Redis is away."""
        key = self._key(scope)
        try:
            fields = await self._manager.execute(lambda client: _hash(client, key))
        except CacheError:
            return None
        return _spec_of(scope, fields)

    async def remove_connection_spec(self, scope: ConnectionScopeDomain) -> bool:
        """Forget the stream (also one that is not there); False when Redis is away."""
        key = self._key(scope)
        try:
            await self._manager.execute(lambda client: client.delete(key))
        except CacheError:
            return False
        return True

    async def connection_specs(self) -> list[WebsocketConnectionSpecDomain]:
        """Every stream's state, by scope key; empty when Redis is away."""
        stem = self._manager.key(CONNECTION)

        async def read(client: Redis) -> list[tuple[str, dict[str, str]]]:
            pattern = stem.translate(_SPECIAL) + "*"
            keys = sorted({key async for key in client.scan_iter(match=pattern, count=500)})
            async with client.pipeline(transaction=False) as steps:
                for key in keys:
                    steps.hgetall(key)
                return list(zip(keys, await steps.execute(), strict=True))

        try:
            found = await self._manager.execute(read)
        except CacheError:
            return []
        specs: list[WebsocketConnectionSpecDomain] = []
        for key, fields in found:
            try:
                scope = ConnectionScopeDomain.parse(key.removeprefix(stem))
            except ValueError:
                continue
            spec = _spec_of(scope, fields)
            if spec is not None:
                specs.append(spec)
        return specs

    def _key(self, scope: ConnectionScopeDomain) -> str:
        return self._manager.key(CONNECTION + scope.key)


def _fields_of(spec: WebsocketConnectionSpecDomain) -> dict[str, str]:
    fields: dict[str, Any] = {
        "url": spec.url,
        "status": spec.status,
        "symbols": orjson.dumps(list(spec.symbols)).decode(),
        "connected_at_ms": spec.connected_at_ms,
        "last_active_ms": spec.last_active_ms,
        "instance": spec.instance,
    }
    return {name: str(value) for name, value in fields.items() if value is not None}


def _spec_of(scope: ConnectionScopeDomain, fields: Mapping[str, str]) -> WebsocketConnectionSpecDomain | None:
    if not fields:
        return None

    def number(name: str) -> int | None:
        return int(fields[name]) if name in fields else None

    try:
        return WebsocketConnectionSpecDomain(
            scope,
            tuple(orjson.loads(fields["symbols"])),
            url=fields.get("url"),
            status=ConnectionStatus(fields["status"]),
            connected_at_ms=number("connected_at_ms"),
            last_active_ms=number("last_active_ms"),
            instance=fields.get("instance"),
        )
    except (KeyError, ValueError, TypeError) as exc:
        structlog.get_logger().warning("connection_spec_unreadable", scope=scope.key, reason=str(exc))
        return None


class BreakerStateCache:
    """``cb:{name}``: implements ``application.ports.BreakerStateStore``."""

    def __init__(self, manager: RedisConnectionManager | None = None) -> None:
        self._manager = manager or RedisConnectionManager.get_instance()

    async def load(self, name: str) -> Mapping[str, str] | None:
        """The last state published under ``name``; None when there is none or Redis is away."""
        key = self._manager.key(BREAKER + name)
        try:
            return await self._manager.execute(lambda client: _hash(client, key)) or None
        except CacheError:
            return None

    async def save(self, name: str, state: Mapping[str, str], ttl_s: float) -> bool:
        """Publish a state for ``ttl_s``; False when Redis is away."""
        key = self._manager.key(BREAKER + name)
        try:
            return await self._manager.execute(lambda client: _replace(client, key, state, ttl_s))
        except CacheError:
            return False
