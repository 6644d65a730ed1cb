"""From an update to a frame in a client's socket, with the log and the counts; and rubbish between the
frames."""

from collections.abc import Callable, Hashable

import msgspec

from core.identity import RequestType
from infra.simulator.connection import FrameBatch, Link
from infra.simulator.faults import FaultPlan, RubbishKind, rubbish
from infra.simulator.log import FrameKind, FrameLog, FrameLogEntry
from infra.simulator.replay import RecordedFrame
from infra.simulator.venue import Beat, FrameIdentity, Update, Venue

REQUEST_TYPES = frozenset(RequestType)


class SimulatorStats(msgspec.Struct, kw_only=True):
    """Counts since the start.

    ``connections``: open now; ``connections_total``: ever opened. ``updates``: made at the rate; each is
    one frame, or the few it takes, for every connection subscribed to it. ``frames_sent``: data frames written,
    snapshots included, rubbish not; ``frames_by_symbol``: the same by canonical symbol. ``refused``: opening
    handshakes answered with an HTTP error. ``too_slow``: connections cut because they did not read.
    ``replays_finished``: connections that got the whole recording.
    """

    connections: int = 0
    connections_total: int = 0
    updates: int = 0
    frames_sent: int = 0
    frames_by_symbol: dict[str, int] = msgspec.field(default_factory=dict)
    rubbish_sent: int = 0
    refused: int = 0
    too_slow: int = 0
    replays_finished: int = 0


class Delivery:
    """Makes frames for links, and accounts for what was written."""

    def __init__(
        self,
        venue: Venue,
        stats: SimulatorStats,
        faults: FaultPlan,
        huge_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self.log: FrameLog | None = None
        self._venue = venue
        self._exchange = str(venue.exchange)
        self._stats = stats
        self._faults = faults
        self._huge_bytes = huge_bytes
        self._clock = clock

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return int(self._clock() * 1000)

    def frame(self, link: Link, update: Update, form: Hashable, kind: FrameKind) -> FrameBatch:
        """An update as one connection wants it."""
        batch: FrameBatch = []
        for payload, told in update.frames(form, kind == "snapshot"):
            entries = tuple([self._entry(link, identity, kind, identity.n) for identity in told])
            payload = link.conversation.wrap(update.feed, payload, told[-1].exchange_ts_ms)
            batch.append((payload, self._venue.binary, entries))
        return batch

    def beat(self, link: Link, beat: Beat) -> FrameBatch:
        """A heartbeat of a feed, which is no data."""
        return [(link.conversation.wrap(beat.feed, beat.payload, self.now_ms()), self._venue.binary, ())]

    def recorded(self, link: Link, recorded: RecordedFrame, number: int) -> FrameBatch:
        """A recorded frame as it is; ``n`` of its log entry is its number in the recording."""
        entry = self._entry(link, self._venue.identify(recorded.content), "realtime", number)
        return [(recorded.payload, recorded.binary, (entry,))]

    def written(self, link: Link, entries: tuple[FrameLogEntry, ...]) -> None:
        """A link wrote a data frame, of which the log has these entries."""
        stats, symbol = self._stats, entries[0].symbol
        if entries[0].kind == "rubbish":
            stats.rubbish_sent += 1
        else:
            stats.frames_sent += 1
            if symbol is not None:
                stats.frames_by_symbol[symbol] = stats.frames_by_symbol.get(symbol, 0) + 1
        if self.log is not None:
            for entry in entries:
                told_before = entry.request_type == RequestType.TRADE and _told_before(link, entry)
                self.log(msgspec.structs.replace(entry, kind="repeat") if told_before else entry)

    def send_rubbish(self, link: Link, kind: RubbishKind) -> None:
        """One frame of rubbish, made from a good one of what the link is subscribed to."""
        feed = next(iter(link.conversation.feeds), None)
        form = None if feed is None else link.conversation.feeds[feed]
        good = self._venue.sample(feed, form, self.now_ms())
        link.rubbish_given += 1
        entry = self._entry(link, None, "rubbish", link.rubbish_given)
        payload = rubbish(kind, good, self._venue.unknown_type(), self._huge_bytes)
        link.send([(payload, self._venue.binary, (entry,))])

    def spoil(self, link: Link) -> None:
        """Rubbish that is due, by the plan, after so many data frames."""
        every, kinds = self._faults.rubbish_every, self._faults.rubbish_kinds
        while every and link.data_written >= (link.rubbish_given + 1) * every:
            self.send_rubbish(link, kinds[link.rubbish_given % len(kinds)])

    def _entry(self, link: Link, identity: FrameIdentity | None, kind: FrameKind, n: int) -> FrameLogEntry:
        if identity is None:
            kind = kind if kind == "rubbish" else "other"
            return FrameLogEntry(link.number, self._exchange, None, None, None, None, kind, n)
        if identity.request_type not in REQUEST_TYPES:
            kind = "other"
        return FrameLogEntry(
            link.number,
            self._exchange,
            identity.request_type,
            identity.symbol,
            identity.exchange_symbol,
            identity.exchange_ts_ms,
            kind,
            n,
        )


def _told_before(link: Link, entry: FrameLogEntry) -> bool:
    """Whether the link had this trade already; it counts as told."""
    assert entry.symbol is not None, "a trade has one"
    last = link.trades_told.get(entry.symbol, 0)
    link.trades_told[entry.symbol] = max(last, entry.n)
    return entry.n <= last
