"""A whole stream against the simulated Bitfinex: what it announces, and what that costs, is told once."""

import json
from urllib.parse import urlsplit

from infra.simulator.server import ExchangeSimulator
from tests.running_stream import running
from tests.simulated_exchange import SYMBOLS
from tests.waiting import until

PAIRS = SYMBOLS["bitfinex"]


async def test_a_restart_that_is_announced_is_one_error_and_a_new_connection() -> None:
    async with (
        ExchangeSimulator("bitfinex", symbols=PAIRS, rate=100) as simulator,
        running(simulator, PAIRS, "ticker") as (world, stream),
    ):
        await until(lambda: {r.symbol for r in world.records} == set(PAIRS))
        sessions = {r.session_id for r in world.records}
        await simulator.stop()
        port = urlsplit(simulator.url).port or 0
        async with ExchangeSimulator("bitfinex", symbols=PAIRS, rate=100, port=port):
            await until(lambda: {r.session_id for r in world.records} > sessions)
            await until(lambda: stream.live == set(PAIRS))
            (error,) = world.errors
            assert (error["error_code"], error["key"]) == ("connect_failed", "bitfinex|europe|ticker")
            assert "20051" in error["error_message"]["message"]


async def test_a_restart_is_not_waited_for() -> None:
    async with (
        ExchangeSimulator("bitfinex", symbols=PAIRS, rate=100) as simulator,
        running(simulator, PAIRS, "ticker") as (world, _),
    ):
        announced = json.dumps({"event": "info", "code": 20051, "msg": "Please reconnect"})
        meant: list[str | bytes] = []

        def announce(frame: str | bytes) -> str | bytes:
            if not meant and frame[:1] in ("[", b"["):
                meant.append(frame)
                return announced
            return frame

        world.connector.meddle = announce
        # The exchange itself ends nothing.
        await until(lambda: simulator.stats.connections_total == 2)
        await until(lambda: {r.symbol for r in world.records} == set(PAIRS))
        await until(lambda: world.errors)
    assert ["20051" in error["error_message"]["message"] for error in world.errors] == [True]


async def test_a_maintenance_is_one_error_also_when_it_ends_the_connection() -> None:
    async with (
        ExchangeSimulator("bitfinex", symbols=PAIRS, rate=100) as simulator,
        running(simulator, PAIRS, "ticker") as (world, _),
    ):
        await until(lambda: world.records)
        simulator.begin_maintenance()
        await until(lambda: world.errors)
        await simulator.close_all(1001, "maintenance")
        await until(lambda: simulator.stats.connections_total == 2)
        before = len(world.records)
        simulator.end_maintenance()
        await until(lambda: len(world.records) > before + 50)
        (error,) = world.errors
        assert (error["error_code"], "20060" in error["error_message"]["message"]) == ("connect_failed", True)
        # It is over with the first record: what is lost now is another outage.
        await simulator.drop_connections()
        await until(lambda: len(world.errors) == 2)
