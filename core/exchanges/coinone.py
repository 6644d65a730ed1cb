"""Coinone's public WebSocket, version 1 (``stream.coinone.co.kr``).

Written after Coinone's documentation (read 2026-11): "Public 웹소켓", "오더북 응답 (ORDERBOOK)",
"티커 응답 (TICKER)", "체결정보 응답 (TRADE)" and "커넥션 관리 (PING)" under docs.coinone.co.kr/reference;
what is called measured is from a published survey of the live socket (2026-09).

- A request names one topic: ``{"request_type": "SUBSCRIBE", "channel", "topic": {"quote_currency",
  "target_currency"}, "format"}``, answered by ``SUBSCRIBED`` with the topic. Data has the response type
  ``DATA`` and its channel, with long keys (``DEFAULT``) or short ones (``SHORT``); numbers are text.
- A symbol is two fields, quote currency and target currency; here they are joined: ``KRW-BTC``. All markets are
  in KRW today.
- An order book frame is always the whole book of 16 levels a side; asks come worst first (measured; the
  examples too), so both sides are sorted. A larger ``id`` is a newer book; ids have gaps. The first frame after
  a subscription is the book as it stands. Its ``timestamp`` may be some seconds older than the book (measured).
- A trade says whether the seller is the maker: the taker buys then.
- Errors (``160010`` to ``160012``) name neither topic nor channel. An unknown topic is acknowledged first, the
  error 160012 follows within milliseconds (measured): ``OpenTopics`` finds out whose it is.
- The client sends ``{"request_type": "PING"}`` and gets ``PONG``; who has not sent one for 30 minutes is cut.
  At most 20 connections an address (the 21st is closed with 4290); topics and messages are not limited in
  writing (363 topics on one connection, asked for in one burst, were served).
"""

from collections.abc import Sequence
from decimal import Decimal
from operator import attrgetter
from typing import ClassVar, Literal

import msgspec
from msgspec import field

from core.errors import ErrorCode, PayloadError
from core.exact_numbers import ExactNumbers
from core.exchanges.base import (
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
from core.exchanges.blank_fields import read_with_blanks
from core.exchanges.coinone_topics import OpenTopics
from core.exchanges.quote_first import QuoteFirstProfile
from core.exchanges.values import (
    EpochMs,
    Price,
    PriceOrZero,
    Quantity,
    TradedQuantity,
)
from core.identity import Exchange, Region, RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade

WireFormat = Literal["DEFAULT", "SHORT"]

_EXCHANGE, _REGION = Exchange.COINONE.value, Region.KOREA.value
_TICKER, _TRADE, _BOOK = RequestType.TICKER, RequestType.TRADE, RequestType.ORDERBOOK
_REALTIME, _SNAPSHOT = StreamType.REALTIME, BookKind.SNAPSHOT
_TAKER_SIDES = {True: Side.BUY, False: Side.SELL, None: Side.UNKNOWN}
"""By whether the seller is the maker."""
_CHANNELS = {RequestType.TICKER: "TICKER", RequestType.TRADE: "TRADE", RequestType.ORDERBOOK: "ORDERBOOK"}
_OUR_CHANNELS = frozenset(_CHANNELS.values())
_INVALID_TOPIC = "160012"
_PING = '{"request_type":"PING"}'
_PRICE = attrgetter("price")
_MAX_LONG = 2**63 - 1


# -- frames --------------------------------------------------------------------------------------------


class _TickerData(msgspec.Struct, frozen=True, gc=False):
    quote: str = field(name="quote_currency")
    target: str = field(name="target_currency")
    last: PriceOrZero | None = None
    time_ms: EpochMs | None = field(name="timestamp", default=None)
    first: PriceOrZero | None = None
    high: PriceOrZero | None = None
    low: PriceOrZero | None = None
    yesterday_last: PriceOrZero | None = None
    volume: Quantity | None = field(name="target_volume", default=None)
    quote_volume: Quantity | None = None
    bid: PriceOrZero | None = field(name="bid_best_price", default=None)
    bid_quantity: Quantity | None = field(name="bid_best_qty", default=None)
    ask: PriceOrZero | None = field(name="ask_best_price", default=None)
    ask_quantity: Quantity | None = field(name="ask_best_qty", default=None)


class _ShortTickerData(_TickerData, frozen=True, gc=False):
    quote: str = field(name="qc")
    target: str = field(name="tc")
    last: PriceOrZero | None = field(name="la", default=None)
    time_ms: EpochMs | None = field(name="t", default=None)
    first: PriceOrZero | None = field(name="fi", default=None)
    high: PriceOrZero | None = field(name="hi", default=None)
    low: PriceOrZero | None = field(name="lo", default=None)
    yesterday_last: PriceOrZero | None = field(name="yla", default=None)
    volume: Quantity | None = field(name="tv", default=None)
    quote_volume: Quantity | None = field(name="qv", default=None)
    bid: PriceOrZero | None = field(name="bbp", default=None)
    bid_quantity: Quantity | None = field(name="bbq", default=None)
    ask: PriceOrZero | None = field(name="abp", default=None)
    ask_quantity: Quantity | None = field(name="abq", default=None)


class _TradeData(msgspec.Struct, frozen=True, gc=False):
    quote: str = field(name="quote_currency")
    target: str = field(name="target_currency")
    price: Price
    quantity: TradedQuantity = field(name="qty")
    time_ms: EpochMs | None = field(name="timestamp", default=None)
    trade_id: str | int | None = field(name="id", default=None)
    seller_is_maker: bool | None = field(name="is_seller_maker", default=None)


class _ShortTradeData(_TradeData, frozen=True, gc=False):
    quote: str = field(name="qc")
    target: str = field(name="tc")
    price: Price = field(name="p")
    quantity: TradedQuantity = field(name="q")
    time_ms: EpochMs | None = field(name="t", default=None)
    trade_id: str | int | None = field(name="i", default=None)
    seller_is_maker: bool | None = field(name="sm", default=None)


class _Level(msgspec.Struct, frozen=True, gc=False):
    price: PriceOrZero | None = None
    quantity: Quantity | None = field(name="qty", default=None)


class _ShortLevel(_Level, frozen=True, gc=False):
    price: PriceOrZero | None = field(name="p", default=None)
    quantity: Quantity | None = field(name="q", default=None)


class _BookData(msgspec.Struct, frozen=True, gc=False):
    quote: str = field(name="quote_currency")
    target: str = field(name="target_currency")
    bids: list[_Level] | None
    asks: list[_Level] | None
    time_ms: EpochMs | None = field(name="timestamp", default=None)
    book_id: int | None = field(name="id", default=None)


class _ShortBookData(msgspec.Struct, frozen=True, gc=False):
    quote: str = field(name="qc")
    target: str = field(name="tc")
    bids: list[_ShortLevel] | None = field(name="b")
    asks: list[_ShortLevel] | None = field(name="a")
    time_ms: EpochMs | None = field(name="t", default=None)
    book_id: int | None = field(name="i", default=None)


class _Ticker(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="TICKER"):
    response_type: Literal["DATA"]
    data: _TickerData


class _Trade(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="TRADE"):
    response_type: Literal["DATA"]
    data: _TradeData


class _OrderBook(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="ORDERBOOK"):
    response_type: Literal["DATA"]
    data: _BookData


class _ShortTicker(msgspec.Struct, frozen=True, gc=False, tag_field="c", tag="TICKER"):
    response_type: Literal["DATA"] = field(name="r")
    data: _ShortTickerData = field(name="d")


class _ShortTrade(msgspec.Struct, frozen=True, gc=False, tag_field="c", tag="TRADE"):
    response_type: Literal["DATA"] = field(name="r")
    data: _ShortTradeData = field(name="d")


class _ShortOrderBook(msgspec.Struct, frozen=True, gc=False, tag_field="c", tag="ORDERBOOK"):
    response_type: Literal["DATA"] = field(name="r")
    data: _ShortBookData = field(name="d")


class _ExactTickerData(msgspec.Struct, frozen=True):
    price: Decimal = field(name="last")


class _ExactTradeData(msgspec.Struct, frozen=True):
    price: Decimal
    quantity: Decimal = field(name="qty")


class _ShortExactTickerData(_ExactTickerData, frozen=True):
    price: Decimal = field(name="la")


class _ShortExactTradeData(_ExactTradeData, frozen=True):
    price: Decimal = field(name="p")
    quantity: Decimal = field(name="q")


class _ExactTicker(msgspec.Struct, frozen=True, tag_field="channel", tag="TICKER"):
    data: _ExactTickerData


class _ExactTrade(msgspec.Struct, frozen=True, tag_field="channel", tag="TRADE"):
    data: _ExactTradeData


class _ShortExactTicker(msgspec.Struct, frozen=True, tag_field="c", tag="TICKER"):
    data: _ShortExactTickerData = field(name="d")


class _ShortExactTrade(msgspec.Struct, frozen=True, tag_field="c", tag="TRADE"):
    data: _ShortExactTradeData = field(name="d")


class _Topic(msgspec.Struct, frozen=True):
    quote: str | None = field(name="quote_currency", default=None)
    target: str | None = field(name="target_currency", default=None)
    short_quote: str | None = field(name="qc", default=None)
    short_target: str | None = field(name="tc", default=None)


class _Envelope(msgspec.Struct, frozen=True):
    """A frame that is none of our data, as far as it says what it is."""

    response_type: str | None = None
    channel: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")
    short_response_type: str | None = field(name="r", default=None)
    short_channel: str | None = field(name="c", default=None)
    short_data: msgspec.Raw = field(name="d", default=msgspec.Raw(b"{}"))
    error_code: int | str | None = None
    message: str | None = None


# Not strict, so that numbers written as text are read by the decoder itself.
_LONG: msgspec.json.Decoder[_Ticker | _Trade | _OrderBook] = msgspec.json.Decoder(
    _Ticker | _Trade | _OrderBook, strict=False
)
_SHORT: msgspec.json.Decoder[_ShortTicker | _ShortTrade | _ShortOrderBook] = msgspec.json.Decoder(
    _ShortTicker | _ShortTrade | _ShortOrderBook, strict=False
)
_LONG_EXACT: msgspec.json.Decoder[_ExactTicker | _ExactTrade] = msgspec.json.Decoder(_ExactTicker | _ExactTrade)
_SHORT_EXACT: msgspec.json.Decoder[_ShortExactTicker | _ShortExactTrade] = msgspec.json.Decoder(
    _ShortExactTicker | _ShortExactTrade
)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_TOPIC = msgspec.json.Decoder(_Topic | None)
_TIMES = frozenset({"timestamp", "t"})

_Data = _TickerData | _TradeData | _BookData | _ShortBookData


# Records are built by position, in the order of their fields: by name takes four times as long.

# -- protocol ------------------------------------------------------------------------------------------


class CoinoneDialect(Dialect):
    """One connection to Coinone; reads both formats, asks for ``wire_format``."""

    def __init__(
        self,
        profile: ExchangeProfile,
        request_type: RequestType,
        session_id: int,
        wire_format: WireFormat = "DEFAULT",
    ) -> None:
        super().__init__(profile, request_type, session_id)
        self._wire_format = wire_format
        self._short = wire_format == "SHORT"
        self._last_book: dict[str, int] = {}
        self._made: Makers = {
            _TickerData: self._ticker,
            _ShortTickerData: self._ticker,
            _TradeData: self._trade,
            _ShortTradeData: self._trade,
            _BookData: self._orderbook,
            _ShortBookData: self._orderbook,
        }
        self._topics = OpenTopics(
            ask=lambda track: self.outbox.append(self._request("SUBSCRIBE", track)),
            ping=lambda: self.outbox.append(_PING),
        )

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """A request for each symbol; while it is being found out which topic is wrong, they wait for that."""
        return [self._request("SUBSCRIBE", track) for track in self._topics.asked(added)]

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """A request for each symbol."""
        for track in removed:
            self._topics.settled(track)
        return [self._request("UNSUBSCRIBE", track) for track in removed]

    def probe(self) -> Outgoing:
        """Answered by ``PONG``; also the heartbeat."""
        return _PING

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame; see ``Dialect.receive``."""
        data: _Data | None
        try:
            # The format that came last is tried first.
            data = _SHORT.decode(frame).data if self._short else _LONG.decode(frame).data
        except msgspec.ValidationError:
            data = self._read_other(frame)
            if data is None:
                return ()
        return self._made[type(data)](data, received_us)

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """One ticker or trade a frame; the format is that of the last ``receive``."""
        data = (_SHORT_EXACT.decode(frame) if self._short else _LONG_EXACT.decode(frame)).data
        return (ExactNumbers(data.price, data.quantity if isinstance(data, _ExactTradeData) else None),)

    def _request(self, request_type: str, track: SymbolTrack) -> str:
        symbol = self.profile.parse_symbol(track.exchange_symbol)
        request = {
            "request_type": request_type,
            "channel": _CHANNELS[self.request_type],
            "topic": {"quote_currency": symbol.quote, "target_currency": symbol.base},
            "format": self._wire_format,
        }
        return msgspec.json.encode(request).decode()

    def _read_other(self, frame: str | bytes) -> _Data | None:
        """What is no data of the format that came last: as data, or None after it was counted."""
        envelope = _ENVELOPE.decode(frame)
        if envelope.short_response_type == "DATA" and envelope.short_channel in _OUR_CHANNELS:
            self._short = True
            return read_with_blanks(_SHORT, frame, _TIMES).data
        if envelope.response_type == "DATA" and envelope.channel in _OUR_CHANNELS:
            self._short = False
            return read_with_blanks(_LONG, frame, _TIMES).data
        kind = envelope.response_type or envelope.short_response_type
        if kind == "DATA":
            self.ignore("channel without records")
        elif kind == "SUBSCRIBED":
            self._acknowledge(envelope)
        elif kind == "PONG":
            self.control()
            confirmed = self._topics.answered()
            if confirmed:
                self.notices.append(Confirmed(tuple(track.symbol for track in confirmed)))
        elif kind == "ERROR":
            self._complain(envelope)
        elif kind is not None:
            self.control()  # CONNECTED, UNSUBSCRIBED
        else:
            raise PayloadError("the frame has no response type")
        return None

    def _acknowledge(self, envelope: _Envelope) -> None:
        self.control()
        short = envelope.response_type is None
        topic = _TOPIC.decode(envelope.short_data if short else envelope.data) or _Topic()
        quote, target = topic.quote or topic.short_quote, topic.target or topic.short_target
        track = self.tracks.get(f"{quote}-{target}".upper())
        if track is not None and track.active:
            self._topics.acknowledged(track)

    def _complain(self, envelope: _Envelope) -> None:
        self.control()
        code, text = str(envelope.error_code)[:64], (envelope.message or "")[:256]
        message = f"Coinone: {code}: {text}"
        if code != _INVALID_TOPIC:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))
            return
        if not self._topics.open:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))
            return
        refused = self._topics.refused()
        if refused is not None:
            self.notices.append(Refused((refused.symbol,), ErrorCode.UNKNOWN_SYMBOL, message))

    def _track(self, request_type: RequestType, target: str, quote: str) -> SymbolTrack | None:
        track = self.track_of(request_type, f"{quote}-{target}")
        if track is not None and track.exchange_symbol in self._topics.open:
            self._topics.settled(track)
        return track

    def _ticker(self, data: _TickerData, received_us: int) -> Sequence[Record]:
        track = self._track(_TICKER, data.target, data.quote)
        if track is None:
            return ()
        if not data.last:
            self.ignore("ticker without a price")
            if not track.confirmed:
                self.notices.append(Confirmed((track.symbol,)))
            return ()
        bid, ask = data.bid or None, data.ask or None
        track.sequence += 1
        return (
            Ticker(
                _EXCHANGE,
                _REGION,
                track.symbol,
                track.exchange_symbol,
                data.time_ms,
                received_us,
                self.session_id,
                track.sequence,
                data.last,
                data.first or None,
                data.high or None,
                data.low or None,
                data.yesterday_last or None,
                None,  # the change: not sent
                data.volume,
                data.quote_volume,
                bid,
                None if bid is None else data.bid_quantity,
                ask,
                None if ask is None else data.ask_quantity,
                _REALTIME,
            ),
        )

    def _trade(self, data: _TradeData, received_us: int) -> Sequence[Record]:
        track = self._track(_TRADE, data.target, data.quote)
        if track is None:
            return ()
        trade_id = data.trade_id
        track.sequence += 1
        return (
            Trade(
                _EXCHANGE,
                _REGION,
                track.symbol,
                track.exchange_symbol,
                data.time_ms,
                received_us,
                self.session_id,
                track.sequence,
                data.price,
                data.quantity,
                _TAKER_SIDES[data.seller_is_maker],
                None if trade_id is None else str(trade_id),
            ),
        )

    def _orderbook(self, data: _BookData | _ShortBookData, received_us: int) -> Sequence[Record]:
        track = self._track(_BOOK, data.target, data.quote)
        if track is None:
            return ()
        book_id = data.book_id
        if book_id is not None:
            if book_id < self._last_book.get(track.exchange_symbol, 0):
                self.ignore("older than the book")
                return ()
            self._last_book[track.exchange_symbol] = book_id
        bids: Sequence[_Level] = data.bids or ()
        asks: Sequence[_Level] = data.asks or ()
        track.sequence += 1
        return (
            self.books.restate(
                track,
                OrderBook(
                    _EXCHANGE,
                    _REGION,
                    track.symbol,
                    track.exchange_symbol,
                    data.time_ms,
                    received_us,
                    self.session_id,
                    track.sequence,
                    _SNAPSHOT,
                    sorted(
                        (Level(x.price, x.quantity) for x in bids if x.price and x.quantity),
                        key=_PRICE,
                        reverse=True,
                    ),
                    sorted((Level(x.price, x.quantity) for x in asks if x.price and x.quantity), key=_PRICE),
                    None,
                    book_id if book_id is not None and 0 <= book_id <= _MAX_LONG else None,
                    None,  # checksum: none
                    True,
                ),
            ),
        )


class Coinone(QuoteFirstProfile):
    """Coinone (Korea). ``wire_format``: which keys the subscriptions ask for."""

    exchange = Exchange.COINONE
    request_types = frozenset(RequestType)
    url = "wss://stream.coinone.co.kr"
    allowed_hosts = frozenset({"stream.coinone.co.kr"})
    # One topic a message. What is not written: the whole market fits one connection, so that the 20 that an
    # address may have are enough.
    limits = ConnectionLimits(
        max_symbols=500,
        max_symbols_per_message=1,
        max_connects=5,
        connect_window_s=1.0,
        max_messages=100,
        message_window_s=1.0,
    )
    heartbeat_s: ClassVar[float | None] = 60.0

    def __init__(self, wire_format: WireFormat = "DEFAULT") -> None:
        self.wire_format: WireFormat = wire_format

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-KRW``, or the quote first as in topics and REST paths: ``KRW-BTC``, ``KRW/BTC``."""
        return super().parse_symbol(text.replace("/", "-", 1))

    def dialect(self, request_type: RequestType, session_id: int) -> CoinoneDialect:
        """A new connection's protocol."""
        return CoinoneDialect(self, request_type, session_id, self.wire_format)
