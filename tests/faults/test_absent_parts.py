"""Kafka, the registry and Redis away at the start: it says so, waits for what it needs, and then works."""

import asyncio
from pathlib import Path

from infra.cache.cache_client import RedisConnectionManager
from infra.cache.cache_store import WebsocketConnectionCache
from infra.services.artifacts import MavenArtifacts
from infra.services.kafka import KafkaBroker
from infra.services.redis import RedisServer
from infra.services.registry import SchemaRegistry
from infra.settings import GatewaySettings, RedisSettings, Settings
from tests.faults.field import Field, faults_of, say, until
from tests.faults.gateway_process import GatewayProcess


async def test_all_three_absent_and_coming_one_after_the_other(
    artifacts: MavenArtifacts, tmp_path: Path, prefix: str
) -> None:
    kafka = KafkaBroker(data_dir=tmp_path / "kafka", artifacts=artifacts, short_lived=True)
    registry = SchemaRegistry(data_dir=tmp_path / "registry", artifacts=artifacts)
    redis = RedisServer(data_dir=tmp_path / "redis", artifacts=artifacts)
    try:
        async with Field(tmp_path, prefix, kafka, registry, redis) as field:
            await field.simulate("upbit", symbols=["BTC-KRW"], rate=50)
            gateway, ended_early = field.gateway(), field.gateway("early")
            gateway.start()
            ended_early.start()
            await waits_for(gateway, "kafka", kafka.bootstrap_servers)
            assert gateway.said("redis_away")
            status, seconds = await ended_early.terminate()
            assert status == 0, ended_early.tail()
            assert seconds < 5
            say(f"SIGTERM while it waits: status 0 after {seconds:.2f} s")

            await asyncio.to_thread(kafka.start)
            await waits_for(gateway, "registry", registry.url, tries=1)
            assert (await gateway.readyz())[1]["kafka"] == "ready"

            await asyncio.to_thread(registry.start)
            await gateway.ready()
            assert (await gateway.readyz())[1]["redis"] == "optional, away"
            field.audit()
            correlation_id = field.connect("upbit|ticker", ["BTC-KRW"])
            await field.flowing(50)
            assert (await field.outcomes())[correlation_id, "BTC-KRW", "ws.connect_success"] == 1

            await asyncio.to_thread(redis.start)
            seconds = await until(lambda: rejoined(gateway), 20, "Redis is back in use")
            spec = await spec_in_redis(redis, prefix)
            assert spec == ("connected", ("BTC-KRW",))
            say(f"Redis in use again {seconds:.1f} s after it answered")
            assert (await gateway.terminate())[0] == 0
            assert faults_of(await field.proof()) == {}
    finally:
        for part in (redis, registry, kafka):
            part.stop()


async def waits_for(gateway: GatewayProcess, part: str, address: str, tries: int = 2) -> None:
    """It names the address at once, is alive and not ready, and tries again after a while."""
    await until(lambda: gateway.said("connecting", part=part, address=address), 20, "it says what it tries")
    await until(lambda: len(gateway.said("waiting", part=part)) >= tries, 30, f"tries for {part}")
    said = gateway.said("waiting", part=part)
    assert {entry["address"] for entry in said} == {address}
    assert all(entry["again_in_s"] <= 10 for entry in said)
    status, parts = await gateway.readyz()
    assert status == 503
    assert parts[part].startswith("not ready"), parts


async def rejoined(gateway: GatewayProcess) -> bool:
    """Whether it reaches Redis and has said so."""
    return bool(gateway.said("redis_back")) and (await gateway.readyz())[1]["redis"] == "optional, ready"


async def spec_in_redis(redis: RedisServer, prefix: str) -> tuple[str, tuple[str, ...]]:
    """Status and symbols of the only stream, once it is there."""
    manager = RedisConnectionManager()
    await manager.initialize(
        Settings(redis=RedisSettings(url=redis.url), gateway=GatewaySettings(prefix=prefix))
    )
    try:
        cache = WebsocketConnectionCache(manager)
        async with asyncio.timeout(20):
            while not (specs := await cache.connection_specs()):
                await asyncio.sleep(0.2)
        return str(specs[0].status), tuple(specs[0].symbols)
    finally:
        await manager.close()
