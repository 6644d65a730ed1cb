"""What the auditor keeps of one symbol in one session: ranges of sequences, not records."""

from array import array

from core.audit_report import Tail, TrackReport
from core.ranges import RangeSet

_EXAMPLES = 10
_NO_TIME = -(2**63)
"""Stands for a record without an exchange time among the kept ones."""


class MinuteCount:
    """Records of one track in one minute, and where their sequences lie."""

    __slots__ = ("first", "last", "records")

    def __init__(self) -> None:
        self.records = 0
        self.first = 2**63
        self.last = 0


class Track:
    """What was seen of one symbol in one session, and what the metrics reported of it.

    ``partitions`` maps a partition to the highest sequence seen in it, ``minute`` and ``count`` are those of
    the latest record. ``reported`` and ``shed`` are the metrics' ranges, ``reported_minute`` the latest minute
    they were reported in.
    """

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
        self.seen = RangeSet()
        self.doubled = RangeSet()
        self.doubled_count = 0
        self.out_of_order = 0
        self.out_of_order_first: list[int] = []
        self.first_us = 2**63
        self.last_us = -1
        self.minute = -1
        self.count = MinuteCount()
        self.reported = RangeSet()
        self.reported_minute = -1
        self.shed = RangeSet()
        self.sequences = array("q")
        self.exchange_ts_ms = array("q")

    @property
    def reported_last(self) -> int:
        """The last sequence the metrics speak of; 0 when they do not."""
        return max(self.reported.last or 0, self.shed.last or 0)

    def see(self, sequence: int, received_us: int) -> bool:
        """Note a record in the present ``partition``; False when it was seen before."""
        if not self.seen.add(sequence):
            self.doubled.add(sequence)
            self.doubled_count += 1
            return False
        if sequence > self.partitions[self.partition]:
            self.partitions[self.partition] = sequence
        else:
            self.out_of_order += 1
            if len(self.out_of_order_first) < _EXAMPLES:
                self.out_of_order_first.append(sequence)
        if received_us < self.first_us:
            self.first_us = received_us
        if received_us > self.last_us:
            self.last_us = received_us
        return True

    def keep_time(self, sequence: int, exchange_ts_ms: int | None) -> None:
        """Keep a record's exchange time for the comparison with a source's log."""
        self.sequences.append(sequence)
        self.exchange_ts_ms.append(_NO_TIME if exchange_ts_ms is None else exchange_ts_ms)

    def times(self) -> list[tuple[int, int | None]]:
        """(sequence, exchange_ts_ms) of every record, by sequence; only where they are kept."""
        pairs = sorted(zip(self.sequences, self.exchange_ts_ms, strict=True))
        return [(sequence, None if ts == _NO_TIME else ts) for sequence, ts in pairs]

    def unreported(self, count: MinuteCount) -> int:
        """How many of a minute's records stand behind the last report."""
        last = self.reported_last
        if count.last <= last:
            return 0
        if count.first > last:
            return count.records
        return min(count.records, self.seen.count(last + 1, count.last))

    def report(self, lower: int, *, was_replaced: bool, complete: bool = True) -> TrackReport:
        """What was found; every sequence from ``lower`` on has to be there.

        ``was_replaced``: a later session has taken the symbol over, or the whole session. Unless reading was
        ``complete``, the metrics explain holes and say nothing of what stands behind the last record.
        """
        first, last = self.seen.first, self.seen.last
        end = last or 0
        absent = self.seen.missing(lower, max(end, self.reported_last) if complete else end)
        lost = absent.without(self.shed)
        behind = RangeSet((a, b) for a, b in lost if a > end)
        if behind:
            tail = Tail.LOST
        elif self.reported_last == end or (complete and self.reported_last > end):
            tail = Tail.PROVEN
        elif not complete:
            tail = Tail.OPEN
        else:
            tail = Tail.ENDED_WITHOUT_REPORT if was_replaced else Tail.OPEN
        return TrackReport(
            symbol=self.symbol,
            partitions=sorted(self.partitions),
            records=len(self.seen) + self.doubled_count,
            first=first,
            last=last,
            first_us=self.first_us if self.seen else None,
            last_us=self.last_us if self.seen else None,
            missing=list(lost.without(behind)),
            tail_missing=list(behind),
            shed=list(absent.without(lost)),
            before_reading=lower - 1,
            doubled=list(self.doubled),
            doubled_count=self.doubled_count,
            out_of_order=self.out_of_order,
            out_of_order_first=list(self.out_of_order_first),
            tail=tail,
        )
