"""The metrics' minute totals of one scope, counted again from the records.

A minute's figure has to be the number of records in the topic, by the minute of ``received_ts_us``, without
those that stand behind their session's last report. What was given up is in neither: the metrics take it out
of the minute it belongs to, also afterwards by a negative count.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from core.audit_report import MinuteMismatch
from core.audit_track import MinuteCount, Track

_SETTLE_MINUTES = 5
"""Minutes that agree are forgotten once the metrics are this far past them."""


class MinuteRecount:
    """Both sides' counts of one scope, by minute (since the epoch) and symbol.

    ``track_of(session_id, symbol)`` gives the track a count belongs to, ``complete_from(symbol)`` the first
    minute of which every record of the symbol was there to be read.
    """

    def __init__(
        self, scope: str, track_of: Callable[[int, str], Track], complete_from: Callable[[str], int]
    ) -> None:
        self.scope = scope
        self._track_of = track_of
        self._complete_from = complete_from
        self._counted: dict[int, dict[str, dict[int, MinuteCount]]] = {}
        self._expected: dict[int, dict[str, int]] = {}
        self._totals: dict[int, int] = {}
        self._metrics_from: int | None = None
        self._settled: set[int] = set()

    @property
    def kept_minutes(self) -> int:
        """How many minutes are not settled yet."""
        return len(self._counted.keys() | self._expected.keys())

    @property
    def checked_minutes(self) -> int:
        """How many minutes the metrics speak of."""
        return len(self._settled | self._expected.keys())

    def count_of(self, minute: int, symbol: str, session_id: int) -> MinuteCount:
        """Where to count a session's records of a symbol in a minute."""
        sessions = self._counted.setdefault(minute, {}).setdefault(symbol, {})
        return sessions.setdefault(session_id, MinuteCount())

    def metrics(self, event: Mapping[str, Any], *, whole: bool) -> int:
        """Take in a ``metrics_event``; ``whole``: no earlier one was out of reach.

        Answers with the minute before which all may be settled.
        """
        batch = event["batch"]
        first_minute: int = batch["range_start_ts_kst"] // 60_000
        if self._metrics_from is None:
            self._metrics_from = -1 if whole else first_minute
        for item in batch["items"]:
            minute = item["minute_start_ts_kst"] // 60_000
            self._totals[minute] = self._totals.get(minute, 0) + item["total"]
            expected = self._expected.setdefault(minute, {})
            for name, number in item["details"].items():
                symbol = name.removesuffix("_COUNT")
                expected[symbol] = expected.get(symbol, 0) + number
        return first_minute - _SETTLE_MINUTES

    def settle(self, before: int) -> None:
        """Forget earlier minutes that agree in every figure, so that a long watch stays small."""
        for minute in [minute for minute in self._expected if minute < before]:
            if any(self._compare(minute)) or self._unreported(minute):
                continue
            self._settled.add(minute)
            for kept in (self._counted, self._expected, self._totals):
                kept.pop(minute, None)

    def mismatches(self) -> Iterator[MinuteMismatch]:
        """Every figure that does not agree; none while there are no metrics at all."""
        if self._metrics_from is None:
            return
        for minute in sorted(self._expected.keys() | self._counted.keys()):
            if minute >= self._metrics_from:
                yield from self._compare(minute)

    def _unreported(self, minute: int) -> bool:
        return any(
            self._track_of(session_id, symbol).unreported(count)
            for symbol, sessions in self._counted.get(minute, {}).items()
            for session_id, count in sessions.items()
        )

    def _compare(self, minute: int) -> Iterator[MinuteMismatch]:
        counted = self._counted.get(minute, {})
        expected = self._expected.get(minute, {})
        start_ms = minute * 60_000
        for symbol in sorted(counted.keys() | expected.keys()):
            if minute < self._complete_from(symbol):
                continue
            sessions = counted.get(symbol, {})
            unreported = sum(self._track_of(s, symbol).unreported(count) for s, count in sessions.items())
            reported = sum(count.records for count in sessions.values()) - unreported
            metrics = expected.get(symbol, 0)
            if reported != metrics:
                yield MinuteMismatch(self.scope, start_ms, symbol, metrics, reported, unreported)
        total, parts = self._totals.get(minute, 0), sum(expected.values())
        if total != parts:
            yield MinuteMismatch(self.scope, start_ms, None, total, parts, 0)
