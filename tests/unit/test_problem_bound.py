"""What an exchange repeats is told so often in a minute, and then as one sum; nothing is lost by that."""

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from core.errors import ErrorCode, ExchangeError
from core.problem_bound import MOST_OF_A_CODE, MOST_OF_A_KIND, ProblemBound
from infra.manual_clock import ManualClock
from tests.frames import frame
from tests.hand_run_stream import HandRunStream, hand_run

# -- the rule ------------------------------------------------------------------------------------------

CODES = [ErrorCode.SEQUENCE_GAP, ErrorCode.CHECKSUM_MISMATCH]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(CODES), st.one_of(st.none(), st.integers(0, 30)), st.sampled_from([0.0, 0.2, 30.0])
        ),
        max_size=600,
    )
)
def test_every_problem_is_told_or_counted_and_a_window_tells_no_more_than_it_may(
    problems: list[tuple[ErrorCode, int | None, float]],
) -> None:
    bound, now_s, told, summed = ProblemBound(), 50.0, 0, 0
    in_window: Counter[object] = Counter()
    begun_s: float | None = None
    for number, (code, of, after_s) in enumerate(problems):
        now_s += after_s
        symbol = None if of is None else f"S{of}-USDT"
        if begun_s is not None and now_s - begun_s >= 60.0:
            summed += sum(held.count for held in bound.take(now_s))
            in_window.clear()
            begun_s = None
        else:
            assert bound.take(now_s) == []
        begun_s = now_s if begun_s is None else begun_s
        held = bound.hold(ExchangeError(str(number), code=code), symbol, now_s)
        if held:
            assert max(in_window[code, symbol] - MOST_OF_A_KIND, in_window[code] - MOST_OF_A_CODE) == 0
        else:
            told += 1
            in_window.update([(code, symbol), code])
            assert in_window[code, symbol] <= MOST_OF_A_KIND
            assert in_window[code] <= MOST_OF_A_CODE
    assert told + summed + sum(held.count for held in bound.take(now_s, last=True)) == len(problems)
    assert bound.take(now_s + 1000, last=True) == []


def test_one_kind_takes_no_room_of_another() -> None:
    bound = ProblemBound()
    gap = ExchangeError("a gap", code=ErrorCode.SEQUENCE_GAP)
    assert [bound.hold(gap, "BTC-USDT", 0.0) for _ in range(12)] == [0] * 10 + [1, 2]
    assert bound.hold(gap, "ETH-USDT", 0.0) == 0
    assert bound.hold(gap, None, 0.0) == 0
    assert bound.hold(ExchangeError("not a gap", code=ErrorCode.RATE_LIMITED), "BTC-USDT", 0.0) == 0


# -- the stream ----------------------------------------------------------------------------------------

KEY = "binance|asia|ticker"
BOOM = json.dumps({"error": {"code": 3, "msg": "boom"}, "id": None})


async def flooded(world: HandRunStream, *, seconds: int, a_second: int = 100) -> int:
    world.connection.receive(frame("binance", "ticker"))
    assert world.stream.live == {"BTC-USDT"}
    for second in range(seconds):
        for _ in range(a_second):
            world.connection.receive(BOOM if second < seconds - 1 else BOOM.replace("boom", "the last"))
        await world.clock.advance(1)
        world.stream.on_time(world.clock.monotonic_s())
    return seconds * a_second


async def test_an_exchange_that_repeats_an_error_is_told_ten_times_and_summed() -> None:
    clock = ManualClock()
    with capture_logs() as logs:
        async with hand_run(KEY, "BTC-USDT", clock=clock) as world:
            sent = await flooded(world, seconds=50)
            assert len(world.told()) == 10
            assert len({message for _, _, message in world.told()}) == 1
            await clock.advance(11)
            world.stream.on_time(clock.monotonic_s())
            await clock.advance(0)
            (summary,) = world.told()[10:]
            assert summary[:2] == (KEY, world.told()[0][1])
            assert f"{sent - 10} more problems" in summary[2]
            assert "the last" in summary[2]
            assert world.reports.sent[-1]["meta"]["raw_context"]["held_back"] == sent - 10
            assert world.stream.accounting.totals()["problems_held_back"] == sent - 10
            assert sent == 5_000
    assert len(logs) < 20


async def test_the_end_of_a_stream_tells_what_was_held_back() -> None:
    clock = ManualClock()
    async with hand_run(KEY, "BTC-USDT", clock=clock) as world:
        sent = await flooded(world, seconds=2)
        world.stream.cut()
        await world.stream.closed()
        await clock.advance(0)
        assert f"{sent - 10} more problems" in world.told()[-1][2]
        assert len(world.told()) == 11


async def test_broken_books_of_many_symbols_are_bounded_together_and_named() -> None:
    clock = ManualClock()
    symbols = [f"C{number}-USDT" for number in range(150)]

    def book_frame(symbol: str, action: str, sequence: int, follows: int) -> str:
        book = {"bids": [["1", "1", "0", "1"]], "asks": [["2", "1", "0", "1"]], "ts": "1700000000000"}
        data = [{**book, "seqId": sequence, "prevSeqId": follows}]
        return json.dumps({"arg": {"channel": "books", "instId": symbol}, "action": action, "data": data})

    with capture_logs() as logs:
        async with hand_run("okx|asia|orderbook", *symbols, clock=clock) as world:
            for _ in range(3):
                for connection in world.fake.connections:
                    for symbol in symbols:
                        connection.receive(book_frame(symbol, "snapshot", 5, -1))
                        connection.receive(book_frame(symbol, "update", 9, 8))
            await clock.advance(0)
            assert len(world.told()) == MOST_OF_A_CODE
            assert {code for _, code, _ in world.told()} == {"sequence_gap"}
            broken = 3 * len(world.stream.live)
            world.stream.finish()
            await clock.advance(0)
            context = world.reports.sent[-1]["meta"]["raw_context"]
            assert context["held_back"] == broken - MOST_OF_A_CODE > 100
            assert len(context["held_back_by_symbol"]) == 20
    assert sum(line["event"] == "symbol whole again" and line["log_level"] == "info" for line in logs) == 100
