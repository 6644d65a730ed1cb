"""``rate:{exchange}:{egress}``: the connects of all gateways behind one address, in one sliding window."""

import time
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import Redis

from core.errors import CacheError
from infra.cache.cache_client import RedisConnectionManager
from infra.cache.local_connect_budgets import LocalConnectBudgets

RATE: Final = "rate:"

# A sorted set of the times at which connects were made or may be made, in epoch microseconds by Redis's own
# clock: instances need not agree on theirs. A reservation goes behind the one that is max_connects earlier.
# KEYS[1] the set; ARGV: max_connects, window in us, a unique member. Answer: microseconds to wait.
_RESERVE: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local most, window = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - window))
local at = now
local earlier = redis.call('ZREVRANGE', KEYS[1], most - 1, most - 1, 'WITHSCORES')
if earlier[2] then
  at = math.max(now, tonumber(earlier[2]) + window)
end
redis.call('ZADD', KEYS[1], string.format('%.0f', at), ARGV[3])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil((at - now + window) / 1000)))
return string.format('%.0f', at - now)
"""

# Fills the window so that the next reservation falls at the end of the time. ARGV: max_connects, window in us,
# a unique member, the time in us.
_HOLD_OFF: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local most, window, hold = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
for number = 1, most do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + hold - window), ARGV[3] .. ':' .. number)
end
local left = math.max(redis.call('PTTL', KEYS[1]), math.ceil((hold + window) / 1000))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', left))
return 1
"""


class SharedConnectBudgets:
    """Implements ``application.ports.ConnectBudgets`` on Redis, with this process's own count beside it.

    The own count is kept all the time, so that nothing is forgotten when Redis goes away: then it alone
    decides. ``egress`` names the address that the exchanges see.
    """

    def __init__(
        self,
        manager: RedisConnectionManager | None = None,
        *,
        egress: str,
        instance: str,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager or RedisConnectionManager.get_instance()
        self._egress = egress
        self._instance = instance
        self._local = LocalConnectBudgets(monotonic_s=monotonic_s)
        self._count = 0

    async def reserve(self, exchange: str, max_connects: int, window_s: float) -> float:
        """Take one connect; the seconds to wait before it is made."""
        own_s = await self._local.reserve(exchange, max_connects, window_s)
        try:
            wait_us = await self._run(_RESERVE, exchange, max_connects, round(window_s * 1e6), self._member())
        except CacheError:
            return own_s
        return max(own_s, float(wait_us) / 1e6)

    async def hold_off(self, exchange: str, max_connects: int, window_s: float, seconds: float) -> None:
        """Let nobody behind this address connect for ``seconds``."""
        await self._local.hold_off(exchange, max_connects, window_s, seconds)
        try:
            await self._run(
                _HOLD_OFF, exchange, max_connects, round(window_s * 1e6), self._member(), round(seconds * 1e6)
            )
        except CacheError:
            return

    def _member(self) -> str:
        self._count += 1
        return f"{self._instance}:{self._count}"

    async def _run(self, script: str, exchange: str, *arguments: Any) -> Any:
        key = self._manager.key(f"{RATE}{exchange}:{self._egress}")

        async def evaluate(client: Redis) -> Any:
            answer: Any = client.eval(script, 1, key, *arguments)
            return await answer

        return await self._manager.execute(evaluate)
