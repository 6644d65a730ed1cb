"""What every Redis must do for the gateway; inherited by the stand-in's tests and by the real one's.

A subclass gives ``redis_url``.
"""

import asyncio
import time

import msgspec
import pytest
import redis.asyncio

from core.breaker import BreakerState
from core.identity import ConnectionScopeDomain
from core.streams import ConnectionStatus, WebsocketConnectionSpecDomain
from infra.cache.cache_client import RedisConnectionManager
from infra.cache.cache_store import BreakerStateCache, WebsocketConnectionCache
from infra.messaging.clients.cb.config import CircuitBreakerConfig
from infra.messaging.clients.cb.guard import BreakerGuard
from infra.settings import GatewaySettings, RedisSettings, Settings
from tests.waiting import until

SCOPE = ConnectionScopeDomain("upbit", "korea", "ticker")
SPEC = WebsocketConnectionSpecDomain(
    SCOPE,
    ("BTC-KRW", "ETH-KRW"),
    url="wss://api.upbit.com/websocket/v1",
    status=ConnectionStatus.CONNECTED,
    connected_at_ms=1_700_000_000_000,
    last_active_ms=1_700_000_000_500,
    instance="host-1",
)


def redis_settings(url: str, prefix: str) -> Settings:
    return Settings(redis=RedisSettings(url=url, timeout_s=0.5), gateway=GatewaySettings(prefix=prefix))


class CacheSuite:
    """Specs and breaker states."""

    @pytest.fixture
    async def manager(self, redis_url, request):
        manager = RedisConnectionManager()
        await manager.initialize(redis_settings(redis_url, f"{time.time_ns()}-x_y."))
        yield manager
        await manager.close()

    @pytest.fixture
    async def raw(self, redis_url):
        client = redis.asyncio.Redis.from_url(redis_url, decode_responses=True, protocol=2)
        yield client
        await client.aclose()

    async def test_a_spec_comes_back_as_it_went(self, manager):
        cache = WebsocketConnectionCache(manager)
        assert await cache.get_connection_spec(SCOPE) is None
        assert await cache.set_connection_spec(SCOPE, SPEC) is True
        assert await cache.get_connection_spec(SCOPE) == SPEC
        assert await cache.remove_connection_spec(SCOPE) is True
        assert await cache.remove_connection_spec(SCOPE) is True
        assert await cache.get_connection_spec(SCOPE) is None

    async def test_the_hash_is_the_documented_one(self, manager, raw):
        await WebsocketConnectionCache(manager).set_connection_spec(SCOPE, SPEC)
        key = manager.key("ws:connection:upbit|korea|ticker")
        assert await raw.hgetall(key) == {
            "url": "wss://api.upbit.com/websocket/v1",
            "status": "connected",
            "symbols": '["BTC-KRW","ETH-KRW"]',
            "connected_at_ms": "1700000000000",
            "last_active_ms": "1700000000500",
            "instance": "host-1",
        }
        assert 58 <= await raw.ttl(key) <= 60

    async def test_what_is_no_longer_known_leaves_the_hash(self, manager):
        cache = WebsocketConnectionCache(manager)
        await cache.set_connection_spec(SCOPE, SPEC)
        bare = WebsocketConnectionSpecDomain(SCOPE, ())
        await cache.set_connection_spec(SCOPE, bare)
        assert await cache.get_connection_spec(SCOPE) == bare

    async def test_a_spec_runs_out(self, manager):
        cache = WebsocketConnectionCache(manager, ttl_s=0.2)
        await cache.set_connection_spec(SCOPE, SPEC)
        deadline_s = time.monotonic() + 5
        while await cache.get_connection_spec(SCOPE) is not None:
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.05)

    async def test_all_specs_are_listed_and_only_those_of_the_prefix(self, manager, raw):
        cache = WebsocketConnectionCache(manager)
        other = ConnectionScopeDomain("binance", "asia", "trade")
        for scope in (SCOPE, other):
            await cache.set_connection_spec(scope, msgspec.structs.replace(SPEC, scope=scope))
        await raw.hset("ws:connection:kraken|na|ticker", mapping={"status": "connected", "symbols": "[]"})
        await raw.hset(manager.key("ws:connection:okx|asia|ticker"), mapping={"status": "?", "symbols": "[]"})
        try:
            assert [spec.scope for spec in await cache.connection_specs()] == [other, SCOPE]
        finally:
            await raw.delete("ws:connection:kraken|na|ticker")

    async def test_breaker_states(self, manager):
        store = BreakerStateCache(manager)
        assert await store.load("data") is None
        assert await store.save("data", {"state": "open", "reason": "x", "instance": "a"}, ttl_s=60)
        assert await store.save("data", {"state": "closed", "instance": "a"}, ttl_s=60)
        assert await store.load("data") == {"state": "closed", "instance": "a"}

    async def test_two_instances_hint_at_each_other_and_stop_nobody(self, manager):
        config = CircuitBreakerConfig(sync_s=0.02)
        store = BreakerStateCache(manager)
        one = BreakerGuard("data", config, store=store, instance="one")
        two = BreakerGuard("data", config, store=store, instance="two")
        await one.start()
        await two.start()
        one.trip("for the test")
        await until(lambda: two.breaker.watchful)
        assert two.state is BreakerState.CLOSED
        assert two.admit() is not None
        two.trip("here too")
        two.breaker.delivery_seen(two.clock())
        for _ in range(2):
            two.settle(two.admit(), None)
        assert two.state is BreakerState.CLOSED
        await until(lambda: one.state is BreakerState.HALF_OPEN)
        assert one.breaker.reason == "another instance delivers again"
        await one.stop()
        await two.stop()

    async def test_many_at_once_share_the_pool(self, manager):
        cache = WebsocketConnectionCache(manager)
        assert all(await asyncio.gather(*(cache.set_connection_spec(SCOPE, SPEC) for _ in range(200))))
