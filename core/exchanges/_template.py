"""A new exchange starts as a copy of this file: the public WebSocket of *Example*, an exchange that is none.

Its protocol shows what the real ones have, in one place. Replace this docstring by what you read, with the
documents' names and the date of reading, and by every rule that is not plain from the code. The tests of this
file (``tests/unit/test_template.py``) are the template of a new exchange's tests.

- Requests are ``{"op": "subscribe", "args": ["trades:BTC_USD"], "id": 1}``; the answer repeats the id:
  ``{"id": 1, "ok": true}``, or ``{"id": 1, "error": "unknown market", "args": ["trades:BTC_USD"]}``.
- Data comes as ``{"ch": channel, "m": market, "ts": epoch ms, "d": …}``, numbers as text.
- ``book`` begins with ``"kind": "full"``; each ``"kind": "part"`` names the update it follows in ``prev``. The
  checksum is CRC32 of ``price:quantity`` of the best 10 bids, then asks, joined by ``|``, in the frames' text.
- The client sends ``ping`` every 20 s and gets ``pong``; the server also sends ``{"ping": n}`` and wants
  ``{"pong": n}``. Binary frames are gzip. At most 100 markets a message, 10 messages a second.
"""

import zlib
from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec

from core.errors import ErrorCode, PayloadError
from core.exchanges.base import (
    Book,
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
from core.exchanges.inflate import inflate
from core.exchanges.values import EpochMs, Id, Price, PriceOrZero, Quantity, TradedQuantity
from core.identity import Exchange, Region, RequestType, Symbol
from core.order_books import TextLevel
from core.records import Level, Record, Side, StreamType, Ticker, Trade

# Members of enums by their own names: Python 3.11 takes ten times as long to find one in its class.
_TICKER, _TRADE, _BOOK = RequestType.TICKER, RequestType.TRADE, RequestType.ORDERBOOK
_REALTIME, _UNKNOWN = StreamType.REALTIME, Side.UNKNOWN
# Use your exchange's name and region: the template borrows one that exists.
_EXCHANGE, _REGION = Exchange.KRAKEN.value, Region.NA.value
_CHANNELS = {_TICKER: "ticker", _TRADE: "trades", _BOOK: "book"}
_SIDES: dict[str | None, Side] = {"buy": Side.BUY, "sell": Side.SELL}
_MAX_FRAME_BYTES = 1024 * 1024
_CHECKSUM_LEVELS = 10


# -- frames --------------------------------------------------------------------------------------------

# One struct a kind of frame, only the fields that are used. Ranges (core/exchanges/values.py) are checked by
# the decoder; what may be missing has a default of None. A tag field lets the decoder tell the kinds apart;
# where an exchange has none, decode an envelope with msgspec.Raw for the data first.


class _TickerData(msgspec.Struct, frozen=True, gc=False):
    last: Price
    open: PriceOrZero | None = None
    volume: Quantity | None = None


class _TradeData(msgspec.Struct, frozen=True, gc=False):
    price: Price
    quantity: TradedQuantity
    side: str | None = None
    id: str | None = None
    ts: EpochMs | None = None


class _BookData(msgspec.Struct, frozen=True, gc=False):
    kind: Literal["full", "part"]
    # Text, because the checksum is made of it. Without a checksum: ``list[Level]``, as the decoder reads it.
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    id: Id
    prev: Id | None = None
    checksum: Id | None = None


class _Ticker(msgspec.Struct, frozen=True, gc=False, tag_field="ch", tag="ticker"):
    m: str
    d: _TickerData
    ts: EpochMs | None = None


class _Trades(msgspec.Struct, frozen=True, gc=False, tag_field="ch", tag="trades"):
    m: str
    d: list[_TradeData]
    ts: EpochMs | None = None


class _Book(msgspec.Struct, frozen=True, gc=False, tag_field="ch", tag="book"):
    m: str
    d: _BookData
    ts: EpochMs | None = None


class _Envelope(msgspec.Struct, frozen=True):
    """A frame that is none of our data, as far as it says what it is."""

    ch: str | None = None
    id: int | None = None
    ok: bool | None = None
    error: str | None = None
    ping: int | None = None


_Data = _Ticker | _Trades | _Book
# Not strict, so that numbers written as text are read by the decoder itself.
_DATA: msgspec.json.Decoder[_Data] = msgspec.json.Decoder(_Data, strict=False)
_ENVELOPE = msgspec.json.Decoder(_Envelope)


# -- protocol ------------------------------------------------------------------------------------------


class TemplateDialect(Dialect):
    """One connection to Example."""

    # RESUBSCRIBE: a subscription begins with a snapshot. REQUEST: override ``snapshot_request`` and give the
    # answer to ``books.merge``. FETCH: see binance.py.
    resync: ClassVar[Resync] = Resync.RESUBSCRIBE

    def __init__(self, profile: ExchangeProfile, request_type: RequestType, session_id: int) -> None:
        super().__init__(profile, request_type, session_id)
        # Whatever lives as long as the connection: request ids, channel ids, the last id of a stream.
        self._last_request_id = 0
        self._asked: dict[int, tuple[str, ...]] = {}
        self._made: Makers = {_Ticker: self._ticker, _Trades: self._trades, _Book: self._book}

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """``subscribe`` for the added markets; the answer confirms them."""
        return self._requests("subscribe", added)

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """``unsubscribe`` for the removed markets."""
        return self._requests("unsubscribe", removed)

    def probe(self) -> Outgoing:
        """Answered by ``pong``. Also the heartbeat, since ``heartbeat`` is not overridden."""
        return "ping"

    def _requests(self, op: str, tracks: Sequence[SymbolTrack]) -> list[Outgoing]:
        """One message: the session hands in no more than ``limits.max_symbols_per_message`` at once."""
        self._last_request_id += 1
        if op == "subscribe":
            self._asked[self._last_request_id] = tuple(track.symbol for track in tracks)
        channel = _CHANNELS[self.request_type]
        args = [f"{channel}:{track.exchange_symbol}" for track in tracks]
        return [msgspec.json.encode({"op": op, "args": args, "id": self._last_request_id}).decode()]

    # Every frame ends in exactly one of: records, self.control(), self.ignore(reason), or an exception
    # (PayloadError, msgspec's). Frames come as bytes or str, also text frames as bytes.

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame; see ``Dialect.receive``."""
        if frame in (b"pong", "pong"):
            self.control()
            return ()
        if frame[:2] == b"\x1f\x8b":
            frame = inflate(frame, _MAX_FRAME_BYTES)
        data = self._decode(frame)
        if data is None:
            return ()
        return self._made[type(data)](data, received_us)

    def _decode(self, frame: str | bytes) -> _Data | None:
        """The frame as data, or None after it was counted. Data first: it is nearly all that comes."""
        try:
            return _DATA.decode(frame)
        except msgspec.ValidationError:
            envelope = _ENVELOPE.decode(frame)
            if envelope.ch in _CHANNELS.values():
                raise  # ours, and wrong: an error of the frame
        if envelope.ping is not None:
            self.control()
            self.outbox.append(f'{{"pong":{envelope.ping}}}')
        elif envelope.error is not None:
            self._complain(envelope.error, envelope.id)
        elif envelope.ok is not None:
            self.control()
            asked = self._asked.pop(envelope.id or 0, ())
            if asked:
                self.notices.append(Confirmed(asked))
        elif envelope.ch is not None:
            self.ignore("channel without records")
        else:
            raise PayloadError("the frame has neither a channel nor an answer nor a ping")
        return None

    def _complain(self, error: str, request_id: int | None) -> None:
        """An error that names symbols for certain refuses them; any other concerns the connection."""
        self.control()
        message = f"Example: {error[:256]}"
        asked = self._asked.pop(request_id or 0, ())
        if asked and error.startswith("unknown market"):
            self.notices.append(Refused(asked, ErrorCode.UNKNOWN_SYMBOL, message))
        else:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))

    # track_of answers None (and counts) for what nobody asked for. Records are built by position, in the order
    # of their fields: by name takes four times as long. What was not sent is None, never 0.

    def _ticker(self, data: _Ticker, received_us: int) -> Sequence[Record]:
        track = self.track_of(_TICKER, data.m)
        if track is None:
            return ()
        track.sequence += 1
        return (
            Ticker(
                _EXCHANGE,
                _REGION,
                track.symbol,
                track.exchange_symbol,
                data.ts,
                received_us,
                self.session_id,
                track.sequence,
                data.d.last,
                data.d.open or None,
                None,  # high, low, previous close, change
                None,
                None,
                None,
                data.d.volume,
                None,  # quote volume; bid and ask with their quantities
                None,
                None,
                None,
                None,
                _REALTIME,
            ),
        )

    def _trades(self, data: _Trades, received_us: int) -> Sequence[Record]:
        """Every trade of the frame, in order."""
        track = self.track_of(_TRADE, data.m)
        if track is None:
            return ()
        records = []
        for trade in data.d:
            track.sequence += 1
            records.append(
                Trade(
                    _EXCHANGE,
                    _REGION,
                    track.symbol,
                    track.exchange_symbol,
                    trade.ts or data.ts,
                    received_us,
                    self.session_id,
                    track.sequence,
                    trade.price,
                    trade.quantity,
                    _SIDES.get(trade.side, _UNKNOWN),
                    trade.id,
                )
            )
        return records

    # books makes the records of order books, their sequence and ``valid``; it finds gaps and wrong checksums
    # and has the session subscribe that symbol anew. The levels handed in must not be changed afterwards.

    def _book(self, frame: _Book, received_us: int) -> Sequence[Record]:
        track = self.track_of(_BOOK, frame.m)
        if track is None:
            return ()
        data = frame.d
        bids, asks = _levels(data.bids), _levels(data.asks)
        if data.kind == "full":
            return (self.books.snapshot(track, bids, asks, received_us, frame.ts, data.id, data.checksum),)
        return (
            self.books.delta(track, bids, asks, received_us, frame.ts, None, data.id, data.prev, data.checksum),
        )

    def checksum(self, book: Book) -> int:
        """CRC32 over the best levels as the frames wrote them."""
        best = book.bids.best(_CHECKSUM_LEVELS) + book.asks.best(_CHECKSUM_LEVELS)
        texts = [f"{x.price_text}:{x.quantity_text}" for x in best if isinstance(x, TextLevel)]
        return zlib.crc32("|".join(texts).encode())


def _levels(pairs: Sequence[tuple[str, str]]) -> list[Level]:
    """Levels that keep their text; ``parse`` checks the ranges that the decoder could not."""
    return [TextLevel.parse(price, quantity) for price, quantity in pairs]


class Template(ExchangeProfile):
    """Example."""

    exchange = Exchange.KRAKEN
    region = Region.NA
    request_types = frozenset(RequestType)
    url = "wss://stream.example.com/v1"
    compressed: ClassVar[bool] = True
    allowed_hosts = frozenset({"stream.example.com"})
    # 100 markets a message, 10 messages a second; connects are not documented: 1 a second.
    limits = ConnectionLimits(
        max_symbols=500,
        max_symbols_per_message=100,
        max_connects=1,
        connect_window_s=1.0,
        max_messages=10,
        message_window_s=1.0,
        max_frame_bytes=_MAX_FRAME_BYTES,
    )
    heartbeat_s: ClassVar[float | None] = 20.0

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-USD``, or Example's own ``BTC_USD``."""
        return Symbol.parse(text.upper().replace("_", "-"))

    def spell_symbol(self, symbol: Symbol) -> str:
        """``BTC_USD`` for BTC-USD."""
        return f"{symbol.base}_{symbol.quote}"

    def dialect(self, request_type: RequestType, session_id: int) -> TemplateDialect:
        """A new connection's protocol."""
        return TemplateDialect(self, request_type, session_id)
