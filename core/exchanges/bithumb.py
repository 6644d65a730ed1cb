"""Bithumb's public WebSocket, version 1 (``ws-api.bithumb.com/websocket/v1``).

Written after Bithumb's documentation (read 2026-11): "기본 정보", "요청 방법 및 포맷", "현재가 (Ticker)",
"체결 (Trade)", "호가 (Orderbook)", "연결 관리", "웹소켓 에러" under apidocs.bithumb.com/reference, and the
same in versions 2.1.4 and 2.1.5; what is called measured is from a published survey of the live socket
(2026-09).

- A request is a JSON list: ticket, types with their codes, format. A new request replaces the former one, so
  every request lists all codes, and brings a snapshot of each.
- Frames are binary and hold JSON, with long keys (``DEFAULT``) or short ones (``SIMPLE``). An order book frame
  is always the whole book of up to 15 levels a side, the shorter side filled up with zeros. Sizes are printed
  with four decimals: what is less comes as 0 and is no level (a trade of 0 is no record).
- Times are epoch milliseconds, those of order books microseconds (milliseconds in the versions before).
  ``trade_date`` and ``trade_time`` are Korean local time and not needed.
- What is wrong with a request as a whole comes as ``{"error": {"name", "message"}}``, after which the server
  closes. An unknown code is answered by silence, a listed one by its snapshot within a second.
- The former API (``pubwss.bithumb.com``) wraps its data in ``content``: recognised, not read.
- The text ``PING`` is answered by ``{"status": "UP"}``, then repeated every 10 s. An idle connection is closed
  after 120 s (60 s as measured). 10 connects a second and address; messages and codes are not limited in
  writing (493 codes in one request were served).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

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
    Outgoing,
    Refused,
    SymbolTrack,
)
from core.exchanges.values import (
    EpochMs,
    Id,
    Price,
    PriceOrZero,
    Quantity,
    Rate,
)
from core.identity import Exchange, Region, RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade

WireFormat = Literal["DEFAULT", "SIMPLE"]

_EXCHANGE, _REGION = Exchange.BITHUMB.value, Region.KOREA.value
_QUOTE_RANK = {"KRW": 0, "USDT": 1, "BTC": 2}
_STREAM_TYPES = {"SNAPSHOT": StreamType.SNAPSHOT, "REALTIME": StreamType.REALTIME}
_TAKER_SIDES = {"ASK": Side.SELL, "BID": Side.BUY}
_REQUEST_ERRORS = frozenset({"NO_CODES", "INVALID_PARAM", "WRONG_FORMAT"})

# Milliseconds or microseconds; what lies between is neither, and refused in _epoch_ms.
_EpochMsOrUs = Annotated[int, Meta(ge=1_000_000_000_000, lt=10_000_000_000_000_000)]
_MS_END, _US_BEGIN = 10_000_000_000_000, 1_000_000_000_000_000


# -- frames --------------------------------------------------------------------------------------------


class _Ticker(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="ticker"):
    code: str
    trade_price: PriceOrZero
    timestamp: _EpochMsOrUs | None = None
    opening_price: PriceOrZero | None = None
    high_price: PriceOrZero | None = None
    low_price: PriceOrZero | None = None
    prev_closing_price: PriceOrZero | None = None
    signed_change_rate: Rate | None = None
    acc_trade_volume_24h: Quantity | None = None
    acc_trade_price_24h: Quantity | None = None
    stream_type: str | None = None


class _ShortTicker(_Ticker, frozen=True, gc=False, tag_field="ty", tag="ticker"):
    code: str = field(name="cd")
    trade_price: PriceOrZero = field(name="tp")
    timestamp: _EpochMsOrUs | None = field(name="tms", default=None)
    opening_price: PriceOrZero | None = field(name="op", default=None)
    high_price: PriceOrZero | None = field(name="hp", default=None)
    low_price: PriceOrZero | None = field(name="lp", default=None)
    prev_closing_price: PriceOrZero | None = field(name="pcp", default=None)
    signed_change_rate: Rate | None = field(name="scr", default=None)
    acc_trade_volume_24h: Quantity | None = field(name="atv24h", default=None)
    acc_trade_price_24h: Quantity | None = field(name="atp24h", default=None)
    stream_type: str | None = field(name="st", default=None)


class _Trade(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="trade"):
    code: str
    trade_price: Price
    trade_volume: Quantity
    ask_bid: str | None = None
    trade_timestamp: EpochMs | None = None
    sequential_id: Id | None = None
    stream_type: str | None = None


class _ShortTrade(_Trade, frozen=True, gc=False, tag_field="ty", tag="trade"):
    code: str = field(name="cd")
    trade_price: Price = field(name="tp")
    trade_volume: Quantity = field(name="tv")
    ask_bid: str | None = field(name="ab", default=None)
    trade_timestamp: EpochMs | None = field(name="ttms", default=None)
    sequential_id: Id | None = field(name="sid", default=None)
    stream_type: str | None = field(name="st", default=None)


class _Unit(msgspec.Struct, frozen=True, gc=False):
    ask_price: PriceOrZero
    bid_price: PriceOrZero
    ask_size: Quantity
    bid_size: Quantity


class _ShortUnit(_Unit, frozen=True, gc=False):
    ask_price: PriceOrZero = field(name="ap")
    bid_price: PriceOrZero = field(name="bp")
    ask_size: Quantity = field(name="as")
    bid_size: Quantity = field(name="bs")


class _OrderBook(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="orderbook"):
    code: str
    orderbook_units: list[_Unit]
    timestamp: _EpochMsOrUs | None = None


class _ShortOrderBook(msgspec.Struct, frozen=True, gc=False, tag_field="ty", tag="orderbook"):
    code: str = field(name="cd")
    orderbook_units: list[_ShortUnit] = field(name="obu")
    timestamp: _EpochMsOrUs | None = field(name="tms", default=None)


class _ExactTicker(msgspec.Struct, frozen=True, tag_field="type", tag="ticker"):
    price: Decimal = field(name="trade_price")


class _ExactTrade(msgspec.Struct, frozen=True, tag_field="type", tag="trade"):
    price: Decimal = field(name="trade_price")
    quantity: Decimal = field(name="trade_volume")


class _ShortExactTicker(_ExactTicker, frozen=True, tag_field="ty", tag="ticker"):
    price: Decimal = field(name="tp")


class _ShortExactTrade(_ExactTrade, frozen=True, tag_field="ty", tag="trade"):
    price: Decimal = field(name="tp")
    quantity: Decimal = field(name="tv")


class _Error(msgspec.Struct, frozen=True):
    name: str = ""
    message: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    """A frame that carries none of the three types, as far as it says what it is."""

    type: str | None = None
    ty: str | None = None
    status: str | None = None
    error: _Error | None = None
    content: msgspec.Raw | UnsetType = UNSET


_LONG: msgspec.json.Decoder[_Ticker | _Trade | _OrderBook] = msgspec.json.Decoder(_Ticker | _Trade | _OrderBook)
_SHORT: msgspec.json.Decoder[_ShortTicker | _ShortTrade | _ShortOrderBook] = msgspec.json.Decoder(
    _ShortTicker | _ShortTrade | _ShortOrderBook
)
_LONG_EXACT: msgspec.json.Decoder[_ExactTicker | _ExactTrade] = msgspec.json.Decoder(_ExactTicker | _ExactTrade)
_SHORT_EXACT: msgspec.json.Decoder[_ShortExactTicker | _ShortExactTrade] = msgspec.json.Decoder(
    _ShortExactTicker | _ShortExactTrade
)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_OUR_TYPES = frozenset({"ticker", "trade", "orderbook"})

_Data = _Ticker | _Trade | _OrderBook | _ShortOrderBook


def _epoch_ms(time: int | None) -> int | None:
    if time is None or time < _MS_END:
        return time
    if time < _US_BEGIN:
        raise PayloadError(f"the time {time} is neither in milliseconds nor in microseconds")
    return time // 1000


# Records are built by position, in the order of their fields: by name takes four times as long.

# -- protocol ------------------------------------------------------------------------------------------


class BithumbDialect(Dialect):
    """One connection to Bithumb; reads both formats, asks for ``wire_format``."""

    def __init__(
        self,
        profile: ExchangeProfile,
        request_type: RequestType,
        session_id: int,
        wire_format: WireFormat = "DEFAULT",
    ) -> None:
        super().__init__(profile, request_type, session_id)
        self._wire_format = wire_format
        self._short = wire_format == "SIMPLE"
        self._last_trade: dict[str, int] = {}

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """One request with every active code: it replaces the former one."""
        request = [
            {"ticket": f"streamgateway-{self.session_id}"},
            {"type": str(self.request_type), "codes": [track.exchange_symbol for track in active]},
            {"format": self._wire_format},
        ]
        return [msgspec.json.encode(request).decode()]

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """A request without the removed codes; none for the last one, since a request needs a code."""
        return self.subscribe((), active) if active else []

    def probe(self) -> Outgoing:
        """Answered by ``{"status": "UP"}``."""
        return "PING"

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame; see ``Dialect.receive``."""
        data = self._decode(frame)
        if data is None:
            return ()
        if isinstance(data, _Ticker):
            return self._ticker(data, received_us)
        if isinstance(data, _Trade):
            return self._trade(data, received_us)
        return self._orderbook(data, received_us)

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """One ticker or trade a frame; the format is that of the last ``receive``."""
        data = _SHORT_EXACT.decode(frame) if self._short else _LONG_EXACT.decode(frame)
        return (ExactNumbers(data.price, data.quantity if isinstance(data, _ExactTrade) else None),)

    def _decode(self, frame: str | bytes) -> _Data | None:
        """The frame as data, or None after it was counted. The format that came last is tried first."""
        try:
            return _SHORT.decode(frame) if self._short else _LONG.decode(frame)
        except msgspec.ValidationError:
            envelope = _ENVELOPE.decode(frame)
            if envelope.content is not UNSET:
                self.ignore("frame of the former API")
                return None
            if envelope.ty in _OUR_TYPES:
                self._short = True
                return _SHORT.decode(frame)
            if envelope.type in _OUR_TYPES:
                self._short = False
                return _LONG.decode(frame)
        if envelope.error is not None:
            self._complain(envelope.error)
        elif envelope.status is not None:
            self.control()
        elif envelope.type is not None or envelope.ty is not None:
            self.ignore("type without records")
        else:
            raise PayloadError("the frame has neither a type nor a status nor an error")
        return None

    def _ticker(self, data: _Ticker, received_us: int) -> Sequence[Record]:
        time_ms = _epoch_ms(data.timestamp)
        track = self.track_of(RequestType.TICKER, data.code)
        if track is None:
            return ()
        if not data.trade_price:
            return self._without_record(track, "ticker without a price")
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
                data.trade_price,
                data.opening_price or None,
                data.high_price or None,
                data.low_price or None,
                data.prev_closing_price or None,
                data.signed_change_rate,
                data.acc_trade_volume_24h,
                data.acc_trade_price_24h,
                None,  # bid and ask, with their quantities: a ticker of Bithumb has none
                None,
                None,
                None,
                _STREAM_TYPES.get(data.stream_type or "", StreamType.UNKNOWN),
            ),
        )

    def _trade(self, data: _Trade, received_us: int) -> Sequence[Record]:
        track = self.track_of(RequestType.TRADE, data.code)
        if track is None:
            return ()
        trade_id = data.sequential_id
        if trade_id is not None:
            # Every request brings the last trade of each code again, also of those that run.
            if data.stream_type == "SNAPSHOT" and self._last_trade.get(data.code) == trade_id:
                return self._without_record(track, "snapshot of a trade already seen")
            self._last_trade[data.code] = trade_id
        if not data.trade_volume:
            return self._without_record(track, "trade below the printed precision")
        track.sequence += 1
        return (
            Trade(
                _EXCHANGE,
                _REGION,
                track.symbol,
                track.exchange_symbol,
                data.trade_timestamp,
                received_us,
                self.session_id,
                track.sequence,
                data.trade_price,
                data.trade_volume,
                _TAKER_SIDES.get(data.ask_bid or "", Side.UNKNOWN),
                None if trade_id is None else str(trade_id),
            ),
        )

    def _without_record(self, track: SymbolTrack, reason: str) -> Sequence[Record]:
        """The frame says that the symbol runs, and nothing to publish."""
        self.ignore(reason)
        if not track.confirmed:
            self.notices.append(Confirmed((track.symbol,)))
        return ()

    def _orderbook(self, data: _OrderBook | _ShortOrderBook, received_us: int) -> Sequence[Record]:
        time_ms = _epoch_ms(data.timestamp)
        track = self.track_of(RequestType.ORDERBOOK, data.code)
        if track is None:
            return ()
        units: Sequence[_Unit] = data.orderbook_units
        track.sequence += 1
        return (
            self.books.restate(
                track,
                OrderBook(
                    _EXCHANGE,
                    _REGION,
                    track.symbol,
                    track.exchange_symbol,
                    time_ms,
                    received_us,
                    self.session_id,
                    track.sequence,
                    BookKind.SNAPSHOT,
                    [Level(u.bid_price, u.bid_size) for u in units if u.bid_price and u.bid_size],
                    [Level(u.ask_price, u.ask_size) for u in units if u.ask_price and u.ask_size],
                    None,  # update ids and checksum: every frame is the whole book
                    None,
                    None,
                    True,
                ),
            ),
        )

    def _complain(self, error: _Error) -> None:
        """Bithumb's errors name no code: only what the text or the circumstances make certain is refused."""
        self.control()
        name, message = error.name[:64], f"Bithumb: {error.name[:64]}: {error.message[:256]}"
        if "TOO_MANY" in name:
            self.notices.append(Complaint(ErrorCode.RATE_LIMITED, message))
            return
        if name not in _REQUEST_ERRORS:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))
            return
        waiting = [track for track in self.tracks.values() if track.active and not track.confirmed]
        named = [track for track in waiting if track.exchange_symbol in error.message]
        refused = named or (waiting if len(waiting) == 1 else [])
        if refused:
            symbols = tuple(track.symbol for track in refused)
            self.notices.append(Refused(symbols, ErrorCode.SUBSCRIBE_REJECTED, message))
        else:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))


class Bithumb(ExchangeProfile):
    """Bithumb (Korea). ``wire_format``: which keys the subscriptions ask for."""

    exchange = Exchange.BITHUMB
    region = Region.KOREA
    request_types = frozenset(RequestType)
    url = "wss://ws-api.bithumb.com/websocket/v1"
    allowed_hosts = frozenset({"ws-api.bithumb.com"})
    # Half of the documented connects, since who exceeds them is shut out for 10 minutes. Messages are not
    # limited in writing: few are needed.
    limits = ConnectionLimits(
        max_symbols=1000,
        max_symbols_per_message=1000,
        max_connects=5,
        connect_window_s=1.0,
        max_messages=5,
        message_window_s=1.0,
    )
    confirm_within_s: ClassVar[float | None] = 10.0

    def __init__(self, wire_format: WireFormat = "DEFAULT") -> None:
        self.wire_format: WireFormat = wire_format

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-KRW`` or Bithumb's own ``KRW-BTC``: the stronger of KRW, USDT, BTC is the quote."""
        first, dash, second = text.upper().partition("-")
        if not dash:
            raise ValueError(f"{text[:64]!r} is not a pair such as BTC-KRW or KRW-BTC")
        ranked = sorted((first, second), key=lambda part: _QUOTE_RANK.get(part, len(_QUOTE_RANK)))
        quote, base = ranked
        if quote not in _QUOTE_RANK:
            raise ValueError(f"{text[:64]!r} has no quote currency of Bithumb: KRW, USDT or BTC")
        if base == quote:
            raise ValueError(f"{text[:64]!r} names one currency twice")
        return Symbol(base, quote)

    def spell_symbol(self, symbol: Symbol) -> str:
        """``KRW-BTC`` for BTC-KRW."""
        return f"{symbol.quote}-{symbol.base}"

    def dialect(self, request_type: RequestType, session_id: int) -> BithumbDialect:
        """A new connection's protocol."""
        return BithumbDialect(self, request_type, session_id, self.wire_format)
