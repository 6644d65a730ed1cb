"""Records per minute and symbol, derived from the sessions' sequences instead of counted one by one.

Within a session a symbol's records are numbered 1, 2, 3 …, so how many were produced in a minute is the
difference of two sequences less what was given up. The owner calls ``roll`` before it takes the first frame
of a new minute, which makes the count exact by the minute of ``received_ts_us``, at no cost per record.
"""

from collections.abc import Iterable
from typing import Any, Final, Protocol

import msgspec

MINUTE_US: Final = 60_000_000


class Track(Protocol):
    """A symbol's place on a session, as ``core.exchanges.base.SymbolTrack`` has it."""

    symbol: str
    session_id: int
    sequence: int


class CountedSession(Protocol):
    """A session whose tracks are counted."""

    @property
    def tracks(self) -> Iterable[Track]:
        """All its symbols, also those that ended."""
        ...


class SequenceRange(msgspec.Struct, frozen=True):
    """Sequences ``first`` to ``last``, both included, of one symbol in one session."""

    session_id: int
    symbol: str
    first: int
    last: int


class MinuteItem(msgspec.Struct, frozen=True):
    """What happened within one minute: ``records`` by symbol, sequences given out, sequences given up."""

    minute_start_ms: int
    records: dict[str, int]
    sequences: tuple[SequenceRange, ...]
    shed: tuple[SequenceRange, ...]

    @property
    def total(self) -> int:
        """All records of the minute."""
        return sum(self.records.values())


class _Minute:
    """One minute as it fills."""

    def __init__(self) -> None:
        self.records: dict[str, int] = {}
        self.sequences: dict[tuple[int, str], list[int]] = {}
        self.shed: dict[tuple[int, str], list[list[int]]] = {}

    def item(self, start_us: int) -> MinuteItem:
        shed = tuple(
            SequenceRange(session_id, symbol, first, last)
            for (session_id, symbol), ranges in self.shed.items()
            for first, last in ranges
        )
        sequences = tuple(
            SequenceRange(session_id, symbol, first, last)
            for (session_id, symbol), (first, last) in self.sequences.items()
        )
        return MinuteItem(start_us // 1000, self.records, sequences, shed)


class MinuteCounts:
    """The counts of one stream over all its sessions. Times are epoch microseconds."""

    def __init__(self, now_us: int) -> None:
        self._minute_us = now_us - now_us % MINUTE_US
        self.minute_end_us = self._minute_us + MINUTE_US
        """The first microsecond that no longer belongs to the current minute."""
        self._sessions: list[CountedSession] = []
        self._counted: dict[tuple[int, str], int] = {}
        self._minutes: dict[int, _Minute] = {}

    def attach(self, session: CountedSession) -> None:
        """Count a new session from its first record on."""
        self._sessions.append(session)

    def detach(self, session: CountedSession) -> None:
        """Stop counting a session that ended; what it gave out so far stays in the current minute."""
        if session in self._sessions:
            self._sessions.remove(session)
            self._settle(session)
            for track in session.tracks:
                self._counted.pop((track.session_id, track.symbol), None)

    def shed(self, session_id: int, symbol: str, sequence: int, received_us: int) -> None:
        """Note a record that was numbered and then given up, in the order of sequences.

        It is taken from the minute of its ``received_us``; where that has been handed out already, a further
        item with a negative count sets it right.
        """
        minute = self._minute(received_us - received_us % MINUTE_US)
        minute.records[symbol] = minute.records.get(symbol, 0) - 1
        ranges = minute.shed.setdefault((session_id, symbol), [])
        if ranges and ranges[-1][1] == sequence - 1:
            ranges[-1][1] = sequence
        else:
            ranges.append([sequence, sequence])

    def roll(self, now_us: int) -> None:
        """Begin the minute in which ``now_us`` lies, if it is another than the current one."""
        if self._minute_us <= now_us < self.minute_end_us:
            return
        self._settle_all()
        self._minute_us = now_us - now_us % MINUTE_US
        self.minute_end_us = self._minute_us + MINUTE_US

    def take(self, *, current: bool = False) -> list[MinuteItem]:
        """The minutes that ended since the last call; with ``current`` also what the running one has so far."""
        self._settle_all()
        due = sorted(start for start in self._minutes if current or start != self._minute_us)
        return [self._minutes.pop(start).item(start) for start in due]

    def _minute(self, start_us: int) -> _Minute:
        return self._minutes.setdefault(start_us, _Minute())

    def _settle_all(self) -> None:
        for session in self._sessions:
            self._settle(session)

    def _settle(self, session: CountedSession) -> None:
        """Book what the session gave out since the last time into the current minute."""
        for track in session.tracks:
            key = (track.session_id, track.symbol)
            before = self._counted.get(key, 0)
            if track.sequence == before:
                continue
            self._counted[key] = track.sequence
            minute = self._minute(self._minute_us)
            produced = track.sequence - before
            minute.records[track.symbol] = minute.records.get(track.symbol, 0) + produced
            span = minute.sequences.setdefault(key, [before + 1, before])
            span[1] = track.sequence


def metrics_batch(items: list[MinuteItem]) -> dict[str, Any]:
    """The ``batch`` of a ``metrics_event`` (times are plain epoch ms, whatever the names say)."""
    starts = [item.minute_start_ms for item in items]
    return {
        "range_start_ts_kst": min(starts),
        "range_end_ts_kst": max(starts) + MINUTE_US // 1000,
        "bucket_size_sec": 60,
        "items": [
            {
                "minute_start_ts_kst": item.minute_start_ms,
                "total": item.total,
                "details": {f"{symbol}_COUNT": count for symbol, count in item.records.items()},
            }
            for item in items
        ],
        "version": 1,
    }
