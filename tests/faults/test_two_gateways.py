"""Two gateways share the work and replace each other, also when one is killed or stands still."""

import asyncio

import pytest

from core.audit_report import AuditReport
from infra.services.kafka import KafkaBroker
from tests.faults.conftest import MakeField
from tests.faults.field import Field, faults_of, say, until
from tests.faults.gateway_process import GatewayProcess

SYMBOLS = {"upbit": ["BTC-KRW", "ETH-KRW"], "binance": ["BTC-USDT", "ETH-USDT"]}
REQUEST_TYPES = ("ticker", "trade", "orderbook")
EXPECTED = 12  # two exchanges, three request types, two symbols


async def both_at_work(field: Field) -> tuple[GatewayProcess, GatewayProcess]:
    """Two gateways that each run some of twelve symbols."""
    for exchange, symbols in SYMBOLS.items():
        await field.simulate(exchange, symbols=symbols, rate=120)
    field.audit()
    one, two = field.gateway("one"), field.gateway("two")
    await asyncio.gather(one.started(), two.started())
    for exchange, symbols in SYMBOLS.items():
        for request_type in REQUEST_TYPES:
            field.connect(f"{exchange}|{request_type}", symbols)

    async def shared() -> bool:
        mine, theirs = await one.streams(), await two.streams()
        running = [s for scope in (mine, theirs) for s in scope.values() if s["status"] == "connected"]
        return bool(mine) and bool(theirs) and len(running) == 6 and not (mine.keys() & theirs.keys())

    seconds = await until(shared, 30, "both have work")
    say(f"shared after {seconds:.1f} s: {len(await one.streams())} and {len(await two.streams())} streams")
    return one, two


async def each_symbol_lives_once(field: Field) -> dict[tuple[str, str], list[int]]:
    """Which session carries each of the twelve symbols now; fails where it is not one."""
    live = await field.settled_sessions()
    assert len(live) == EXPECTED, live
    assert {scope: s for scope, s in live.items() if len(s) != 1} == {}
    return live


def longest_gap_s(report: AuditReport) -> float:
    return max(handover.gap_us for handover in report.handovers) / 1e6


@pytest.mark.parametrize(
    "session_s", [3, pytest.param(10, marks=pytest.mark.faults)], ids=["short", "default session"]
)
async def test_a_killed_gateway_is_replaced(make_field: MakeField, session_s: int) -> None:
    async with make_field(KAFKA_SESSION_TIMEOUT_MS=session_s * 1000) as field:
        one, two = await both_at_work(field)
        await each_symbol_lives_once(field)

        two.kill()
        seconds = await until(lambda: runs_all(one), session_s * 2 + 15, "one has all streams")

        await each_symbol_lives_once(field)
        assert (await one.terminate())[0] == 0
        report = await field.proof()
        say(
            f"all streams {seconds:.1f} s after the kill; longest gap {longest_gap_s(report):.1f} s; "
            f"{report.totals}"
        )
        assert faults_of(report) == {}
        # What has no closing report belonged to the killed one, and another session followed.
        ended = report.totals.tails["ended_without_report"]
        assert ended == len(report.handovers) > 0
        assert longest_gap_s(report) < session_s * 2 + 10


@pytest.mark.parametrize(
    ("session_s", "still_s"),
    [(3, 6), pytest.param(10, 30, marks=pytest.mark.faults)],
    ids=["short", "30 s, default session"],
)
async def test_a_gateway_that_stood_still_gives_way(
    make_field: MakeField, session_s: int, still_s: int
) -> None:
    async with make_field(KAFKA_SESSION_TIMEOUT_MS=session_s * 1000) as field:
        one, two = await both_at_work(field)

        two.stand_still()
        await asyncio.sleep(still_s)
        took_over = await runs_all(one)
        two.go_on()

        assert took_over
        await until(lambda: share_again(one, two), session_s * 2 + 20, "both have work again")
        await each_symbol_lives_once(field)
        assert two.said("this process stood still: streams are closed")
        assert [(await gateway.terminate())[0] for gateway in (one, two)] == [0, 0]
        report = await field.proof()
        say(f"longest gap {longest_gap_s(report):.1f} s; {report.totals}")
        assert faults_of(report) == {}
        assert report.totals.tails["ended_without_report"] == 0
        # Nobody published beside the other: no session began before the one of the other had fallen silent.
        assert min(handover.gap_us for handover in report.handovers) > 0


async def runs_all(gateway: GatewayProcess) -> bool:
    streams = await gateway.streams()
    return sum(s["status"] == "connected" for s in streams.values()) == 6


async def share_again(one: GatewayProcess, two: GatewayProcess) -> bool:
    mine, theirs = await one.streams(), await two.streams()
    connected = sum(s["status"] == "connected" for s in [*mine.values(), *theirs.values()])
    return connected == 6 and not (mine.keys() & theirs.keys()) and bool(theirs)


@pytest.mark.timeout(240)
@pytest.mark.faults
async def test_two_gateways_live_through_a_dead_broker(make_field: MakeField, own_kafka: KafkaBroker) -> None:
    """Both are cut off for longer than their sessions; afterwards nobody runs what the other one runs."""
    async with make_field(kafka=own_kafka, KAFKA_SESSION_TIMEOUT_MS=3000) as field:
        one, two = await both_at_work(field)
        before = await field.settled_sessions()

        own_kafka.kill()
        await until(lambda: all(g.said("group lost, no broker answers: streams go on") for g in (one, two)), 30)
        await asyncio.sleep(3)
        assert [len(await gateway.streams()) for gateway in (one, two)] == [3, 3]
        await asyncio.to_thread(own_kafka.start)
        await until(lambda: share_again(one, two), 60, "both have work again")

        after = await each_symbol_lives_once(field)
        assert [(await gateway.terminate())[0] for gateway in (one, two)] == [0, 0]
        report = await field.proof()
        kept = sum(after[key] == before[key] for key in before)
        side_by_side = [handover for handover in report.handovers if handover.gap_us < 0]
        say(f"{kept} of {EXPECTED} symbols kept their session; {report.totals}")
        assert side_by_side == []
        assert faults_of(report) == {}
