"""Backpressure is said once when it begins, each half minute while it lasts, and once when it ends."""

from typing import Any

from application.backpressure import BACKPRESSURE_TOPIC, BackpressureWatch
from application.ports import Event
from core.watermarks import Change, Watermarks


class Reporter:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def queue(self, event: Event) -> None:
        self.events.append(event)


class Clock:
    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def epoch_us(self) -> int:
        return 1_700_000_000_000_000 + int(self.now_s * 1e6)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("look() does not wait")


def test_marks_do_not_flutter() -> None:
    marks = Watermarks(100)
    assert [marks.update(size) for size in (79, 80, 79, 85, 41, 40, 79, 80)] == [
        Change.NONE,
        Change.ACTIVATED,
        Change.NONE,
        Change.NONE,
        Change.NONE,
        Change.DEACTIVATED,
        Change.NONE,
        Change.ACTIVATED,
    ]


def test_begin_reports_and_end_are_events() -> None:
    size = 0
    reporter: Any = Reporter()
    clock = Clock()
    watch = BackpressureWatch("data", lambda: size, 1000, reporter, clock)
    watch.look()
    assert reporter.events == []
    size = 900
    for clock.now_s in (1.0, 2.0, 30.9, 31.0, 32.0):
        watch.look()
    size = 10
    watch.look()
    assert [event.value["action"] for event in reporter.events] == [
        "backpressure_activated",
        "queue_status_report",
        "backpressure_deactivated",
    ]
    first = reporter.events[0]
    assert first.topic == BACKPRESSURE_TOPIC
    assert first.key == "data"
    assert first.value["status"] == {
        "queue_size": 900,
        "queue_max_size": 1000,
        "usage_percent": 90.0,
        "is_throttled": True,
        "high_watermark": 800,
        "low_watermark": 400,
    }
