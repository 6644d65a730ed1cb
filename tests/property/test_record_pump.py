"""The way into the producer: whatever happens, each record is handed over in order or counted as given up."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from application.accounting import StreamAccounting
from application.record_pump import RecordPump
from core.errors import CircuitOpenError, DeliveryError, ErrorCode, PayloadError, QueueFullError
from core.exchanges.base import SymbolTrack
from core.identity import ConnectionScopeDomain
from core.records import Record, Ticker

SCOPE = ConnectionScopeDomain("upbit", "korea", "ticker")
MINUTE_US = 60_000_000
START_US = 28_333_333 * MINUTE_US


class Delivered:
    """A delivery report's message."""

    def latency(self) -> float:
        return 0.001


class Sink:
    """Takes records and delivers them at once, is full, is open, or refuses one record for good."""

    def __init__(self) -> None:
        self.taken: list[Record] = []
        self.state = "takes"

    def publish(self, record: Record, on_delivery: Any = None) -> None:
        if self.state == "full":
            raise QueueFullError("full")
        if self.state == "open":
            raise CircuitOpenError("open")
        if self.state == "one in three" and record.sequence % 3 == 0:
            raise (
                PayloadError("no such price")
                if record.sequence % 2
                else DeliveryError("too large", code=ErrorCode.TOO_LARGE)
            )
        self.taken.append(record)
        if on_delivery is not None:
            on_delivery(None, Delivered())


class Session:
    """Numbers records as a session does."""

    def __init__(self, session_id: int) -> None:
        self.session_id = session_id
        self.tracks = [SymbolTrack(s, s, session_id) for s in ("BTC-KRW", "ETH-KRW")]
        self.frames = self.parse_failed = self.bytes_received = 0
        self.ignored: dict[str, int] = {}

    def receive(self, now_us: int, symbols: list[int]) -> list[Record]:
        records = []
        for index in symbols:
            track = self.tracks[index]
            track.sequence += 1
            records.append(
                Ticker(
                    exchange="upbit",
                    region="korea",
                    symbol=track.symbol,
                    exchange_symbol=track.symbol,
                    exchange_ts_ms=None,
                    received_ts_us=now_us,
                    session_id=self.session_id,
                    sequence=track.sequence,
                    price=1.0,
                )
            )
        return records


class Bench:
    """A pump with its accounting, and a clock."""

    def __init__(self, max_held: int = 6) -> None:
        self.now_us = START_US
        self.sink = Sink()
        self.paused = False
        self.outages: list[object] = []
        self.sums: list[int] = []
        self.rejected: list[object] = []
        self.all: list[Record] = []
        self.items: list[Any] = []
        self.accounting = StreamAccounting(self.now_us)
        self.session = Session(1)
        self.accounting.attach(self.session)  # type: ignore[arg-type]
        self.pump = RecordPump(
            SCOPE,
            self.sink,
            self.accounting,
            self,
            hold_max_s=5.0,
            max_held=max_held,
            on_outage=self.outages.append,
            on_outage_end=self.sums.append,
            on_rejected=self.rejected.append,
        )

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def frame(self, symbols: list[int]) -> None:
        """As the connection does it: the minute first, then the records."""
        minutes = self.accounting.minutes
        if self.now_us >= minutes.minute_end_us:
            minutes.roll(self.now_us)
        records = self.session.receive(self.now_us, symbols)
        self.all += records
        self.pump.take(records)

    def tick(self, seconds: float) -> None:
        self.now_us += int(seconds * 1e6)
        if self.pump.holding:
            self.pump.on_time(self.now_us / 1e6)

    def reconnect(self) -> None:
        self.accounting.detach(self.session)  # type: ignore[arg-type]
        self.session = Session(self.session.session_id + 1)
        self.accounting.attach(self.session)  # type: ignore[arg-type]

    def take_metrics(self, *, current: bool = False) -> None:
        self.accounting.minutes.roll(self.now_us)
        self.items += self.accounting.minutes.take(current=current)


def name_of(record: Record) -> tuple[int, str, int]:
    return record.session_id, record.symbol, record.sequence


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.lists(st.integers(0, 1), min_size=1, max_size=4)),
        st.tuples(st.just("state"), st.sampled_from(["takes", "full", "open", "one in three"])),
        st.tuples(st.just("tick"), st.sampled_from([0.2, 1.0, 6.0, 61.0])),
        st.tuples(st.just("reconnect"), st.none()),
        st.tuples(st.just("metrics"), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_each_record_is_handed_over_in_order_or_counted(steps: list[tuple[str, Any]]) -> None:
    bench = Bench()
    for step, what in steps:
        match step:
            case "frame":
                bench.frame(what)
            case "state":
                bench.sink.state = what
            case "tick":
                bench.tick(what)
            case "reconnect":
                bench.reconnect()
            case _:
                bench.take_metrics()
        assert bench.paused == bench.pump.reading_paused
    bench.pump.give_up()
    bench.take_metrics(current=True)

    shed = {
        (r.session_id, r.symbol, n)
        for item in bench.items
        for r in item.shed
        for n in range(r.first, r.last + 1)
    }
    taken = [name_of(record) for record in bench.sink.taken]
    assert len(set(taken)) == len(taken)
    assert set(taken) | shed == {name_of(record) for record in bench.all}
    assert not set(taken) & shed
    for symbol in ("BTC-KRW", "ETH-KRW"):
        numbers = [(s, n) for s, name, n in taken if name == symbol]
        assert numbers == sorted(numbers)
    assert bench.accounting.produced == len(taken)
    assert bench.accounting.shed == len(shed) == sum(bench.sums) + len(bench.rejected)
    assert len(bench.sums) == len(bench.outages)

    recounted = Counter((r.received_ts_us // MINUTE_US * 60_000, r.symbol) for r in bench.sink.taken)
    counted: Counter[tuple[int, str]] = Counter()
    for item in bench.items:
        for symbol, count in item.records.items():
            counted[item.minute_start_ms, symbol] += count
    assert {place: count for place, count in counted.items() if count} == recounted
    given_out = {
        (r.session_id, r.symbol, n)
        for item in bench.items
        for r in item.sequences
        for n in range(r.first, r.last + 1)
    }
    assert given_out == {name_of(record) for record in bench.all}


@pytest.mark.parametrize("state", ["full", "open"])
def test_records_wait_while_reading_is_paused_and_go_on_in_order(state: str) -> None:
    bench = Bench()
    bench.sink.state = state
    bench.frame([0, 1])
    bench.frame([0])
    assert bench.paused
    assert len(bench.outages) == 1
    bench.tick(1.0)
    bench.sink.state = "takes"
    bench.tick(0.2)
    assert not bench.paused
    assert [name_of(r) for r in bench.sink.taken] == [name_of(r) for r in bench.all]
    assert bench.sums == [0]


def test_after_the_longest_wait_reading_goes_on_and_records_are_given_up() -> None:
    bench = Bench()
    bench.sink.state = "open"
    bench.frame([0])
    bench.tick(0.2)
    bench.tick(5.0)
    assert not bench.paused
    assert bench.pump.holding
    bench.frame([0, 0])
    bench.sink.state = "takes"
    bench.frame([0])
    assert [r.sequence for r in bench.sink.taken] == [4]
    assert bench.sums == [3]
    assert len(bench.outages) == 1


def test_a_record_that_can_never_be_taken_holds_up_nothing() -> None:
    bench = Bench()
    bench.sink.state = "one in three"
    bench.frame([0] * 7)
    assert [r.sequence for r in bench.sink.taken] == [1, 2, 4, 5, 7]
    assert not bench.paused
    assert [type(error) for error in bench.rejected] == [PayloadError, DeliveryError]
    assert bench.outages == []
