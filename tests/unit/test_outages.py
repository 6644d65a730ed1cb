"""One report an outage of a stream, over however many connections; what is another problem is told too."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exchanges.table import PROFILES
from core.outages import StreamOutage
from infra.manual_clock import settled
from tests.orchestra import HOME, SCOPE, Instance, Orchestra

COINS = ("BTC", "ETH", "XRP", "SOL", "DOGE", "ADA")
SYMBOLS = [f"{coin}-KRW" for coin in COINS]

# -- the rule ------------------------------------------------------------------------------------------


@given(st.permutations(range(4)), st.permutations(range(4)), st.integers(1, 3))
def test_all_that_go_down_and_come_back_are_one_outage(down: list[int], back: list[int], attempts: int) -> None:
    outage = StreamOutage()
    for _ in range(2):
        told = [outage.goes_down(one, "connection") for _ in range(attempts) for one in down]
        assert told == [True] + [False] * (4 * attempts - 1)
        over = [outage.is_back(one) for one in back]
        assert over == [False, False, False, True]


def test_another_problem_is_told_once_an_outage() -> None:
    outage = StreamOutage()
    assert outage.goes_down("a", "connection")
    assert outage.goes_down("b", "frame_too_large")
    assert not outage.goes_down("a", "frame_too_large")
    assert not outage.goes_down("c", "connection")


def test_a_quiet_connection_does_not_hide_the_outages_after_the_first() -> None:
    outage = StreamOutage()
    assert [outage.goes_down(one, "connection") for one in ("quiet", "a", "b")] == [True, False, False]
    assert not outage.is_back("a")
    assert not outage.is_back("b")
    # Both were back: that they go down again is another outage, and once.
    assert [outage.goes_down(one, "connection") for one in ("b", "a", "quiet")] == [True, False, False]
    assert [outage.is_back(one) for one in ("a", "b", "quiet")] == [False, False, True]


def test_a_connection_that_is_not_wanted_any_more_is_not_waited_for() -> None:
    outage = StreamOutage()
    assert outage.goes_down("a", "connection")
    assert not outage.goes_down("b", "connection")
    assert not outage.is_back("a")
    assert outage.ended("b")
    assert not outage.ended("b")
    assert outage.goes_down("a", "connection")


# -- the stream ----------------------------------------------------------------------------------------


@pytest.fixture
async def orchestra(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Orchestra]:
    """Upbit with room for two symbols a connection."""
    upbit = PROFILES[SCOPE.exchange]
    monkeypatch.setattr(type(upbit), "limits", msgspec.structs.replace(upbit.limits, max_symbols=2))
    async with Orchestra() as o:
        yield o


async def three_connections(o: Orchestra) -> Instance:
    one = o.instance(owns=[HOME])
    await o.connect(*SYMBOLS)
    await o.clock.advance(10)
    o.upbit.answer()
    assert len(o.upbit.open) == 3
    assert {record.symbol for record in one.sink.records} == set(SYMBOLS)
    return one


def codes(one: Instance) -> list[str]:
    return [event["error"]["error_code"] for event in one.reports.sent]


async def test_an_outage_of_several_connections_is_one_report(orchestra: Orchestra) -> None:
    o = orchestra
    one = await three_connections(o)
    for _ in range(2):
        reported = len(one.reports.sent)
        o.upbit.connector.refusing = "no route"
        for connection in list(o.upbit.open):
            connection.end(1006)
        await o.clock.advance(20)
        assert len(one.reports.sent) == reported + 1
        o.upbit.connector.refusing = None
        await o.clock.advance(20)
        o.upbit.answer()
        await settled()
        assert len(o.upbit.open) == 3
        assert len(one.reports.sent) == reported + 1
    assert codes(one) == ["connect_failed"] * 2
    assert {event["meta"]["observed_key"] for event in one.reports.sent} == {SCOPE.key}


async def test_connections_that_go_silent_and_are_lost_are_one_outage(orchestra: Orchestra) -> None:
    o = orchestra
    one = await three_connections(o)
    first, second, _third = o.upbit.open
    first._on_send = None  # answers nothing any more, not even a ping
    o.upbit.connector.refusing = "no route"
    second.end(1001, "going away")
    for _ in range(30):
        _third.receive(o.upbit.frame("KRW-ADA"))
        await o.clock.advance(1)
    assert not first.open
    assert codes(one) == ["connect_failed"]


async def test_another_problem_and_a_refused_symbol_are_told_during_an_outage(orchestra: Orchestra) -> None:
    o = orchestra
    one = await three_connections(o)
    first, second, _ = o.upbit.open
    o.upbit.connector.refusing = "no route"
    first.end(1006)
    await o.clock.advance(3)
    second.receive(b"x" * (5 * 1024 * 1024))
    await o.clock.advance(3)
    assert codes(one) == ["connect_failed", "frame_too_large"]
    o.upbit.unlisted.add("KRW-NOPE")
    o.upbit.connector.refusing = None
    name = await o.connect("NOPE-KRW")
    for _ in range(40):
        o.upbit.answer()
        await o.clock.advance(2)
    assert list(o.outcomes(name).values()) == [1]
    assert ("NOPE-KRW", "unknown_symbol") in {(symbol, code) for _, symbol, code in o.outcomes(name)}
    assert codes(one) == ["connect_failed", "frame_too_large"]


async def test_a_connection_that_ends_with_its_symbols_ends_its_part(orchestra: Orchestra) -> None:
    o = orchestra
    one = await three_connections(o)
    o.upbit.connector.refusing = "no route"
    gone = o.upbit.open[1]
    codes_gone = [code.removeprefix("KRW-") + "-KRW" for code in o.upbit.codes(gone)]
    gone.end(1006)
    await o.clock.advance(3)
    await o.disconnect(*codes_gone)
    o.upbit.connector.refusing = None
    o.upbit.open[0].end(1006)
    await o.clock.advance(3)
    assert codes(one) == ["connect_failed"] * 2
