"""Records that the producer does not take are held, then given up by number, and the sum is told once."""

from typing import Any

from application.accounting import StreamAccounting
from application.record_pump import RecordPump
from core.errors import CircuitOpenError
from core.identity import ConnectionScopeDomain
from core.records import Record, Ticker

SCOPE = ConnectionScopeDomain("upbit", "korea", "ticker")
NOW_US = 1_700_000_000_000_000


class Sink:
    """Takes as many records as it is allowed to."""

    def __init__(self) -> None:
        self.room = 10_000
        self.taken: list[int] = []

    def publish(self, record: Record, on_delivery: Any = None) -> None:
        if self.room == 0:
            raise CircuitOpenError("open")
        self.room -= 1
        self.taken.append(record.sequence)


class Valve:
    reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Bench:
    """A pump with everything around it; ``frame`` gives it the next records."""

    def __init__(self) -> None:
        self.sink, self.valve, self.ended = Sink(), Valve(), []
        self.accounting = StreamAccounting(NOW_US)
        self.begun: list[Exception] = []
        self.pump = RecordPump(
            SCOPE,
            self.sink,
            self.accounting,
            self.valve,
            hold_max_s=5.0,
            on_outage=self.begun.append,
            on_outage_end=self.ended.append,
            on_rejected=self.begun.append,
        )
        self._sequence = 0

    def frame(self, count: int = 1) -> None:
        first = self._sequence + 1
        self._sequence += count
        self.pump.take(
            [
                Ticker(
                    "upbit", "korea", "BTC-KRW", "KRW-BTC", n, NOW_US + n, session_id=7, sequence=n, price=1.0
                )
                for n in range(first, first + count)
            ]
        )

    def shedding(self) -> None:
        """Bring it to where it gives records up."""
        self.sink.room = 0
        self.frame()
        self.pump.on_time(100.0)
        self.pump.on_time(105.0)


def test_what_is_held_goes_out_in_order_when_the_producer_takes_again() -> None:
    bench = Bench()
    bench.frame(2)
    bench.sink.room = 1
    bench.frame(3)
    assert not bench.valve.reading
    assert bench.pump.reading_paused
    bench.pump.on_time(100.0)
    bench.sink.room = 100
    bench.pump.on_time(100.2)
    assert bench.sink.taken == [1, 2, 3, 4, 5]
    assert bench.valve.reading
    assert bench.ended == [0]


def test_while_shedding_it_reads_and_is_not_paused() -> None:
    bench = Bench()
    bench.shedding()
    assert bench.valve.reading
    assert bench.pump.holding
    assert not bench.pump.reading_paused


def test_a_record_let_through_to_try_does_not_end_the_outage() -> None:
    bench = Bench()
    bench.shedding()
    for _ in range(3):
        bench.sink.room = 1  # a breaker that is half open
        bench.frame(2)
    assert bench.ended == []
    bench.accounting.delivered += 1
    bench.sink.room = 100
    bench.frame(2)
    bench.frame(2)
    assert bench.ended == [4]
    assert len(bench.begun) == 1
    assert bench.sink.taken == [2, 4, 6, 8, 9, 10, 11]
    shed = [r for item in bench.accounting.minutes.take(current=True) for r in item.shed]
    assert [(r.first, r.last) for r in shed] == [(1, 1), (3, 3), (5, 5), (7, 7)]


def test_at_the_end_what_is_held_is_counted_as_given_up() -> None:
    bench = Bench()
    bench.sink.room = 0
    bench.frame(3)
    bench.pump.give_up()
    assert bench.ended == [3]
    assert bench.accounting.shed == 3
