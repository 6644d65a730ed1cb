"""The cache against the Redis stand-in, and against no Redis at all."""

import pytest
from structlog.testing import capture_logs

from core.errors import SettingsError
from infra.cache.cache_client import RedisConnectionManager
from infra.cache.cache_store import BreakerStateCache, WebsocketConnectionCache
from infra.embedded.redis import EmbeddedRedis
from tests.contract.cache_suite import SCOPE, SPEC, CacheSuite, redis_settings


@pytest.fixture
async def redis_url():
    server = EmbeddedRedis()
    await server.start()
    yield server.url
    await server.stop()


class TestStandIn(CacheSuite):
    """fakeredis over TCP."""


async def test_without_redis_nothing_raises_and_it_is_said_once():
    manager = RedisConnectionManager()
    with capture_logs() as logs:
        await manager.initialize(redis_settings("redis://:secret@127.0.0.1:1/0", ""))
        cache, breakers = WebsocketConnectionCache(manager), BreakerStateCache(manager)
        for _ in range(5):
            assert await cache.set_connection_spec(SCOPE, SPEC) is False
            assert await cache.get_connection_spec(SCOPE) is None
            assert await cache.remove_connection_spec(SCOPE) is False
            assert await cache.connection_specs() == []
            assert await breakers.load("data") is None
            assert await breakers.save("data", {"state": "open"}, 60) is False
    assert [line["event"] for line in logs] == ["redis_away"]
    assert "secret" not in str(logs)
    assert manager.available is False
    await manager.close()


async def test_an_address_that_is_none_is_said_by_its_name():
    with pytest.raises(ValueError, match="redis"):
        redis_settings("http://somewhere", "")


async def test_one_instance_initialised_twice_and_reset_by_close(redis_url, monkeypatch):
    monkeypatch.setenv("REDIS_URL", redis_url)
    manager = RedisConnectionManager.get_instance()
    assert manager is RedisConnectionManager.get_instance()
    await manager.initialize()
    await manager.initialize()
    cache = WebsocketConnectionCache(manager)
    assert await cache.set_connection_spec(SCOPE, SPEC) is True
    await manager.close()
    await manager.close()
    monkeypatch.setenv("REDIS_PORT", "not a number")
    with pytest.raises(SettingsError, match="REDIS_PORT"):
        await manager.initialize()
    monkeypatch.delenv("REDIS_PORT")
    await manager.initialize()
    assert (await cache.get_connection_spec(SCOPE)).symbols == ("BTC-KRW", "ETH-KRW")
    await manager.close()
