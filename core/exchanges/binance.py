"""Binance's public spot WebSocket, combined streams.

Written after Binance's documentation (read 2026-11): "WebSocket Streams for Binance", web-socket-streams.md of
github.com/binance/binance-spot-api-docs.

- Data comes as ``{"stream": name, "data": event}``, the event's kind in ``e``, numbers as text. Stream names
  are lower case (``btcusdt@trade``), symbols in events upper case.
- SUBSCRIBE and UNSUBSCRIBE carry an id, which the answer repeats: ``{"result": null, "id": 1}``, or an error
  as ``{"code", "msg", "id"}``, also seen wrapped in ``error``. Binance acknowledges streams of symbols that
  it does not list, and then sends nothing: a quiet symbol looks the same, so none is refused for silence.
- Times are milliseconds, or microseconds when the address asks for them (``timeUnit=MICROSECOND``). Streams
  of all markets (``!ticker@arr``) have a list as their data; partial books (``@depth20``) and ``bookTicker``
  name no event. Raw streams (``/ws``) bring the event without its wrapper.
- An order book event holds the absolute quantity of each changed level and the range ``U`` to ``u`` of its
  updates; the next event's ``U`` is this one's ``u`` + 1. The book under them is had by REST ("How to manage
  a local order book correctly"): ``GET /api/v3/depth``, whose ``lastUpdateId`` says which events it holds
  already; the first one after it has ``U`` <= ``lastUpdateId`` + 1 <= ``u``. That request weighs 5 up to 100
  levels, 25 up to 500, 50 up to 1,000, 250 up to 5,000, of 6,000 a minute and address (rest-api.md, read
  2026-11): 1 a second leaves half of it to others.
- The server pings every 20 s (answered below this layer) and closes every connection after 24 hours.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

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
    Resync,
    SymbolTrack,
)
from core.exchanges.epoch_time import EpochMsOrUs, to_epoch_ms
from core.exchanges.undashed_symbols import UndashedSymbols
from core.exchanges.values import (
    Id,
    Price,
    PriceOrZero,
    Quantity,
    TradedQuantity,
)
from core.identity import Exchange, Region, RequestType, Symbol
from core.records import Level, Record, Side, StreamType, Ticker, Trade

_EXCHANGE, _REGION = Exchange.BINANCE.value, Region.ASIA.value
_TICKER, _TRADE, _BOOK = RequestType.TICKER, RequestType.TRADE, RequestType.ORDERBOOK
_REALTIME = StreamType.REALTIME
_TAKER_SIDES = {True: Side.SELL, False: Side.BUY, None: Side.UNKNOWN}
"""By whether the buyer is the maker."""
_STREAM_SUFFIX = {
    RequestType.TICKER: "@ticker",
    RequestType.TRADE: "@trade",
    RequestType.ORDERBOOK: "@depth@100ms",
}

_SYMBOLS = UndashedSymbols(
    "Binance",
    "USDT USDC FDUSD TUSD BUSD USDP USDS USD1 XUSD RLUSD U DAI AEUR EURI "
    "BTC ETH BNB XRP TRX DOGE DOT SOL "
    "EUR GBP AUD TRY BRL RUB UAH NGN ZAR PLN RON ARS JPY MXN CZK COP "
    "PAX UST VAI IDRT BIDR BKRW BVND",
)


# -- frames --------------------------------------------------------------------------------------------


# Fields of tickers stand in the order of the frames: the decoder looks for a key where the last one was found.
class _Ticker(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="e", tag="24hrTicker"):
    event_time: EpochMsOrUs | None = field(name="E", default=None)
    symbol: str = field(name="s")
    change_percent: Annotated[float, Meta(ge=-100, le=1e11)] | None = field(name="P", default=None)
    before_window: PriceOrZero | None = field(name="x", default=None)
    last: PriceOrZero = field(name="c")
    bid: PriceOrZero | None = field(name="b", default=None)
    bid_quantity: Quantity | None = field(name="B", default=None)
    ask: PriceOrZero | None = field(name="a", default=None)
    ask_quantity: Quantity | None = field(name="A", default=None)
    open: PriceOrZero | None = field(name="o", default=None)
    high: PriceOrZero | None = field(name="h", default=None)
    low: PriceOrZero | None = field(name="l", default=None)
    volume: Quantity | None = field(name="v", default=None)
    quote_volume: Quantity | None = field(name="q", default=None)


class _Trade(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="trade"):
    symbol: str = field(name="s")
    price: Price = field(name="p")
    quantity: TradedQuantity = field(name="q")
    trade_id: Id | None = field(name="t", default=None)
    trade_time: EpochMsOrUs | None = field(name="T", default=None)
    buyer_is_maker: bool | None = field(name="m", default=None)


class _AggregateTrade(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="aggTrade"):
    symbol: str = field(name="s")
    price: Price = field(name="p")
    quantity: TradedQuantity = field(name="q")
    trade_id: Id | None = field(name="a", default=None)
    trade_time: EpochMsOrUs | None = field(name="T", default=None)
    buyer_is_maker: bool | None = field(name="m", default=None)


class _Snapshot(msgspec.Struct, frozen=True, gc=False):
    """The answer of REST, or its error."""

    last_id: Id | None = field(name="lastUpdateId", default=None)
    bids: list[Level] = []
    asks: list[Level] = []
    code: int = 0
    msg: str = ""


class _Depth(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="depthUpdate"):
    symbol: str = field(name="s")
    first_id: Id = field(name="U")
    last_id: Id = field(name="u")
    bids: list[Level] = field(name="b")
    asks: list[Level] = field(name="a")
    event_time: EpochMsOrUs | None = field(name="E", default=None)
    previous_id: Id | None = field(name="pu", default=None)
    """The ``u`` before, which futures streams name: their ids have gaps."""


_Event = _Ticker | _Trade | _AggregateTrade | _Depth
_EVENTS = frozenset({"24hrTicker", "trade", "aggTrade", "depthUpdate"})


class _Combined(msgspec.Struct, frozen=True, gc=False):
    data: _Event


class _Stream(msgspec.Struct, frozen=True):
    stream: str = ""


class _ExactTicker(msgspec.Struct, frozen=True, tag_field="e", tag="24hrTicker"):
    price: Decimal = field(name="c")


class _ExactTrade(msgspec.Struct, frozen=True, tag_field="e", tag="trade"):
    price: Decimal = field(name="p")
    quantity: Decimal = field(name="q")


class _ExactAggregateTrade(_ExactTrade, frozen=True, tag_field="e", tag="aggTrade"):
    pass


_ExactEvent = _ExactTicker | _ExactTrade | _ExactAggregateTrade


class _ExactCombined(msgspec.Struct, frozen=True):
    data: _ExactEvent


class _EventHead(msgspec.Struct, frozen=True):
    e: str | None = None


_AllMarkets = Annotated[list[_EventHead], Meta(min_length=1)]


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    msg: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    """A frame that is none of our events, as far as it says what it is."""

    stream: str | None = None
    data: _EventHead | _AllMarkets | None = None
    e: str | None = None
    partial_book_id: int | None = field(name="lastUpdateId", default=None)
    best_bid_quantity: str | None = field(name="B", default=None)
    result: msgspec.Raw | UnsetType = UNSET
    error: _Error | None = None
    code: int | None = None
    msg: str = ""
    id: int | str | None = None


# Not strict, so that numbers written as text are read by the decoder itself.
_COMBINED: msgspec.json.Decoder[_Combined] = msgspec.json.Decoder(_Combined, strict=False)
_RAW: msgspec.json.Decoder[_Event] = msgspec.json.Decoder(_Event, strict=False)
_STREAM = msgspec.json.Decoder(_Stream)
_COMBINED_EXACT: msgspec.json.Decoder[_ExactCombined] = msgspec.json.Decoder(_ExactCombined)
_RAW_EXACT: msgspec.json.Decoder[_ExactEvent] = msgspec.json.Decoder(_ExactEvent)
_ENVELOPE: msgspec.json.Decoder[_Envelope | _AllMarkets] = msgspec.json.Decoder(_Envelope | _AllMarkets)
_SNAPSHOT: msgspec.json.Decoder[_Snapshot] = msgspec.json.Decoder(_Snapshot, strict=False)
_MAX_SNAPSHOT_LEVELS = 5000
_INVALID_SYMBOL = -1121
_RATE_CODES = frozenset({-1003, -1015})
_PASSING_CODES = frozenset({-1000, -1001, -1007, -1008, -1016})
"""Unknown, disconnected, timeout, overloaded, shutting down (errors.md): not a word about symbols."""


# Records are built by position, in the order of their fields: by name takes four times as long.

# -- protocol ------------------------------------------------------------------------------------------


class BinanceDialect(Dialect):
    """One connection to Binance's combined streams; also reads events that come without the wrapper."""

    resync = Resync.FETCH

    def __init__(self, profile: ExchangeProfile, request_type: RequestType, session_id: int) -> None:
        super().__init__(profile, request_type, session_id)
        self._last_request_id = 0
        self._asked: dict[int, tuple[SymbolTrack, ...]] = {}
        self._streams: dict[str, str] = {}
        """In a replay, the stream of which each symbol's book is kept: recordings may have two speeds of it."""
        self._made: Makers = {
            _Ticker: self._ticker,
            _Trade: self._trade,
            _AggregateTrade: self._trade,
            _Depth: self._orderbook,
        }

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """SUBSCRIBE for the added symbols; the acknowledgement confirms them."""
        return self._requests("SUBSCRIBE", added)

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """UNSUBSCRIBE for the removed symbols."""
        return self._requests("UNSUBSCRIBE", removed)

    def probe(self) -> Outgoing:
        """Answered by the list of streams."""
        self._last_request_id += 1
        request = {"method": "LIST_SUBSCRIPTIONS", "id": self._last_request_id}
        return msgspec.json.encode(request).decode()

    def _requests(self, method: str, tracks: Sequence[SymbolTrack]) -> list[Outgoing]:
        self._last_request_id += 1
        if method == "SUBSCRIBE":
            self._asked[self._last_request_id] = tuple(tracks)
        suffix = _STREAM_SUFFIX[self.request_type]
        request = {
            "method": method,
            "params": [track.exchange_symbol.lower() + suffix for track in tracks],
            "id": self._last_request_id,
        }
        return [msgspec.json.encode(request).decode()]

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame; see ``Dialect.receive``."""
        data: _Event | None
        try:
            data = _COMBINED.decode(frame).data
        except msgspec.ValidationError as exc:
            data = self._read_other(frame, exc)
            if data is None:
                return ()
        if self.accept_all and isinstance(data, _Depth) and not self._is_kept(data.symbol, frame):
            self.ignore("book of another stream")
            return ()
        return self._made[type(data)](data, received_us)

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """One ticker or trade a frame, in the wrapper or without."""
        data: _ExactEvent
        try:
            data = _COMBINED_EXACT.decode(frame).data
        except msgspec.ValidationError:
            data = _RAW_EXACT.decode(frame)
        return (ExactNumbers(data.price, data.quantity if isinstance(data, _ExactTrade) else None),)

    def _read_other(self, frame: str | bytes, error: msgspec.ValidationError) -> _Event | None:
        """What is no event of ours in its wrapper: as an event, or None after it was counted."""
        envelope = _ENVELOPE.decode(frame)
        if isinstance(envelope, list) or isinstance(envelope.data, list):
            self.ignore("events of all markets")
            return None
        if envelope.data is not None and envelope.data.e in _EVENTS:
            raise error
        if envelope.e in _EVENTS:
            return _RAW.decode(frame)
        event = envelope.e if envelope.data is None else envelope.data.e
        if envelope.error is not None:
            self._complain(envelope.error, envelope.id)
        elif envelope.code is not None:
            self._complain(_Error(envelope.code, envelope.msg), envelope.id)
        elif envelope.result is not UNSET:
            self._acknowledge(envelope)
        else:
            self._pass_over(envelope, event)
        return None

    def _pass_over(self, envelope: _Envelope, event: str | None) -> None:
        kind = (envelope.stream or "").partition("@")[2]
        if event == "serverShutdown":
            self.control()
        elif event == "kline" or kind.startswith("kline"):
            self.ignore("kline")
        # These two carry no event's name; alone, without the wrapper, their fields tell.
        elif kind == "bookTicker" or envelope.best_bid_quantity is not None:
            self.ignore("bookTicker")
        elif kind.startswith("depth") or envelope.partial_book_id is not None:
            self.ignore("partial book")
        elif event is not None or kind:
            self.ignore("event without records")
        else:
            raise PayloadError("the frame has neither an event nor a result nor an error")

    def _acknowledge(self, envelope: _Envelope) -> None:
        self.control()
        asked = self._asked.pop(envelope.id, ()) if isinstance(envelope.id, int) else ()
        if self.request_type is _BOOK:
            # What is not listed is acknowledged too; the book that REST has, or has not, is the answer.
            for track in asked:
                self.books.expect(track)
        elif asked:
            self.notices.append(Confirmed(_symbols(asked)))

    def _complain(self, error: _Error, request_id: int | str | None) -> None:
        self.control()
        message = f"Binance: {error.code}: {error.msg[:256]}"
        asked = self._asked.pop(request_id, ()) if isinstance(request_id, int) else ()
        rate = error.code in _RATE_CODES or "too many requests" in error.msg.lower()
        if rate:
            self.notices.append(Complaint(ErrorCode.RATE_LIMITED, message))
        elif asked and error.code not in _PASSING_CODES:
            self.notices.append(Refused(_symbols(asked), ErrorCode.SUBSCRIBE_REJECTED, message))
        else:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))

    def _ticker(self, data: _Ticker, received_us: int) -> Sequence[Record]:
        track = self.track_of(_TICKER, data.symbol)
        if track is None:
            return ()
        if not data.last:
            self.ignore("ticker without a price")
            return ()
        event_ms = to_epoch_ms(data.event_time)
        bid, ask = data.bid or None, data.ask or None
        percent = data.change_percent
        track.sequence += 1
        return (
            Ticker(
                _EXCHANGE,
                _REGION,
                track.symbol,
                track.exchange_symbol,
                event_ms,
                received_us,
                self.session_id,
                track.sequence,
                data.last,
                data.open or None,
                data.high or None,
                data.low or None,
                data.before_window or None,
                None if percent is None else percent / 100,
                data.volume,
                data.quote_volume,
                bid,
                None if bid is None else data.bid_quantity,
                ask,
                None if ask is None else data.ask_quantity,
                _REALTIME,
            ),
        )

    def _trade(self, data: _Trade | _AggregateTrade, received_us: int) -> Sequence[Record]:
        track = self.track_of(_TRADE, data.symbol)
        if track is None:
            return ()
        trade_ms = to_epoch_ms(data.trade_time)
        track.sequence += 1
        return (
            Trade(
                _EXCHANGE,
                _REGION,
                track.symbol,
                track.exchange_symbol,
                trade_ms,
                received_us,
                self.session_id,
                track.sequence,
                data.price,
                data.quantity,
                _TAKER_SIDES[data.buyer_is_maker],
                None if data.trade_id is None else str(data.trade_id),
            ),
        )

    def _orderbook(self, data: _Depth, received_us: int) -> Sequence[Record]:
        track = self.track_of(_BOOK, data.symbol)
        if track is None:
            return ()
        first_id, last_id = data.first_id, data.last_id
        if last_id < first_id:
            raise PayloadError(f"the update ids run backwards, {first_id} to {last_id} - at `$.data.u`")
        return (
            self.books.delta(
                track,
                data.bids,
                data.asks,
                received_us,
                to_epoch_ms(data.event_time),
                first_id,
                last_id,
                first_id - 1 if data.previous_id is None else data.previous_id,
            ),
        )

    def _is_kept(self, exchange_symbol: str, frame: str | bytes) -> bool:
        stream = _STREAM.decode(frame).stream
        return self._streams.setdefault(exchange_symbol, stream) == stream

    def snapshot_path(self, track: SymbolTrack) -> str:
        """REST: the book to the depth that is kept."""
        limit = min(self.books.settings.depth, _MAX_SNAPSHOT_LEVELS)
        return f"/api/v3/depth?symbol={track.exchange_symbol}&limit={limit}"

    def read_snapshot(self, track: SymbolTrack, body: bytes, received_us: int) -> Sequence[Record]:
        """``lastUpdateId`` with the absolute quantities of both sides."""
        data = _SNAPSHOT.decode(body)
        if data.last_id is None:
            message = f"Binance: {data.code}: {data.msg[:256]}"
            if data.code != _INVALID_SYMBOL:
                raise PayloadError(message)
            self.notices.append(Refused((track.symbol,), ErrorCode.UNKNOWN_SYMBOL, message))
            return ()
        if not track.confirmed:
            self.notices.append(Confirmed((track.symbol,)))
        return self.books.merge(
            track,
            data.bids,
            data.asks,
            received_us,
            None,
            data.last_id,
        )


def _symbols(tracks: Sequence[SymbolTrack]) -> tuple[str, ...]:
    return tuple(track.symbol for track in tracks)


class Binance(ExchangeProfile):
    """Binance spot (Asia)."""

    exchange = Exchange.BINANCE
    region = Region.ASIA
    request_types = frozenset(RequestType)
    url = "wss://stream.binance.com:9443/stream"
    rest_url = "https://api.binance.com"
    rest_limit = (1, 1.0)
    allowed_hosts = frozenset({"stream.binance.com", "data-stream.binance.vision"})
    # 5 messages a second, in which pings and pongs count: 3 leave room for those.
    limits = ConnectionLimits(
        max_symbols=1024,
        max_symbols_per_message=200,
        max_connects=300,
        connect_window_s=300.0,
        max_messages=3,
        message_window_s=1.0,
    )

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-USDT``, or Binance's own ``BTCUSDT`` with a known quote currency, the longest that fits."""
        return _SYMBOLS.parse(text)

    def spell_symbol(self, symbol: Symbol) -> str:
        """``BTCUSDT`` for BTC-USDT."""
        return symbol.base + symbol.quote

    def dialect(self, request_type: RequestType, session_id: int) -> BinanceDialect:
        """A new connection's protocol."""
        return BinanceDialect(self, request_type, session_id)
