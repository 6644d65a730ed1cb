"""The auditor: proves from the topics alone that nothing was lost, doubled or reordered.

Every record carries the session it came through and a sequence that counts 1, 2, 3 … per symbol within it, so
holes, repeats and reordering show in the records themselves. What they cannot show, a loss behind the last
record, the metrics close: they list first and last sequence per session and symbol. Their minute totals are
counted again from the records. A session whose process was killed sends no last report; that its tail is not
proven is said by name and is no fault.

It is fed in any order across partitions and in offset order within one, and keeps ranges, not records.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from core.audit_report import AuditReport, Deleted, Handover, SessionReport, SourceReport, Totals, totals_of
from core.audit_track import Track
from core.minute_recount import MinuteRecount

_MINUTE_US = 60_000_000
_NEVER = 2**62
_EXAMPLES = 10


class Auditor:
    """Takes in records and metrics, answers with a report at any time; not thread-safe.

    With ``keep_exchange_times`` every record's exchange time is kept (16 bytes each), which the comparison
    with a source's own log needs.
    """

    def __init__(self, *, keep_exchange_times: bool = False) -> None:
        self.records = 0
        self.metrics_events = 0
        self._keep_exchange_times = keep_exchange_times
        self._tracks: dict[tuple[str, int, str], Track] = {}
        self._recounts: dict[str, MinuteRecount] = {}
        self._entered: dict[str, dict[int, int | None]] = {}
        """Request type to partitions read from their midst, with the time of the first record read there."""
        self._metrics_entered: set[int] = set()
        self._symbol_partitions: dict[tuple[str, str], set[int]] = {}
        self._undecodable_count = 0
        self._undecodable: list[str] = []
        self._deleted: list[Deleted] = []

    # -- taking in -------------------------------------------------------------------------------------

    def entered(self, request_type: str, partition: int, offset: int) -> None:
        """Reading a partition of ``request_type``'s topic begins at ``offset``.

        Unless it is 0, what stands before the first record of a session there is not held to be lost.
        """
        if offset > 0:
            self._entered.setdefault(request_type, {}).setdefault(partition, None)

    def metrics_entered(self, partition: int, offset: int) -> None:
        """The same for a partition of the metrics' topic."""
        if offset > 0:
            self._metrics_entered.add(partition)

    def record(
        self,
        request_type: str,
        exchange: str,
        region: str,
        symbol: str,
        session_id: int,
        sequence: int,
        partition: int,
        exchange_ts_ms: int | None,
        received_us: int,
    ) -> None:
        """Take in one record in the order of its partition; times are epoch ms and epoch us."""
        self.records += 1
        track = self._tracks.get((request_type, session_id, symbol))
        if track is None:
            track = self._track(f"{exchange}|{region}|{request_type}", session_id, symbol)
        if partition != track.partition:
            self._enter_partition(track, request_type, partition, received_us)
        if not track.see(sequence, received_us):
            return
        minute = received_us // _MINUTE_US
        if minute != track.minute:
            track.count = self._recount(track.scope).count_of(minute, symbol, session_id)
            track.minute = minute
        count = track.count
        count.records += 1
        if sequence > count.last:
            count.last = sequence
        if sequence < count.first:
            count.first = sequence
        if self._keep_exchange_times:
            track.keep_time(sequence, exchange_ts_ms)

    def metrics(self, event: Mapping[str, Any], partition: int = 0) -> None:
        """Take in one decoded ``metrics_event``."""
        self.metrics_events += 1
        scope = f"{event['exchange']}|{event['region']}|{event['request_type']}"
        minute = event["batch"]["range_start_ts_kst"] // 60_000
        for part in event["sequences"]:
            track = self._reported(scope, part, minute)
            track.reported.add_range(part["first"], part["last"])
        for part in event["shed"]:
            track = self._reported(scope, part, minute)
            track.shed.add_range(part["first"], part["last"])
        recount = self._recount(scope)
        before = recount.metrics(event, whole=partition not in self._metrics_entered)
        recount.settle(before)
        for track in self._tracks.values():
            if track.scope == scope and track.minute < before:
                track.minute = -1  # its count may be settled: the next record looks for it again

    def undecodable(self, topic: str, partition: int, offset: int, reason: str) -> None:
        """Note a message that cannot be read, of which nothing can be proven."""
        self._undecodable_count += 1
        if len(self._undecodable) < _EXAMPLES:
            self._undecodable.append(f"{topic}[{partition}]@{offset}: {reason}")

    def deleted(self, topic: str, partition: int, first: int, last: int) -> None:
        """Note offsets that the broker deleted before they were read."""
        self._deleted.append(Deleted(topic, partition, first, last))

    def tracks(self) -> Iterable[Track]:
        """Every symbol of every session."""
        return self._tracks.values()

    # -- answering -------------------------------------------------------------------------------------

    def live_sessions(self, from_us: int, to_us: int) -> dict[tuple[str, str], list[int]]:
        """Which sessions carried each (scope, symbol) at some time between two epoch microseconds.

        A session counts from its first record of the symbol to its last. More than one over a settled period
        means that a symbol runs twice.
        """
        live: dict[tuple[str, str], list[int]] = {}
        for track in self._tracks.values():
            if track.first_us <= to_us and track.last_us >= from_us:
                live.setdefault((track.scope, track.symbol), []).append(track.session_id)
        return {key: sorted(sessions) for key, sessions in live.items()}

    def report(self, source: SourceReport | None = None, *, complete: bool = True) -> AuditReport:
        """Everything known by now; ``source`` is a comparison with the source's log to include.

        ``complete`` false: records that the metrics count may not have been read yet, so neither tails nor
        minutes are judged by them.
        """
        handovers = self._handovers()
        replaced = {(h.scope, h.symbol, h.before) for h in handovers}
        sessions = self._sessions(replaced, complete)
        recounts = sorted(self._recounts.items()) if complete else []
        mismatches = [m for _, recount in recounts for m in recount.mismatches()]
        unprovable = self._undecodable_count or self._deleted
        ok = all(session.ok for session in sessions) and not mismatches and not unprovable
        return AuditReport(
            totals=self._totals(sessions, sum(recount.checked_minutes for _, recount in recounts)),
            sessions=sessions,
            mismatches=mismatches,
            handovers=handovers,
            undecodable_count=self._undecodable_count,
            undecodable=list(self._undecodable),
            deleted=list(self._deleted),
            source=source,
            ok=ok and (source is None or source.ok),
            complete=complete,
        )

    # -- inside ----------------------------------------------------------------------------------------

    def _track(self, scope: str, session_id: int, symbol: str) -> Track:
        key = (_request_type(scope), session_id, symbol)
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = Track(scope, session_id, symbol)
        return track

    def _recount(self, scope: str) -> MinuteRecount:
        recount = self._recounts.get(scope)
        if recount is None:
            recount = self._recounts[scope] = MinuteRecount(
                scope,
                lambda session_id, symbol: self._track(scope, session_id, symbol),
                lambda symbol: self._complete_from(scope, symbol),
            )
        return recount

    def _reported(self, scope: str, part: Mapping[str, Any], minute: int) -> Track:
        track = self._track(scope, part["session_id"], part["symbol"])
        track.reported_minute = max(track.reported_minute, minute)
        return track

    def _enter_partition(self, track: Track, request_type: str, partition: int, received_us: int) -> None:
        track.partition = partition
        track.partitions.setdefault(partition, 0)
        self._symbol_partitions.setdefault((track.scope, track.symbol), set()).add(partition)
        entered = self._entered.get(request_type)
        if entered and entered.get(partition, 0) is None:
            entered[partition] = received_us

    def _complete_from(self, scope: str, symbol: str) -> int:
        """The first minute of which every record of a symbol was there to be read."""
        entered = self._entered.get(_request_type(scope))
        if not entered:
            return 0
        partitions = self._symbol_partitions.get((scope, symbol)) or entered.keys()
        began = [entered[partition] for partition in partitions if partition in entered]
        return max((_NEVER if us is None else us // _MINUTE_US + 1 for us in began), default=0)

    def _lower(self, track: Track) -> int:
        """The first sequence that has to be there: 1, unless reading began in the session's midst."""
        entered = self._entered.get(_request_type(track.scope))
        if not entered:
            return 1
        if track.seen.first is not None:
            return track.seen.first if any(p in entered for p in track.partitions) else 1
        if track.reported_minute >= self._complete_from(track.scope, track.symbol):
            return track.reported.first or 1
        return track.reported_last + 1

    def _sessions(self, replaced: set[tuple[str, str, int]], complete: bool) -> list[SessionReport]:
        tracks: dict[tuple[str, int], list[Track]] = {}
        for track in self._tracks.values():
            if complete or track.seen:
                tracks.setdefault((track.scope, track.session_id), []).append(track)
        sessions = []
        for (scope, session_id), of_session in sorted(tracks.items()):
            # A symbol that ended earlier is not taken over itself: its session is, with the one that ran last.
            ran_last = max(of_session, key=lambda track: track.last_us)
            gone = (scope, ran_last.symbol, session_id) in replaced
            reports = [
                track.report(
                    self._lower(track),
                    was_replaced=gone or (scope, track.symbol, session_id) in replaced,
                    complete=complete,
                )
                for track in sorted(of_session, key=lambda track: track.symbol)
            ]
            sessions.append(SessionReport(scope, session_id, sum(r.records for r in reports), reports))
        return sessions

    def _handovers(self) -> list[Handover]:
        by_symbol: dict[tuple[str, str], list[Track]] = {}
        for track in self._tracks.values():
            if track.seen:
                by_symbol.setdefault((track.scope, track.symbol), []).append(track)
        handovers = []
        for (scope, symbol), tracks in sorted(by_symbol.items()):
            tracks.sort(key=lambda track: track.first_us)
            for before, after in pairwise(tracks):
                gap_us = after.first_us - before.last_us
                handovers.append(Handover(scope, symbol, before.session_id, after.session_id, gap_us))
        return handovers

    def _totals(self, sessions: list[SessionReport], minutes: int) -> Totals:
        return totals_of(sessions, self.records, self.metrics_events, minutes)


def _request_type(scope: str) -> str:
    return scope.rpartition("|")[2]
