"""OKX's public WebSocket, v5.

Written after OKX's documentation (read 2026-11, in public copies of www.okx.com/docs-v5/en): "WebSocket /
Connect", "WS / Order book channel", "Error Code"; the notice "OKX Order Book Channels Checksum Field
Deprecation" of May 2026; and, for the fields of ``tickers`` and ``trades``, a public survey of the same
documentation (2026-07).

- Requests are ``{"id": "1", "op": "subscribe", "args": [{"channel", "instId"}, …]}``, together at most 64 KB;
  each argument is answered by itself with ``{"event": "subscribe", "arg", "connId"}``. An instrument that is
  not listed is answered by ``{"event": "error", "code": "60018", "msg": "Wrong URL or
  channel:tickers,instId:X-Y doesn't exist…"}``, which names it in its text alone; whether the others of that
  request stand is not said, so they are asked for again.
- Data comes as ``{"arg", "action"?, "data": […]}``, numbers as text, and empty text where there is none.
  ``vol24h`` of a spot ticker counts the base currency, ``volCcy24h`` the quote currency. A trade's ``side``
  is the taker's.
- ``books`` (400 levels) begins with ``action`` ``snapshot`` and goes on with ``update``: absolute quantities,
  and ``prevSeqId``, the ``seqId`` of the update before. After a minute without changes an empty update comes
  with both alike; after maintenance ``seqId`` may be smaller than ``prevSeqId``, and the chain goes on from
  it. ``books5`` and ``bbo-tbt`` are always whole, without a checksum. (A plan of February 2026 to end the
  initial snapshot as well was narrowed to the checksum in May.)
- ``checksum`` is the CRC32, signed, of ``price:size`` of the best 25 bids and asks in turn, in the frames'
  text. Since June 2026 it is always 0 and means nothing; before, it is checked.
- Other hosts serve the same: ``wsaws`` by AWS, ``wseea`` for Europe, ``wsus`` for America, ``wspap`` for demo
  trading. v3 (until 2022) wrote ``{"table", "data"}``.
- A connection on which nothing was subscribed or pushed for 30 s is closed; the text ``ping`` is answered by
  ``pong``. 3 connects a second; 480 requests an hour and connection. Fewer than 30 deep books a connection
  are advised. ``{"event": "notice", "code": "64008"}`` announces a close.
"""

import re
import zlib
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Annotated, ClassVar, Final, Literal, final

import msgspec
from msgspec import Meta, field

from core.errors import ErrorCode, PayloadError
from core.exact_numbers import ExactNumbers
from core.exchanges.asking_again import AskingAgain, waiting
from core.exchanges.base import (
    Book,
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
from core.exchanges.values import (
    EpochMs,
    Id,
    Price,
    PriceOrZero,
    Quantity,
    TradedQuantity,
)
from core.identity import Exchange, Region, RequestType, Symbol
from core.order_books import TextLevel
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade

_EXCHANGE, _REGION = Exchange.OKX.value, Region.ASIA.value
_TICKER, _TRADE, _BOOK = RequestType.TICKER, RequestType.TRADE, RequestType.ORDERBOOK
_REALTIME, _UNKNOWN_SIDE, _SNAPSHOT = StreamType.REALTIME, Side.UNKNOWN, BookKind.SNAPSHOT
_TICKERS: Final = "tickers"
_DEPTHS: Final = {"bbo-tbt": 1, "books5": 5, "books50-l2-tbt": 50, "books": 400, "books-l2-tbt": 400}
_WHOLE_BOOKS: Final = frozenset({"bbo-tbt", "books5"})
_KINDS: Final = {
    _TICKERS: _TICKER,
    "trades": _TRADE,
    "trades-all": _TRADE,
    **dict.fromkeys(_DEPTHS, _BOOK),
}
_SIDES: Final[dict[str | None, Side]] = {"buy": Side.BUY, "sell": Side.SELL}
_CONTROL_EVENTS: Final = frozenset({"subscribe", "unsubscribe", "login", "notice", "channel-conn-count"})
_TOO_FREQUENT: Final = frozenset({"50011", "60014", "60023"})
_INSTRUMENT: Final = re.compile(r"instId:\s*([A-Za-z0-9_-]+)")
_CHECKSUM_LEVELS: Final = 25


# -- frames --------------------------------------------------------------------------------------------

_Time = EpochMs | None


class _Arg(msgspec.Struct, frozen=True, gc=False):
    channel: str
    symbol: str = field(name="instId", default="")


# Fields of tickers stand in the order of the frames: the decoder looks for a key where the last one was found.
class _TickerData(msgspec.Struct, frozen=True, gc=False):
    last: PriceOrZero | None = None
    ask: PriceOrZero | None = field(name="askPx", default=None)
    ask_quantity: Quantity | None = field(name="askSz", default=None)
    bid: PriceOrZero | None = field(name="bidPx", default=None)
    bid_quantity: Quantity | None = field(name="bidSz", default=None)
    open: PriceOrZero | None = field(name="open24h", default=None)
    high: PriceOrZero | None = field(name="high24h", default=None)
    low: PriceOrZero | None = field(name="low24h", default=None)
    quote_volume: Quantity | None = field(name="volCcy24h", default=None)
    volume: Quantity | None = field(name="vol24h", default=None)
    ts: _Time = None


class _TradeData(msgspec.Struct, frozen=True, gc=False):
    price: Price = field(name="px")
    quantity: TradedQuantity = field(name="sz")
    side: str | None = None
    ts: _Time = None
    trade_id: str | None = field(name="tradeId", default=None)


class _Text(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A level as text, for the checksum."""

    price: str
    quantity: str


_SeqId = Annotated[int, Meta(ge=-1, le=2**63 - 1)]
_Checksum = Annotated[int, Meta(ge=-(2**31), lt=2**32)]


class _BookData(msgspec.Struct, frozen=True, gc=False):
    # Behind price and size of a level comes the number of its orders.
    bids: list[Level]
    asks: list[Level]
    ts: _Time = None
    seq_id: Id | None = field(name="seqId", default=None)
    previous_id: _SeqId | None = field(name="prevSeqId", default=None)
    checksum: _Checksum = 0


class _BookText(msgspec.Struct, frozen=True, gc=False):
    bids: list[_Text]
    asks: list[_Text]


@final
class _Tickers(msgspec.Struct, frozen=True, gc=False):
    arg: _Arg
    data: list[_TickerData]


@final
class _Trades(msgspec.Struct, frozen=True, gc=False):
    arg: _Arg
    data: list[_TradeData]


class _Books(msgspec.Struct, frozen=True, gc=False):
    arg: _Arg
    data: list[_BookData]
    action: Literal["snapshot", "update"] | None = None


class _BookTexts(msgspec.Struct, frozen=True, gc=False):
    data: list[_BookText]


class _ExactTicker(msgspec.Struct, frozen=True):
    price: Decimal = field(name="last")


class _ExactTickers(msgspec.Struct, frozen=True):
    data: list[_ExactTicker]


class _ExactTrade(msgspec.Struct, frozen=True):
    price: Decimal = field(name="px")
    quantity: Decimal = field(name="sz")


class _ExactTrades(msgspec.Struct, frozen=True):
    data: list[_ExactTrade]


class _Envelope(msgspec.Struct, frozen=True):
    """A frame that is none of our data, as far as it says what it is."""

    arg: _Arg | None = None
    event: str | None = None
    code: str | int | None = None
    msg: str | None = None
    id: str | None = None
    table: str | None = None


_Data = _Tickers | _Trades | _Books
# Not strict, so that numbers written as text are read by the decoder itself.
_DECODERS: dict[RequestType, msgspec.json.Decoder[_Data]] = {
    _TICKER: msgspec.json.Decoder(_Tickers, strict=False),
    _TRADE: msgspec.json.Decoder(_Trades, strict=False),
    _BOOK: msgspec.json.Decoder(_Books, strict=False),
}
_BOOK_TEXTS = msgspec.json.Decoder(_BookTexts)
_EXACT_TICKERS = msgspec.json.Decoder(_ExactTickers)
_EXACT_TRADES = msgspec.json.Decoder(_ExactTrades)
_ENVELOPE = msgspec.json.Decoder(_Envelope)


# -- protocol ------------------------------------------------------------------------------------------


class OkxDialect(Dialect):
    """One connection to OKX's public endpoint."""

    def __init__(self, profile: ExchangeProfile, request_type: RequestType, session_id: int) -> None:
        super().__init__(profile, request_type, session_id)
        self._last_request_id = 0
        self._asked: dict[str, tuple[SymbolTrack, ...]] = {}
        self._again = AskingAgain(self, partial(self._request, "subscribe"))
        self._kind = request_type
        self._deepest = DeepestBook(self.books)

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """``subscribe`` for the added instruments; the answers confirm them one by one."""
        return [self._request("subscribe", added)]

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """``unsubscribe`` for the removed instruments."""
        return [self._request("unsubscribe", removed)]

    def probe(self) -> Outgoing:
        """Answered by ``pong``; also the heartbeat."""
        return "ping"

    def _request(self, op: str, tracks: Sequence[SymbolTrack]) -> Outgoing:
        self._last_request_id += 1
        request_id = str(self._last_request_id)
        if op == "subscribe":
            self._asked = {name: asked for name, asked in self._asked.items() if waiting(asked)}
            self._asked[request_id] = tuple(tracks)
        channel = self._own_channel()
        if self.request_type is _BOOK:
            for track in tracks:
                self._deepest.choose(track.exchange_symbol, channel, _DEPTHS[channel])
        args = [{"channel": channel, "instId": track.exchange_symbol} for track in tracks]
        return msgspec.json.encode({"id": request_id, "op": op, "args": args}).decode()

    def _own_channel(self) -> str:
        if self.request_type is _TICKER:
            return _TICKERS
        if self.request_type is _TRADE:
            return "trades"
        depth = self.books.settings.depth
        return "bbo-tbt" if depth <= 1 else "books5" if depth <= _DEPTHS["books5"] else "books"

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame; see ``Dialect.receive``."""
        if len(frame) <= 4 and frame in (b"pong", "pong", b"ping", "ping"):
            self.control()
            self._again.paced()
            return ()
        try:
            data = _DECODERS[self._kind].decode(frame)
            kind = _KINDS.get(data.arg.channel)
        except msgspec.ValidationError:
            kind = None
        if kind is not self._kind:
            # Another channel than the last time, or no data at all.
            envelope = _ENVELOPE.decode(frame)
            if envelope.event is not None:
                self._event(envelope)
                return ()
            if envelope.table is not None:
                self.ignore("frame of a former version")  # v3, until 2022
                return ()
            if envelope.arg is None:
                raise PayloadError("the frame has neither a channel nor an event")
            kind = _KINDS.get(envelope.arg.channel)
            if kind is None:
                self.ignore("channel without records")
                return ()
            self._kind = kind
            data = _read(kind, frame)
        track = self.track_of(kind, data.arg.symbol)
        if track is None:
            return ()
        if not data.data:
            self.ignore("frame without data")
            return ()
        # As in base.Makers: cheaper than isinstance.
        if type(data) is _Trades:
            return self._trades(data, track, received_us)
        if type(data) is _Tickers:
            return self._tickers(data, track, received_us)
        return self._books(data, track, received_us, frame)

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """The tickers or trades of a frame; the kind is that of the last ``receive``."""
        if self._kind is _TICKER:
            return [ExactNumbers(ticker.price) for ticker in _EXACT_TICKERS.decode(frame).data]
        return [ExactNumbers(trade.price, trade.quantity) for trade in _EXACT_TRADES.decode(frame).data]

    def _event(self, envelope: _Envelope) -> None:
        self.control()
        event, code = envelope.event, str(envelope.code or "")
        if event == "subscribe" and envelope.arg is not None:
            track = self.tracks.get(envelope.arg.symbol)
            if track is not None and _KINDS.get(envelope.arg.channel) is self.request_type:
                self.notices.append(Confirmed((track.symbol,)))
        elif event == "error":
            self._complain(code, envelope.msg or "", envelope.id)
        elif event not in _CONTROL_EVENTS:
            text = f"OKX: {str(event)[:64]}: {code} {(envelope.msg or '')[:256]}"
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, text))

    def _complain(self, code: str, message: str, request_id: str | None) -> None:
        """Refuse the instruments that the message names, and ask for the others again; one by one if it names
        none."""
        text = f"OKX: {code}: {message[:256]}"
        asked = self._asked.pop(request_id or "", ())
        if code in _TOO_FREQUENT:
            self._again.too_fast(asked, text)
            return
        names = set(_INSTRUMENT.findall(message))
        left = waiting(asked)
        # Without an id, or with one that was answered before, it may still be one of those that wait.
        among = left or waiting(self.tracks.values())
        named = [track for track in among if track.exchange_symbol in names]
        refused = ErrorCode.UNKNOWN_SYMBOL if code == "60018" else ErrorCode.SUBSCRIBE_REJECTED
        self._again.refused(left, named, refused, text)

    def _tickers(self, frame: _Tickers, track: SymbolTrack, received_us: int) -> Sequence[Record]:
        records = []
        for data in frame.data:
            if not data.last:
                continue
            bid, ask = data.bid or None, data.ask or None
            track.sequence += 1
            records.append(
                Ticker(
                    _EXCHANGE,
                    _REGION,
                    track.symbol,
                    track.exchange_symbol,
                    data.ts,
                    received_us,
                    self.session_id,
                    track.sequence,
                    data.last,
                    data.open or None,
                    data.high or None,
                    data.low or None,
                    None,  # neither the day before nor a change is sent
                    None,
                    data.volume,
                    data.quote_volume,
                    bid,
                    None if bid is None else data.bid_quantity,
                    ask,
                    None if ask is None else data.ask_quantity,
                    _REALTIME,
                )
            )
        if not records:
            self.ignore("ticker without a price")
        return records

    def _trades(self, frame: _Trades, track: SymbolTrack, received_us: int) -> Sequence[Record]:
        """Every trade of the frame, in order."""
        records = []
        for trade in frame.data:
            track.sequence += 1
            records.append(
                Trade(
                    _EXCHANGE,
                    _REGION,
                    track.symbol,
                    track.exchange_symbol,
                    trade.ts,
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

    def _books(self, frame: _Books, track: SymbolTrack, received_us: int, raw: str | bytes) -> Sequence[Record]:
        channel = frame.arg.channel
        whole = frame.action == "snapshot" or channel in _WHOLE_BOOKS
        if not whole and frame.action is None:
            raise PayloadError("an order book of a channel with updates without an action - at `$.action`")
        if not self._deepest.keeps(track, channel, _DEPTHS[channel], replaceable=self.accept_all and whole):
            self.ignore("book of another channel")
            return ()
        checked = any(data.checksum for data in frame.data)
        sides = _text_sides(raw) if checked else [(data.bids, data.asks) for data in frame.data]
        records = []
        for data, (bids, asks) in zip(frame.data, sides, strict=True):
            checksum = data.checksum or None
            if channel in _WHOLE_BOOKS:
                records.append(self._whole(track, bids, asks, received_us, data))
            elif whole:
                records.append(
                    self.books.snapshot(track, bids, asks, received_us, data.ts, data.seq_id, checksum)
                )
            else:
                previous = data.previous_id
                records.append(
                    self.books.delta(
                        track, bids, asks, received_us, data.ts, None, data.seq_id, previous, checksum
                    )
                )
        return records

    def _whole(
        self, track: SymbolTrack, bids: list[Level], asks: list[Level], received_us: int, data: _BookData
    ) -> OrderBook:
        track.sequence += 1
        record = OrderBook(
            _EXCHANGE,
            _REGION,
            track.symbol,
            track.exchange_symbol,
            data.ts,
            received_us,
            self.session_id,
            track.sequence,
            _SNAPSHOT,
            bids,
            asks,
            None,
            data.seq_id,
            None,
            True,
        )
        return self.books.restate(track, record)

    def checksum(self, book: Book) -> int:
        """CRC32, signed, over the best bids and asks in turn, as the frames wrote them."""
        bids, asks = book.bids.best(_CHECKSUM_LEVELS), book.asks.best(_CHECKSUM_LEVELS)
        parts: list[str] = []
        for place in range(max(len(bids), len(asks))):
            parts.extend(_text(side[place]) for side in (bids, asks) if place < len(side))
        unsigned = zlib.crc32(":".join(parts).encode())
        return unsigned - 2**32 if unsigned >= 2**31 else unsigned


def _read(kind: RequestType, frame: str | bytes) -> _Data:
    """In tickers, a number that is not there is an empty text."""
    decoder = _DECODERS[kind]
    return read_with_blanks(decoder, frame, frozenset()) if kind is _TICKER else decoder.decode(frame)


def _text_sides(frame: str | bytes) -> list[tuple[list[Level], list[Level]]]:
    """The books of a frame whose levels keep their text; read once more, since few frames need it."""
    return [
        (
            [TextLevel.parse(level.price, level.quantity) for level in data.bids],
            [TextLevel.parse(level.price, level.quantity) for level in data.asks],
        )
        for data in _BOOK_TEXTS.decode(frame).data
    ]


def _text(level: Level) -> str:
    if isinstance(level, TextLevel):
        return f"{level.price_text}:{level.quantity_text}"
    return f"{level.price!r}:{level.quantity!r}"


class Okx(ExchangeProfile):
    """OKX spot (Asia)."""

    exchange = Exchange.OKX
    region = Region.ASIA
    request_types = frozenset(RequestType)
    url = "wss://ws.okx.com:8443/ws/v5/public"
    allowed_hosts = frozenset({"ws.okx.com", "wsaws.okx.com", "wseea.okx.com", "wsus.okx.com", "wspap.okx.com"})
    # 480 requests an hour are 4 in 30 seconds, of which the heartbeats take one or two: in longer windows a
    # burst of requests could hold a heartbeat back for longer than OKX waits for it.
    limits = ConnectionLimits(
        max_symbols=29,
        max_symbols_per_message=29,
        max_connects=3,
        connect_window_s=1.0,
        max_messages=4,
        message_window_s=30.0,
    )
    heartbeat_s: ClassVar[float | None] = 20.0

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-USDT``, which is also OKX's own spelling."""
        return Symbol.parse(text.upper())

    def spell_symbol(self, symbol: Symbol) -> str:
        """``BTC-USDT``."""
        return str(symbol)

    def dialect(self, request_type: RequestType, session_id: int) -> OkxDialect:
        """A new connection's protocol."""
        return OkxDialect(self, request_type, session_id)
