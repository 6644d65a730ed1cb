"""Upbit's public WebSocket.

Written after Upbit's documentation (read 2026-11): "WebSocket 사용 및 에러 안내", "현재가 (Ticker)",
"체결 (Trade)", "호가 (Orderbook)" and "요청 수 제한 (Rate Limits)" under docs.upbit.com/kr/reference.

- A request is a JSON list: ticket, types with their codes, format. A new request replaces the former one
  (reported in ccxt's pull request 26954, where all subscriptions are sent again for that reason), so every
  request lists all codes, and brings a snapshot of each.
- Frames are binary and hold JSON, with long keys (``DEFAULT``) or short ones (``SIMPLE``). The type stands in
  ``type`` or ``ty``; an order book frame is always the whole book of up to 30 levels a side, the shorter side
  filled up with zeros. Who asks for ``JSON_LIST`` or ``SIMPLE_LIST`` gets JSON lists of such objects.
- A code may be asked for as ``KRW-BTC.5``: a book of 5 levels. Numbers come in exponent notation too.
- What is wrong with a request as a whole comes as ``{"error": {"name", "message"}}``. No error is documented
  for a code that Upbit does not list, and a listed one always gets its snapshot: silence is a refusal.
- The text ``PING`` is answered by ``{"status": "UP"}``, then repeated every 10 s. An idle connection is
  closed after 120 s (60 s as measured in a published survey of the live socket, 2026-09).
"""

from collections.abc import Sequence
from decimal import Decimal
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
    Rate,
)
from core.identity import Exchange, Region, RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade

WireFormat = Literal["DEFAULT", "SIMPLE"]

_EXCHANGE, _REGION = Exchange.UPBIT.value, Region.KOREA.value
_QUOTE_RANK = {"KRW": 0, "USDT": 1, "BTC": 2}
_STREAM_TYPES = {"SNAPSHOT": StreamType.SNAPSHOT, "REALTIME": StreamType.REALTIME}
_TAKER_SIDES = {"ASK": Side.SELL, "BID": Side.BUY}
_REQUEST_ERRORS = frozenset({"NO_CODES", "INVALID_PARAM", "WRONG_FORMAT"})


# -- frames --------------------------------------------------------------------------------------------


class _Ticker(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="ticker"):
    code: str
    trade_price: PriceOrZero | None = None
    timestamp: EpochMs | None = None
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
    trade_price: PriceOrZero | None = field(name="tp", default=None)
    timestamp: EpochMs | None = field(name="tms", default=None)
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
    sequential_id: int | str | None = None
    stream_type: str | None = None


class _ShortTrade(_Trade, frozen=True, gc=False, tag_field="ty", tag="trade"):
    code: str = field(name="cd")
    trade_price: Price = field(name="tp")
    trade_volume: Quantity = field(name="tv")
    ask_bid: str | None = field(name="ab", default=None)
    trade_timestamp: EpochMs | None = field(name="ttms", default=None)
    sequential_id: int | str | None = field(name="sid", default=None)
    stream_type: str | None = field(name="st", default=None)


class _Unit(msgspec.Struct, frozen=True, gc=False):
    ask_price: PriceOrZero | None = None
    bid_price: PriceOrZero | None = None
    ask_size: Quantity | None = None
    bid_size: Quantity | None = None


class _ShortUnit(_Unit, frozen=True, gc=False):
    ask_price: PriceOrZero | None = field(name="ap", default=None)
    bid_price: PriceOrZero | None = field(name="bp", default=None)
    ask_size: Quantity | None = field(name="as", default=None)
    bid_size: Quantity | None = field(name="bs", default=None)


class _OrderBook(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="orderbook"):
    code: str
    orderbook_units: list[_Unit] | None
    timestamp: EpochMs | None = None


class _ShortOrderBook(msgspec.Struct, frozen=True, gc=False, tag_field="ty", tag="orderbook"):
    code: str = field(name="cd")
    orderbook_units: list[_ShortUnit] | None = field(name="obu")
    timestamp: EpochMs | None = field(name="tms", default=None)


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
    name: str | int | None = None
    message: str | None = None


class _Envelope(msgspec.Struct, frozen=True):
    """A frame that could not be read as data, as far as it says what it is."""

    type: str | None = None
    ty: str | None = None
    status: str | None = None
    error: _Error | str | None = None
    method: str | None = None
    mthd: str | None = None
    code: str | None = None
    cd: str | None = None
    stream_type: str | None = None
    st: str | None = None
    trade_price: float | str | None = None
    tp: float | str | None = None

    @property
    def before_any_trade(self) -> bool:
        """Whether it is the snapshot of a symbol that was never traded."""
        price = self.trade_price if self.tp is None else self.tp
        return (
            "trade" in (self.type, self.ty)
            and "SNAPSHOT" in (self.stream_type, self.st)
            and price in (None, 0, "", "0")
        )


# Not strict, so that a number written as text is one too.
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
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_TIMES = frozenset({"timestamp", "tms", "trade_timestamp", "ttms"})
_OUR_TYPES = frozenset({"ticker", "trade", "orderbook"})

_Frame = str | bytes | msgspec.Raw
_Data = _Ticker | _Trade | _OrderBook | _ShortOrderBook


# Records are built by position, in the order of their fields: by name takes four times as long.

# -- protocol ------------------------------------------------------------------------------------------


class UpbitDialect(Dialect):
    """One connection to Upbit; reads both formats, asks for ``wire_format``."""

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
        self._last_trade: dict[str, str] = {}
        self._listed: list[msgspec.Raw] = []  # the items of the last list that became records

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
        try:
            data = _SHORT.decode(frame) if self._short else _LONG.decode(frame)
        except msgspec.ValidationError:
            if _is_list(frame):
                return self._list(frame, received_us)
            other = self._other(frame)
            return () if other is None else self._records(other, received_us)
        return self._records(data, received_us)

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """One ticker or trade a frame, or as many as a list had; the format is that of the last ``receive``."""
        decoder = _SHORT_EXACT if self._short else _LONG_EXACT
        read = [decoder.decode(item) for item in (self._listed if _is_list(frame) else (frame,))]
        return [
            ExactNumbers(data.price, data.quantity if isinstance(data, _ExactTrade) else None) for data in read
        ]

    def _records(self, data: _Data, received_us: int) -> Sequence[Record]:
        if isinstance(data, _Ticker):
            return self._ticker(data, received_us)
        if isinstance(data, _Trade):
            return self._trade(data, received_us)
        return self._orderbook(data, received_us)

    def _list(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """The records of all items. It is one frame: read as a whole or not at all, and counted once."""
        before, self.ignored = (self.controls, self.ignored), {}
        try:
            items = [(item, self._item(item)) for item in _ITEMS.decode(frame)]
            records: list[Record] = []
            self._listed = []
            for item, data in items:
                if data is not None and (made := self._records(data, received_us)):
                    records += made
                    self._listed.append(item)
        finally:
            controls, reasons = self.controls, self.ignored
            self.controls, self.ignored = before
        if records:
            return records
        if controls > self.controls:
            self.control()
        else:
            self.ignore(next(iter(reasons), "empty list"))
        return ()

    def _item(self, item: msgspec.Raw) -> _Data | None:
        """One of a list; its symbol is read here, before there are records of the others."""
        try:
            data: _Data | None = _SHORT.decode(item) if self._short else _LONG.decode(item)
        except msgspec.ValidationError:
            data = self._other(item)
        if data is not None and self.accept_all:
            try:
                self.profile.parse_symbol(_code_of(data))
            except ValueError as exc:
                raise PayloadError(f"the frame's symbol cannot be read: {exc}") from exc
        return data

    def _other(self, frame: _Frame) -> _Data | None:
        """What is not data in the format that came last: as data, or None after it was counted."""
        envelope = _ENVELOPE.decode(frame)
        if envelope.before_any_trade:
            self._without_trade(envelope.code or envelope.cd or "")
        elif envelope.ty in _OUR_TYPES:
            self._short = True
            return read_with_blanks(_SHORT, frame, _TIMES)
        elif envelope.type in _OUR_TYPES:
            self._short = False
            return read_with_blanks(_LONG, frame, _TIMES)
        elif envelope.error is not None:
            self._complain(envelope.error)
        elif envelope.status is not None or envelope.method is not None or envelope.mthd is not None:
            self.control()
        elif envelope.type is not None or envelope.ty is not None:
            self.ignore("type without records")
        else:
            raise PayloadError("the frame has neither a type nor a status nor an error")
        return None

    def _ticker(self, data: _Ticker, received_us: int) -> Sequence[Record]:
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
                data.timestamp,
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
                None,  # bid and ask, with their quantities: a ticker of Upbit has none
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
        trade_id = None if data.sequential_id is None else str(data.sequential_id)
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
                trade_id,
            ),
        )

    def _orderbook(self, data: _OrderBook | _ShortOrderBook, received_us: int) -> Sequence[Record]:
        track = self.track_of(RequestType.ORDERBOOK, _code_of(data))
        if track is None:
            return ()
        units: Sequence[_Unit] = data.orderbook_units or ()
        track.sequence += 1
        return (
            self.books.restate(
                track,
                OrderBook(
                    _EXCHANGE,
                    _REGION,
                    track.symbol,
                    track.exchange_symbol,
                    data.timestamp,
                    received_us,
                    self.session_id,
                    track.sequence,
                    BookKind.SNAPSHOT,
                    # A side with fewer levels than the other is filled up with zeros.
                    [Level(u.bid_price, u.bid_size) for u in units if u.bid_price and u.bid_size],
                    [Level(u.ask_price, u.ask_size) for u in units if u.ask_price and u.ask_size],
                    None,  # update ids and checksum: every frame is the whole book
                    None,
                    None,
                    True,
                ),
            ),
        )

    def _without_record(self, track: SymbolTrack, reason: str) -> Sequence[Record]:
        """The frame says that the symbol runs, and nothing to publish."""
        self.ignore(reason)
        if not track.confirmed:
            self.notices.append(Confirmed((track.symbol,)))
        return ()

    def _without_trade(self, code: str) -> None:
        track = self.track_of(RequestType.TRADE, code)
        if track is not None:
            self._without_record(track, "snapshot before any trade")

    def _complain(self, error: _Error | str) -> None:
        """Upbit's errors name no code: only what the text or the circumstances make certain is refused."""
        self.control()
        if isinstance(error, str):
            error = _Error(message=error)
        name, text = str(error.name or "error")[:64], error.message or ""
        message = f"Upbit: {name}: {text[:256]}"
        if "TOO_MANY" in name.upper():
            self.notices.append(Complaint(ErrorCode.RATE_LIMITED, message))
            return
        if name not in _REQUEST_ERRORS:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))
            return
        waiting = [track for track in self.tracks.values() if track.active and not track.confirmed]
        named = [track for track in waiting if track.exchange_symbol in text]
        refused = named or (waiting if len(waiting) == 1 else [])
        if refused:
            symbols = tuple(track.symbol for track in refused)
            self.notices.append(Refused(symbols, ErrorCode.SUBSCRIBE_REJECTED, message))
        else:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))


def _is_list(frame: str | bytes) -> bool:
    return frame.lstrip()[:1] in ("[", b"[")


def _code_of(data: _Data) -> str:
    """``KRW-BTC`` also for ``KRW-BTC.5``, a book of so many levels."""
    return data.code.partition(".")[0] if "." in data.code else data.code


class Upbit(ExchangeProfile):
    """Upbit (Korea). ``wire_format``: which keys the subscriptions ask for."""

    exchange = Exchange.UPBIT
    region = Region.KOREA
    request_types = frozenset(RequestType)
    url = "wss://api.upbit.com/websocket/v1"
    allowed_hosts = frozenset({"api.upbit.com"})
    # Connections: 5 a second and address. Messages: 5 a second and 100 a minute and connection; 5 in any
    # 3 seconds keeps to both. A bound on codes is not documented: a request may list the whole market.
    limits = ConnectionLimits(
        max_symbols=1000,
        max_symbols_per_message=1000,
        max_connects=5,
        connect_window_s=1.0,
        max_messages=5,
        message_window_s=3.0,
    )
    confirm_within_s: ClassVar[float | None] = 10.0

    def __init__(self, wire_format: WireFormat = "DEFAULT") -> None:
        self.wire_format: WireFormat = wire_format

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-KRW`` or Upbit's own ``KRW-BTC``: the stronger of KRW, USDT, BTC is the quote."""
        first, dash, second = text.upper().partition("-")
        if not dash:
            raise ValueError(f"{text[:64]!r} is not a pair such as BTC-KRW or KRW-BTC")
        ranked = sorted((first, second), key=lambda part: _QUOTE_RANK.get(part, len(_QUOTE_RANK)))
        quote, base = ranked
        if quote not in _QUOTE_RANK:
            raise ValueError(f"{text[:64]!r} has no quote currency of Upbit: KRW, USDT or BTC")
        if base == quote:
            raise ValueError(f"{text[:64]!r} names one currency twice")
        return Symbol(base, quote)

    def spell_symbol(self, symbol: Symbol) -> str:
        """``KRW-BTC`` for BTC-KRW."""
        return f"{symbol.quote}-{symbol.base}"

    def dialect(self, request_type: RequestType, session_id: int) -> UpbitDialect:
        """A new connection's protocol."""
        return UpbitDialect(self, request_type, session_id, self.wire_format)
