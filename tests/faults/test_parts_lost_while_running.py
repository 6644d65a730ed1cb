"""Registry and Redis go away under a running gateway: it goes on, says so, and uses them again."""

import asyncio

from infra.services.redis import RedisServer
from infra.services.registry import SchemaRegistry
from tests.faults.conftest import MakeField
from tests.faults.field import faults_of, say, until

SYMBOLS = ["BTC-KRW", "ETH-KRW"]


async def test_registry_and_redis_killed_while_running(
    make_field: MakeField, own_registry: SchemaRegistry, own_redis: RedisServer
) -> None:
    async with make_field(registry=own_registry, redis=own_redis) as field:
        await field.simulate("upbit", symbols=SYMBOLS, rate=300)
        field.audit()
        gateway = await field.gateway().started()
        field.connect("upbit|ticker", SYMBOLS)
        await field.flowing(300)

        own_registry.kill()
        own_redis.pause()
        # Known schemas go on, also on a stream that only begins now; a Redis that hangs holds nothing up.
        command = field.connect("upbit|trade", SYMBOLS)
        await until(lambda: trades(gateway), 20, "the new stream delivers")
        before = (await gateway.streams())["upbit|korea|ticker"]["delivered"]
        await asyncio.sleep(3)
        after = (await gateway.streams())["upbit|korea|ticker"]["delivered"]
        assert after - before > 3 * 150 * 0.7
        await until(lambda: gateway.said("redis_away"), 30, "it says that Redis is away")
        assert (await gateway.readyz()) == (200, (await gateway.readyz())[1])
        assert (await gateway.readyz())[1]["redis"] == "optional, away"

        own_redis.resume()
        own_redis.kill()
        await asyncio.to_thread(own_redis.start)
        seconds = await until(lambda: back(gateway), 20, "Redis is in use again")
        await asyncio.to_thread(own_registry.start)
        await field.flowing(300)
        assert (await gateway.terminate())[0] == 0

        report = await field.proof()
        say(f"Redis in use again after {seconds:.1f} s; {report.totals}")
        assert faults_of(report) == {}
        assert len(report.sessions) == 2
        assert await field.errors() == []
        outcomes = await field.outcomes()
        assert {outcomes[command, symbol, "ws.connect_success"] for symbol in SYMBOLS} == {1}


async def trades(gateway) -> bool:
    return (await gateway.streams()).get("upbit|korea|trade", {}).get("delivered", 0) > 100


async def back(gateway) -> bool:
    return (await gateway.readyz())[1]["redis"] == "optional, ready"
