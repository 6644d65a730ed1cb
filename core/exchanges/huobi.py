"""HTX's (formerly Huobi's) public market feed, spot.

Written after HTX's documentation (read 2026-11): "Websocket Market Data" of the spot API reference (general,
market depth, market by price, trade detail, market details), in a public copy of the Korean house's edition,
and the notices on "market.$symbol.mbp" at www.huobi.com/support. The fields of ``.ticker`` (``lastPrice``,
``bidSize`` …) are from an example frame published elsewhere, since that edition is older than the topic.

- ``wss://api.huobi.pro/ws`` has all topics but the incremental order books, which are at ``/feed``. Every
  frame is gzip; a recording may hold it inflated.
- One topic a message: ``{"sub": topic, "id": "1"}``, answered by ``{"id", "status": "ok", "subbed": topic}``
  or ``{"id", "status": "error", "err-code": "bad-request", "err-msg": "invalid symbol"}``. ``{"req": topic,
  "id"}`` is answered once by ``{"id", "rep": topic, "data"}``, no more than one every 100 ms.
- Data comes as ``{"ch": topic, "ts", "tick"}``, numbers as JSON numbers. ``market.{symbol}.ticker`` has the
  last 24 hours with the best bid and ask, ``.detail`` the same without those; ``amount`` counts the base
  currency, ``vol`` the quote currency. ``.trade.detail`` has one or more trades, ``direction`` is the
  taker's; ``tradeId`` is the trade's id, ``id`` an older one of more digits than a long has.
- ``.mbp.150`` (5, 20 and 400 exist for some symbols) are changes with absolute quantities: ``prevSeqNum`` is
  the ``seqNum`` of the one before, also when nothing changed. The book under them is had by ``req`` on the
  same topic, and its ``seqNum`` says which changes it holds already. ``.mbp.refresh.20`` and ``.depth.step0``
  are always whole.
- The server sends ``{"ping": n}`` every 5 s, wants ``{"pong": n}``, and closes after two without.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, final

import msgspec
from msgspec import Meta, field

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
    Refused,
    Resync,
    SymbolTrack,
)
from core.exchanges.deepest_book import DeepestBook
from core.exchanges.inflate import inflate
from core.exchanges.topics import Topics
from core.exchanges.undashed_symbols import UndashedSymbols
from core.exchanges.values import EpochMs, Id, Price, PriceOrZero, Quantity, TradedQuantity
from core.identity import Exchange, Region, RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade

_EXCHANGE, _REGION = Exchange.HUOBI.value, Region.ASIA.value
_TICKER, _TRADE, _BOOK = RequestType.TICKER, RequestType.TRADE, RequestType.ORDERBOOK
_REALTIME, _UNKNOWN_SIDE, _SNAPSHOT = StreamType.REALTIME, Side.UNKNOWN, BookKind.SNAPSHOT
_BOOK_LEVELS: Final = 150
"""The incremental book that exists for every symbol."""
_OWN_TOPICS: Final = {
    _TICKER: "ticker",
    _TRADE: "trade.detail",
    _BOOK: f"mbp.{_BOOK_LEVELS}",
}
_KINDS: Final = {
    "ticker": _TICKER,
    "detail": _TICKER,
    "trade.detail": _TRADE,
}
_BOOK_NAME: Final = re.compile(r"(?:mbp\.(refresh\.)?([0-9]{1,4})|(depth\.step0))")
_STEP0_LEVELS: Final = 149
"""Up to 150, but once a second: less than the incremental one."""
_SIDES: Final[dict[str | None, Side]] = {"buy": Side.BUY, "sell": Side.SELL}
_RATE_WORDS: Final = ("too many", "429", "timeout", "limit")
_UNKNOWN_WORDS: Final = ("invalid symbol", "invalid topic")
_GZIP: Final = b"\x1f\x8b"
_MAX_FRAME_BYTES: Final = 4 * 1024 * 1024

_SYMBOLS = UndashedSymbols(
    "HTX",
    "USDT USDC USDD USD1 USDE HUSD TUSD FDUSD PYUSD DAI UST PAX "
    "BTC ETH HT HTX TRX SOL BCH "
    "EUR TRY BRL GBP RUB UAH AUD KRW USD",
)


# -- frames --------------------------------------------------------------------------------------------


# Fields of tickers stand in the order of the frames: the decoder looks for a key where the last one was found.
class _TickerTick(msgspec.Struct, frozen=True, gc=False):
    open: PriceOrZero | None = None
    high: PriceOrZero | None = None
    low: PriceOrZero | None = None
    close: PriceOrZero | None = None
    amount: Quantity | None = None
    turnover: Quantity | None = field(name="vol", default=None)
    bid: PriceOrZero | None = None
    bid_quantity: Quantity | None = field(name="bidSize", default=None)
    ask: PriceOrZero | None = None
    ask_quantity: Quantity | None = field(name="askSize", default=None)
    last: PriceOrZero | None = field(name="lastPrice", default=None)


class _TradeData(msgspec.Struct, frozen=True, gc=False):
    price: Price
    amount: TradedQuantity
    direction: str | None = None
    ts: EpochMs | None = None
    trade_id: Id | None = field(name="tradeId", default=None)


class _TradeTick(msgspec.Struct, frozen=True, gc=False):
    data: list[_TradeData]


class _OlderTrade(msgspec.Struct, frozen=True):
    """Read only where there is no ``tradeId``: the older id has more digits than a decoder's integer."""

    id: msgspec.Raw = msgspec.Raw(b"")


class _OlderTradeTick(msgspec.Struct, frozen=True):
    data: list[_OlderTrade]


class _OlderTrades(msgspec.Struct, frozen=True):
    tick: _OlderTradeTick


class _BookTick(msgspec.Struct, frozen=True, gc=False):
    """A side that did not change may be missing."""

    bids: list[Level] | None = None
    asks: list[Level] | None = None
    seq: Id | None = field(name="seqNum", default=None)
    previous: Annotated[int, Meta(ge=-1, le=2**63 - 1)] | None = field(name="prevSeqNum", default=None)
    version: Id | None = None


@final
class _Ticker(msgspec.Struct, frozen=True, gc=False):
    ch: str
    tick: _TickerTick
    ts: EpochMs | None = None


@final
class _Trades(msgspec.Struct, frozen=True, gc=False):
    ch: str
    tick: _TradeTick
    ts: EpochMs | None = None


class _Books(msgspec.Struct, frozen=True, gc=False):
    ch: str
    tick: _BookTick
    ts: EpochMs | None = None


class _BookReply(msgspec.Struct, frozen=True, gc=False):
    data: _BookTick
    ts: EpochMs | None = None


class _ExactTick(msgspec.Struct, frozen=True):
    close: Decimal | None = None
    last: Decimal | None = field(name="lastPrice", default=None)


class _ExactTicker(msgspec.Struct, frozen=True):
    tick: _ExactTick


class _ExactTrade(msgspec.Struct, frozen=True):
    price: Decimal
    amount: Decimal


class _ExactTradeTick(msgspec.Struct, frozen=True):
    data: list[_ExactTrade]


class _ExactTrades(msgspec.Struct, frozen=True):
    tick: _ExactTradeTick


class _Envelope(msgspec.Struct, frozen=True):
    """A frame that is none of our data, as far as it says what it is."""

    ch: str | None = None
    rep: str | None = None
    ping: int | None = None
    pong: int | None = None
    id: str | int | None = None
    status: str | None = None
    subbed: str | None = None
    error: str | None = field(name="err-msg", default=None)
    op: str | None = None
    action: str | None = None


_Data = _Ticker | _Trades | _Books
# Not strict, so that numbers written as text are read by the decoder itself.
_DECODERS: dict[RequestType, msgspec.json.Decoder[_Data]] = {
    _TICKER: msgspec.json.Decoder(_Ticker, strict=False),
    _TRADE: msgspec.json.Decoder(_Trades, strict=False),
    _BOOK: msgspec.json.Decoder(_Books, strict=False),
}
_BOOK_REPLY = msgspec.json.Decoder(_BookReply, strict=False)
_OLDER_TRADES = msgspec.json.Decoder(_OlderTrades)
_EXACT_TICKER = msgspec.json.Decoder(_ExactTicker)
_EXACT_TRADES = msgspec.json.Decoder(_ExactTrades)
_ENVELOPE = msgspec.json.Decoder(_Envelope)


class _Topic(NamedTuple):
    """``whole``: every frame is the whole book. ``levels``: its depth, 0 for what is no book."""

    kind: RequestType
    symbol: str
    name: str
    levels: int = 0
    whole: bool = False


def _read_topic(text: str) -> _Topic | None:
    """What a topic carries; None for those without records."""
    market, _, rest = text.partition(".")
    symbol, _, name = rest.partition(".")
    if market != "market" or not symbol:
        return None
    kind = _KINDS.get(name)
    if kind is not None:
        return _Topic(kind, symbol, name)
    book = _BOOK_NAME.fullmatch(name)
    if book is None:
        return None
    levels = int(book[2]) if book[2] else _STEP0_LEVELS
    return _Topic(_BOOK, symbol, name, max(levels, 1), bool(book[1] or book[3]))


_READ_TOPICS = Topics(_read_topic)


class _Asked(NamedTuple):
    verb: Literal["sub", "unsub", "req"]
    track: SymbolTrack


# -- protocol ------------------------------------------------------------------------------------------


class HuobiDialect(Dialect):
    """One connection to HTX's market feed; reads frames as they come and inflated ones."""

    resync: ClassVar[Resync] = Resync.REQUEST

    def __init__(self, profile: ExchangeProfile, request_type: RequestType, session_id: int) -> None:
        super().__init__(profile, request_type, session_id)
        self._last_request_id = 0
        self._asked: dict[str, _Asked] = {}
        self._again = AskingAgain(self, lambda tracks: self._request("sub", tracks[0]))
        self._kind = request_type
        self._deepest = DeepestBook(self.books)

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """A ``sub`` for each added symbol; the answer confirms it."""
        return [self._request("sub", track) for track in added]

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """An ``unsub`` for each removed symbol."""
        return [self._request("unsub", track) for track in removed]

    def snapshot_request(self, tracks: Sequence[SymbolTrack]) -> list[Outgoing]:
        """A ``req`` on the topic of each symbol's book."""
        return [self._request("req", track) for track in tracks]

    def probe(self) -> Outgoing | None:
        """None: the server pings every 5 s, so silence is silence."""
        return None

    def _request(self, verb: Literal["sub", "unsub", "req"], track: SymbolTrack) -> Outgoing:
        self._last_request_id += 1
        request_id = str(self._last_request_id)
        self._asked[request_id] = _Asked(verb, track)
        text = f"market.{track.exchange_symbol}.{_OWN_TOPICS[self.request_type]}"
        if self.request_type is _BOOK:
            self._deepest.choose(track.exchange_symbol, _OWN_TOPICS[self.request_type], _BOOK_LEVELS)
        return msgspec.json.encode({verb: text, "id": request_id}).decode()

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame; see ``Dialect.receive``."""
        if frame[:2] == _GZIP:
            frame = inflate(frame, _MAX_FRAME_BYTES)
        try:
            data = _DECODERS[self._kind].decode(frame)
            topic = _READ_TOPICS[data.ch]
        except msgspec.ValidationError:
            topic = None
        if topic is None or topic.kind is not self._kind:
            # Another topic than the last time, or no data at all.
            envelope = _ENVELOPE.decode(frame)
            if envelope.ch is None:
                return self._answer(envelope, frame, received_us)
            topic = _READ_TOPICS[envelope.ch]
            if topic is None:
                self.ignore("topic without records")
                return ()
            self._kind = topic.kind
            data = _DECODERS[topic.kind].decode(frame)
        track = self.track_of(topic.kind, topic.symbol)
        if track is None:
            return ()
        # As in base.Makers: cheaper than isinstance.
        if type(data) is _Trades:
            return self._trades(data, track, received_us, frame)
        if type(data) is _Ticker:
            return self._ticker(data, track, received_us)
        return self._book(data, topic, track, received_us)

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """One ticker, or the trades of a frame; the kind is that of the last ``receive``."""
        if frame[:2] == _GZIP:
            frame = inflate(frame, _MAX_FRAME_BYTES)
        if self._kind is _TICKER:
            tick = _EXACT_TICKER.decode(frame).tick
            price = tick.last or tick.close
            return () if price is None else (ExactNumbers(price),)
        return [ExactNumbers(trade.price, trade.amount) for trade in _EXACT_TRADES.decode(frame).tick.data]

    def _answer(self, envelope: _Envelope, frame: str | bytes, received_us: int) -> Sequence[Record]:
        if envelope.ping is not None:
            self.control()
            self.outbox.append(f'{{"pong":{envelope.ping}}}')
            self._again.paced()
            return ()
        asked = self._asked.pop(str(envelope.id), None) if envelope.id is not None else None
        if envelope.status == "error":
            self._complain(asked, envelope.error or "")
        elif envelope.rep is not None:
            return self._reply(envelope.rep, frame, received_us)
        elif envelope.subbed is not None:
            self.control()
            topic = _READ_TOPICS[envelope.subbed]
            track = self.tracks.get(topic.symbol) if topic is not None else None
            if track is not None and topic is not None and topic.kind is self.request_type:
                self.notices.append(Confirmed((track.symbol,)))
        elif (
            envelope.status is not None or envelope.pong is not None or "ping" in (envelope.op, envelope.action)
        ):
            self.control()
        elif envelope.op is not None or envelope.action is not None:
            self.ignore("frame of another interface")
        else:
            raise PayloadError("the frame has neither a topic nor an answer nor a ping")
        return ()

    def _complain(self, asked: _Asked | None, message: str) -> None:
        self.control()
        text = f"HTX: {message[:256]}"
        lower = message.lower()
        unknown = any(word in lower for word in _UNKNOWN_WORDS)
        if not unknown and any(word in lower for word in _RATE_WORDS):
            self._again.too_fast([asked.track] if asked is not None and asked.verb == "sub" else (), text)
            if asked is not None and asked.verb == "req":
                self.books.failed(asked.track)
            return
        if asked is not None and asked.verb == "unsub":
            return  # nothing runs that should not
        if asked is not None and (unknown or waiting([asked.track])):
            code = ErrorCode.UNKNOWN_SYMBOL if unknown else ErrorCode.SUBSCRIBE_REJECTED
            self.notices.append(Refused((asked.track.symbol,), code, text))
            return
        if asked is not None:
            self.books.failed(asked.track)
        self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, text))

    def _reply(self, text: str, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """The book that was asked for, under the changes that came meanwhile."""
        topic = _READ_TOPICS[text]
        if topic is None or topic.kind is not _BOOK or topic.whole:
            self.ignore("answer that nobody waits for")
            return ()
        reply = _BOOK_REPLY.decode(frame)
        track = self.track_of(topic.kind, topic.symbol)
        if track is None:
            return ()
        if not self._deepest.keeps(track, topic.name, topic.levels, replaceable=self.accept_all):
            self.ignore("book of another depth")
            return ()
        if self.accept_all:
            self.books.expect(track)
        bids, asks = _sides(reply.data)
        records = self.books.merge(track, bids, asks, received_us, reply.ts, reply.data.seq)
        if not records:
            self.ignore("answer that nobody waits for")
        return records

    def _ticker(self, frame: _Ticker, track: SymbolTrack, received_us: int) -> Sequence[Record]:
        data = frame.tick
        price = data.last or data.close
        if not price:
            self.ignore("ticker without a price")
            return ()
        bid, ask = data.bid or None, data.ask or None
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
                price,
                data.open or None,
                data.high or None,
                data.low or None,
                None,  # neither the day before nor a change is sent
                None,
                data.amount,
                data.turnover,
                bid,
                None if bid is None else data.bid_quantity,
                ask,
                None if ask is None else data.ask_quantity,
                _REALTIME,
            ),
        )

    def _trades(
        self, frame: _Trades, track: SymbolTrack, received_us: int, raw: str | bytes
    ) -> Sequence[Record]:
        """Every trade of the frame, in order."""
        trades = frame.tick.data
        if not trades:
            self.ignore("frame without trades")
            return ()
        older: Sequence[str | None] = ()
        if None in [trade.trade_id for trade in trades]:
            older = [_older_id(trade.id) for trade in _OLDER_TRADES.decode(raw).tick.data]
        records = []
        for place, trade in enumerate(trades):
            own_id = trade.trade_id
            track.sequence += 1
            records.append(
                Trade(
                    _EXCHANGE,
                    _REGION,
                    track.symbol,
                    track.exchange_symbol,
                    trade.ts or frame.ts,
                    received_us,
                    self.session_id,
                    track.sequence,
                    trade.price,
                    trade.amount,
                    _SIDES.get(trade.direction, _UNKNOWN_SIDE),
                    older[place] if own_id is None else str(own_id),
                )
            )
        return records

    def _book(self, frame: _Books, topic: _Topic, track: SymbolTrack, received_us: int) -> Sequence[Record]:
        if not self._deepest.keeps(track, topic.name, topic.levels, replaceable=self.accept_all):
            self.ignore("book of another depth")
            return ()
        data = frame.tick
        bids, asks = _sides(data)
        if not topic.whole:
            return (self.books.delta(track, bids, asks, received_us, frame.ts, None, data.seq, data.previous),)
        if data.bids is None or data.asks is None:
            raise PayloadError("a whole book with one side - at `$.tick`")
        track.sequence += 1
        record = OrderBook(
            _EXCHANGE,
            _REGION,
            track.symbol,
            track.exchange_symbol,
            frame.ts,
            received_us,
            self.session_id,
            track.sequence,
            _SNAPSHOT,
            bids,
            asks,
            None,
            data.version if data.seq is None else data.seq,
            None,
            True,
        )
        return (self.books.restate(track, record),)


def _sides(data: _BookTick) -> tuple[list[Level], list[Level]]:
    return data.bids or [], data.asks or []


def _older_id(raw: msgspec.Raw) -> str | None:
    """The digits of an id of more than 64 bits, as they stand in the frame."""
    text = bytes(raw).strip(b'"')
    return text.decode() if text.isdigit() and len(text) <= 40 else None


class Huobi(ExchangeProfile):
    """HTX spot (Asia), which everybody's symbols still call huobi."""

    exchange = Exchange.HUOBI
    region = Region.ASIA
    request_types = frozenset(RequestType)
    url = "wss://api.huobi.pro/ws"
    compressed: ClassVar[bool] = True
    allowed_hosts = frozenset({"api.huobi.pro", "api-aws.huobi.pro"})
    # One topic a message; a ``req`` every 100 ms at most, and so everything. Topics a connection and connects
    # are not documented: 100, and 1 a second.
    limits = ConnectionLimits(
        max_symbols=100,
        max_symbols_per_message=1,
        max_connects=1,
        connect_window_s=1.0,
        max_messages=1,
        message_window_s=0.1,
        max_frame_bytes=_MAX_FRAME_BYTES,
    )

    def url_for(self, request_type: RequestType, base: str | None = None) -> str:
        """``/feed`` for order books, ``/ws`` for the rest."""
        url = base or self.url
        if request_type is _BOOK and url.endswith("/ws"):
            return f"{url.removesuffix('/ws')}/feed"
        return url

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-USDT``, or HTX's own ``btcusdt`` with a known quote currency, the longest that fits."""
        return _SYMBOLS.parse(text)

    def spell_symbol(self, symbol: Symbol) -> str:
        """``btcusdt`` for BTC-USDT."""
        return f"{symbol.base}{symbol.quote}".lower()

    def dialect(self, request_type: RequestType, session_id: int) -> HuobiDialect:
        """A new connection's protocol."""
        return HuobiDialect(self, request_type, session_id)
