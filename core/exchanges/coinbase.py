"""Coinbase Exchange's public WebSocket feed.

Written after Coinbase's documentation (read 2026-11): "WebSocket Overview", "WebSocket Channels", "WebSocket
Rate Limits" and "WebSocket Errors" under docs.cdp.coinbase.com/exchange/websocket-feed. It is not the feed of
Advanced Trade, which has another address and other frames.

- A request names channels and products: ``{"type": "subscribe", "product_ids": […], "channels": […]}``. The
  answer, ``subscriptions``, lists everything that runs on the connection, some channels under another name
  (``level2_50`` for ``level2_batch``). A client that has not subscribed after 5 s is cut off.
- ``error`` has no id. One wrong product fails its whole request: "… is not a valid product" refuses that one,
  and the others of the request are asked for again.
- ``level2`` wants authentication since 2023; ``level2_batch`` has the same frames every 50 ms without. It
  begins with the whole book, of any depth; ``l2update`` has absolute sizes, 0 removes. There is no sequence
  and no checksum: the channel is documented to deliver every update.
- A match's ``side`` is the maker's, so the taker's is the other. ``last_match`` repeats the last trade before
  the subscription. A ticker's first message, the state at subscription, has no ``trade_id`` and no ``time``.
- ``heartbeat`` comes every second for each product. There is no ping in the band.
"""

import re
from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar, Literal

import msgspec

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
from core.exchanges.iso_time import IsoTime, epoch_ms
from core.exchanges.values import Id, Price, PriceOrZero, Quantity, TradedQuantity
from core.identity import Exchange, Region, RequestType, Symbol
from core.records import Level, Record, Side, StreamType, Ticker, Trade

_EXCHANGE, _REGION = Exchange.COINBASE.value, Region.NA.value
_CHANNELS = {
    RequestType.TICKER: "ticker",
    RequestType.TRADE: "matches",
    RequestType.ORDERBOOK: "level2_batch",
}
_NAMES_IN_ANSWERS = {
    RequestType.TICKER: frozenset({"ticker", "ticker_batch", "ticker_1000"}),
    RequestType.TRADE: frozenset({"matches"}),
    RequestType.ORDERBOOK: frozenset({"level2", "level2_batch", "level2_50"}),
}
_TAKER_SIDES = {"buy": Side.SELL, "sell": Side.BUY}
_PRODUCT = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}")
_OUR_TYPES = frozenset({"ticker", "match", "last_match", "snapshot", "l2update", "heartbeat"})


# -- frames --------------------------------------------------------------------------------------------


class _Ticker(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="ticker"):
    product_id: str
    price: PriceOrZero
    time: IsoTime | None = None
    trade_id: Id | None = None
    open_24h: PriceOrZero | None = None
    high_24h: PriceOrZero | None = None
    low_24h: PriceOrZero | None = None
    volume_24h: Quantity | None = None
    best_bid: PriceOrZero | None = None
    best_bid_size: Quantity | None = None
    best_ask: PriceOrZero | None = None
    best_ask_size: Quantity | None = None


class _Match(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="match"):
    product_id: str
    price: Price
    size: TradedQuantity
    side: str | None = None
    time: IsoTime | None = None
    trade_id: Id | None = None


class _LastMatch(_Match, frozen=True, gc=False, tag_field="type", tag="last_match"):
    pass


class _Level(msgspec.Struct, frozen=True, gc=False, array_like=True):
    price: Price
    size: Quantity


class _Change(msgspec.Struct, frozen=True, gc=False, array_like=True):
    side: Literal["buy", "sell"]
    price: Price
    size: Quantity


class _Snapshot(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="snapshot"):
    product_id: str
    bids: list[_Level]
    asks: list[_Level]
    time: IsoTime | None = None


class _Update(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="l2update"):
    product_id: str
    changes: list[_Change]
    time: IsoTime | None = None


class _Heartbeat(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="heartbeat"):
    product_id: str


class _Channel(msgspec.Struct, frozen=True):
    name: str
    product_ids: list[str] | None = None


class _Envelope(msgspec.Struct, frozen=True):
    """A frame that is none of our data, as far as it says what it is."""

    type: str | None = None
    channels: list[_Channel] | None = None
    message: str = ""
    reason: str = ""


class _Exact(msgspec.Struct, frozen=True):
    price: Decimal
    size: Decimal | None = None


_Data = _Ticker | _Match | _LastMatch | _Snapshot | _Update | _Heartbeat
# Not strict, so that numbers written as text are read by the decoder itself.
_DATA: msgspec.json.Decoder[_Data] = msgspec.json.Decoder(_Data, strict=False)
_EXACT = msgspec.json.Decoder(_Exact)
_ENVELOPE = msgspec.json.Decoder(_Envelope)


# -- protocol ------------------------------------------------------------------------------------------


class CoinbaseDialect(Dialect):
    """One connection to Coinbase Exchange; each product with its heartbeat."""

    def __init__(self, profile: ExchangeProfile, request_type: RequestType, session_id: int) -> None:
        super().__init__(profile, request_type, session_id)
        # Products of each request that waits for its answer; answers come in the order of the requests.
        self._asked: deque[tuple[str, ...]] = deque()
        self._last_trade: dict[str, int] = {}

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """``subscribe`` for the added products."""
        return self._requests("subscribe", [track.exchange_symbol for track in added])

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """``unsubscribe`` for the removed products."""
        return self._requests("unsubscribe", [track.exchange_symbol for track in removed])

    def probe(self) -> None:
        """There is none: heartbeats come every second."""
        return

    def _requests(self, kind: str, products: Sequence[str]) -> list[Outgoing]:
        if not products:
            return []
        self._asked.append(tuple(products) if kind == "subscribe" else ())
        request = {
            "type": kind,
            "product_ids": products,
            "channels": [_CHANNELS[self.request_type], "heartbeat"],
        }
        return [msgspec.json.encode(request).decode()]

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame; see ``Dialect.receive``."""
        data = self._decode(frame)
        if data is None:
            return ()
        if isinstance(data, _Match):
            return self._trade(data, received_us)
        if isinstance(data, _Update):
            return self._update(data, received_us)
        if isinstance(data, _Ticker):
            return self._ticker(data, received_us)
        if isinstance(data, _Snapshot):
            return self._snapshot(data, received_us)
        self.control()
        track = self.tracks.get(data.product_id)
        if track is not None:
            track.beats += 1
        return ()

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """One ticker or trade a frame."""
        data = _EXACT.decode(frame)
        return (ExactNumbers(data.price, data.size),)

    def _decode(self, frame: str | bytes) -> _Data | None:
        """The frame as data, or None after it was counted."""
        try:
            return _DATA.decode(frame)
        except msgspec.ValidationError:
            envelope = _ENVELOPE.decode(frame)
            if envelope.type is None:
                raise PayloadError("the frame has no type") from None
            if envelope.type in _OUR_TYPES:
                raise
        if envelope.type == "subscriptions":
            self._acknowledge(envelope.channels or [])
        elif envelope.type == "error":
            self._complain(envelope.message, envelope.reason)
        else:
            # New types may come at any time, and are to be passed over.
            self.ignore("type without records")
        return None

    def _acknowledge(self, channels: Sequence[_Channel]) -> None:
        """The answer to a request, with all that runs."""
        self.control()
        if self._asked:
            self._asked.popleft()
        names = _NAMES_IN_ANSWERS[self.request_type]
        listed = [
            self.tracks.get(product)
            for channel in channels
            if channel.name in names
            for product in channel.product_ids or ()
        ]
        confirmed = tuple(track.symbol for track in listed if track and track.active and not track.confirmed)
        if confirmed:
            self.notices.append(Confirmed(confirmed))

    def _complain(self, message: str, reason: str) -> None:
        """Refuse the products that the error names; the rest of their request is asked for again."""
        self.control()
        text = f"Coinbase: {message[:128]}: {reason[:256]}" if reason else f"Coinbase: {message[:256]}"
        lower = text.lower()
        if "rate limit" in lower or "too many" in lower or "errslowread" in lower:
            self.notices.append(Complaint(ErrorCode.RATE_LIMITED, text))
            return
        named = [
            track
            for track in map(self.tracks.get, dict.fromkeys(_PRODUCT.findall(reason[:256] or message[:256])))
            if track is not None and track.active and not track.confirmed
        ]
        # Errors such as ErrSlowConsume, before a connection ends, answer no request.
        answers = bool(named) or "subscribe" in lower
        request = self._answered([track.exchange_symbol for track in named]) if answers else ()
        if not named:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, text))
            return
        unknown = "not a valid product" in lower or "delisted" in lower
        code = ErrorCode.UNKNOWN_SYMBOL if unknown else ErrorCode.SUBSCRIBE_REJECTED
        self.notices.append(Refused(tuple(track.symbol for track in named), code, text))
        refused = {track.exchange_symbol for track in named}
        others = [product for product in request if product not in refused and self.tracks[product].active]
        self.outbox.extend(self._requests("subscribe", others))

    def _answered(self, named: Sequence[str]) -> tuple[str, ...]:
        """Take the request that an error answers: the first that has a named product, or else the oldest."""
        request = next((asked for asked in self._asked if any(name in asked for name in named)), None)
        if request is not None:
            self._asked.remove(request)
            return request
        return self._asked.popleft() if self._asked else ()

    def _ticker(self, data: _Ticker, received_us: int) -> Sequence[Record]:
        track = self.track_of(RequestType.TICKER, data.product_id)
        if track is None:
            return ()
        if not data.price:
            self.ignore("ticker without a price")
            return ()
        bid, ask = data.best_bid or None, data.best_ask or None
        time_ms = epoch_ms(data.time)
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
                data.price,
                data.open_24h or None,
                data.high_24h or None,
                data.low_24h or None,
                None,  # previous close and change: a ticker of Coinbase has none
                None,
                data.volume_24h,
                None,  # the day's volume in the quote currency
                bid,
                None if bid is None else data.best_bid_size,
                ask,
                None if ask is None else data.best_ask_size,
                StreamType.SNAPSHOT if data.trade_id is None else StreamType.REALTIME,
            ),
        )

    def _trade(self, data: _Match, received_us: int) -> Sequence[Record]:
        track = self.track_of(RequestType.TRADE, data.product_id)
        if track is None:
            return ()
        trade_id = data.trade_id
        if trade_id is not None:
            # A subscription that is renewed brings the last trade again.
            if isinstance(data, _LastMatch) and self._last_trade.get(data.product_id) == trade_id:
                self.ignore("last match already seen")
                if not track.confirmed:
                    self.notices.append(Confirmed((track.symbol,)))
                return ()
            self._last_trade[track.exchange_symbol] = trade_id
        time_ms = epoch_ms(data.time)
        track.sequence += 1
        return (
            Trade(
                _EXCHANGE,
                _REGION,
                track.symbol,
                track.exchange_symbol,
                time_ms,
                received_us,
                self.session_id,
                track.sequence,
                data.price,
                data.size,
                _TAKER_SIDES.get(data.side or "", Side.UNKNOWN),
                None if trade_id is None else str(trade_id),
            ),
        )

    def _snapshot(self, data: _Snapshot, received_us: int) -> Sequence[Record]:
        track = self.track_of(RequestType.ORDERBOOK, data.product_id)
        if track is None:
            return ()
        time_ms = epoch_ms(data.time)
        # The exchange sends tens of thousands of levels: what the kept book would not hold is cut off.
        most = 2 * self.books.settings.depth
        bids = [Level(level.price, level.size) for level in data.bids]
        asks = [Level(level.price, level.size) for level in data.asks]
        bids.sort(key=_price, reverse=True)
        asks.sort(key=_price)
        return (self.books.snapshot(track, bids[:most], asks[:most], received_us, time_ms),)

    def _update(self, data: _Update, received_us: int) -> Sequence[Record]:
        track = self.track_of(RequestType.ORDERBOOK, data.product_id)
        if track is None:
            return ()
        time_ms = epoch_ms(data.time)
        bids: list[Level] = []
        asks: list[Level] = []
        for change in data.changes:
            (bids if change.side == "buy" else asks).append(Level(change.price, change.size))
        return (self.books.delta(track, bids, asks, received_us, time_ms),)


def _price(level: Level) -> float:
    return level.price


class Coinbase(ExchangeProfile):
    """Coinbase Exchange (North America)."""

    exchange = Exchange.COINBASE
    region = Region.NA
    request_types = frozenset(RequestType)
    url = "wss://ws-feed.exchange.coinbase.com"
    allowed_hosts = frozenset({"ws-feed.exchange.coinbase.com"})
    # 8 requests (connects) a second and address, 20 in bursts; 100 messages a second. Products are not
    # bounded by the documentation; a whole book of a large one takes several megabytes.
    limits = ConnectionLimits(
        max_symbols=100,
        max_symbols_per_message=100,
        max_connects=8,
        connect_window_s=1.0,
        max_messages=50,
        message_window_s=1.0,
        max_frame_bytes=16 * 1024 * 1024,
    )
    # One a second; a few late ones are not yet silence.
    channel_heartbeat_s: ClassVar[float | None] = 5.0

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-USD``, which is both the canonical and Coinbase's own spelling."""
        return Symbol.parse(text.upper())

    def spell_symbol(self, symbol: Symbol) -> str:
        """``BTC-USD``."""
        return f"{symbol.base}-{symbol.quote}"

    def dialect(self, request_type: RequestType, session_id: int) -> CoinbaseDialect:
        """A new connection's protocol."""
        return CoinbaseDialect(self, request_type, session_id)
