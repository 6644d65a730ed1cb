"""Says on ``ws.backpressure.events`` when a producer's local queue runs full, and when it is relieved."""

import uuid
from collections.abc import Callable
from typing import Final, Literal

from application.ports import Clock, Event
from application.reporting import ErrorReporter
from core.events import backpressure_event
from core.watermarks import Change, Watermarks

BACKPRESSURE_TOPIC: Final = "ws.backpressure.events"
_LOOK_S: Final = 0.2
_REPORT_S: Final = 30.0

Action = Literal["backpressure_activated", "backpressure_deactivated", "queue_status_report"]


class BackpressureWatch:
    """Looks at one producer's queue a few times a second; while it is too full it reports each half minute."""

    def __init__(
        self,
        producer_name: str,
        queue_size: Callable[[], int],
        capacity: int,
        reporter: ErrorReporter,
        clock: Clock,
    ) -> None:
        self._producer_name = producer_name
        self._queue_size = queue_size
        self._marks = Watermarks(capacity)
        self._reporter = reporter
        self._clock = clock
        self._reported_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await self._clock.sleep(_LOOK_S)

    def look(self) -> None:
        """Look once."""
        size = self._queue_size()
        now_s = self._clock.monotonic_s()
        match self._marks.update(size):
            case Change.ACTIVATED:
                self._say("backpressure_activated", size, "the broker takes records slower than they come")
                self._reported_s = now_s
            case Change.DEACTIVATED:
                self._say("backpressure_deactivated", size, None)
            case Change.NONE:
                if self._marks.active and now_s - self._reported_s >= _REPORT_S:
                    self._say("queue_status_report", size, None)
                    self._reported_s = now_s

    def _say(self, action: Action, size: int, message: str | None) -> None:
        marks = self._marks
        event = backpressure_event(
            action,
            self._producer_name,
            ticket_id=uuid.uuid4(),
            now_us=self._clock.epoch_us(),
            queue_size=size,
            queue_max_size=marks.capacity,
            is_throttled=marks.active,
            high_watermark=marks.high,
            low_watermark=marks.low,
            message=message,
        )
        self._reporter.queue(Event(BACKPRESSURE_TOPIC, self._producer_name, event))
