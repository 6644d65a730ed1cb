"""What one stream counted: frames, records by minute, deliveries and their latency."""

from typing import Any

from core.latency import LatencyHistogram
from core.minute_counts import MinuteCounts, MinuteItem, metrics_batch
from core.session import StreamSession


class StreamAccounting:
    """All figures of one stream over its sessions; deliveries are counted from the polling thread."""

    def __init__(self, now_us: int) -> None:
        self.minutes = MinuteCounts(now_us)
        self.sessions: list[StreamSession] = []
        self.produced = 0
        """Records taken by the producer."""
        self.shed = 0
        """Records given up."""
        self.problems_held_back = 0
        """Problems that were not told one by one."""
        self.delivered = 0
        self.delivery_failed = 0
        self.latency = LatencyHistogram()
        self._window = LatencyHistogram()
        self._past = {"frames": 0, "parse_failed": 0, "ignored": 0, "bytes_received": 0}
        self._reported: dict[str, int] = {}
        self._taken: dict[str, int] = {}
        self._unsent: list[MinuteItem] = []

    def delivered_one(self, error: Any, message: Any) -> None:
        """A delivery report, for one record; called in the polling thread and nowhere else."""
        if error is None:
            self.delivered += 1
            self._window.add(message.latency() * 1e6)
        else:
            self.delivery_failed += 1

    def attach(self, session: StreamSession) -> None:
        """Begin to count a session."""
        self.sessions.append(session)
        self.minutes.attach(session)

    def detach(self, session: StreamSession) -> None:
        """A session ended; its figures stay."""
        self.sessions.remove(session)
        self.minutes.detach(session)
        for name, value in _figures(session).items():
            self._past[name] += value

    def totals(self) -> dict[str, int]:
        """Figures since the stream began."""
        totals = dict(self._past)
        for session in self.sessions:
            for name, value in _figures(session).items():
                totals[name] += value
        totals |= {
            "produced": self.produced,
            "shed": self.shed,
            "problems_held_back": self.problems_held_back,
            "delivered": self.delivered,
            "delivery_failed": self.delivery_failed,
        }
        return totals

    def quantile_us(self, q: float) -> int | None:
        """Latency from frame to acknowledgement since the stream began."""
        both = LatencyHistogram()
        both.merge(self.latency)
        both.merge(self._window)
        return both.quantile_us(q)

    def take_event(self, *, current: bool = False) -> dict[str, Any] | None:
        """The figures since the last event as a ``metrics_event`` without the scope; None when nothing ended.

        ``current`` takes the running minute too, as at the end of a stream.
        """
        items = self._unsent + self.minutes.take(current=current)
        self._unsent = items
        if not items:
            return None
        totals = self.totals()
        window, self._window = self._window, LatencyHistogram()
        self.latency.merge(window)
        event: dict[str, Any] = {"batch": metrics_batch(items)}
        for name in ("frames", "parse_failed", "ignored", "delivered", "delivery_failed", "bytes_received"):
            event[name] = totals[name] - self._reported.get(name, 0)
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            event[f"latency_{name}_us"] = window.quantile_us(q)
        for name in ("sequences", "shed"):
            event[name] = [
                {"session_id": r.session_id, "symbol": r.symbol, "first": r.first, "last": r.last}
                for item in items
                for r in getattr(item, name)
            ]
        self._taken = totals
        return event

    def event_delivered(self) -> None:
        """The event taken last has reached Kafka: the next one begins after it."""
        self._unsent = []
        self._reported = self._taken


def _figures(session: StreamSession) -> dict[str, int]:
    return {
        "frames": session.frames,
        "parse_failed": session.parse_failed,
        "ignored": sum(session.ignored.values()),
        "bytes_received": session.bytes_received,
    }
