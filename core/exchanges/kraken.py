"""Kraken's public spot WebSocket, version 2.

Written after Kraken's documentation (read 2026-11): the channels Ticker, Trade, Book, Status and Heartbeat
and the methods subscribe, unsubscribe and ping under docs.kraken.com/exchange/api-reference/spot-websocket-v2
(also under docs.kraken.com/api/docs/websocket-v2), the guides "Spot WebSocket Introduction" and "Book
checksum (WebSocket v2)", the changelog, and the support article "WebSocket API frequently asked questions".

- A request is ``{"method": "subscribe", "params": {"channel", "symbol": […], …}, "req_id"}``. Each symbol is
  answered by itself, with ``success`` and ``result``, or with ``error`` and mostly ``symbol``.
- Data is ``{"channel", "type": "snapshot" | "update", "data": […]}``: numbers as JSON numbers, times as RFC
  3339. Symbols are ``BTC/USD``: version 2 has no XBT and no XDG, which are read here as what they stand for.
- ``trade`` may hold several trades, also of several pairs; ``side`` is the taker's. Its snapshot, off by
  default, holds former trades: it is not asked for. ``trade_id`` counts the trades of a pair.
- ``book`` has absolute quantities, 0 removes, one price perhaps several times in a message, in order. The
  book has to be cut at the subscribed depth (10, 25, 100, 500, 1000) after each message. The checksum is
  CRC32 over the best 10 asks, then bids: price and quantity as the frame wrote them, without the point and
  without leading zeros. There is no sequence. After a mismatch the pair is subscribed anew.
- The same server speaks version 1 at another path: arrays, ``[channel, {…}, "book-10", "XBT/USD"]``, and
  objects with ``event``. They are passed over.
- Tokenised stocks have lower case in their names: ``AAPLx/USD``. A name with a dot, as ``ETH2.S``, has no
  canonical form, and is passed over.
- ``heartbeat`` comes about every second in which nothing else does. ``ping`` is answered by ``pong``; a
  connection on which nothing is sent for a minute may be closed. About 150 connects in 10 minutes and address
  are let through.
"""

import zlib
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, cast, final

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
    Makers,
    Outgoing,
    Refused,
    SymbolTrack,
)
from core.exchanges.iso_time import IsoTime, epoch_ms
from core.exchanges.values import (
    MAX_LEVEL_CHARS,
    MAX_PRICE,
    MAX_QUANTITY,
    Id,
    Price,
    PriceOrZero,
    Quantity,
    TradedQuantity,
)
from core.identity import Exchange, Region, RequestType, Symbol
from core.order_books import BookSide
from core.records import Level, Record, Side, StreamType, Ticker, Trade

_EXCHANGE, _REGION = Exchange.KRAKEN.value, Region.NA.value
_CHANNELS = {RequestType.TICKER: "ticker", RequestType.TRADE: "trade", RequestType.ORDERBOOK: "book"}
_OUR_CHANNELS = frozenset(_CHANNELS.values())
_TICKER, _TRADE, _BOOK = RequestType.TICKER, RequestType.TRADE, RequestType.ORDERBOOK
_STREAM_TYPES: dict[str | None, StreamType] = {"snapshot": StreamType.SNAPSHOT, "update": StreamType.REALTIME}
_SIDES: dict[str | None, Side] = {"buy": Side.BUY, "sell": Side.SELL}
_UNKNOWN, _UNKNOWN_STREAM = Side.UNKNOWN, StreamType.UNKNOWN
_FORMER_NAMES = {"XBT": "BTC", "XDG": "DOGE"}
_TOKENISED_STOCKS = (
    "AAPLx", "AMZNx", "COINx", "CRCLx", "GLDx", "GMEx", "GOOGLx", "HOODx", "METAx", "MSFTx", "MSTRx", "NFLXx",
    "NVDAx", "PLTRx", "QQQx", "SPYx", "TQQQx", "TSLAx",
)  # fmt: skip
"""Those that Kraken's articles on xStocks name. Their list grows; one that is not here is spelled in capitals,
and the exchange then refuses it. (Recordings are read whatever they hold.)"""
_OWN_NAMES = {name.upper(): name for name in _TOKENISED_STOCKS}
_DEPTHS = (10, 25, 100, 500, 1000)
_CHECKSUM_LEVELS = 10
_REMEMBERED_REQUESTS = 100
_PASSING_ERRORS = ("EService:", "EGeneral:Internal", "EGeneral:Temporary")
"""The exchange is busy or away: says nothing about the pair."""
_VERSION_1 = "frame of version 1"
_MIN_PARTS_V1 = 4


# -- frames --------------------------------------------------------------------------------------------


class _TickerData(msgspec.Struct, frozen=True, gc=False):
    symbol: str
    last: PriceOrZero | None = None
    high: PriceOrZero | None = None
    low: PriceOrZero | None = None
    change_percent: Annotated[float, Meta(ge=-100, le=1e11)] | None = field(name="change_pct", default=None)
    volume: Quantity | None = None
    bid: PriceOrZero | None = None
    bid_quantity: Quantity | None = field(name="bid_qty", default=None)
    ask: PriceOrZero | None = None
    ask_quantity: Quantity | None = field(name="ask_qty", default=None)
    timestamp: IsoTime | None = None


class _TradeData(msgspec.Struct, frozen=True, gc=False):
    symbol: str
    price: Price
    quantity: TradedQuantity = field(name="qty")
    side: str | None = None
    trade_id: Id | None = None
    timestamp: IsoTime | None = None


class _Level(msgspec.Struct, frozen=True, gc=False):
    # As they are written, because the checksum is made of that.
    price: msgspec.Raw
    quantity: msgspec.Raw = field(name="qty")


class _BookData(msgspec.Struct, frozen=True, gc=False):
    symbol: str
    bids: list[_Level] = []
    asks: list[_Level] = []
    checksum: Id | None = None
    timestamp: IsoTime | None = None


class _Tickers(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="ticker"):
    data: list[_TickerData]
    type: str | None = None


class _Trades(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="trade"):
    data: list[_TradeData]
    type: str | None = None


class _Books(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="book"):
    data: list[_BookData]
    type: Literal["snapshot", "update"]


@final
class _Heartbeat(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="heartbeat"):
    pass


class _ExactItem(msgspec.Struct, frozen=True):
    last: Decimal | None = None
    price: Decimal | None = None
    quantity: Decimal | None = field(name="qty", default=None)


class _ExactFrame(msgspec.Struct, frozen=True):
    data: list[_ExactItem]


class _Result(msgspec.Struct, frozen=True):
    channel: str | None = None
    symbol: str | None = None
    depth: int | None = None


class _Envelope(msgspec.Struct, frozen=True):
    """A frame that is none of our data, as far as it says what it is."""

    channel: str | None = None
    method: str | None = None
    success: bool | None = None
    result: _Result | None = None
    error: str | None = None
    symbol: str | None = None
    req_id: int | None = None
    event: str | None = None


_Data = _Tickers | _Trades | _Books | _Heartbeat
# Not strict: numbers written as text are read too.
_DATA: msgspec.json.Decoder[_Data] = msgspec.json.Decoder(_Data, strict=False)
_EXACT = msgspec.json.Decoder(_ExactFrame)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_PARTS = msgspec.json.Decoder(list[msgspec.Raw])


# All of a frame is read before the first of its records takes its sequence: an error in the middle must not
# leave a gap.

# -- protocol ------------------------------------------------------------------------------------------


class KrakenDialect(Dialect):
    """One connection to Kraken."""

    def __init__(self, profile: ExchangeProfile, request_type: RequestType, session_id: int) -> None:
        super().__init__(profile, request_type, session_id)
        self._last_request_id = 0
        # Of a recording's acknowledgements.
        self._depths: dict[str, int] = {}
        # Symbols of each request, and those of requests that were too many and go out again with the heartbeat.
        self._asked: dict[int, tuple[str, ...]] = {}
        self._held: dict[str, None] = {}
        self._newest_trades: dict[str, int] = {}
        # Which items of the last frame became records; None: all of them.
        self._taken: list[int] | None = None
        self.books.exact = True
        self._made: Makers = {_Tickers: self._tickers, _Trades: self._trades, _Books: self._books}

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """``subscribe`` for the added pairs; each is acknowledged by itself."""
        return self._requests("subscribe", added)

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """``unsubscribe`` for the removed pairs."""
        return self._requests("unsubscribe", removed)

    def probe(self) -> Outgoing:
        """Answered by ``pong``."""
        self._last_request_id += 1
        return msgspec.json.encode({"method": "ping", "req_id": self._last_request_id}).decode()

    def heartbeat(self) -> Outgoing:
        """A ping; and what the exchange had not taken for the rate of messages is asked for again."""
        held = [self.tracks[symbol] for symbol in self._held if symbol in self.tracks]
        again = [track for track in held if track.active and not track.confirmed]
        self._held.clear()
        if again:
            self.requests.extend(self._requests("subscribe", again))
        return self.probe()

    def _requests(self, method: str, tracks: Sequence[SymbolTrack]) -> list[Outgoing]:
        params: dict[str, object] = {
            "channel": _CHANNELS[self.request_type],
            "symbol": [track.exchange_symbol for track in tracks],
        }
        if self.request_type is RequestType.ORDERBOOK:
            params["depth"] = self.books.depth = _depth_for(self.books.settings.depth)
        if self.request_type is RequestType.TRADE and method == "subscribe":
            params["snapshot"] = False
        self._last_request_id += 1
        if method == "subscribe":
            self._asked[self._last_request_id] = tuple(track.exchange_symbol for track in tracks)
            if len(self._asked) > _REMEMBERED_REQUESTS:
                del self._asked[next(iter(self._asked))]
        request = {"method": method, "params": params, "req_id": self._last_request_id}
        return [msgspec.json.encode(request).decode()]

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame; see ``Dialect.receive``."""
        try:
            data = _DATA.decode(frame)
        except msgspec.ValidationError as exc:
            self._take_other(frame, exc)
            return ()
        if type(data) is _Heartbeat:
            self.control()
            return ()
        if not data.data:
            self.ignore("frame without data")
            return ()
        return self._made[type(data)](data, received_us)

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """Those of the items that the last ``receive`` made records of."""
        numbers = []
        for place, item in enumerate(_EXACT.decode(frame).data):
            price = item.price if item.last is None else item.last
            if (self._taken is None or place in self._taken) and price is not None:
                numbers.append(ExactNumbers(price, None if item.price is None else item.quantity))
        return numbers

    def _take_other(self, frame: str | bytes, error: msgspec.ValidationError) -> None:
        """A frame that is no data of ours."""
        if _is_of_version_1(frame):
            self.ignore(_VERSION_1)
            return
        envelope = _ENVELOPE.decode(frame)
        if envelope.channel in _OUR_CHANNELS:
            raise error
        if envelope.error is not None or envelope.success is False:
            self._complain(envelope)
        elif envelope.method is not None:
            self._acknowledge(envelope)
        elif envelope.channel == "status":
            self.control()
        elif envelope.channel is not None:
            self.ignore("channel without records")
        elif envelope.event is not None:
            self.ignore(_VERSION_1)
        else:
            raise PayloadError("the frame has neither a channel nor a method nor an error")

    def _acknowledge(self, envelope: _Envelope) -> None:
        self.control()
        result = envelope.result
        if envelope.method != "subscribe" or result is None or result.symbol is None:
            return
        if self.accept_all and result.channel == "book" and result.depth in _DEPTHS:
            self._depths[result.symbol] = result.depth
        track = self.tracks.get(result.symbol)
        if track is not None and result.channel == _CHANNELS[self.request_type]:
            self.notices.append(Confirmed((track.symbol,)))

    def _complain(self, envelope: _Envelope) -> None:
        """Refuse the pair that the error names; any other error concerns the connection."""
        self.control()
        error = envelope.error or "no reason given"
        message = f"Kraken: {error[:256]}"
        lower = error.lower()
        if "rate" in lower and ("exceeded" in lower or "limit" in lower):
            self._held |= dict.fromkeys(self._asked.get(envelope.req_id or 0, ()))
            self.notices.append(Complaint(ErrorCode.RATE_LIMITED, message))
            return
        if envelope.method == "unsubscribe" or "already subscribed" in lower:
            return  # it is as we want it
        track = self.tracks.get(envelope.symbol or error.rpartition(" ")[2])
        if track is None or not track.active or error.startswith(_PASSING_ERRORS):
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))
        elif "not supported" in lower or "not found" in lower or "unknown" in lower:
            self.notices.append(Refused((track.symbol,), ErrorCode.UNKNOWN_SYMBOL, message))
        else:
            self.notices.append(Refused((track.symbol,), ErrorCode.SUBSCRIBE_REJECTED, message))

    def _pair_of(self, exchange_symbol: str) -> Symbol | None:
        """However it is spelled: tokenised stocks that are not in the table, and former names, are read too."""
        try:
            return self.profile.parse_symbol(exchange_symbol)
        except ValueError:
            return None

    def _tickers(self, frame: _Tickers, received_us: int) -> Sequence[Record]:
        stream_type = _STREAM_TYPES.get(frame.type, _UNKNOWN_STREAM)
        times_ms = [epoch_ms(data.timestamp) for data in frame.data]
        records = []
        taken = []
        for place, data in enumerate(frame.data):
            track = self.track_of(_TICKER, data.symbol)
            if track is None:
                continue
            if not data.last:
                self.ignore("ticker without a price")
                continue
            taken.append(place)
            bid, ask, percent = data.bid or None, data.ask or None, data.change_percent
            track.sequence += 1
            records.append(
                Ticker(
                    _EXCHANGE,
                    _REGION,
                    track.symbol,
                    track.exchange_symbol,
                    times_ms[place],
                    received_us,
                    self.session_id,
                    track.sequence,
                    data.last,
                    None,  # opening price; 24 hours ago it was the last less the change
                    data.high or None,
                    data.low or None,
                    None,  # previous close
                    None if percent is None else percent / 100,
                    data.volume,
                    None,  # volume in the quote currency
                    bid,
                    None if bid is None else data.bid_quantity,
                    ask,
                    None if ask is None else data.ask_quantity,
                    stream_type,
                )
            )
        self._taken = taken
        return records

    def _trades(self, frame: _Trades, received_us: int) -> Sequence[Record]:
        """Every trade of the frame, in order."""
        times_ms = [epoch_ms(data.timestamp) for data in frame.data]
        told_before = self._told_before(frame) if self.accept_all else ()
        records = []
        taken = []
        symbol: str | None = None
        track = None
        for place, data in enumerate(frame.data):
            if data.symbol != symbol:
                symbol = data.symbol
                track = self.track_of(_TRADE, symbol)
            if track is None or place in told_before:
                continue
            taken.append(place)
            track.sequence += 1
            records.append(
                Trade(
                    _EXCHANGE,
                    _REGION,
                    track.symbol,
                    track.exchange_symbol,
                    times_ms[place],
                    received_us,
                    self.session_id,
                    track.sequence,
                    data.price,
                    data.quantity,
                    _SIDES.get(data.side, _UNKNOWN),
                    None if data.trade_id is None else str(data.trade_id),
                )
            )
        self._taken = taken
        return records

    def _told_before(self, frame: _Trades) -> Collection[int]:
        """In a recording: which trades of a snapshot, that of a subscription anew, came before it. Their ids
        count each pair's trades."""
        told = set()
        for place, data in enumerate(frame.data):
            if data.trade_id is None:
                continue
            newest = self._newest_trades.get(data.symbol, -1)
            if frame.type == "snapshot" and data.trade_id <= newest:
                told.add(place)
            self._newest_trades[data.symbol] = max(newest, data.trade_id)
        if len(told) == len(frame.data):
            self.ignore("trades already seen")
        return told

    def _books(self, frame: _Books, received_us: int) -> Sequence[Record]:
        whole = frame.type == "snapshot"
        items = [
            (data, epoch_ms(data.timestamp), _levels(data.bids), _levels(data.asks)) for data in frame.data
        ]
        records = []
        for data, time_ms, bids, asks in items:
            track = self.track_of(_BOOK, data.symbol)
            if track is None:
                continue
            if whole:
                self._fit_depth(track, max(len(bids), len(asks)))
                bids.sort(key=_price, reverse=True)
                asks.sort(key=_price)
                record = self.books.snapshot(track, bids, asks, received_us, time_ms, None, data.checksum)
            else:
                record = self.books.delta(
                    track, bids, asks, received_us, time_ms, None, None, None, data.checksum
                )
            records.append(record)
        return records

    def _fit_depth(self, track: SymbolTrack, levels: int) -> None:
        """In a recording, the depth is that of its acknowledgement, or the least that holds the snapshot."""
        if not self.accept_all:
            return
        depth = self._depths.get(track.exchange_symbol) or _depth_for(levels)
        if track.book is not None and track.book.book.depth != depth:
            self.books.forget(track)
        self.books.depth = depth

    def checksum(self, book: Book) -> int:
        """CRC32 over the best asks, then the best bids."""
        return zlib.crc32(b"".join(_digits_of(book.asks) + _digits_of(book.bids)))


def _is_of_version_1(frame: str | bytes) -> bool:
    """Whether this is ``[channel, data…, "name", "pair"]``; raises for an array that is not of JSON."""
    if frame.lstrip()[:1] not in ("[", b"["):
        return False
    parts = [bytes(part) for part in _PARTS.decode(frame)]
    return len(parts) >= _MIN_PARTS_V1 and parts[0].isdigit() and all(p[:1] == b'"' for p in parts[-2:])


def _depth_for(levels: int) -> int:
    return next((depth for depth in _DEPTHS if depth >= levels), _DEPTHS[-1])


class _BookLevel(Level, frozen=True, gc=False):
    """A level with its part of the checksum. Books of Kraken hold nothing else."""

    digits: bytes


def _digits_of(side: BookSide) -> list[bytes]:
    """The side's part of the checksum."""
    texts = side.texts
    if texts is None:
        best = cast(list[_BookLevel], side.best(_CHECKSUM_LEVELS))
        texts = [b"".join([level.digits for level in best])]
        side.remember(texts, best, _CHECKSUM_LEVELS)
    return texts


def _levels(levels: Sequence[_Level]) -> list[Level]:
    if not levels:
        return []
    return [_level(bytes(level.price), bytes(level.quantity)) for level in levels]


def _level(price_text: bytes, quantity_text: bytes) -> Level:
    try:
        price, quantity = float(price_text), float(quantity_text)
    except ValueError as exc:
        if price_text[:1] == b'"' or quantity_text[:1] == b'"':
            return _level(price_text.strip(b'"'), quantity_text.strip(b'"'))
        raise PayloadError(f"{price_text[:32]!r}, {quantity_text[:32]!r} is no level") from exc
    # Also false for what is no number at all ("nan").
    if not (0 < price <= MAX_PRICE and 0 <= quantity <= MAX_QUANTITY):
        raise PayloadError(f"{price_text[:32]!r}, {quantity_text[:32]!r} is out of range for a level")
    price_digits, quantity_digits = price_text.replace(b".", b""), quantity_text.replace(b".", b"")
    if not (price_digits.isdigit() and quantity_digits.isdigit()):
        price_digits, quantity_digits = _written_out(price_text), _written_out(quantity_text)
    digits = price_digits.lstrip(b"0") + quantity_digits.lstrip(b"0")
    if len(digits) > MAX_LEVEL_CHARS:
        raise PayloadError(f"{price_text[:32]!r}, {quantity_text[:32]!r} is too long for a level")
    return _BookLevel(price, quantity, digits)


def _price(level: Level) -> float:
    return level.price


def _written_out(text: bytes) -> bytes:
    """The digits of a number that may have an exponent."""
    number = Decimal(text.decode())
    # A zero may have an exponent of any size, of which each unit would be a digit.
    if number.is_zero():
        return b""
    if number.adjusted() < -MAX_LEVEL_CHARS:
        raise PayloadError(f"{text[:32]!r} is too small for a level")
    return format(number, "f").replace(".", "").encode()


class Kraken(ExchangeProfile):
    """Kraken spot (North America)."""

    exchange = Exchange.KRAKEN
    region = Region.NA
    request_types = frozenset(RequestType)
    url = "wss://ws.kraken.com/v2"
    allowed_hosts = frozenset({"ws.kraken.com", "beta-ws.kraken.com"})
    # Pairs of a connection and of a message, and messages in a time, are not bounded by the documentation;
    # users report "Exceeded msg rate" from 16 requests at once on.
    limits = ConnectionLimits(
        max_symbols=500,
        max_symbols_per_message=100,
        max_connects=150,
        connect_window_s=600.0,
        max_messages=5,
        message_window_s=1.0,
    )
    heartbeat_s: ClassVar[float | None] = 30.0

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-USD``, or Kraken's own ``BTC/USD``; XBT is BTC, XDG is DOGE."""
        symbol = Symbol.parse(text.upper().replace("/", "-"))
        return Symbol(
            _FORMER_NAMES.get(symbol.base, symbol.base), _FORMER_NAMES.get(symbol.quote, symbol.quote)
        )

    def spell_symbol(self, symbol: Symbol) -> str:
        """``BTC/USD`` for BTC-USD, and for XBT-USD; ``AAPLx/USD`` for AAPLX-USD."""
        base, quote = (_FORMER_NAMES.get(part, part) for part in (symbol.base, symbol.quote))
        base = _OWN_NAMES.get(base, base)
        return f"{base}/{quote}"

    def dialect(self, request_type: RequestType, session_id: int) -> KrakenDialect:
        """A new connection's protocol."""
        return KrakenDialect(self, request_type, session_id)
