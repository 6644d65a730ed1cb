"""Korbit's public WebSocket, version 2 (``ws-api.korbit.co.kr/v2/public``).

Written after Korbit's documentation (read 2026-11): the WebSocket chapters of the Open API reference at
docs.korbit.co.kr ("웹소켓 연결하기", "요청 보내기", "응답 메시지", "현재가 (Ticker)", "호가 (Orderbook)",
"체결 (Trade)"); what is called measured is from a published survey of the live socket (2026-09). Korbit is
named Digital X since 2026 and is served under ``ws-api.digitalx.miraeasset.com`` too, on the same paths.

- A message is a JSON list of requests, each with method, type and symbols (``btc_krw``, lower case only). A
  request with a ``requestId`` is always answered: ``{"status": "success", "requestId": 1}``, or ``"fail"`` with
  code and message. ``INVALID_SYMBOL`` names one symbol in the text; whether the request's other symbols run is
  not written, so they are asked for again. A second subscription of a symbol is allowed.
- Data frames have ``type`` and no ``status``; numbers are text. ``snapshot`` is true on the first frame of a
  subscription, and missing, false or null on those that follow.
- An order book frame is always the whole book of up to 30 levels a side, best first, without an id. Its time is
  that of the book, in ``data``; the time beside it is the sending's. Single frames may be lost under load.
- A trade frame holds one or several trades; ids rise by symbol, with gaps. The snapshot is the latest trade.
- The server pings with WebSocket frames every 30 s (measured); there is no ping in the band. The answer to any
  request shows that it lives: the probe ends what does not run, a subscription of another type.
- Limits are not written. 193 symbols in one request were served (measured).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta, field

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
from core.exchanges.values import (
    EpochMs,
    Price,
    PriceOrZero,
    Quantity,
    TradedQuantity,
)
from core.identity import Exchange, Region, RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade

_EXCHANGE, _REGION = Exchange.KORBIT.value, Region.KOREA.value
_TICKER, _TRADE, _BOOK = RequestType.TICKER, RequestType.TRADE, RequestType.ORDERBOOK
_SNAPSHOT, _REALTIME, _WHOLE = StreamType.SNAPSHOT, StreamType.REALTIME, BookKind.SNAPSHOT
_TAKER_SIDES = {True: Side.BUY, False: Side.SELL, None: Side.UNKNOWN}
"""By whether the buyer is the taker."""
_OUR_TYPES = frozenset(RequestType)
_PROBE_ID = 0
_OTHER_TYPE = {
    RequestType.TICKER: RequestType.TRADE,
    RequestType.TRADE: RequestType.ORDERBOOK,
    RequestType.ORDERBOOK: RequestType.TICKER,
}


# -- frames --------------------------------------------------------------------------------------------


class _TickerData(msgspec.Struct, frozen=True, gc=False):
    close: PriceOrZero | None = None
    open: PriceOrZero | None = None
    high: PriceOrZero | None = None
    low: PriceOrZero | None = None
    before_window: PriceOrZero | None = field(name="prevClose", default=None)
    change_percent: Annotated[float, Meta(ge=-100, le=1e11)] | None = field(
        name="priceChangePercent", default=None
    )
    volume: Quantity | None = None
    quote_volume: Quantity | None = field(name="quoteVolume", default=None)
    bid: PriceOrZero | None = field(name="bestBidPrice", default=None)
    ask: PriceOrZero | None = field(name="bestAskPrice", default=None)


class _TradeData(msgspec.Struct, frozen=True, gc=False):
    price: Price
    quantity: TradedQuantity = field(name="qty")
    time_ms: EpochMs | None = field(name="timestamp", default=None)
    buyer_is_taker: bool | None = field(name="isBuyerTaker", default=None)
    trade_id: int | None = field(name="tradeId", default=None)


class _Level(msgspec.Struct, frozen=True, gc=False):
    price: PriceOrZero | None = None
    quantity: Quantity | None = field(name="qty", default=None)


class _BookData(msgspec.Struct, frozen=True, gc=False):
    bids: list[_Level] | None
    asks: list[_Level] | None
    time_ms: EpochMs | None = field(name="timestamp", default=None)


class _Ticker(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="ticker"):
    symbol: str
    data: _TickerData | None
    timestamp: EpochMs | None = None
    snapshot: bool | None = None


class _Trades(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="trade"):
    symbol: str
    data: list[_TradeData] | None
    timestamp: EpochMs | None = None
    snapshot: bool | None = None


class _OrderBook(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="orderbook"):
    symbol: str
    data: _BookData
    timestamp: EpochMs | None = None


class _ExactTickerData(msgspec.Struct, frozen=True):
    price: Decimal = field(name="close")


class _ExactTradeData(msgspec.Struct, frozen=True):
    price: Decimal
    quantity: Decimal = field(name="qty")


class _ExactTicker(msgspec.Struct, frozen=True, tag_field="type", tag="ticker"):
    data: _ExactTickerData


class _ExactTrades(msgspec.Struct, frozen=True, tag_field="type", tag="trade"):
    data: list[_ExactTradeData]


class _Envelope(msgspec.Struct, frozen=True):
    """A frame that is none of our data, as far as it says what it is."""

    type: str | None = None
    channel_type: str | None = field(name="channelType", default=None)
    status: str | None = None
    request_id: int | str | None = field(name="requestId", default=None)
    code: str | int | None = None
    message: str | None = None


_Data = _Ticker | _Trades | _OrderBook
# Not strict, so that numbers written as text are read by the decoder itself.
_DATA: msgspec.json.Decoder[_Data] = msgspec.json.Decoder(_Data, strict=False)
_EXACT: msgspec.json.Decoder[_ExactTicker | _ExactTrades] = msgspec.json.Decoder(_ExactTicker | _ExactTrades)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_TIMES = frozenset({"timestamp"})


# Records are built by position, in the order of their fields: by name takes four times as long.

# -- protocol ------------------------------------------------------------------------------------------


class KorbitDialect(Dialect):
    """One connection to Korbit."""

    def __init__(self, profile: ExchangeProfile, request_type: RequestType, session_id: int) -> None:
        super().__init__(profile, request_type, session_id)
        self._last_request_id = _PROBE_ID
        self._asked: dict[int | str, tuple[SymbolTrack, ...]] = {}
        self._last_trade: dict[str, int] = {}
        self._kept: list[int] | None = None  # which trades of the last frame became records; None: all
        self._made: Makers = {_Ticker: self._ticker, _Trades: self._trades, _OrderBook: self._orderbook}

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """One request for the added symbols; the answer confirms them."""
        return [_encoded([self._request("subscribe", added)])]

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """One request for the removed symbols."""
        return [_encoded([self._request("unsubscribe", removed)])]

    def probe(self) -> Outgoing:
        """Ends a subscription that this connection does not have; answered, whatever comes of it."""
        symbols = [track.exchange_symbol for track in self.tracks.values() if track.active][:1]
        other = _OTHER_TYPE[self.request_type].value
        return _encoded(
            [
                {
                    "requestId": _PROBE_ID,
                    "method": "unsubscribe",
                    "type": other,
                    "symbols": symbols or ["btc_krw"],
                }
            ]
        )

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame; see ``Dialect.receive``."""
        data: _Data | None
        try:
            data = _DATA.decode(frame)
        except msgspec.ValidationError:
            data = self._read_other(frame)
            if data is None:
                return ()
        return self._made[type(data)](data, received_us)

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """The ticker's, or those of the frame's trades that became records."""
        data = _EXACT.decode(frame)
        if isinstance(data, _ExactTicker):
            return (ExactNumbers(data.data.price),)
        trades = data.data
        kept = range(len(trades)) if self._kept is None else self._kept
        return [ExactNumbers(trades[at].price, trades[at].quantity) for at in kept]

    def _request(self, method: str, tracks: Sequence[SymbolTrack]) -> dict[str, object]:
        self._last_request_id += 1
        if method == "subscribe":
            self._asked[self._last_request_id] = tuple(tracks)
        return {
            "requestId": self._last_request_id,
            "method": method,
            "type": self.request_type.value,
            "symbols": [track.exchange_symbol for track in tracks],
        }

    def _read_other(self, frame: str | bytes) -> _Data | None:
        """What is not plainly data: as data, or None after it was counted."""
        envelope = _ENVELOPE.decode(frame)
        if envelope.type in _OUR_TYPES and envelope.status is None:
            return read_with_blanks(_DATA, frame, _TIMES)
        if envelope.status == "success":
            self._acknowledge(envelope)
        elif envelope.status is not None:
            self._complain(envelope)
        elif envelope.type is not None or envelope.channel_type is not None:
            self.ignore("type without records")
        else:
            raise PayloadError("the frame has neither a type nor a status")
        return None

    def _acknowledge(self, envelope: _Envelope) -> None:
        self.control()
        asked = self._asked.pop(envelope.request_id or _PROBE_ID, ())
        running = tuple(track.symbol for track in asked if track.active)
        if running:
            self.notices.append(Confirmed(running))

    def _complain(self, envelope: _Envelope) -> None:
        """Refuse the symbol that the text names, and ask again for those that came with it."""
        self.control()
        if envelope.request_id == _PROBE_ID:
            return
        asked = self._asked.pop(envelope.request_id or _PROBE_ID, ())
        code, text = str(envelope.code or "")[:64], (envelope.message or "")[:256]
        message = f"Korbit: {code or envelope.status}: {text}"
        if code != "INVALID_SYMBOL":
            limited = "TOO_MANY" in code or "LIMIT" in code
            error = ErrorCode.RATE_LIMITED if limited else ErrorCode.SUBSCRIBE_REJECTED
            self.notices.append(Complaint(error, message))
            return
        waiting = [track for track in asked if track.active]
        named = self.tracks.get(text.rpartition("(")[2].partition(")")[0])
        if named is None and len(waiting) == 1:
            named = waiting[0]
        if named is not None:
            if named.active:
                self.notices.append(Refused((named.symbol,), ErrorCode.UNKNOWN_SYMBOL, message))
            others = [track for track in waiting if track is not named]
            if others:
                self.requests.append(_encoded([self._request("subscribe", others)]))
        elif waiting:
            # One of them: each gets a request of its own, and so an answer of its own.
            self.requests.append(_encoded([self._request("subscribe", [track]) for track in waiting]))
        else:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))

    def _ticker(self, frame: _Ticker, received_us: int) -> Sequence[Record]:
        track = self.track_of(_TICKER, frame.symbol)
        if track is None:
            return ()
        data = frame.data
        if data is None or not data.close:
            return self._without_record(track, "ticker without a price")
        percent = data.change_percent
        track.sequence += 1
        return (
            Ticker(
                _EXCHANGE,
                _REGION,
                track.symbol,
                track.exchange_symbol,
                frame.timestamp,
                received_us,
                self.session_id,
                track.sequence,
                data.close,
                data.open or None,
                data.high or None,
                data.low or None,
                data.before_window or None,
                None if percent is None else percent / 100,
                data.volume,
                data.quote_volume,
                data.bid or None,
                None,  # the quantities at bid and ask: not sent
                data.ask or None,
                None,
                _SNAPSHOT if frame.snapshot else _REALTIME,
            ),
        )

    def _trades(self, frame: _Trades, received_us: int) -> Sequence[Record]:
        """Every trade of the frame, in order; without those that a subscription anew brings again."""
        track = self.track_of(_TRADE, frame.symbol)
        if track is None:
            return ()
        trades = self._without_repeated(frame)
        if not trades:
            reason = "snapshot of trades already seen" if frame.data else "frame without trades"
            return self._without_record(track, reason)
        records = []
        for trade in trades:
            track.sequence += 1
            trade_id = trade.trade_id
            records.append(
                Trade(
                    _EXCHANGE,
                    _REGION,
                    track.symbol,
                    track.exchange_symbol,
                    trade.time_ms,
                    received_us,
                    self.session_id,
                    track.sequence,
                    trade.price,
                    trade.quantity,
                    _TAKER_SIDES[trade.buyer_is_taker],
                    None if trade_id is None else str(trade_id),
                )
            )
        return records

    def _without_record(self, track: SymbolTrack, reason: str) -> Sequence[Record]:
        """The frame says that the symbol runs, and nothing to publish."""
        self.ignore(reason)
        if not track.confirmed:
            self.notices.append(Confirmed((track.symbol,)))
        return ()

    def _without_repeated(self, frame: _Trades) -> list[_TradeData]:
        """The trades that are new to this connection: a snapshot may hold old ones, in ids that rise."""
        trades, last = frame.data or [], self._last_trade.get(frame.symbol, -1)
        ids = [-1 if trade.trade_id is None else trade.trade_id for trade in trades]
        self._last_trade[frame.symbol] = max(last, *ids, -1)
        self._kept = None
        if not frame.snapshot or last < 0:
            return trades
        self._kept = [at for at, trade_id in enumerate(ids) if trade_id < 0 or trade_id > last]
        return [trades[at] for at in self._kept]

    def _orderbook(self, frame: _OrderBook, received_us: int) -> Sequence[Record]:
        track = self.track_of(_BOOK, frame.symbol)
        if track is None:
            return ()
        data = frame.data
        track.sequence += 1
        return (
            self.books.restate(
                track,
                OrderBook(
                    _EXCHANGE,
                    _REGION,
                    track.symbol,
                    track.exchange_symbol,
                    data.time_ms or frame.timestamp,
                    received_us,
                    self.session_id,
                    track.sequence,
                    _WHOLE,
                    [Level(x.price, x.quantity) for x in data.bids or () if x.price and x.quantity],
                    [Level(x.price, x.quantity) for x in data.asks or () if x.price and x.quantity],
                    None,  # update ids and checksum: every frame is the whole book
                    None,
                    None,
                    True,
                ),
            ),
        )


def _encoded(requests: list[dict[str, object]]) -> str:
    return msgspec.json.encode(requests).decode()


class Korbit(ExchangeProfile):
    """Korbit, now Digital X (Korea)."""

    exchange = Exchange.KORBIT
    region = Region.KOREA
    request_types = frozenset(RequestType)
    url = "wss://ws-api.korbit.co.kr/v2/public"
    allowed_hosts = frozenset({"ws-api.korbit.co.kr", "ws-api.digitalx.miraeasset.com"})
    # No limit is written: what the whole market needs, at a pace that troubles nobody.
    limits = ConnectionLimits(
        max_symbols=500,
        max_symbols_per_message=100,
        max_connects=2,
        connect_window_s=1.0,
        max_messages=10,
        message_window_s=1.0,
    )

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-KRW``, or Korbit's own ``btc_krw``."""
        return Symbol.parse(text.upper().replace("_", "-", 1))

    def spell_symbol(self, symbol: Symbol) -> str:
        """``btc_krw`` for BTC-KRW."""
        return f"{symbol.base}_{symbol.quote}".lower()

    def dialect(self, request_type: RequestType, session_id: int) -> KorbitDialect:
        """A new connection's protocol."""
        return KorbitDialect(self, request_type, session_id)
