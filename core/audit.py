"""The auditor: proves from the topics alone that nothing was lost, doubled or reordered.

Every record carries the session it came through and a sequence that counts 1, 2, 3 … per symbol within it, so
holes, repeats and reordering show in the records themselves. What they cannot show, a loss behind the last
record, the metrics close: they list first and last sequence per session and symbol. Their minute totals are
counted again from the records. A session whose process was killed sends no last report; that its tail is not
proven is said by name and is no fault.

It is fed in any order across partitions and in offset order within one, and keeps ranges, not records.
"""

import itertools
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

from core.audit_report import (
    AuditReport,
    Deleted,
    Handover,
    MinuteMismatch,
    SessionReport,
    SourceReport,
    Tail,
    Totals,
    TrackReport,
)
from core.ranges import RangeSet

_MINUTE_US = 60_000_000
_SETTLE_MINUTES = 5
"""Minutes that agree are forgotten once the scope's metrics are this far past them."""
_EXAMPLES = 10
_NEVER = 2**62
_NO_TIME = -(2**63)
"""Stands for a record without an exchange time among the kept ones."""


class _Count:
    """Records of one session and symbol in one minute, and where their sequences lie."""

    __slots__ = ("first", "last", "records")

    def __init__(self) -> None:
        self.records = 0
        self.first = 2**63
        self.last = 0


class Track:
    """What was seen of one symbol in one session."""

    __slots__ = (
        "count",
        "doubled",
        "doubled_count",
        "exchange_ts_ms",
        "first_us",
        "last_us",
        "minute",
        "out_of_order",
        "out_of_order_first",
        "partition",
        "partitions",
        "reported",
        "reported_minute",
        "scope",
        "seen",
        "sequences",
        "session_id",
        "shed",
        "symbol",
    )

    def __init__(self, scope: str, session_id: int, symbol: str) -> None:
        self.scope = scope
        self.session_id = session_id
        self.symbol = symbol
        self.partition = -1
        self.partitions: dict[int, int] = {}
        """Partition to the highest sequence seen in it."""
        self.seen = RangeSet()
        self.doubled = RangeSet()
        self.doubled_count = 0
        self.out_of_order = 0
        self.out_of_order_first: list[int] = []
        self.first_us = 2**63
        self.last_us = -1
        self.minute = -1
        self.count = _Count()
        self.reported = RangeSet()
        self.reported_minute = -1
        self.shed = RangeSet()
        self.sequences = array("q")
        self.exchange_ts_ms = array("q")

    @property
    def reported_last(self) -> int:
        """The last sequence the metrics speak of; 0 when they do not."""
        return max(self.reported.last or 0, self.shed.last or 0)

    def times(self) -> list[tuple[int, int | None]]:
        """(sequence, exchange_ts_ms) of every record, by sequence; only where they are kept."""
        pairs = sorted(zip(self.sequences, self.exchange_ts_ms, strict=True))
        return [(sequence, None if ts == _NO_TIME else ts) for sequence, ts in pairs]


class _Scope:
    """Minute counts of one scope: the records', by minute, symbol and session, and the metrics'."""

    __slots__ = ("checked", "counted", "expected", "metrics_from", "shed", "totals")

    def __init__(self) -> None:
        self.counted: dict[int, dict[str, dict[int, _Count]]] = {}
        self.expected: dict[int, dict[str, int]] = {}
        self.totals: dict[int, int] = {}
        self.shed: dict[int, dict[str, int]] = {}
        self.metrics_from: int | None = None
        """The first minute the metrics speak of, where earlier ones could not be read; -1: from the start."""
        self.checked: set[int] = set()


class Auditor:
    """Takes in records and metrics, answers with a report at any time; not thread-safe.

    With ``keep_exchange_times`` every record's exchange time is kept (16 bytes each), which the comparison
    with a source's own log needs.
    """

    def __init__(self, *, keep_exchange_times: bool = False) -> None:
        self.records = 0
        self.metrics_events = 0
        self.keeps_exchange_times = keep_exchange_times
        self._tracks: dict[tuple[str, int, str], Track] = {}
        self._scopes: dict[str, _Scope] = {}
        self._entered: dict[str, dict[int, int | None]] = {}
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
            track = self._track(f"{exchange}|{region}|{request_type}", request_type, session_id, symbol)
        if partition != track.partition:
            self._enter_partition(track, request_type, partition, received_us)
        highest = track.partitions[partition]
        if not track.seen.add(sequence):
            track.doubled.add(sequence)
            track.doubled_count += 1
            return
        if sequence > highest:
            track.partitions[partition] = sequence
        else:
            track.out_of_order += 1
            if len(track.out_of_order_first) < _EXAMPLES:
                track.out_of_order_first.append(sequence)
        if received_us < track.first_us:
            track.first_us = received_us
        if received_us > track.last_us:
            track.last_us = received_us
        minute = received_us // _MINUTE_US
        if minute != track.minute:
            self._enter_minute(track, minute)
        count = track.count
        count.records += 1
        if sequence > count.last:
            count.last = sequence
        if sequence < count.first:
            count.first = sequence
        if self.keeps_exchange_times:
            track.sequences.append(sequence)
            track.exchange_ts_ms.append(_NO_TIME if exchange_ts_ms is None else exchange_ts_ms)

    def metrics(self, event: Mapping[str, Any], partition: int = 0) -> None:
        """Take in one decoded ``metrics_event``."""
        self.metrics_events += 1
        request_type = event["request_type"]
        key = f"{event['exchange']}|{event['region']}|{request_type}"
        scope = self._scopes.setdefault(key, _Scope())
        batch = event["batch"]
        first_minute = batch["range_start_ts_kst"] // 60_000
        if scope.metrics_from is None:
            scope.metrics_from = first_minute if partition in self._metrics_entered else -1
        for item in batch["items"]:
            minute = item["minute_start_ts_kst"] // 60_000
            scope.totals[minute] = scope.totals.get(minute, 0) + item["total"]
            expected = scope.expected.setdefault(minute, {})
            for name, number in item["details"].items():
                symbol = name.removesuffix("_COUNT")
                expected[symbol] = expected.get(symbol, 0) + number
        for name in ("sequences", "shed"):
            for part in event[name]:
                self._reported(name, key, request_type, part, first_minute)
        for part in event["shed"]:
            shed = scope.shed.setdefault(first_minute, {})
            shed[part["symbol"]] = shed.get(part["symbol"], 0) + part["last"] - part["first"] + 1
        self._settle(key, scope, first_minute - _SETTLE_MINUTES)

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

    def report(self, source: SourceReport | None = None) -> AuditReport:
        """Everything known by now; ``source`` is a comparison with the source's log to include."""
        handovers, replaced = self._handovers()
        by_session: dict[tuple[str, int], list[TrackReport]] = {}
        for (request_type, session_id, symbol), track in self._tracks.items():
            was_replaced = (track.scope, symbol, session_id) in replaced
            report = self._track_report(request_type, track, was_replaced=was_replaced)
            by_session.setdefault((track.scope, session_id), []).append(report)
        sessions = [
            SessionReport(scope, session_id, sum(t.records for t in tracks), sorted(tracks, key=_by_symbol))
            for (scope, session_id), tracks in sorted(by_session.items())
        ]
        mismatches = [m for key, scope in sorted(self._scopes.items()) for m in self._mismatches(key, scope)]
        unprovable = self._undecodable_count or self._deleted
        ok = all(s.ok for s in sessions) and not mismatches and not unprovable
        return AuditReport(
            totals=self._totals(sessions),
            sessions=sessions,
            mismatches=mismatches,
            handovers=handovers,
            undecodable_count=self._undecodable_count,
            undecodable=list(self._undecodable),
            deleted=list(self._deleted),
            source=source,
            ok=ok and (source is None or source.ok),
        )

    # -- inside ----------------------------------------------------------------------------------------

    def _track(self, scope: str, request_type: str, session_id: int, symbol: str) -> Track:
        track = self._tracks.get((request_type, session_id, symbol))
        if track is None:
            track = Track(scope, session_id, symbol)
            self._tracks[request_type, session_id, symbol] = track
        return track

    def _enter_partition(self, track: Track, request_type: str, partition: int, received_us: int) -> None:
        track.partition = partition
        track.partitions.setdefault(partition, 0)
        self._symbol_partitions.setdefault((track.scope, track.symbol), set()).add(partition)
        entered = self._entered.get(request_type)
        if entered and entered.get(partition, 0) is None:
            entered[partition] = received_us

    def _enter_minute(self, track: Track, minute: int) -> None:
        counted = self._scopes.setdefault(track.scope, _Scope()).counted
        sessions = counted.setdefault(minute, {}).setdefault(track.symbol, {})
        track.count = sessions.setdefault(track.session_id, _Count())
        track.minute = minute

    def _reported(self, name: str, scope: str, request_type: str, part: Mapping[str, Any], minute: int) -> None:
        track = self._track(scope, request_type, part["session_id"], part["symbol"])
        track.reported_minute = max(track.reported_minute, minute)
        ranges = track.reported if name == "sequences" else track.shed
        ranges.add_range(part["first"], part["last"])

    def _complete_from(self, scope: str, symbol: str) -> int:
        """The first minute of which every record of a symbol was there to be read."""
        entered = self._entered.get(scope.rpartition("|")[2])
        if not entered:
            return 0
        partitions = self._symbol_partitions.get((scope, symbol)) or entered.keys()
        began = [entered[partition] for partition in partitions if partition in entered]
        return max((_NEVER if us is None else us // _MINUTE_US + 1 for us in began), default=0)

    def _settle(self, key: str, scope: _Scope, before: int) -> None:
        """Forget minutes in the past that agree in every figure, so that a long watch stays small."""
        for minute in [m for m in scope.expected if m < before]:
            if any(self._minute_mismatches(key, scope, minute)):
                continue
            counted = scope.counted.get(minute, {})
            if any(
                count.last > self._reported_last(key, symbol, session_id)
                for symbol, sessions in counted.items()
                for session_id, count in sessions.items()
            ):
                continue
            scope.checked.add(minute)
            scope.counted.pop(minute, None)
            for forgotten in (scope.expected, scope.totals, scope.shed):
                forgotten.pop(minute, None)
        for track in self._tracks.values():
            if track.scope == key and track.minute < before:
                track.minute = -1

    def _reported_last(self, scope: str, symbol: str, session_id: int) -> int:
        return self._tracks[scope.rpartition("|")[2], session_id, symbol].reported_last

    def _unreported(self, scope: str, symbol: str, session_id: int, count: _Count) -> int:
        """How many of a minute's records stand behind their session's last report."""
        last = self._reported_last(scope, symbol, session_id)
        if count.last <= last:
            return 0
        if count.first > last:
            return count.records
        track = self._tracks[scope.rpartition("|")[2], session_id, symbol]
        return min(count.records, track.seen.count(last + 1, count.last))

    def _mismatches(self, key: str, scope: _Scope) -> Iterable[MinuteMismatch]:
        if scope.metrics_from is None:
            return
        for minute in sorted(scope.expected.keys() | scope.counted.keys()):
            if minute >= scope.metrics_from:
                yield from self._minute_mismatches(key, scope, minute)

    def _minute_mismatches(self, key: str, scope: _Scope, minute: int) -> Iterable[MinuteMismatch]:
        counted = scope.counted.get(minute, {})
        expected = scope.expected.get(minute, {})
        shed = scope.shed.get(minute, {})
        start_ms = minute * 60_000
        for symbol in sorted(counted.keys() | expected.keys()):
            if minute < self._complete_from(key, symbol):
                continue
            sessions = counted.get(symbol, {})
            records = sum(count.records for count in sessions.values())
            unreported = sum(self._unreported(key, symbol, s, count) for s, count in sessions.items())
            metrics, reported = expected.get(symbol, 0), records - unreported
            if not metrics - shed.get(symbol, 0) <= reported <= metrics:
                yield MinuteMismatch(key, start_ms, symbol, metrics, reported, unreported)
        total, parts = scope.totals.get(minute, 0), sum(expected.values())
        if total != parts:
            yield MinuteMismatch(key, start_ms, None, total, parts, 0)

    def _track_report(self, request_type: str, track: Track, *, was_replaced: bool) -> TrackReport:
        first, last = track.seen.first, track.seen.last
        reported_last = track.reported_last
        lower = self._lower(request_type, track, first)
        absent = track.seen.missing(lower, max(last or 0, reported_last))
        lost = absent.without(track.shed)
        behind = RangeSet((a, b) for a, b in lost if a > (last or 0))
        inner = lost.without(behind)
        if behind:
            state = Tail.LOST
        elif last is None or reported_last >= last:
            state = Tail.PROVEN
        else:
            state = Tail.ENDED_WITHOUT_REPORT if was_replaced else Tail.OPEN
        return TrackReport(
            symbol=track.symbol,
            partitions=sorted(track.partitions),
            records=len(track.seen) + track.doubled_count,
            first=first,
            last=last,
            first_us=track.first_us if track.seen else None,
            last_us=track.last_us if track.seen else None,
            missing=list(inner),
            tail_missing=list(behind),
            shed=list(absent.without(lost)),
            before_reading=lower - 1,
            doubled=list(track.doubled),
            doubled_count=track.doubled_count,
            out_of_order=track.out_of_order,
            out_of_order_first=list(track.out_of_order_first),
            tail=state,
        )

    def _lower(self, request_type: str, track: Track, first: int | None) -> int:
        """The first sequence that has to be there: 1, unless reading began in the session's midst."""
        entered = self._entered.get(request_type, {})
        if first is not None:
            return first if any(partition in entered for partition in track.partitions) else 1
        if track.reported_minute >= self._complete_from(track.scope, track.symbol):
            return track.reported.first or 1 if entered else 1
        return track.reported_last + 1

    def _handovers(self) -> tuple[list[Handover], set[tuple[str, str, int]]]:
        by_symbol: dict[tuple[str, str], list[Track]] = {}
        for track in self._tracks.values():
            if track.last_us >= 0:
                by_symbol.setdefault((track.scope, track.symbol), []).append(track)
        handovers: list[Handover] = []
        replaced: set[tuple[str, str, int]] = set()
        for (scope, symbol), tracks in sorted(by_symbol.items()):
            tracks.sort(key=lambda track: track.first_us)
            for before, after in itertools.pairwise(tracks):
                gap_us = after.first_us - before.last_us
                handovers.append(Handover(scope, symbol, before.session_id, after.session_id, gap_us))
                replaced.add((scope, symbol, before.session_id))
        return handovers, replaced

    def _totals(self, sessions: list[SessionReport]) -> Totals:
        tracks = [track for session in sessions for track in session.tracks]
        tails = {str(state): sum(track.tail is state for track in tracks) for state in Tail}
        pending = {
            (key, minute)
            for key, scope in self._scopes.items()
            if scope.metrics_from is not None
            for minute in scope.expected
        }
        settled = {(key, minute) for key, scope in self._scopes.items() for minute in scope.checked}
        return Totals(
            records=self.records,
            sessions=len(sessions),
            symbols=len({(session.scope, track.symbol) for session in sessions for track in session.tracks}),
            lost=sum(_size(track.missing) + _size(track.tail_missing) for track in tracks),
            shed=sum(_size(track.shed) for track in tracks),
            before_reading=sum(track.before_reading for track in tracks),
            doubled=sum(track.doubled_count for track in tracks),
            out_of_order=sum(track.out_of_order for track in tracks),
            scattered=sum(len(track.partitions) > 1 for track in tracks),
            metrics_events=self.metrics_events,
            minutes_checked=len(pending | settled),
            tails=tails,
        )


def _by_symbol(track: TrackReport) -> str:
    return track.symbol


def _size(ranges: list[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)
