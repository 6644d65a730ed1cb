"""The channels of one connection to Bitfinex, by their numbers, and which of several of a pair is read."""

from collections.abc import Callable, Collection
from typing import Final

from core.errors import PayloadError
from core.exchanges.bitfinex_books import CHECKSUM_LEVELS
from core.exchanges.bitfinex_events import Event
from core.exchanges.bitfinex_frames import BOOK_FRAME, TICKER_FRAME, TRADE_FRAME, MarketFrame
from core.exchanges.symbol_track import SymbolTrack
from core.identity import RequestType

CHANNEL_NAMES: Final = {
    RequestType.TICKER: "ticker",
    RequestType.TRADE: "trades",
    RequestType.ORDERBOOK: "book",
}
_REQUEST_TYPES: Final = {name: request_type for request_type, name in CHANNEL_NAMES.items()}
_DEFAULT_LENGTH: Final = 25
_OTHER_BOOK: Final = "other book of the pair"
_REMEMBERED_TRADES: Final = 256
_ORDERBOOK: Final = RequestType.ORDERBOOK

Read = Callable[[str | bytes], MarketFrame]
READS: Final[dict[RequestType, Read]] = {
    RequestType.TICKER: TICKER_FRAME.decode,
    RequestType.TRADE: TRADE_FRAME.decode,
    RequestType.ORDERBOOK: BOOK_FRAME.decode,
}
"""What reads the frames that come most, at once; compared by identity."""


class SeenTrades:
    """The last trades of a pair, by id: the last 256 at the least."""

    __slots__ = ("_before", "_ids")

    def __init__(self) -> None:
        self._ids: set[int] = set()
        self._before: set[int] = set()

    def is_new(self, trade_id: int) -> bool:
        """Whether this trade was not seen lately; it counts as seen."""
        ids = self._ids
        if trade_id in ids or trade_id in self._before:
            return False
        ids.add(trade_id)
        if len(ids) >= _REMEMBERED_TRADES:
            self._before, self._ids = ids, set()
        return True


class Channel:
    """A subscription on this connection. ``request_type`` and ``read`` are None for those that give no records,
    ``unread`` says why. ``terms`` are those of a book, the less the better: precision, frequency, and the
    length as a negative number. ``checked``: checksums come, and cover all of the book (``covered``).
    ``ending``: its end was asked for. ``track`` is the pair's, once it was asked for."""

    __slots__ = (
        "checked", "covered", "ending", "exchange_symbol", "past_snapshot", "read", "request_type", "seen",
        "terms", "track", "unread",
    )  # fmt: skip

    def __init__(
        self, request_type: RequestType | None, exchange_symbol: str, terms: tuple[str, str, int]
    ) -> None:
        self.request_type = request_type
        self.read = None if request_type is None else READS[request_type]
        self.exchange_symbol = exchange_symbol
        self.terms = terms
        self.unread = "channel without records"
        self.seen = SeenTrades()
        self.past_snapshot = False
        self.covered = -terms[-1] <= CHECKSUM_LEVELS
        self.checked = False
        self.ending = False
        self.track: SymbolTrack | None = None

    @classmethod
    def of(cls, event: Event) -> "Channel":
        """The channel that a ``subscribed`` opens."""
        request_type = _REQUEST_TYPES.get(event.channel or "")
        symbol = event.exchange_symbol
        # Raw books list orders, and what begins with f is not traded but lent.
        if not symbol.startswith("t") or (event.prec or "").startswith("R"):
            request_type = None
        return cls(request_type, symbol, (event.prec or "P0", event.freq or "F0", -_length(event)))

    def give_up(self, unread: str) -> None:
        """Read no more of it."""
        self.request_type = self.read = None
        self.unread = unread


class Channels:
    """The open ones of a connection; ``by_number`` has them all, and is only changed here."""

    def __init__(self) -> None:
        self.by_number: dict[int, Channel] = {}
        self._of_symbol: dict[str, set[int]] = {}
        self._seen: dict[str, SeenTrades] = {}

    def open(self, number: int, channel: Channel, *, several: bool) -> list[Channel]:
        """Add a channel. One of the same kind and pair is renewed by it, or, where there may be ``several``
        (in a recording), the best of their books is read. Returns the books that are read no more."""
        given_up: list[Channel] = []
        self.close(number)
        symbol, request_type = channel.exchange_symbol, channel.request_type
        for other in sorted(self._of_symbol.get(symbol, ())):
            known = self.by_number[other]
            if known.request_type is not request_type:
                continue
            if known.terms == channel.terms or not several:
                self.close(other)
            elif request_type is _ORDERBOOK and channel.terms < known.terms:
                known.give_up(_OTHER_BOOK)
                given_up.append(known)
            elif request_type is _ORDERBOOK:
                channel.give_up(_OTHER_BOOK)
        # A renewed channel repeats the last trades.
        channel.seen = self._seen.setdefault(symbol, channel.seen)
        self.by_number[number] = channel
        self._of_symbol.setdefault(symbol, set()).add(number)
        return given_up

    def end(self, request_type: RequestType, symbols: Collection[str], *, keep: Collection[str]) -> list[int]:
        """The numbers of the channels that end: those of ``symbols``, unless their end was asked for already.

        Channels of the symbols in ``keep`` are read on until ``close``, for what is still under way.
        """
        numbers = []
        for number in sorted(number for symbol in symbols for number in self._of_symbol.get(symbol, ())):
            channel = self.by_number[number]
            if channel.request_type is not request_type:
                continue
            if not channel.ending:
                numbers.append(number)
            channel.ending = True
            if channel.exchange_symbol not in keep:
                self.close(number)
        return numbers

    def close(self, number: int | None) -> None:
        """It is open no more, as when the exchange ended it."""
        channel = None if number is None else self.by_number.pop(number, None)
        if number is not None and channel is not None:
            numbers = self._of_symbol[channel.exchange_symbol]
            numbers.discard(number)
            if not numbers:
                del self._of_symbol[channel.exchange_symbol]

    def clear(self) -> None:
        """None is open: a new connection begins."""
        self.by_number.clear()
        self._of_symbol.clear()


def _length(event: Event) -> int:
    """How many levels a side a book has."""
    try:
        return _DEFAULT_LENGTH if event.len is None else int(event.len)
    except ValueError as exc:
        raise PayloadError(f"{event.len!r} is no length of a book") from exc
