"""Keeps the order books of one session: chains checked, broken books repaired alone, whole ones republished.

A dialect hands in what it read (``snapshot``, ``delta``, ``merge``, ``restate``) and gets the record to
publish back. Sequence rules of all exchanges come down to one number, ``follows``: the id at which the book
must stand for a delta to apply. Where ids have no gaps that is the delta's first id less one; where each
delta names the one before, it is that name; None where the exchange gives no ids.
"""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import ceil, inf

from core.errors import ErrorCode
from core.exchanges.kept_book import BookSettings, KeptBook, PendingDelta, Resync
from core.exchanges.notices import Notice, SymbolBroken, SymbolWhole
from core.exchanges.symbol_track import SymbolTrack
from core.order_books import Book
from core.records import BookKind, Level, OrderBook

_MAX_ASKED = 4
"""Snapshots under way at once, so that what is put by stays small however many books broke."""
_FIRST_WAIT_S = 2.0
_MAX_WAIT_S = 60.0
_FETCH_TIMEOUT_S = 120.0
_SETTLED_US = 60_000_000
"""A book that breaks again this soon is repaired with growing waits, not from the start."""
_PUBLISHED_AT_ONCE = 8
"""Whole books a call that are never too many; with more books the number grows so that each has its turn."""
_LONGEST_CALL_GAP_S = 1.0
"""A session that was not served for longer does not make up for it in one burst."""
_SNAPSHOT, _DELTA = BookKind.SNAPSHOT, BookKind.DELTA
"""By their own names: Python 3.11 takes ten times as long to find a member of an enum in its class."""


class BookKeeper:
    """The order books of one session. Pure: times come in as arguments."""

    def __init__(
        self,
        exchange: str,
        region: str,
        session_id: int,
        notices: list[Notice],
        *,
        resync: Resync,
        checksum: Callable[[Book], int],
    ) -> None:
        """``checksum`` computes the exchange's checksum of a book; called only where a frame carries one."""
        self.settings = BookSettings()
        self.depth: int | None = None
        """The depth of the subscription, where the exchange has steps; set by the dialect with ``exact``."""
        self.exact = False
        self.unattended = False
        """Nobody repairs what breaks, as in a replay: every break is told, and none is waited for."""
        self._exchange = exchange
        self._region = region
        self._session_id = session_id
        self._notices = notices
        self._resync = resync
        self._beside = resync is not Resync.RESUBSCRIBE
        self._checksum = checksum
        self._wanting: dict[str, SymbolTrack] = {}
        self._turns: list[tuple[float, int, SymbolTrack, KeptBook]] = []
        """A heap by when a book's turn comes to be published whole; what was forgotten is left out then."""
        self._opened = 0
        self._republished_s: float | None = None

    # -- what the dialect hands in -----------------------------------------------------------------

    def snapshot(
        self,
        track: SymbolTrack,
        bids: list[Level],
        asks: list[Level],
        received_us: int,
        exchange_ts_ms: int | None = None,
        last_id: int | None = None,
        checksum: int | None = None,
    ) -> OrderBook:
        """A snapshot that came in the stream: what follows on the socket continues it. Best first on both
        sides; returns the record."""
        kept = track.book or self._open(track)
        kept.book.replace(bids, asks)
        kept.last_id = last_id
        kept.joining = False
        if checksum is None or self._agrees(track, kept, checksum, received_us):
            self._make_whole(track, kept, received_us)
        track.sequence += 1
        return OrderBook(
            self._exchange,
            self._region,
            track.symbol,
            track.exchange_symbol,
            exchange_ts_ms,
            received_us,
            self._session_id,
            track.sequence,
            _SNAPSHOT,
            bids,
            asks,
            None,
            last_id,
            checksum,
            kept.whole,
        )

    def delta(
        self,
        track: SymbolTrack,
        bids: list[Level],
        asks: list[Level],
        received_us: int,
        exchange_ts_ms: int | None = None,
        first_id: int | None = None,
        last_id: int | None = None,
        follows: int | None = None,
        checksum: int | None = None,
    ) -> OrderBook:
        """Changed levels, quantity 0 removes; returns the record, ``valid`` when the chain holds.

        ``last_id`` is where the book stands afterwards, ``follows`` where it must stand before. ``checksum``
        is compared with the book's after the change.

        A delta that leads to where the book stands already is the one before, sent twice. Quantities are
        absolute, so that it changes nothing, here or with a reader: it is ``valid``, since a reader who must
        leave an invalid record out would take the chain for broken, and nothing would come to mend it.
        """
        kept = track.book or self._open(track)
        if kept.doubted:
            return self._decide(track, kept, bids, asks, received_us, exchange_ts_ms, checksum)
        valid = False
        if kept.whole:
            at = kept.last_id
            if follows is None or at is None or follows == at:
                valid = True
            elif kept.joining and last_id is not None and last_id <= at:
                pass  # older than the snapshot, which has it already
            elif (kept.joining and follows < at) or last_id == at:
                valid = True
            else:
                self._gap(track, kept, follows, at, received_us)
        if not kept.whole:
            delta = PendingDelta(bids, asks, last_id, follows)
            self._await(track, kept, delta, received_us)
        if valid:
            kept.joining = False
            kept.book.apply(bids, asks)
            if last_id is not None:
                kept.last_id = last_id
            if checksum is not None:
                valid = self._agrees(track, kept, checksum, received_us)
        track.sequence += 1
        return OrderBook(
            self._exchange,
            self._region,
            track.symbol,
            track.exchange_symbol,
            exchange_ts_ms,
            received_us,
            self._session_id,
            track.sequence,
            _DELTA,
            bids,
            asks,
            first_id,
            last_id,
            checksum,
            valid,
        )

    def merge(
        self,
        track: SymbolTrack,
        bids: list[Level],
        asks: list[Level],
        received_us: int,
        exchange_ts_ms: int | None = None,
        last_id: int | None = None,
    ) -> Sequence[OrderBook]:
        """A snapshot from beside the stream (REST, or asked for on the socket), under the deltas put by.

        Returns the one record of the whole book as it stands with them, or none: the snapshot was older than
        the first of them (it is asked for again), or nobody waits for it any more.
        """
        kept = track.book
        if kept is None or kept.whole:
            return ()
        pending = [delta for delta in kept.pending if _is_newer(delta.last_id, last_id)]
        at = pending[0].follows if pending else kept.last_id
        if at is not None and last_id is not None and at > last_id:
            self._again(kept)
            return ()
        kept.book.replace(bids, asks)
        for delta in pending:
            kept.book.apply(delta.bids, delta.asks)
        kept.last_id = pending[-1].last_id if pending else last_id
        kept.joining = not pending
        self._make_whole(track, kept, received_us)
        return (self._whole_book(track, kept, received_us, exchange_ts_ms),)

    def restate(self, track: SymbolTrack, record: OrderBook) -> OrderBook:
        """For exchanges whose every frame is the whole book: remember it, to be published again when the
        symbol is quiet. Returns ``record``."""
        kept = track.book or self._open(track)
        kept.record = record
        return record

    def gap(self, tracks: Sequence[SymbolTrack], message: str, received_us: int) -> None:
        """Something was lost that the dialect noticed itself, as on a sequence over the whole connection;
        every book of ``tracks`` that is whole breaks."""
        for track in tracks:
            if track.book is not None and track.book.whole:
                self._break(track, track.book, ErrorCode.SEQUENCE_GAP, message, received_us)

    def doubt(self, tracks: Sequence[SymbolTrack], levels: int, received_us: int) -> None:
        """Something was lost, and it is not known whose. For books of up to ``levels`` a side, all of which
        their checksum covers: each of ``tracks`` that is whole is invalid until its next checksum, and had anew
        when none comes for a while."""
        for track in tracks:
            kept = track.book
            if kept is not None and kept.whole:
                self._unsettle(track, kept, received_us)
                kept.doubted = levels
                kept.due_s = None

    # -- what the session asks ---------------------------------------------------------------------

    def expect(self, track: SymbolTrack) -> None:
        """The symbol's stream runs: where the snapshot comes from beside it, one is wanted."""
        if self._beside and track.book is None:
            self._open(track)
            self._wanting[track.exchange_symbol] = track

    def forget(self, track: SymbolTrack) -> None:
        """The symbol is unsubscribed; a later subscription starts anew."""
        track.book = None
        self._wanting.pop(track.exchange_symbol, None)

    @property
    def wanting(self) -> bool:
        """Whether some book needs a snapshot, now or later."""
        return bool(self._wanting)

    def due(self, now_s: float, limit: int) -> list[SymbolTrack]:
        """Up to ``limit`` symbols whose snapshot is to be asked for now; they count as asked."""
        if self._beside:
            limit = min(limit, _MAX_ASKED - sum(1 for track in self._wanting.values() if _asked(track)))
        taken: list[SymbolTrack] = []
        for track in self._wanting.values():
            if len(taken) >= limit:
                break
            kept = track.book
            assert kept is not None, "a book that is forgotten is wanted no more"
            if kept.due_s is None:
                kept.due_s = now_s + self._first_wait_s(kept)
            if now_s >= kept.due_s:
                taken.append(track)
        for track in taken:
            kept = track.book
            assert kept is not None
            kept.attempts += 1
            kept.asked = self._beside
            kept.pending.clear()
            fetches = self._resync is Resync.FETCH
            kept.due_s = now_s + (_FETCH_TIMEOUT_S if fetches else _wait_s(kept.attempts))
            # Those that wait longest come first, also when there are more than may be asked at once.
            self._wanting[track.exchange_symbol] = self._wanting.pop(track.exchange_symbol)
        return taken

    def failed(self, track: SymbolTrack) -> None:
        """The snapshot could not be had: ask again, later each time."""
        if track.book is not None and not track.book.whole:
            self._again(track.book)

    def republish(self, now_s: float, now_us: int) -> list[OrderBook]:
        """The whole books whose turn it is, those that wait longest first, and no more of them than have to
        go out in the time since the last call: so many of them spread out by themselves, and none is left.

        A book's turn comes so long after it was published, became whole, or (where every frame is the whole
        book) last came.
        """
        every_s, turns = self.settings.snapshot_every_s, self._turns
        if not every_s:
            return []
        gap_s = 0.0 if self._republished_s is None else now_s - self._republished_s
        self._republished_s = now_s
        most = max(_PUBLISHED_AT_ONCE, ceil(len(turns) * min(gap_s, _LONGEST_CALL_GAP_S) / every_s))
        records: list[OrderBook] = []
        while turns and turns[0][0] <= now_s and len(records) < most:
            _, number, track, kept = heappop(turns)
            if track.book is not kept:
                continue
            wait_s = every_s
            last = kept.record
            if last is not None or kept.whole:
                since_us = kept.whole_since_us if last is None else last.received_ts_us
                quiet_s = (now_us - since_us) / 1e6
                # Negative once the clock was set back: its turn has come all the same.
                if 0 <= quiet_s < every_s:
                    wait_s -= quiet_s
                else:
                    records.append(self._whole_book(track, kept, now_us))
            heappush(turns, (now_s + wait_s, number, track, kept))
        return records

    # -- inside ------------------------------------------------------------------------------------

    def _open(self, track: SymbolTrack) -> KeptBook:
        depth = self.depth or self.settings.depth
        track.book = kept = KeptBook(Book(depth, exact=self.exact))
        if self.settings.snapshot_every_s:
            self._opened += 1
            heappush(self._turns, (-inf, self._opened, track, kept))
        return kept

    def _await(self, track: SymbolTrack, kept: KeptBook, delta: PendingDelta, received_us: int) -> None:
        """A delta without a book under it: its chain is watched, and put by when a snapshot is under way."""
        self._wanting.setdefault(track.exchange_symbol, track)
        follows = delta.follows
        if delta.last_id is not None and delta.last_id == kept.last_id and follows != kept.last_id:
            return  # the one before, sent twice
        if follows is not None and kept.last_id is not None and follows != kept.last_id:
            if not kept.broken:
                self._gap(track, kept, follows, kept.last_id, received_us)
            kept.pending.clear()
        if delta.last_id is not None:
            kept.last_id = delta.last_id
        if kept.asked or (self.unattended and self._beside):
            # In a replay the recorded answer to somebody else's request may follow.
            kept.pending.append(delta)

    def _decide(
        self,
        track: SymbolTrack,
        kept: KeptBook,
        bids: list[Level],
        asks: list[Level],
        received_us: int,
        exchange_ts_ms: int | None,
        checksum: int | None,
    ) -> OrderBook:
        """A delta of a doubted book. A checksum that agrees makes it whole, and the record the book as proven:
        what lies deeper, in a reader's book too, may be what a lost removal left behind."""
        kept.book.apply(bids, asks)
        kind, levels = BookKind.DELTA, kept.doubted
        if checksum is not None and self._agrees(track, kept, checksum, received_us):
            self._make_whole(track, kept, received_us)
            bids, asks = kept.book.bids.best(levels), kept.book.asks.best(levels)
            kept.book.replace(bids, asks)
            kind = BookKind.SNAPSHOT
        track.sequence += 1
        return OrderBook(
            self._exchange,
            self._region,
            track.symbol,
            track.exchange_symbol,
            exchange_ts_ms,
            received_us,
            self._session_id,
            track.sequence,
            kind,
            bids,
            asks,
            None,
            None,
            checksum,
            kept.whole,
        )

    def _gap(self, track: SymbolTrack, kept: KeptBook, follows: int, at: int, received_us: int) -> None:
        message = (
            f"{self._exchange}: {track.symbol}: an update that follows {follows} came after {at}; "
            "its book is invalid until there is a new snapshot"
        )
        self._break(track, kept, ErrorCode.SEQUENCE_GAP, message, received_us)
        kept.last_id = None

    def _agrees(self, track: SymbolTrack, kept: KeptBook, checksum: int, received_us: int) -> bool:
        computed = self._checksum(kept.book)
        if computed == checksum:
            return True
        message = (
            f"{self._exchange}: {track.symbol}: the book's checksum is {computed}, not {checksum}; "
            "it is invalid until there is a new snapshot"
        )
        self._break(track, kept, ErrorCode.CHECKSUM_MISMATCH, message, received_us)
        return False

    def _break(
        self, track: SymbolTrack, kept: KeptBook, code: ErrorCode, message: str, received_us: int
    ) -> None:
        self._unsettle(track, kept, received_us)
        if not kept.broken:
            kept.broken = not self.unattended
            self._notices.append(SymbolBroken(track.symbol, code, message))
            # An initial snapshot may be under way already: it keeps its turn.
            if not kept.asked:
                kept.due_s = None

    def _unsettle(self, track: SymbolTrack, kept: KeptBook, received_us: int) -> None:
        """The book is not whole any more, and a snapshot wanted."""
        kept.whole = False
        kept.doubted = 0
        if received_us - kept.whole_since_us > _SETTLED_US:
            kept.attempts = 0
        self._wanting[track.exchange_symbol] = track

    def _make_whole(self, track: SymbolTrack, kept: KeptBook, received_us: int) -> None:
        kept.pending.clear()
        kept.asked = False
        if kept.whole:
            return
        kept.whole = True
        kept.doubted = 0
        kept.due_s = None
        kept.whole_since_us = received_us
        self._wanting.pop(track.exchange_symbol, None)
        if kept.broken:
            kept.broken = False
            self._notices.append(SymbolWhole(track.symbol, kept.attempts))
        else:
            kept.attempts = 0

    def _again(self, kept: KeptBook) -> None:
        kept.asked = False
        kept.pending.clear()
        kept.due_s = None

    def _first_wait_s(self, kept: KeptBook) -> float:
        """How long before the next attempt: none for the first, unless the stream itself should bring the
        snapshot and may only be late."""
        if kept.attempts:
            return _wait_s(kept.attempts)
        return 0.0 if self._beside or kept.broken else _FIRST_WAIT_S

    def _whole_book(
        self, track: SymbolTrack, kept: KeptBook, received_us: int, exchange_ts_ms: int | None = None
    ) -> OrderBook:
        """The book as it stands; without an exchange time unless a message of the exchange is behind it."""
        track.sequence += 1
        last = kept.record
        depth = kept.book.depth
        return OrderBook(
            self._exchange,
            self._region,
            track.symbol,
            track.exchange_symbol,
            exchange_ts_ms,
            received_us,
            self._session_id,
            track.sequence,
            _SNAPSHOT,
            kept.book.bids.best(depth) if last is None else last.bids,
            kept.book.asks.best(depth) if last is None else last.asks,
            None,
            kept.last_id if last is None else last.last_update_id,
            None,
            True,
        )


def _asked(track: SymbolTrack) -> bool:
    return track.book is not None and track.book.asked


def _is_newer(delta_id: int | None, snapshot_id: int | None) -> bool:
    return delta_id is None or snapshot_id is None or delta_id > snapshot_id


def _wait_s(attempts: int) -> float:
    return min(_FIRST_WAIT_S * 2.0 ** min(attempts - 1, 10), _MAX_WAIT_S)
