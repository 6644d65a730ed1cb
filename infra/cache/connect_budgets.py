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
# Each member ends with "+" and how far ahead it lay when it was added. No time lies further ahead than that
# later, unless the clock went back (a fail-over, a step): then it is moved to where it can lie at most.
# KEYS[1] the set; ARGV: max_connects, window in us, a unique member, the least wait in us. Answer: us to wait.
_RESERVE: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local most, window = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - window))
local ahead = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf', 'WITHSCORES')
for number = 1, #ahead, 2 do
  local latest = now + (tonumber(string.match(ahead[number], '%+(%d+)$')) or 0)
  if tonumber(ahead[number + 1]) > latest then
    redis.call('ZADD', KEYS[1], string.format('%.0f', latest), ahead[number])
  end
end
local at = now + tonumber(ARGV[4])
local earlier = redis.call('ZREVRANGE', KEYS[1], most - 1, most - 1, 'WITHSCORES')
if earlier[2] then
  at = math.max(at, tonumber(earlier[2]) + window)
end
local wait = string.format('%.0f', at - now)
redis.call('ZADD', KEYS[1], string.format('%.0f', at), ARGV[3] .. '+' .. wait)
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil((tonumber(last[2]) - now + window) / 1000)))
return wait
"""

# Fills the window so that the next reservation falls at the end of the time. ARGV: max_connects, window in us,
# a unique member, the time in us.
_HOLD_OFF: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local most, window, hold = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
local at, ahead = now + hold - window, math.max(hold - window, 0)
for number = 1, most do
  local member = string.format('%s:%d+%.0f', ARGV[3], number, ahead)
  redis.call('ZADD', KEYS[1], string.format('%.0f', at), member)
end
local left = math.max(redis.call('PTTL', KEYS[1]), math.ceil((hold + window) / 1000))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', left))
return 1
"""


class SharedConnectBudgets:
    """Implements ``application.ports.ConnectBudgets`` on Redis, with this process's own count beside it.

    The own count is kept all the time, and by the waits that Redis imposed, so that nothing is forgotten when
    Redis goes away: then it alone decides. ``egress`` names the address that the exchanges see.
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
        self._monotonic_s = monotonic_s
        self._local = LocalConnectBudgets(monotonic_s=monotonic_s)
        self._count = 0

    async def reserve(self, exchange: str, max_connects: int, window_s: float) -> float:
        """Take one connect; the seconds to wait before it is made."""
        budget = self._local.budget(exchange, max_connects, window_s)
        least_us = round(budget.wait_s(self._monotonic_s()) * 1e6)
        shared_s = 0.0
        try:
            arguments = (max_connects, round(window_s * 1e6), self._member(), least_us)
            shared_s = float(await self._run(_RESERVE, exchange, *arguments)) / 1e6
        except CacheError:
            pass  # the own count decides
        return budget.reserve(self._monotonic_s(), shared_s)

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
