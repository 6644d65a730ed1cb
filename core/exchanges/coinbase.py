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
  and no checksum: the channel is documented to deliver every update. A time that was never set comes as
  ``0001-01-01T00:00:00.000000Z``, as users report.
- ``sequence``, in tickers, matches and heartbeats, counts all that happens to a product: it is without gaps on
  the channel ``full`` alone, which wants authentication. Matches may be dropped, as documented: their
  ``trade_id``, which counts a product's trades, shows it. A ticker's jumps, for several trades make one ticker.
- A match's ``side`` is the maker's, so the taker's is the other. ``last_match`` repeats the last trade before
  the subscription. A ticker's first message, the state at subscription, has no ``trade_id`` and no ``time``.
- ``full`` also has ``received``, ``open``, ``done``, ``change`` and ``activate``; ``level3`` has the same as
  arrays. They tell of orders, and no record is made of them; nor of ``rfq_match``, a trade outside of the book.
- ``heartbeat`` comes every second for each product. There is no ping in the band. Its ``last_trade_id`` is not
  used: users report 0 in it.
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
    Makers,
    Outgoing,
    Refused,
    SymbolBroken,
    SymbolTrack,
)
from core.exchanges.iso_time import IsoTime, epoch_ms
from core.exchanges.values import Id, Price, PriceOrZero, Quantity, TradedQuantity
from core.identity import Exchange, Region, RequestType, Symbol
from core.records import Level, Record, Side, StreamType, Ticker, Trade

_EXCHANGE, _REGION = Exchange.COINBASE.value, Region.NA.value
_TICKER, _TRADE, _BOOK = RequestType.TICKER, RequestType.TRADE, RequestType.ORDERBOOK
_SNAPSHOT, _REALTIME = StreamType.SNAPSHOT, StreamType.REALTIME
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
_TAKER_SIDES: dict[str | None, Side] = {"buy": Side.SELL, "sell": Side.BUY}
_UNKNOWN = Side.UNKNOWN
_PRODUCT = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}")
_REMEMBERED_LOSSES = 1000
"""Trades that did not come are still taken when they come late, as long as they are not more than this."""
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


class _Change(msgspec.Struct, frozen=True, gc=False, array_like=True):
    side: Literal["buy", "sell"]
    price: Price
    size: Quantity


class _Snapshot(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="snapshot"):
    product_id: str
    bids: list[Level]
    asks: list[Level]
    time: IsoTime | None = None


class _Update(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="l2update"):
    product_id: str
    changes: list[_Change]
    time: IsoTime | None = None


class _Heartbeat(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="heartbeat"):
    product_id: str


class _Head(msgspec.Struct, frozen=True):
    """A frame that is none of our data, as far as it says what it is."""

    type: str


class _Channel(msgspec.Struct, frozen=True):
    name: str
    product_ids: list[str] | None = None


class _Subscriptions(msgspec.Struct, frozen=True):
    # A channel is named alone where the products stand beside, as in the shorter form of a request.
    channels: list[_Channel | str] | None = None
    product_ids: list[str] | None = None


class _Error(msgspec.Struct, frozen=True):
    message: str | None = None
    reason: str | None = None


class _Exact(msgspec.Struct, frozen=True):
    price: Decimal
    size: Decimal | None = None


_Data = _Ticker | _Match | _LastMatch | _Snapshot | _Update | _Heartbeat
# Not strict, so that numbers written as text are read by the decoder itself.
_DATA: msgspec.json.Decoder[_Data] = msgspec.json.Decoder(_Data, strict=False)
_EXACT = msgspec.json.Decoder(_Exact)
_HEAD = msgspec.json.Decoder(_Head)
_SUBSCRIPTIONS = msgspec.json.Decoder(_Subscriptions)
_ERROR = msgspec.json.Decoder(_Error)
_ORDER: msgspec.json.Decoder[list[str | int | None]] = msgspec.json.Decoder(list[str | int | None])
"""What ``level3`` packs into an array."""


class _TradeIds:
    """Which trades of a product have come: ``first`` up to ``next`` (without), but for those in ``lost``.

    ``counting`` is false until the first trade of a subscription: what was traded before it was not asked for.
    """

    __slots__ = ("counting", "first", "lost", "next")

    def __init__(self) -> None:
        self.first = self.next = 0
        self.lost: set[int] = set()
        self.counting = False

    def begin(self, trade_id: int) -> None:
        """Count anew from this trade."""
        self.first, self.next, self.counting = trade_id, trade_id + 1, False
        self.lost.clear()

    def has(self, trade_id: int) -> bool:
        """Whether this trade has come already."""
        return self.first <= trade_id < self.next and trade_id not in self.lost

    def take(self, trade_id: int) -> range:
        """Note a trade that has not come yet; returns the ids before it that did not come."""
        missed = range(0)
        if trade_id >= self.next:
            if self.counting:
                missed = range(self.next, trade_id)
            if len(self.lost) + len(missed) > _REMEMBERED_LOSSES or not self.counting:
                self.begin(trade_id)
            else:
                self.lost.update(missed)
            self.next, self.counting = trade_id + 1, True
        elif trade_id in self.lost:
            self.lost.discard(trade_id)
        elif trade_id == self.first - 1:
            self.first = trade_id
        else:
            self.begin(trade_id)
        return missed


# -- protocol ------------------------------------------------------------------------------------------


class CoinbaseDialect(Dialect):
    """One connection to Coinbase Exchange; each product with its heartbeat."""

    def __init__(self, profile: ExchangeProfile, request_type: RequestType, session_id: int) -> None:
        super().__init__(profile, request_type, session_id)
        # Products of each request that waits for its answer; answers come in the order of the requests.
        self._asked: deque[tuple[str, ...]] = deque()
        self._trade_ids: dict[str, _TradeIds] = {}
        self._made: Makers = {
            _Ticker: self._ticker,
            _Match: self._trade,
            _LastMatch: self._trade,
            _Snapshot: self._snapshot,
            _Update: self._update,
            _Heartbeat: self._heartbeat,
        }

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """``subscribe`` for the added products."""
        return self._requests("subscribe", [track.exchange_symbol for track in added])

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """``unsubscribe`` for the removed products."""
        for track in removed:
            ids = self._trade_ids.get(track.exchange_symbol)
            if ids is not None:
                ids.counting = False
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
        try:
            data = _DATA.decode(frame)
        except msgspec.ValidationError as exc:
            self._take_other(frame, exc)
            return ()
        return self._made[type(data)](data, received_us)

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """One ticker or trade a frame."""
        data = _EXACT.decode(frame)
        return (ExactNumbers(data.price, data.size),)

    def _take_other(self, frame: str | bytes, error: msgspec.ValidationError) -> None:
        """A frame that is no data of ours."""
        if _begins_array(frame):
            if not isinstance(next(iter(_ORDER.decode(frame)), None), str):
                raise PayloadError("the array is no order of level 3")
            self.ignore("order of level 3")
            return
        kind = _type_of(frame)
        if kind in _OUR_TYPES:
            raise error
        if kind == "subscriptions":
            self._acknowledge(_SUBSCRIPTIONS.decode(frame))
        elif kind == "error":
            told = _ERROR.decode(frame)
            self._complain(told.message or "", told.reason or "")
        else:
            # New types may come at any time, and are to be passed over.
            self.ignore("type without records")

    def _acknowledge(self, answer: _Subscriptions) -> None:
        """The answer to a request, with all that runs."""
        self.control()
        if self._asked:
            self._asked.popleft()
        if self.accept_all:
            # A recording may go on with another connection under the same name.
            for ids in self._trade_ids.values():
                ids.counting = False
        names = _NAMES_IN_ANSWERS[self.request_type]
        products: list[str] = []
        for channel in answer.channels or ():
            name, own = (channel, None) if isinstance(channel, str) else (channel.name, channel.product_ids)
            if name in names:
                products.extend(own or answer.product_ids or ())
        listed = map(self.tracks.get, products)
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
        self.requests.extend(self._requests("subscribe", others))

    def _answered(self, named: Sequence[str]) -> tuple[str, ...]:
        """Take the request that an error answers: the first that has a named product, or else the oldest."""
        request = next((asked for asked in self._asked if any(name in asked for name in named)), None)
        if request is not None:
            self._asked.remove(request)
            return request
        return self._asked.popleft() if self._asked else ()

    def _ticker(self, data: _Ticker, received_us: int) -> Sequence[Record]:
        track = self.track_of(_TICKER, data.product_id)
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
                _SNAPSHOT if data.trade_id is None else _REALTIME,
            ),
        )

    def _trade(self, data: _Match, received_us: int) -> Sequence[Record]:
        track = self.track_of(_TRADE, data.product_id)
        if track is None:
            return ()
        time_ms = epoch_ms(data.time)
        trade_id = data.trade_id
        if trade_id is not None:
            ids = self._trade_ids.get(data.product_id)
            if ids is not None and ids.counting and trade_id == ids.next and type(data) is _Match:
                ids.next = trade_id + 1
            elif not self._is_new(track, trade_id, isinstance(data, _LastMatch)):
                return ()
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
                _TAKER_SIDES.get(data.side, _UNKNOWN),
                None if trade_id is None else str(trade_id),
            ),
        )

    def _is_new(self, track: SymbolTrack, trade_id: int, begins: bool) -> bool:
        """Whether the trade did not come yet, as it does again with a renewed subscription and from a second
        channel. What is missing before it is told, once."""
        ids = self._trade_ids.get(track.exchange_symbol)
        if ids is None:
            ids = self._trade_ids[track.exchange_symbol] = _TradeIds()
        if ids.has(trade_id):
            self.ignore("trade already seen")
            if not track.confirmed:
                self.notices.append(Confirmed((track.symbol,)))
            if begins:
                ids.counting = False
            return False
        if begins:
            ids.begin(trade_id)
            return True
        missed = ids.take(trade_id)
        if missed:
            which = f"trade {missed[0]}" if len(missed) == 1 else f"trades {missed[0]} to {missed[-1]}"
            message = f"Coinbase: {track.symbol}: {which} did not come"
            self.notices.append(SymbolBroken(track.symbol, ErrorCode.SEQUENCE_GAP, message))
        return True

    def _heartbeat(self, data: _Heartbeat, received_us: int) -> Sequence[Record]:
        self.control()
        track = self.tracks.get(data.product_id)
        if track is not None:
            track.beats += 1
        return ()

    def _snapshot(self, data: _Snapshot, received_us: int) -> Sequence[Record]:
        track = self.track_of(_BOOK, data.product_id)
        if track is None:
            return ()
        time_ms = epoch_ms(data.time)
        # The exchange sends tens of thousands of levels: what the kept book would not hold is cut off.
        most = 2 * self.books.settings.depth
        bids, asks = data.bids, data.asks
        bids.sort(key=_price, reverse=True)
        asks.sort(key=_price)
        return (self.books.snapshot(track, bids[:most], asks[:most], received_us, time_ms),)

    def _update(self, data: _Update, received_us: int) -> Sequence[Record]:
        track = self.track_of(_BOOK, data.product_id)
        if track is None:
            return ()
        time_ms = epoch_ms(data.time)
        bids: list[Level] = []
        asks: list[Level] = []
        for change in data.changes:
            (bids if change.side == "buy" else asks).append(Level(change.price, change.size))
        return (self.books.delta(track, bids, asks, received_us, time_ms),)


def _begins_array(frame: str | bytes) -> bool:
    head = frame.lstrip()[:1]
    return head in ("[", b"[")


def _type_of(frame: str | bytes) -> str:
    try:
        return _HEAD.decode(frame).type
    except msgspec.ValidationError as exc:
        raise PayloadError("the frame has no type") from exc


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
