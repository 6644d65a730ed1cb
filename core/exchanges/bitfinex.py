"""Bitfinex's public WebSocket, version 2.

Written after Bitfinex's documentation (read 2026-11): "General" (ws-general), "Public Channels" (ws-public),
"WebSocket Checksum" (ws-websocket-checksum), "Ticker", "Trades" and "Books" (ws-public-ticker, -trades,
-books) and "Symbols and currency codes" under docs.bitfinex.com, and "Order Books & Checksums" on its blog.

- A request subscribes one channel of one pair; the answer ``subscribed`` gives its number, by which its
  frames, arrays, go: ``[number, body, …]``. A body may be an update, a list of them (the snapshot), or a
  word: ``hb`` (every 15 s on each channel), ``te`` and ``tu`` with a trade, ``cs`` with a checksum.
- ``conf`` asks for a sequence over all arrays of the connection (65536), the server's time at their end
  (32768), checksums of books (131072). What of it is there is told by the size of the numbers. Arrays may
  grow. Heartbeats and checksums have a sequence too; whether each has a number of its own is not said, so a
  number that comes twice is no loss.
- A trade comes as ``te`` at once and as ``tu`` when it is stored, both with its id: what comes first is
  taken. An amount above 0 was bought by the taker. The snapshot has the last trades, the newest first: they
  are put in order, and those that came before the channel was renewed are passed over.
- One book of a pair is read, of several in a recording the most precise, then the deepest. Raw books, candles,
  ``status`` and all of lending (``fUSD``, with ``fte`` and ``ftu``) give no records.
- ``BID_SIZE`` and ``ASK_SIZE`` of a ticker are the sums of the 25 best orders, not what lies at the best
  price: no field of a record means that.
- A book entry is ``[price, count, amount]``; count 0 removes; amounts of asks are below 0. The checksum is
  CRC32, signed, of the best 25 of both sides in turn, ``price:amount``, in the text of the frames. It comes
  in a frame of its own, which becomes a delta without levels. A number left out of the sequence may have been
  any channel's: a book of up to 25 levels a side is doubted until its next checksum, a deeper one is broken.
- 25 channels a connection, 20 connects a minute and address. Codes 20051 (the server restarts), 20060 and
  20061 (maintenance begins, ends: subscribe anew), 10300 (refused), 10305 (too many channels).
- Pairs are ``tBTCUSD``, with a colon where a currency's code is not of three letters: ``tDOGE:USD``. Some
  codes are the exchange's own: UST is USDT.
"""

import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, cast

import msgspec
from msgspec import Meta, field

from core.errors import ErrorCode, PayloadError
from core.exact_numbers import ExactNumbers
from core.exchanges.base import (
    Book,
    Complaint,
    Confirmed,
    ConnectionLimits,
    Dialect,
    ExchangeProfile,
    Outgoing,
    Refused,
    SymbolTrack,
)
from core.exchanges.values import MAX_PRICE, MAX_QUANTITY, EpochMs, Id, Price, PriceOrZero, Quantity, Rate
from core.identity import Exchange, Region, RequestType, Symbol
from core.order_books import BookSide
from core.records import Level, Record, Side, StreamType, Ticker, Trade

_EXCHANGE, _REGION = Exchange.BITFINEX.value, Region.EUROPE.value
_CHANNELS = {RequestType.TICKER: "ticker", RequestType.TRADE: "trades", RequestType.ORDERBOOK: "book"}
_REQUEST_TYPES = {name: request_type for request_type, name in _CHANNELS.items()}
_LENGTHS = (1, 25, 100, 250)
_TIMESTAMP, _SEQ_ALL, _OB_CHECKSUM, _BULK_UPDATES = 32_768, 65_536, 131_072, 536_870_912
_CHECKSUM_LEVELS = 25
_DEFAULT_LENGTH = 25
_OTHER_BOOK = "other book of the pair"
_CODE_LETTERS = 3
_REMEMBERED_TRADES = 256
_FIRST_TIME_MS, _END_TIME_MS = 1_000_000_000_000, 10_000_000_000_000
_HEAD_BYTES = 24
_QUOTE, _BRACKET, _MINUS = ord('"'), ord("["), ord("-")
_BUY, _SELL = Side.BUY, Side.SELL
_SNAPSHOT, _REALTIME = StreamType.SNAPSHOT, StreamType.REALTIME
_NO_AMOUNT = "a trade of amount 0 is none"
_SERVER_RESTARTS, _MAINTENANCE_BEGINS, _MAINTENANCE_ENDED = 20051, 20060, 20061
_UNKNOWN_PAIR, _ALREADY_SUBSCRIBED, _TOO_MANY_CHANNELS = 10001, 10301, 10305
_AS_WANTED = frozenset({_ALREADY_SUBSCRIBED, 10400, 10401})
"""Errors that leave things as they were to become: subscribed already, not subscribed any more."""
_WORDS = {b'"hb"': "hb", b'"te"': "te", b'"tu"': "tu", b'"cs"': "cs"}
_WITH_ARGUMENT = frozenset({"te", "tu", "cs"})

_CODES = {
    "AIX": "AI", "ALG": "ALGO", "AMP": "AMPL", "ATO": "ATOM", "B21X": "B21", "BCHABC": "XEC",
    "DAT": "DATA", "DSH": "DASH", "EDO": "PNT", "EUS": "EURS", "EUT": "EURT", "FBT": "FB", "GNT": "GLM",
    "HIX": "HI", "IDX": "ID", "IOT": "IOTA", "IQX": "IQ", "LBT": "LBTC", "MNA": "MANA", "OMN": "OMNI",
    "PAS": "PASS", "QSH": "QASH", "QTM": "QTUM", "RBT": "RBTC", "SNG": "SNGLS", "SPK": "SPANK",
    "STJ": "STORJ", "TSD": "TUSD", "UDC": "USDC", "USK": "USDK", "UST": "USDT", "VSY": "VSYS",
    "WBT": "WBTC", "YYW": "YOYOW",
}  # fmt: skip
"""The exchange's codes for currencies that others call otherwise, as its map of symbols has them
(``/v2/conf/pub:map:currency:sym``), in capital letters."""
_OWN_CODES = {name: code for code, name in _CODES.items()}


# -- frames --------------------------------------------------------------------------------------------


Tail = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None
_ABSENT = msgspec.Raw(b"null")


class _Array(msgspec.Struct, frozen=True, gc=False, array_like=True):
    channel_id: Id
    body: msgspec.Raw
    a: msgspec.Raw = _ABSENT
    b: msgspec.Raw = _ABSENT
    c: msgspec.Raw = _ABSENT


class _Ticker(msgspec.Struct, frozen=True, gc=False, array_like=True):
    bid: PriceOrZero | None
    bid_sizes: float | None
    ask: PriceOrZero | None
    ask_sizes: float | None
    change: float | None
    change_rate: Rate | None
    last: PriceOrZero | None
    volume: Quantity | None = None
    high: PriceOrZero | None = None
    low: PriceOrZero | None = None


class _Trade(msgspec.Struct, frozen=True, gc=False, array_like=True):
    trade_id: Id
    time_ms: EpochMs
    amount: Annotated[float, Meta(ge=-MAX_QUANTITY, le=MAX_QUANTITY)]
    price: Price


class _ExactTicker(msgspec.Struct, frozen=True, array_like=True):
    bid: float | None
    bid_sizes: float | None
    ask: float | None
    ask_sizes: float | None
    change: float | None
    change_rate: float | None
    last: Decimal


class _ExactTrade(msgspec.Struct, frozen=True, array_like=True):
    trade_id: int
    time_ms: int
    amount: Decimal
    price: Decimal


class _Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    # As they are written, because the checksum is made of that.
    price: msgspec.Raw
    count: Id
    amount: msgspec.Raw


class _BookLevel(Level, frozen=True, gc=False):
    """A level with its part of the checksum, ``price:amount`` as the frame wrote them. Books of Bitfinex hold
    nothing else."""

    pair: bytes


# Whole frames of what comes most: read at once, and by their parts where that fails.


class _TickerFrame(msgspec.Struct, frozen=True, gc=False, array_like=True):
    channel_id: Id
    body: _Ticker
    a: Tail = None
    b: Tail = None


class _TradeFrame(msgspec.Struct, frozen=True, gc=False, array_like=True):
    channel_id: Id
    word: Literal["te", "tu"]
    body: _Trade
    a: Tail = None
    b: Tail = None


class _BookFrame(msgspec.Struct, frozen=True, gc=False, array_like=True):
    channel_id: Id
    body: _Entry | Literal["cs"]
    a: Tail = None
    b: Tail = None
    c: Tail = None


class _Event(msgspec.Struct, frozen=True):
    event: str
    channel: str | None = None
    channel_id: int | None = field(name="chanId", default=None)
    symbol: str | None = None
    pair: str | None = None
    prec: str | None = None
    freq: str | None = None
    len: str | int | None = None
    code: int | str | None = None
    msg: str | None = None
    flags: int | None = None
    version: int | str | None = None


_ARRAY = msgspec.json.Decoder(_Array)
_EVENT = msgspec.json.Decoder(_Event, strict=False)
_TICKER = msgspec.json.Decoder(_Ticker, strict=False)
_TRADE = msgspec.json.Decoder(_Trade, strict=False)
_TRADES = msgspec.json.Decoder(list[_Trade], strict=False)
_EXACT_TICKER = msgspec.json.Decoder(_ExactTicker, strict=False)
_EXACT_TRADE = msgspec.json.Decoder(_ExactTrade, strict=False)
_EXACT_TRADES = msgspec.json.Decoder(list[_ExactTrade], strict=False)
_ENTRY = msgspec.json.Decoder(_Entry)
_ENTRIES = msgspec.json.Decoder(list[_Entry])
_NUMBER: msgspec.json.Decoder[int | None] = msgspec.json.Decoder(Tail)
_Frame = _TickerFrame | _TradeFrame | _BookFrame
_Read = Callable[[str | bytes], _Frame]
_READS: dict[RequestType, _Read] = {
    RequestType.TICKER: msgspec.json.Decoder(_TickerFrame, strict=False).decode,
    RequestType.TRADE: msgspec.json.Decoder(_TradeFrame, strict=False).decode,
    RequestType.ORDERBOOK: msgspec.json.Decoder(_BookFrame, strict=False).decode,
}


class _SeenTrades:
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


class _Channel:
    """A subscription on this connection. ``request_type`` and ``read`` are None for those that give no records,
    ``unread`` says why. ``terms`` are those of a book, the less the better: precision, frequency, and the
    length as a negative number. ``checked``: checksums come that cover all of the book. ``track`` is the
    pair's, once it was asked for."""

    __slots__ = (
        "checked", "exchange_symbol", "past_snapshot", "read", "request_type", "seen", "terms", "track",
        "unread",
    )  # fmt: skip

    def __init__(
        self,
        request_type: RequestType | None,
        exchange_symbol: str,
        terms: tuple[str, str, int],
        unread: str,
        seen: _SeenTrades,
    ) -> None:
        self.request_type = request_type
        self.read = None if request_type is None else _READS[request_type]
        self.exchange_symbol = exchange_symbol
        self.terms = terms
        self.unread = unread
        self.seen = seen
        self.past_snapshot = False
        self.checked = False
        self.track: SymbolTrack | None = None

    def give_up(self, unread: str) -> None:
        """Read no more of it."""
        self.request_type = self.read = None
        self.unread = unread


# -- protocol ------------------------------------------------------------------------------------------


class BitfinexDialect(Dialect):
    """One connection to Bitfinex."""

    def __init__(self, profile: ExchangeProfile, request_type: RequestType, session_id: int) -> None:
        super().__init__(profile, request_type, session_id)
        self._configured = False
        self._channels: dict[int, _Channel] = {}
        self._bulk = False
        self._next: int | None = None
        # What reads most frames of this connection at once.
        self._read_own = _READS[request_type]
        self._seen_trades: dict[str, _SeenTrades] = {}
        # Which trades of the last frame became records, in their order.
        self._taken: Sequence[int] = ()
        self._last_ping = 0

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """A message a pair; before the first, what all frames shall carry."""
        messages: list[Outgoing] = []
        if not self._configured:
            self._configured = True
            flags = _TIMESTAMP | _SEQ_ALL
            if self.request_type is RequestType.ORDERBOOK:
                flags |= _OB_CHECKSUM
            messages.append(msgspec.json.encode({"event": "conf", "flags": flags}).decode())
        for track in added:
            request = {
                "event": "subscribe",
                "channel": _CHANNELS[self.request_type],
                "symbol": track.exchange_symbol,
            }
            if self.request_type is RequestType.ORDERBOOK:
                length = next((n for n in _LENGTHS if n >= self.books.settings.depth), _LENGTHS[-1])
                self.books.depth = length
                request |= {"prec": "P0", "freq": "F0", "len": str(length)}
            messages.append(msgspec.json.encode(request).decode())
        return messages

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """A message a channel. One that has no number yet is ended as soon as it has."""
        symbols = {track.exchange_symbol for track in removed}
        numbers = [
            number
            for number, channel in self._channels.items()
            if channel.request_type is self.request_type and channel.exchange_symbol in symbols
        ]
        for number in numbers:
            del self._channels[number]
        return [_unsubscribe(number) for number in numbers]

    def probe(self) -> Outgoing:
        """Answered by ``pong``."""
        self._last_ping += 1
        return msgspec.json.encode({"event": "ping", "cid": self._last_ping}).decode()

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame; see ``Dialect.receive``."""
        read: _Read | None = self._read_own
        if self.accept_all:
            # In a recording, channels of all types come on one connection.
            head = self._channel_of(frame)
            read = None if head is None else head.read
        if read is None:
            return self._receive_parts(frame, received_us)
        try:
            data = read(frame)
        except msgspec.ValidationError:
            return self._receive_parts(frame, received_us)
        channel = self._channels.get(data.channel_id)
        if channel is None or channel.read is not read:
            return self._receive_parts(frame, received_us)
        a, time_ms = data.a, data.b
        if a is not None and a == self._next and (time_ms is None or _FIRST_TIME_MS <= time_ms < _END_TIME_MS):
            self._next = a + 1
        elif isinstance(data, _BookFrame) and isinstance(data.body, str):
            time_ms = self._take_tail(data.b, data.c, received_us)
            return self._compare(channel, a, time_ms, received_us)
        else:
            time_ms = self._take_tail(a, time_ms, received_us)
        if isinstance(data, _TradeFrame):
            return self._trade(channel, data.body, received_us)
        if isinstance(data, _TickerFrame):
            return self._give_ticker(channel, data.body, time_ms, received_us)
        entry = data.body
        if isinstance(entry, str):
            self._next = a  # a checksum that looked like the sequence
            return self._compare(channel, a, None, received_us)
        return self._update(channel, entry, time_ms, received_us)

    def _receive_parts(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """A frame that is none of those that come most, by its parts."""
        try:
            array = _ARRAY.decode(frame)
        except msgspec.ValidationError:
            self._take_event(frame)
            return ()
        body = memoryview(array.body)
        word = None
        if body[0] == _QUOTE:
            word = _WORDS.get(bytes(body), "")
        elif body[0] != _BRACKET:
            raise PayloadError("the array holds neither data nor a word")
        time_ms, sequence = _tail(array, 1 if word in _WITH_ARGUMENT else 0)
        if sequence is not None:
            self._check_sequence(sequence, received_us)
        return self._read(self._channels.get(array.channel_id), word, array, time_ms, received_us)

    def _channel_of(self, frame: str | bytes) -> _Channel | None:
        """The channel that an array begins with; None for what is none, or is not known."""
        head = frame[1:_HEAD_BYTES]
        number = head.partition(",")[0] if isinstance(head, str) else head.partition(b",")[0]
        try:
            return self._channels.get(int(number))
        except ValueError:
            return None

    def _take_tail(self, a: int | None, b: int | None, received_us: int) -> int | None:
        """The server's time; the sequence is checked. Which of the numbers is what, their size tells."""
        time_ms = sequence = None
        for number in (a, b):
            if number is not None:
                if number >= _FIRST_TIME_MS:
                    time_ms = number if number < _END_TIME_MS else None
                elif number >= 0:
                    sequence = number
        if sequence is not None:
            self._check_sequence(sequence, received_us)
        return time_ms

    def _ask_track(self, channel: _Channel) -> SymbolTrack | None:
        """The channel's track when somebody asked for the pair; None after it was counted."""
        assert channel.request_type is not None
        channel.track = self.track_of(channel.request_type, channel.exchange_symbol)
        return channel.track

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """The ticker of a frame, or those of its trades that became records."""
        array = _ARRAY.decode(frame)
        channel = self._channels[array.channel_id]
        if channel.request_type is RequestType.TICKER:
            return (ExactNumbers(_EXACT_TICKER.decode(array.body).last),)
        word = bytes(memoryview(array.body)[:1]) == b'"'
        trades = [_EXACT_TRADE.decode(array.a)] if word else _EXACT_TRADES.decode(array.body)
        by_id = {trade.trade_id: trade for trade in trades}
        return [ExactNumbers(by_id[i].price, abs(by_id[i].amount)) for i in self._taken]

    def _read(
        self, channel: _Channel | None, word: str | None, array: _Array, time_ms: int | None, received_us: int
    ) -> Sequence[Record]:
        if word == "hb":
            self.control()
            track = None if channel is None else self.tracks.get(channel.exchange_symbol)
            if track is not None and track.active:
                track.beats += 1
            return ()
        if channel is None:
            self.ignore("channel that is not subscribed")
            return ()
        if word == "":
            self.ignore("word without records")
            return ()
        match channel.request_type:
            case RequestType.TICKER if word is None:
                return self._ticker(channel, array.body, time_ms, received_us)
            case RequestType.TRADE if word != "cs":
                return self._trades(channel, word, array, received_us)
            case RequestType.ORDERBOOK if word is None:
                return self._book(channel, array.body, time_ms, received_us)
            case RequestType.ORDERBOOK if word == "cs":
                return self._compare(channel, _NUMBER.decode(array.a), time_ms, received_us)
            case None:
                self.ignore(channel.unread)
                return ()
            case _:
                raise PayloadError(f"{word!r} belongs to no {channel.request_type} channel")

    def _check_sequence(self, sequence: int, received_us: int) -> None:
        following, self._next = self._next, sequence + 1
        if following is None or following - 1 <= sequence <= following:
            return
        message = (
            f"Bitfinex: frame {sequence} of the connection came after {following - 1}; "
            "it is not known which of its channels lost something"
        )
        kept = [track for track in (*self.tracks.values(), *self._other_tracks.values()) if track.book]
        checked = {channel.exchange_symbol for channel in self._channels.values() if channel.checked}
        doubted = [track for track in kept if track.exchange_symbol in checked]
        if doubted or not kept:
            self.notices.append(Complaint(ErrorCode.SEQUENCE_GAP, message))
        self.books.doubt(doubted, _CHECKSUM_LEVELS, received_us)
        self.books.gap([track for track in kept if track not in doubted], message, received_us)

    # -- data --------------------------------------------------------------------------------------

    def _ticker(
        self, channel: _Channel, body: msgspec.Raw, time_ms: int | None, received_us: int
    ) -> Sequence[Record]:
        return self._give_ticker(channel, _TICKER.decode(body), time_ms, received_us)

    def _give_ticker(
        self, channel: _Channel, data: _Ticker, time_ms: int | None, received_us: int
    ) -> Sequence[Record]:
        track = channel.track
        if track is None or not track.active:
            track = self._ask_track(channel)
        if track is None:
            return ()
        stream_type = _REALTIME if channel.past_snapshot else _SNAPSHOT
        channel.past_snapshot = True
        if not data.last:
            self.ignore("ticker without a price")
            return ()
        track.sequence += 1
        return (
            Ticker(
                _EXCHANGE,
                _REGION,
                track.symbol,
                track.exchange_symbol,
                time_ms,
                received_us,
                self.session_id,
                track.sequence,
                data.last,
                None,  # opening price
                data.high or None,
                data.low or None,
                None,  # previous close
                data.change_rate,
                data.volume,
                None,  # volume in the quote currency
                data.bid or None,
                None,
                data.ask or None,
                None,
                stream_type,
            ),
        )

    def _trades(self, channel: _Channel, word: str | None, array: _Array, received_us: int) -> Sequence[Record]:
        if word is not None:
            return self._trade(channel, _TRADE.decode(array.a), received_us)
        # The newest first, as the exchange sends it; records go by time.
        trades = sorted(_TRADES.decode(array.body), key=_trade_order)
        if 0 in [trade.amount for trade in trades]:
            raise PayloadError(_NO_AMOUNT)
        track = channel.track
        if track is None or not track.active:
            track = self._ask_track(channel)
        if track is None:
            return ()
        fresh = [trade for trade in trades if channel.seen.is_new(trade.trade_id)]
        if not fresh:
            self.ignore("trades already seen" if trades else "snapshot without trades")
        self._taken = [trade.trade_id for trade in fresh]
        return [self._record(track, trade, received_us) for trade in fresh]

    def _trade(self, channel: _Channel, trade: _Trade, received_us: int) -> Sequence[Record]:
        if not trade.amount:
            raise PayloadError(_NO_AMOUNT)
        track = channel.track
        if track is None or not track.active:
            track = self._ask_track(channel)
        if track is None:
            return ()
        trade_id = trade.trade_id
        if not channel.seen.is_new(trade_id):
            self.ignore("trades already seen")
            self._taken = ()
            return ()
        self._taken = (trade_id,)
        return (self._record(track, trade, received_us),)

    def _record(self, track: SymbolTrack, trade: _Trade, received_us: int) -> Trade:
        amount = trade.amount
        track.sequence += 1
        return Trade(
            _EXCHANGE,
            _REGION,
            track.symbol,
            track.exchange_symbol,
            trade.time_ms,
            received_us,
            self.session_id,
            track.sequence,
            trade.price,
            abs(amount),
            _BUY if amount > 0 else _SELL,
            str(trade.trade_id),
        )

    def _book(
        self, channel: _Channel, body: msgspec.Raw, time_ms: int | None, received_us: int
    ) -> Sequence[Record]:
        if not _holds_entries(body):
            return self._update(channel, _ENTRY.decode(body), time_ms, received_us)
        bids: list[Level] = []
        asks: list[Level] = []
        for entry in _ENTRIES.decode(body):
            _put(entry, bids, asks)
        track = channel.track
        if track is None or not track.active:
            track = self._ask_track(channel)
        if track is None:
            return ()
        if self._bulk and channel.past_snapshot:
            return (self.books.delta(track, bids, asks, received_us, time_ms),)
        channel.past_snapshot = True
        bids.sort(key=_price, reverse=True)
        asks.sort(key=_price)
        return (self.books.snapshot(track, bids, asks, received_us, time_ms),)

    def _update(
        self, channel: _Channel, entry: _Entry, time_ms: int | None, received_us: int
    ) -> Sequence[Record]:
        bids: list[Level] = []
        asks: list[Level] = []
        _put(entry, bids, asks)
        track = channel.track
        if track is None or not track.active:
            track = self._ask_track(channel)
        if track is None:
            return ()
        return (self.books.delta(track, bids, asks, received_us, time_ms),)

    def _compare(
        self, channel: _Channel, checksum: int | None, time_ms: int | None, received_us: int
    ) -> Sequence[Record]:
        if checksum is None:
            raise PayloadError("the frame of a checksum has none")
        track = channel.track
        if track is None or not track.active:
            track = self._ask_track(channel)
        if track is None:
            return ()
        channel.checked = -channel.terms[-1] <= _CHECKSUM_LEVELS
        return (self.books.delta(track, [], [], received_us, time_ms, None, None, None, checksum),)

    def checksum(self, book: Book) -> int:
        """CRC32, signed, over both sides in turn."""
        bids, asks = _pairs_of(book.bids), _pairs_of(book.asks)
        both = min(len(bids), len(asks))
        pairs = [b""] * (2 * both)
        pairs[::2], pairs[1::2] = bids[:both], asks[:both]
        pairs += bids[both:] or asks[both:]
        crc = zlib.crc32(b":".join(pairs))
        return crc - 2**32 if crc >= 2**31 else crc

    # -- events ------------------------------------------------------------------------------------

    def _take_event(self, frame: str | bytes) -> None:
        event = _EVENT.decode(frame)
        match event.event:
            case "subscribed":
                self._open_channel(event)
            case "unsubscribed":
                self._channels.pop(event.channel_id or 0, None)
            case "conf":
                self._bulk = bool((event.flags or 0) & _BULK_UPDATES)
            case "info":
                self._take_info(event)
            case "error":
                self._complain(event)
            case "pong" | "auth":
                pass
            case _:
                self.ignore("event that is not known")
                return
        self.control()

    def _open_channel(self, event: _Event) -> None:
        if event.channel_id is None:
            raise PayloadError("a subscription without the number of its channel")
        request_type = _REQUEST_TYPES.get(event.channel or "")
        symbol = event.symbol or f"t{event.pair or ''}"
        unread = "channel without records"
        # Raw books list orders, and what begins with f is not traded but lent.
        if not symbol.startswith("t") or (event.prec or "").startswith("R"):
            request_type = None
        track = self.tracks.get(symbol)
        if request_type is self.request_type and track is not None and not track.active:
            self.outbox.append(_unsubscribe(event.channel_id))
            return
        terms = (event.prec or "P0", event.freq or "F0", -_length(event))
        self._channels.pop(event.channel_id, None)
        for number, channel in list(self._channels.items()):
            if channel.request_type is not request_type or channel.exchange_symbol != symbol:
                continue
            if channel.terms == terms or not self.accept_all:
                del self._channels[number]  # renewed
            elif request_type is RequestType.ORDERBOOK and terms < channel.terms:
                channel.give_up(_OTHER_BOOK)
                if channel.track is not None:
                    self.books.forget(channel.track)
            elif request_type is RequestType.ORDERBOOK:
                request_type, unread = None, _OTHER_BOOK
        seen = self._seen_trades.setdefault(symbol, _SeenTrades())
        self._channels[event.channel_id] = _Channel(request_type, symbol, terms, unread, seen)
        if track is not None and request_type is self.request_type:
            self.notices.append(Confirmed((track.symbol,)))

    def _take_info(self, event: _Event) -> None:
        if event.version is not None and self.accept_all:
            # The first frame of a connection: in a recording, of the next one.
            self._channels.clear()
            self._next = None
            self._bulk = False
        message = f"Bitfinex: {event.code}: {(event.msg or '')[:256]}"
        code = _code(event)
        if code in (_SERVER_RESTARTS, _MAINTENANCE_BEGINS):
            self.notices.append(Complaint(ErrorCode.CONNECT_FAILED, message))
        elif code == _MAINTENANCE_ENDED:
            active = [track for track in self.tracks.values() if track.active]
            self.outbox.extend(self.unsubscribe(active, ()))
            self.outbox.extend(self.subscribe(active, active))

    def _complain(self, event: _Event) -> None:
        """Refuse the pair that the error names; any other error concerns the connection."""
        code = _code(event)
        message = f"Bitfinex: {code}: {(event.msg or '')[:256]}"
        if code in _AS_WANTED:
            return
        text = (event.msg or "").lower()
        if code == _TOO_MANY_CHANNELS or "rate" in text:
            self.notices.append(Complaint(ErrorCode.RATE_LIMITED, message))
            return
        track = self.tracks.get(event.symbol or f"t{event.pair or ''}")
        if track is None or not track.active:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))
        else:
            unknown = code == _UNKNOWN_PAIR or "symbol" in text or "pair" in text
            refusal = ErrorCode.UNKNOWN_SYMBOL if unknown else ErrorCode.SUBSCRIBE_REJECTED
            self.notices.append(Refused((track.symbol,), refusal, message))


def _unsubscribe(number: int) -> str:
    return msgspec.json.encode({"event": "unsubscribe", "chanId": number}).decode()


def _length(event: _Event) -> int:
    """How many levels a side a book has."""
    try:
        return _DEFAULT_LENGTH if event.len is None else int(event.len)
    except ValueError as exc:
        raise PayloadError(f"{event.len!r} is no length of a book") from exc


def _code(event: _Event) -> int | None:
    """The code of an event, which has also been seen as text."""
    try:
        return None if event.code is None else int(event.code)
    except ValueError:
        return None


def _tail(array: _Array, taken: int) -> tuple[int | None, int | None]:
    """The server's time and the sequence, behind the ``taken`` arguments of a word, told by their size."""
    time_ms = sequence = None
    for raw in (array.a, array.b, array.c)[taken:]:
        try:
            number = None if raw is _ABSENT else _NUMBER.decode(raw)
        except msgspec.ValidationError:
            continue  # a field of the future
        if number is None:
            continue
        if number >= _FIRST_TIME_MS:
            time_ms = number if number < _END_TIME_MS else None
        elif number >= 0:
            sequence = number
    return time_ms, sequence


def _holds_entries(body: msgspec.Raw) -> bool:
    """Whether the body is a list of entries, also an empty one, and not one entry."""
    return bytes(memoryview(body)[1:64]).lstrip()[:1] in (b"[", b"]")


def _pairs_of(side: BookSide) -> list[bytes]:
    """The side's part of the checksum."""
    texts = side.texts
    if texts is None:
        best = cast(list[_BookLevel], side.best(_CHECKSUM_LEVELS))
        texts = [level.pair for level in best]
        side.remember(texts, best, _CHECKSUM_LEVELS)
    return texts


def _put(entry: _Entry, bids: list[Level], asks: list[Level]) -> None:
    """Add the entry's level to its side; raises ``PayloadError`` for one that is none or out of range."""
    price_text, amount_text = bytes(entry.price), bytes(entry.amount)
    try:
        price, amount = float(price_text), float(amount_text)
    except ValueError:
        # With a flag of its own, decimals come as text.
        price_text, amount_text = price_text.strip(b'"'), amount_text.strip(b'"')
        try:
            price, amount = float(price_text), float(amount_text)
        except ValueError as exc:
            raise PayloadError(f"{price_text[:32]!r}, {amount_text[:32]!r} is no level") from exc
    # Also false for what is no number at all ("nan").
    if not (0 < price <= MAX_PRICE and -MAX_QUANTITY <= amount <= MAX_QUANTITY):
        raise PayloadError(f"{price_text[:32]!r}, {amount_text[:32]!r} is out of range for a level")
    # Without orders the amount only tells the side.
    quantity = abs(amount) if entry.count else 0.0
    level = _BookLevel(price, quantity, price_text + b":" + amount_text)
    (asks if amount_text[0] == _MINUS else bids).append(level)


def _trade_order(trade: _Trade) -> tuple[int, int]:
    return trade.time_ms, trade.trade_id


def _price(level: Level) -> float:
    return level.price


class Bitfinex(ExchangeProfile):
    """Bitfinex (Europe)."""

    exchange = Exchange.BITFINEX
    region = Region.EUROPE
    request_types = frozenset(RequestType)
    url = "wss://api-pub.bitfinex.com/ws/2"
    allowed_hosts = frozenset({"api-pub.bitfinex.com"})
    # A bound on messages is not documented.
    limits = ConnectionLimits(
        max_symbols=25,
        max_symbols_per_message=1,
        max_connects=20,
        connect_window_s=60.0,
        max_messages=10,
        message_window_s=1.0,
    )
    channel_heartbeat_s: ClassVar[float | None] = 15.0

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-USD``, or Bitfinex's own ``tBTCUSD`` and ``tDOGE:USD``; its own codes become the usual ones."""
        base, dash, quote = text.upper().partition("-")
        if not dash:
            base, quote = _split(text)
        return Symbol(_CODES.get(base, base), _CODES.get(quote, quote))

    def spell_symbol(self, symbol: Symbol) -> str:
        """``tBTCUSD`` for BTC-USD, ``tDOGE:USD`` for DOGE-USD, ``tUSTUSD`` for USDT-USD."""
        base, quote = (_OWN_CODES.get(part, part) for part in (symbol.base, symbol.quote))
        colon = "" if len(base) == len(quote) == _CODE_LETTERS else ":"
        return f"t{base}{colon}{quote}"

    def dialect(self, request_type: RequestType, session_id: int) -> BitfinexDialect:
        """A new connection's protocol."""
        return BitfinexDialect(self, request_type, session_id)


def _split(text: str) -> tuple[str, str]:
    """The codes of ``tBTCUSD``, ``tDOGE:USD``; the ``t`` may be missing from the first."""
    upper = text.upper()
    base, colon, quote = upper.partition(":")
    if colon:
        if text.startswith("t") or (base.startswith("T") and len(base) > _CODE_LETTERS):
            base = base[1:]
        return base, quote
    pair = upper[1:] if len(upper) == 2 * _CODE_LETTERS + 1 and upper.startswith("T") else upper
    if len(pair) != 2 * _CODE_LETTERS:
        raise ValueError(f"{text[:64]!r} is no pair such as BTC-USD, tBTCUSD or tDOGE:USD")
    return pair[:_CODE_LETTERS], pair[_CODE_LETTERS:]
