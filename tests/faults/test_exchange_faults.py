"""The exchange drops, refuses, falls silent, leaves half-open sockets or sends rubbish."""

import asyncio
import time
from collections import Counter

import pytest

from infra.simulator.faults import FaultPlan
from tests.faults.conftest import MakeField
from tests.faults.field import Field, faults_of, say, until

SYMBOLS = ["BTC-KRW", "ETH-KRW", "XRP-KRW"]
REQUEST_TYPES = ("ticker", "trade", "orderbook")


async def all_running(field: Field) -> None:
    for request_type in REQUEST_TYPES:
        field.connect(f"upbit|{request_type}", SYMBOLS)
    await until(lambda: len(field.auditor.live_sessions(0, 2**62)) == 9, 20, "nine symbols run")


async def test_dropped_and_refused_connections_are_one_error_an_outage(make_field: MakeField) -> None:
    async with make_field(GATEWAY_RECONNECT_MAX_S=2) as field:
        sim = await field.simulate("upbit", symbols=SYMBOLS, rate=300)
        field.audit()
        gateway = await field.gateway().started()
        await all_running(field)

        assert await sim.drop_connections() == 3
        await until(lambda: sim.stats.connections == 3, 20, "all are back")
        await until(lambda: len(gateway.said("outage over")) == 3, 10)

        sim.refuse_connections()
        await sim.drop_connections()
        began_s = time.monotonic()
        await until(lambda: sim.stats.refused >= 12, 30, "a dozen attempts")
        attempts_s = time.monotonic() - began_s
        sim.refuse_connections(False)
        await until(lambda: len(gateway.said("outage over")) == 6, 20, "all are back again")
        await field.flowing(300)
        assert (await gateway.terminate())[0] == 0

        errors = await field.errors()
        report = await field.proof()
        say(
            f"{sim.stats.refused} attempts refused in {attempts_s:.1f} s, {len(errors)} errors; {report.totals}"
        )
        assert Counter((e["error"]["error_code"], e["target"]["request_type"]) for e in errors) == {
            ("connect_failed", request_type): 2 for request_type in REQUEST_TYPES
        }
        assert faults_of(report) == {}
        assert len(report.sessions) == 9
        assert report.totals.tails["proven"] == 27


@pytest.mark.parametrize(
    ("liveness", "found_within_s"),
    [
        ({"GATEWAY_PROBE_AFTER_S": 2, "GATEWAY_STALE_AFTER_S": 4}, 10),
        pytest.param({}, 30, marks=pytest.mark.faults),
    ],
    ids=["short", "default limits"],
)
async def test_half_open_sockets_and_silence_are_found(
    make_field: MakeField, liveness: dict[str, object], found_within_s: float
) -> None:
    async with make_field(**liveness, GATEWAY_RECONNECT_MAX_S=2) as field:
        sim = await field.simulate("upbit", symbols=SYMBOLS, rate=300)
        field.audit()
        gateway = await field.gateway().started()
        await all_running(field)

        sim.freeze()
        frozen_s = await until(
            lambda: len(gateway.said("outage over")) == 3, found_within_s, "half-open sockets are replaced"
        )
        await field.flowing(100)
        assert await codes(field) == {"stream_stale": 3}

        # Silence on every connection, new ones too: reconnecting does not help, and is no further outage.
        sim.stall()
        connected = len(gateway.said("connected"))
        await until(lambda: len(gateway.said("connected")) >= connected + 4, 90, "one has tried twice")
        sim.resume()
        await until(lambda: len(gateway.said("outage over")) == 6, 40, "records come again")
        await field.flowing(100)
        assert (await gateway.terminate())[0] == 0

        report = await field.proof()
        say(f"half-open sockets replaced after {frozen_s:.1f} s; {report.totals}")
        assert await codes(field) == {"stream_stale": 6}
        # What was sent into a half-open socket is gone, and no gateway can know of it; all else is there.
        assert {k: v for k, v in faults_of(report).items() if k != "source"} == {}


async def test_rubbish_is_counted_and_the_connection_stays(make_field: MakeField) -> None:
    async with make_field() as field:
        plan = FaultPlan(rubbish_every=20)
        sim = await field.simulate("upbit", symbols=SYMBOLS, rate=600, faults=plan)
        field.audit()
        gateway = await field.gateway().started()
        await all_running(field)
        await until(lambda: sim.stats.rubbish_sent >= 120, 30)
        sim.pause()
        await asyncio.sleep(0.5)
        assert (await gateway.terminate())[0] == 0

        events = await field.metrics()
        dead_letters = await field.events("ws.dlq")
        report = await field.proof()
        failed, ignored = (sum(e[name] for e in events) for name in ("parse_failed", "ignored"))
        say(
            f"{sim.stats.rubbish_sent} of rubbish: {failed} not parsed, {ignored} ignored, "
            f"{len(dead_letters)} dead letters; {report.totals}"
        )
        assert failed + ignored == sim.stats.rubbish_sent
        assert failed > 0
        # Ten samples a minute and stream; the test may have run over the turn of one.
        assert 10 < len(dead_letters) <= 3 * 10 * 2
        assert await field.errors() == []
        assert len(report.sessions) == 3
        assert faults_of(report) == {}


async def codes(field: Field) -> Counter[str]:
    return Counter(e["error"]["error_code"] for e in await field.errors())
