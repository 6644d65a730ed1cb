"""What the auditor found, as plain data: ``msgspec.json.encode`` makes it JSON."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from core.ranges import Range


class Tail(StrEnum):
    """Whether the end of a symbol's sequence in a session is known to be the end."""

    PROVEN = "proven"
    """The metrics say that nothing came after the last record in the topic (or that it was given up)."""
    LOST = "lost"
    """The metrics say that more was produced than the topic holds."""
    OPEN = "open"
    """The metrics do not reach the last record yet, and no later session has taken the symbol over."""
    ENDED_WITHOUT_REPORT = "ended_without_report"
    """The session was replaced and never sent its closing report: its process was killed or cut off."""


class TrackReport(msgspec.Struct, frozen=True):
    """One symbol in one session; ranges of sequences have both ends included.

    ``missing`` is what is lost between records, ``tail_missing`` what is lost behind the last one; ``shed``
    is missing and explained; ``before_reading`` stands before the first record that was there to be read.
    ``partitions`` are those it was found in: more than one leaves no order to prove.
    """

    symbol: str
    partitions: list[int]
    records: int
    first: int | None
    last: int | None
    first_us: int | None
    last_us: int | None
    missing: list[Range]
    tail_missing: list[Range]
    shed: list[Range]
    before_reading: int
    doubled: list[Range]
    doubled_count: int
    out_of_order: int
    out_of_order_first: list[int]
    tail: Tail

    @property
    def ok(self) -> bool:
        """Nothing lost, doubled, out of order or spread over partitions."""
        faults = self.missing or self.tail_missing or self.doubled_count or self.out_of_order
        return not faults and len(self.partitions) <= 1


class SessionReport(msgspec.Struct, frozen=True):
    """One session and its symbols; ``scope`` is ``exchange|region|request_type``."""

    scope: str
    session_id: int
    records: int
    tracks: list[TrackReport]

    @property
    def ok(self) -> bool:
        """Every symbol is."""
        return all(track.ok for track in self.tracks)


class MinuteMismatch(msgspec.Struct, frozen=True):
    """A minute whose records do not add up to what the metrics say; ``symbol`` None is the total.

    ``unreported`` records are of sessions whose last report ends before them; they are not in ``counted``.
    """

    scope: str
    minute_start_ms: int
    symbol: str | None
    metrics: int
    counted: int
    unreported: int


class Handover(msgspec.Struct, frozen=True):
    """From one session of a symbol to the next: ``gap_us`` is negative where they ran side by side."""

    scope: str
    symbol: str
    before: int
    after: int
    gap_us: int


class Deleted(msgspec.Struct, frozen=True):
    """Offsets the broker had deleted before they could be read."""

    topic: str
    partition: int
    first: int
    last: int


class SourceTrack(msgspec.Struct, frozen=True):
    """One symbol in one session against the frames its connection carried; counts of frames.

    ``lost`` were sent between two frames that became records, and no sequence is missing for them;
    ``unread_head`` and ``unread_tail`` stand before the first and behind the last; ``invented`` are records
    without a frame (``invented_first`` are the first few exchange times of such, None where there was none).
    ``unlogged`` are records newer than the log, which a running source writes later; none with ``exact``.
    """

    scope: str
    session_id: int | None
    symbol: str
    connection: str | None
    frames: int
    matched: int
    lost: int
    unread_head: int
    unread_tail: int
    invented: int
    invented_first: list[int | None]
    unlogged: int = 0


class SourceReport(msgspec.Struct, frozen=True):
    """The comparison with the source's own log; with ``exact`` also what was sent and never read is a loss."""

    exact: bool
    frames: int
    rubbish: int
    connections: int
    tracks: list[SourceTrack]

    def faulty(self, track: SourceTrack) -> bool:
        """Whether ``track`` shows a loss or an invention."""
        unread = track.unread_head + track.unread_tail if self.exact else 0
        return bool(track.lost or track.invented or unread)

    @property
    def ok(self) -> bool:
        """No track is faulty."""
        return not any(self.faulty(track) for track in self.tracks)


class Totals(msgspec.Struct, frozen=True):
    """Sums over all sessions; records and sequences, tails counted a symbol and session."""

    records: int
    sessions: int
    symbols: int
    lost: int
    shed: int
    before_reading: int
    doubled: int
    out_of_order: int
    scattered: int
    metrics_events: int
    minutes_checked: int
    tails: dict[str, int]


class AuditReport(msgspec.Struct, frozen=True):
    """All of it. ``undecodable`` names messages that could not be read (the first few), ``deleted`` what was
    gone before it could be: neither proves a loss, both prevent a proof. Where reading was not ``complete``,
    only what stands before the last record read of each symbol was judged, and nothing by the metrics.
    """

    totals: Totals
    sessions: list[SessionReport]
    mismatches: list[MinuteMismatch]
    handovers: list[Handover]
    undecodable_count: int
    undecodable: list[str]
    deleted: list[Deleted]
    source: SourceReport | None
    ok: bool
    complete: bool = True


def size(ranges: Sequence[Range]) -> int:
    """How many integers lie in some disjoint ranges."""
    return sum(last - first + 1 for first, last in ranges)


def totals_of(
    sessions: Sequence[SessionReport], records: int, metrics_events: int, minutes_checked: int
) -> Totals:
    """Add up the sessions."""
    tracks = [track for session in sessions for track in session.tracks]
    return Totals(
        records=records,
        sessions=len(sessions),
        symbols=len({(session.scope, track.symbol) for session in sessions for track in session.tracks}),
        lost=sum(size(track.missing) + size(track.tail_missing) for track in tracks),
        shed=sum(size(track.shed) for track in tracks),
        before_reading=sum(track.before_reading for track in tracks),
        doubled=sum(track.doubled_count for track in tracks),
        out_of_order=sum(track.out_of_order for track in tracks),
        scattered=sum(len(track.partitions) > 1 for track in tracks),
        metrics_events=metrics_events,
        minutes_checked=minutes_checked,
        tails={str(state): sum(track.tail is state for track in tracks) for state in Tail},
    )
