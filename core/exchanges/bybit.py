"""Bybit's public spot WebSocket, v5.

Written after Bybit's documentation (read 2026-11), bybit-exchange.github.io/docs/v5 (source:
github.com/bybit-exchange/docs): "Connect" (ws/connect), "Orderbook", "Full Orderbook", "Trade", "Ticker"
(websocket/public/orderbook, /full-ob, /trade, /ticker), and "SBE Level 50 Integration" (sbe/level-50).

- Requests are ``{"req_id": "1", "op": "subscribe", "args": [topic, …]}``, at most 10 topics in one of the
  spot market and 21,000 characters of topics a connection. The answer repeats ``req_id`` and ``op`` with
  ``success``; what went wrong stands in ``ret_msg`` alone, as ``Invalid symbol :[tickers.XUSDT]`` or
  ``error:handler not found,topic:…``. The documents do not say what becomes of a refused request's other
  topics, so they are asked for again; one that runs is then answered by ``already subscribed``.
- Data comes as ``{"topic", "type", "ts", "data"}``, numbers as text; ``tickers.{symbol}`` (always whole, type
  ``snapshot``), ``publicTrade.{symbol}`` (up to 1,024 trades, oldest first, ``S`` is the taker's side),
  ``orderbook.{depth}.{symbol}`` with depth 1, 50, 200 or 1000; of the first level only snapshots come.
- An order book begins with a snapshot, and another one replaces it at any time; deltas hold absolute
  quantities. ``u`` counts the messages of a topic one by one, as the pages on the full and the SBE book put
  it (that of ``orderbook`` names it without a word; ``seq``, the matching engine's, has gaps); ``u`` = 1 is a
  whole book after a restart, whatever its type says. A new subscription brings a new snapshot. Of the first
  level, the last snapshot comes again after 3 s without a change, with the same ``u``.
- The client sends ``{"op": "ping"}`` every 20 s. At most 500 connections in 5 minutes.
- The spot stream's former versions (v1 to v3, until 2023) share some topics, not the shape of their data: a
  recording's frames of them are ignored.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import ClassVar, Final, Literal, NamedTuple, final

import msgspec
from msgspec import field

from core.errors import ErrorCode, PayloadError
from core.exact_numbers import ExactNumbers
from core.exchanges.asking_again import AskingAgain, waiting
from core.exchanges.base import (
    Complaint,
    Confirmed,
    ConnectionLimits,
    Dialect,
    ExchangeProfile,
    Outgoing,
    SymbolTrack,
)
from core.exchanges.blank_fields import read_with_blanks
from core.exchanges.deepest_book import DeepestBook
from core.exchanges.topics import Topics
from core.exchanges.undashed_symbols import UndashedSymbols
from core.exchanges.values import (
    EpochMs,
    Id,
    Price,
    PriceOrZero,
    Quantity,
    Rate,
    TradedQuantity,
)
from core.identity import Exchange, Region, RequestType, Symbol
from core.records import Level, Record, Side, StreamType, Ticker, Trade

_EXCHANGE, _REGION = Exchange.BYBIT.value, Region.ASIA.value
_TICKER, _TRADE, _BOOK = RequestType.TICKER, RequestType.TRADE, RequestType.ORDERBOOK
_TOPICS: Final = {_TICKER: "tickers", _TRADE: "publicTrade"}
_KINDS: Final = {name: kind for kind, name in _TOPICS.items()}
_DEPTHS: Final = (1, 50, 200, 1000)
_UNKNOWN_SIDE, _UNKNOWN_STREAM = Side.UNKNOWN, StreamType.UNKNOWN
_SIDES: Final[dict[str | None, Side]] = {"Buy": Side.BUY, "Sell": Side.SELL}
_STREAM_TYPES: Final[dict[str | None, StreamType]] = {
    "snapshot": StreamType.SNAPSHOT,
    "delta": StreamType.REALTIME,
}
_RATE_WORDS: Final = ("too many", "frequen", "rate limit", "exceed")
_TOKEN: Final = re.compile(r"[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*")
_RESTARTED: Final = 1

_SYMBOLS = UndashedSymbols(
    "Bybit",
    "USDT USDC USDE USD1 USDQ USDR USDD FDUSD RLUSD PYUSD XUSD DAI BUSD "
    "BTC ETH MNT SOL XRP BBSOL BIT "
    "EUR EURI EURR EURC BRL BRZ TRY PLN KZT GEL AED GBP JPY ARS USD",
)


# -- frames --------------------------------------------------------------------------------------------


# Fields of tickers stand in the order of the frames: the decoder looks for a key where the last one was found.
class _TickerData(msgspec.Struct, frozen=True, gc=False):
    symbol: str
    last: PriceOrZero | None = field(name="lastPrice", default=None)
    high: PriceOrZero | None = field(name="highPrice24h", default=None)
    low: PriceOrZero | None = field(name="lowPrice24h", default=None)
    day_ago: PriceOrZero | None = field(name="prevPrice24h", default=None)
    volume: Quantity | None = field(name="volume24h", default=None)
    turnover: Quantity | None = field(name="turnover24h", default=None)
    change: Rate | None = field(name="price24hPcnt", default=None)
    bid: PriceOrZero | None = field(name="bid1Price", default=None)
    bid_quantity: Quantity | None = field(name="bid1Size", default=None)
    ask: PriceOrZero | None = field(name="ask1Price", default=None)
    ask_quantity: Quantity | None = field(name="ask1Size", default=None)


class _TradeData(msgspec.Struct, frozen=True, gc=False):
    price: Price = field(name="p")
    quantity: TradedQuantity = field(name="v")
    symbol: str = field(name="s")
    side: str | None = field(name="S", default=None)
    traded_ms: EpochMs | None = field(name="T", default=None)
    trade_id: str | None = field(name="i", default=None)


class _BookData(msgspec.Struct, frozen=True, gc=False):
    symbol: str = field(name="s")
    bids: list[Level] = field(name="b")
    asks: list[Level] = field(name="a")
    update_id: Id = field(name="u")


@final
class _Tickers(msgspec.Struct, frozen=True, gc=False):
    topic: str
    data: _TickerData
    ts: EpochMs | None = None
    type: str | None = None


@final
class _Trades(msgspec.Struct, frozen=True, gc=False):
    topic: str
    data: list[_TradeData]
    ts: EpochMs | None = None


class _Book(msgspec.Struct, frozen=True, gc=False):
    topic: str
    type: Literal["snapshot", "delta"]
    data: _BookData
    ts: EpochMs | None = None


class _ExactTicker(msgspec.Struct, frozen=True):
    price: Decimal = field(name="lastPrice")


class _ExactTickers(msgspec.Struct, frozen=True):
    data: _ExactTicker


class _ExactTrade(msgspec.Struct, frozen=True):
    price: Decimal = field(name="p")
    quantity: Decimal = field(name="v")


class _ExactTrades(msgspec.Struct, frozen=True):
    data: list[_ExactTrade]


class _FormerData(msgspec.Struct, frozen=True):
    """``t``, the time, is in the data of the former version alone."""

    t: int


class _Former(msgspec.Struct, frozen=True):
    data: _FormerData


class _Envelope(msgspec.Struct, frozen=True):
    """A frame that is none of our data, as far as it says what it is."""

    topic: str | None = None
    pong: int | None = None
    op: str | None = None
    type: str | None = None
    success: bool | None = None
    ret_msg: str | None = None
    req_id: str | None = None


_Data = _Tickers | _Trades | _Book
# Not strict, so that numbers written as text are read by the decoder itself.
_DECODERS: dict[RequestType, msgspec.json.Decoder[_Data]] = {
    _TICKER: msgspec.json.Decoder(_Tickers, strict=False),
    _TRADE: msgspec.json.Decoder(_Trades, strict=False),
    _BOOK: msgspec.json.Decoder(_Book, strict=False),
}
_EXACT_TICKERS = msgspec.json.Decoder(_ExactTickers)
_EXACT_TRADES = msgspec.json.Decoder(_ExactTrades)
_FORMER = msgspec.json.Decoder(_Former)
_ENVELOPE = msgspec.json.Decoder(_Envelope)


class _Topic(NamedTuple):
    kind: RequestType
    symbol: str
    depth: str = ""
    levels: int = 0


def _read_topic(text: str) -> _Topic | None:
    """What a topic carries; None for those without records."""
    name, _, rest = text.partition(".")
    kind = _KINDS.get(name)
    if kind is not None and rest:
        return _Topic(kind, rest)
    depth, _, symbol = rest.partition(".")
    if name == "orderbook" and symbol and depth.isascii() and depth.isdigit() and len(depth) < 6:
        return _Topic(_BOOK, symbol, depth, max(int(depth), 1))
    return None


_READ_TOPICS = Topics(_read_topic)


# -- protocol ------------------------------------------------------------------------------------------


class BybitDialect(Dialect):
    """One connection to Bybit's public spot stream."""

    def __init__(self, profile: ExchangeProfile, request_type: RequestType, session_id: int) -> None:
        super().__init__(profile, request_type, session_id)
        self._last_request_id = 0
        self._asked: dict[str, tuple[SymbolTrack, ...]] = {}
        self._again = AskingAgain(self, partial(self._request, "subscribe"))
        self._kind = request_type
        self._deepest = DeepestBook(self.books)

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """``subscribe`` for the added symbols; the answer confirms them."""
        return [self._request("subscribe", added)]

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """``unsubscribe`` for the removed symbols."""
        return [self._request("unsubscribe", removed)]

    def probe(self) -> Outgoing:
        """Answered by ``"op": "ping"`` with ``"ret_msg": "pong"``; also the heartbeat."""
        return '{"op":"ping"}'

    def _request(self, op: str, tracks: Sequence[SymbolTrack]) -> Outgoing:
        self._last_request_id += 1
        request_id = str(self._last_request_id)
        if op == "subscribe":
            self._asked[request_id] = tuple(tracks)
        request = {"req_id": request_id, "op": op, "args": [self._topic_of(track) for track in tracks]}
        return msgspec.json.encode(request).decode()

    def _topic_of(self, track: SymbolTrack) -> str:
        if self.request_type is not _BOOK:
            return f"{_TOPICS[self.request_type]}.{track.exchange_symbol}"
        wanted = self.books.settings.depth
        depth = next((depth for depth in _DEPTHS if depth >= wanted), _DEPTHS[-1])
        self._deepest.choose(track.exchange_symbol, str(depth), depth)
        return f"orderbook.{depth}.{track.exchange_symbol}"

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame; see ``Dialect.receive``."""
        try:
            data = _DECODERS[self._kind].decode(frame)
            topic = _READ_TOPICS[data.topic]
        except msgspec.ValidationError:
            topic = None
        if topic is None or topic.kind is not self._kind:
            # Another topic than the last time, or no data at all.
            envelope = _ENVELOPE.decode(frame)
            if envelope.topic is None:
                self._answer(envelope)
                return ()
            topic = _READ_TOPICS[envelope.topic]
            if topic is None:
                self.ignore("topic without records")
                return ()
            try:
                data = _read(topic.kind, frame)
            except msgspec.ValidationError:
                if not _is_former(frame):
                    raise
                self.ignore("frame of a former version")
                return ()
            self._kind = topic.kind
        # As in base.Makers: cheaper than isinstance.
        if type(data) is _Trades:
            return self._trades(data, topic, received_us)
        if type(data) is _Tickers:
            return self._ticker(data, topic, received_us)
        return self._book(data, topic, received_us)

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """One ticker, or the trades of a frame; the kind is that of the last ``receive``."""
        if self._kind is _TICKER:
            return (ExactNumbers(_EXACT_TICKERS.decode(frame).data.price),)
        return [ExactNumbers(trade.price, trade.quantity) for trade in _EXACT_TRADES.decode(frame).data]

    def _answer(self, envelope: _Envelope) -> None:
        if (envelope.op, envelope.success, envelope.type, envelope.pong) == (None, None, None, None):
            raise PayloadError("the frame has neither a topic nor an operation")
        self.control()
        message = (envelope.ret_msg or "").strip()
        if envelope.op in ("ping", "pong"):
            self._again.paced()
        elif envelope.op == "subscribe" and envelope.req_id in self._asked:
            asked = self._asked.pop(envelope.req_id)
            if envelope.success:
                self.notices.append(Confirmed(tuple(track.symbol for track in asked)))
            else:
                self._refuse(asked, message)
        elif envelope.success is False:
            code = ErrorCode.RATE_LIMITED if _is_rate(message) else ErrorCode.SUBSCRIBE_REJECTED
            self.notices.append(Complaint(code, f"Bybit: {message[:256]}"))

    def _refuse(self, asked: tuple[SymbolTrack, ...], message: str) -> None:
        """Refuse the symbols that the message names, and ask for the others again; one by one if it names
        none."""
        text = f"Bybit: {message[:256]}"
        if _is_rate(message):
            self._again.too_fast(asked, text)
            return
        words = set(_TOKEN.findall(message))
        left = waiting(asked)
        named = [t for t in left if t.exchange_symbol in words or self._topic_of(t) in words]
        runs = "already subscribed" in message.lower()
        self._again.refused(left, named, None if runs else ErrorCode.UNKNOWN_SYMBOL, text)

    def _ticker(self, frame: _Tickers, topic: _Topic, received_us: int) -> Sequence[Record]:
        track = self.track_of(topic.kind, topic.symbol)
        if track is None:
            return ()
        data = frame.data
        if not data.last:
            self.ignore("ticker without a price")
            return ()
        day_ago, bid, ask = data.day_ago or None, data.bid or None, data.ask or None
        track.sequence += 1
        return (
            Ticker(
                _EXCHANGE,
                _REGION,
                track.symbol,
                track.exchange_symbol,
                frame.ts,
                received_us,
                self.session_id,
                track.sequence,
                data.last,
                day_ago,  # the price 24 hours ago opens the window, and is what the change refers to
                data.high or None,
                data.low or None,
                day_ago,
                data.change,
                data.volume,
                data.turnover,
                bid,
                None if bid is None else data.bid_quantity,
                ask,
                None if ask is None else data.ask_quantity,
                _STREAM_TYPES.get(frame.type, _UNKNOWN_STREAM),
            ),
        )

    def _trades(self, frame: _Trades, topic: _Topic, received_us: int) -> Sequence[Record]:
        """Every trade of the frame, in order."""
        track = self.track_of(topic.kind, topic.symbol)
        if track is None:
            return ()
        if not frame.data:
            self.ignore("frame without trades")
            return ()
        records = []
        for trade in frame.data:
            track.sequence += 1
            records.append(
                Trade(
                    _EXCHANGE,
                    _REGION,
                    track.symbol,
                    track.exchange_symbol,
                    trade.traded_ms or frame.ts,
                    received_us,
                    self.session_id,
                    track.sequence,
                    trade.price,
                    trade.quantity,
                    _SIDES.get(trade.side, _UNKNOWN_SIDE),
                    trade.trade_id or None,
                )
            )
        return records

    def _book(self, frame: _Book, topic: _Topic, received_us: int) -> Sequence[Record]:
        track = self.track_of(topic.kind, topic.symbol)
        if track is None:
            return ()
        data, update_id = frame.data, frame.data.update_id
        whole = frame.type == "snapshot" or update_id == _RESTARTED
        if not self._deepest.keeps(track, topic.depth, topic.levels, replaceable=self.accept_all and whole):
            self.ignore("book of another depth")
            return ()
        if whole:
            return (self.books.snapshot(track, data.bids, data.asks, received_us, frame.ts, update_id),)
        return (
            self.books.delta(
                track, data.bids, data.asks, received_us, frame.ts, None, update_id, update_id - 1
            ),
        )


def _read(kind: RequestType, frame: str | bytes) -> _Data:
    """In tickers, a number that is not there may be an empty text."""
    decoder = _DECODERS[kind]
    return read_with_blanks(decoder, frame, frozenset()) if kind is _TICKER else decoder.decode(frame)


def _is_former(frame: str | bytes) -> bool:
    try:
        _FORMER.decode(frame)
    except msgspec.ValidationError:
        return False
    return True


def _is_rate(message: str) -> bool:
    lower = message.lower()
    return any(word in lower for word in _RATE_WORDS)


class Bybit(ExchangeProfile):
    """Bybit spot (Asia)."""

    exchange = Exchange.BYBIT
    region = Region.ASIA
    request_types = frozenset(RequestType)
    url = "wss://stream.bybit.com/v5/public/spot"
    allowed_hosts = frozenset(
        {
            "stream.bybit.com",
            "stream.bybit.tr",
            "stream.bybit-tr.com",
            "stream.bybit.kz",
            "stream.bybit.id",
            "stream.bybitgeorgia.ge",
            "stream.manepa.jp",
            "ws2.spark-fintech.com",
            "stream-testnet.bybit.com",
        }
    )
    # 10 topics a request; 21,000 characters of topics are 500 of the longest. How many messages a client may
    # send is not documented: 10 a second.
    limits = ConnectionLimits(
        max_symbols=500,
        max_symbols_per_message=10,
        max_connects=500,
        connect_window_s=300.0,
        max_messages=10,
        message_window_s=1.0,
    )
    heartbeat_s: ClassVar[float | None] = 20.0

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-USDT``, or Bybit's own ``BTCUSDT`` with a known quote currency, the longest that fits."""
        return _SYMBOLS.parse(text)

    def spell_symbol(self, symbol: Symbol) -> str:
        """``BTCUSDT`` for BTC-USDT."""
        return f"{symbol.base}{symbol.quote}"

    def dialect(self, request_type: RequestType, session_id: int) -> BybitDialect:
        """A new connection's protocol."""
        return BybitDialect(self, request_type, session_id)
