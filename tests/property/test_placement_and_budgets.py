"""Which connection carries what, how many may be opened, and ids that never repeat."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.connect_budget import ConnectBudget
from core.identity import RequestType
from core.projection import RECORD_OF, blanks, project
from core.records import Ticker
from core.session_id import SessionIds, started_ms
from core.subscriptions import place

names = st.integers(0, 30).map(str)


@given(st.sets(names), st.lists(st.sets(names, max_size=5), max_size=4), st.integers(1, 5))
def test_every_wanted_symbol_has_one_place_and_none_that_has_one_moves(
    wanted: set[str], slots: list[set[str]], capacity: int
) -> None:
    taken: set[str] = set()
    before: list[list[str]] = []
    for slot in slots:
        before.append(sorted(slot - taken)[:capacity])
        taken |= set(before[-1])
    placement = place(sorted(wanted), before, capacity)
    after = [list(slot) for slot in before]
    for index, gone in placement.removed.items():
        after[index] = [symbol for symbol in after[index] if symbol not in gone]
    for index in sorted(placement.added):
        if index == len(after):
            after.append([])
        after[index] += placement.added[index]
    placed = [symbol for slot in after for symbol in slot]
    assert sorted(placed) == sorted(wanted)
    assert all(len(slot) <= capacity for slot in after)
    for index, slot in enumerate(before):
        assert set(slot) & wanted <= set(after[index])
    assert all(after[len(before) :]), "no new connection is opened for nothing"


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 5), st.floats(0.5, 10))
def test_no_window_holds_more_connects_than_allowed(
    gaps: list[float], max_connects: int, window_s: float
) -> None:
    budget = ConnectBudget(max_connects, window_s)
    now_s, at_s = 0.0, []
    for gap in gaps:
        now_s += gap
        wait_s = budget.reserve(now_s)
        assert wait_s >= 0
        at_s.append(now_s + wait_s)
    assert all(after >= before - 1e-6 for before, after in pairwise(at_s))
    for first, beyond in zip(at_s, at_s[max_connects:], strict=False):
        assert beyond - first >= window_s - 1e-6


@given(
    st.lists(st.tuples(st.floats(0, 3), st.sampled_from([0.0, 0.0, 0.4, 7.0, 90.0])), max_size=60),
    st.integers(1, 5),
    st.floats(0.5, 10),
)
def test_nor_when_some_must_wait_longer_for_another_reason(
    asked: list[tuple[float, float]], max_connects: int, window_s: float
) -> None:
    budget = ConnectBudget(max_connects, window_s)
    now_s, at_s = 0.0, []
    for gap, least_s in asked:
        now_s += gap
        wait_s = budget.reserve(now_s, least_s)
        assert wait_s >= least_s
        at_s.append(now_s + wait_s)
    at_s.sort()
    for first, beyond in zip(at_s, at_s[max_connects:], strict=False):
        assert beyond - first >= window_s - 1e-6


@given(st.lists(st.integers(-5_000, 100_000), max_size=600))
def test_session_ids_are_unique_and_ascend_also_when_the_clock_goes_back(steps_us: list[int]) -> None:
    one, other = SessionIds("one"), SessionIds("other")
    now_us, given_out, others = 1_700_000_000_000_000, [], []
    for step_us in steps_us:
        now_us += step_us
        given_out.append(one.next(now_us))
        others.append(other.next(now_us))
    assert all(before < after for before, after in pairwise(given_out))
    assert not set(given_out) & set(others)
    assert all(0 < session_id < 2**63 for session_id in given_out)
    if given_out and min(steps_us) >= 0:
        assert 0 <= started_ms(given_out[0]) - (1_700_000_000_000_000 + steps_us[0]) // 1000 <= 1


@given(st.data(), st.sampled_from(list(RequestType)))
def test_a_projection_blanks_only_what_may_be_null(data: st.DataObject, request_type: RequestType) -> None:
    fields = RECORD_OF[request_type].__struct_fields__
    kept = data.draw(st.sets(st.sampled_from(fields)))
    blank = blanks(kept, request_type)
    assert not set(blank) & kept
    assert not set(blank) & {"exchange", "region", "symbol", "received_ts_us", "session_id", "sequence"}


def test_a_projection_is_per_symbol() -> None:
    def ticker(symbol: str) -> Ticker:
        return Ticker(
            exchange="upbit",
            region="korea",
            symbol=symbol,
            exchange_symbol=symbol,
            exchange_ts_ms=5,
            received_ts_us=1,
            session_id=2,
            sequence=3,
            price=4.0,
            bid=3.0,
            ask=5.0,
        )

    records = [ticker("BTC-KRW"), ticker("ETH-KRW")]
    btc, eth = project(records, {"BTC-KRW": blanks({"bid"}, RequestType.TICKER)})
    assert isinstance(btc, Ticker)
    assert (btc.price, btc.bid, btc.ask, btc.exchange_ts_ms) == (4.0, 3.0, None, None)
    assert eth == records[1]
