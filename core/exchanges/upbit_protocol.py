"""Upbit's WebSocket protocol, which Bithumb speaks too; their own files say what each of them documents.

- A request is a JSON list: ticket, types with their codes, format. A new request replaces the former one, so
  every request lists all codes, and brings a snapshot of each.
- Frames are binary and hold JSON, with long keys (``DEFAULT``) or short ones (``SIMPLE``); who asks for
  ``JSON_LIST`` or ``SIMPLE_LIST`` gets JSON lists of such objects. The type stands in ``type`` or ``ty``.
- An order book frame is always the whole book, the shorter side filled up with zeros. A code may be asked for
  as ``KRW-BTC.5``: a book of 5 levels.
- What is wrong with a request as a whole comes as ``{"error": {"name", "message"}}``. An unknown code is
  answered by silence, a listed one by its snapshot.
- The text ``PING`` is answered by ``{"status": "UP"}``, then repeated every 10 s.
"""

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec

from core.errors import ErrorCode, PayloadError
from core.exact_numbers import ExactNumbers
from core.exchanges.base import (
    Complaint,
    Confirmed,
    Dialect,
    ExchangeProfile,
    Makers,
    Outgoing,
    Refused,
    SymbolTrack,
)
from core.exchanges.blank_fields import read_with_blanks
from core.exchanges.epoch_time import to_epoch_ms
from core.exchanges.quote_first import QuoteFirstProfile
from core.exchanges.upbit_frames import (
    DATA_TYPES,
    ENVELOPE,
    ITEMS,
    LONG,
    LONG_EXACT,
    SHORT,
    SHORT_EXACT,
    TIMES,
    AnyFrame,
    BookFrame,
    ErrorText,
    ExactTrade,
    MarketFrame,
    ShortBookFrame,
    ShortTickerFrame,
    ShortTradeFrame,
    TickerFrame,
    TradeFrame,
    Unit,
)
from core.identity import RequestType
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade

WireFormat = Literal["DEFAULT", "SIMPLE"]

_TICKER, _TRADE, _BOOK = RequestType.TICKER, RequestType.TRADE, RequestType.ORDERBOOK
_SNAPSHOT = BookKind.SNAPSHOT
_STREAM_TYPES: dict[str | None, StreamType] = {"SNAPSHOT": StreamType.SNAPSHOT, "REALTIME": StreamType.REALTIME}
_UNKNOWN_STREAM, _UNKNOWN_SIDE = StreamType.UNKNOWN, Side.UNKNOWN
_TAKER_SIDES: dict[str | None, Side] = {"ASK": Side.SELL, "BID": Side.BUY}
_CODE = re.compile(r"[A-Z0-9]+-[A-Z0-9]+")
_REQUEST_ERRORS = frozenset({"NO_CODES", "INVALID_PARAM", "WRONG_FORMAT"})


# Records are built by position, in the order of their fields: by name takes four times as long.


class UpbitProtocol(Dialect):
    """One connection; reads all formats, asks for ``wire_format``."""

    def __init__(
        self,
        profile: ExchangeProfile,
        request_type: RequestType,
        session_id: int,
        wire_format: WireFormat = "DEFAULT",
    ) -> None:
        super().__init__(profile, request_type, session_id)
        self._exchange, self._region = profile.exchange.value, profile.region.value
        self._wire_format = wire_format
        self._short = wire_format == "SIMPLE"
        self._last_trade: dict[str, str] = {}
        self._listed: list[msgspec.Raw] = []  # the items of the last list that became records
        self._made: Makers = {
            TickerFrame: self._ticker,
            ShortTickerFrame: self._ticker,
            TradeFrame: self._trade,
            ShortTradeFrame: self._trade,
            BookFrame: self._orderbook,
            ShortBookFrame: self._orderbook,
        }

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
        data: MarketFrame | None
        try:
            data = SHORT.decode(frame) if self._short else LONG.decode(frame)
        except msgspec.ValidationError:
            if _is_list(frame):
                return self._list(frame, received_us)
            data = self.read_other(frame)
            if data is None:
                return ()
        return self._made[type(data)](data, received_us)

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """One ticker or trade a frame, or as many as a list had; the format is that of the last ``receive``."""
        decoder = SHORT_EXACT if self._short else LONG_EXACT
        read = [decoder.decode(item) for item in (self._listed if _is_list(frame) else (frame,))]
        return [
            ExactNumbers(data.price, data.quantity if isinstance(data, ExactTrade) else None) for data in read
        ]

    def _list(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """The records of all items. It is one frame: read as a whole or not at all, and counted once."""
        before, self.ignored = (self.controls, self.ignored), {}
        try:
            items = [(item, self._item(item)) for item in ITEMS.decode(frame)]
            records: list[Record] = []
            self._listed = []
            for item, data in items:
                if data is not None and (made := self._made[type(data)](data, received_us)):
                    records += made
                    self._listed.append(item)
        finally:
            controls, reasons = self.controls, self.ignored
            self.controls, self.ignored = before
        if records:
            return records
        if reasons:
            self.ignore(next(iter(reasons)))
        elif controls > self.controls:
            self.control()
        else:
            raise PayloadError("the list holds nothing")
        return ()

    def _item(self, item: msgspec.Raw) -> MarketFrame | None:
        """One of a list; what can be wrong with it is seen here, before there are records of the others."""
        try:
            data: MarketFrame | None = SHORT.decode(item) if self._short else LONG.decode(item)
        except msgspec.ValidationError:
            data = self.read_other(item)
        if isinstance(data, TickerFrame | BookFrame | ShortBookFrame):
            to_epoch_ms(data.timestamp)
        return data

    def read_other(self, frame: AnyFrame) -> MarketFrame | None:
        """What is not data in the format that came last: as data, or None after it was counted."""
        envelope = ENVELOPE.decode(frame)
        if envelope.before_any_trade:
            self._without_trade(str(envelope.code or envelope.cd))
        elif envelope.ty in DATA_TYPES:
            self._short = True
            return read_with_blanks(SHORT, frame, TIMES)
        elif envelope.type in DATA_TYPES:
            self._short = False
            return read_with_blanks(LONG, frame, TIMES)
        elif envelope.error is not None:
            self._complain(envelope.error)
        elif envelope.status is not None or envelope.method is not None or envelope.mthd is not None:
            self.control()
        elif envelope.type is not None or envelope.ty is not None:
            self.ignore("type without records")
        else:
            raise PayloadError("the frame has neither a type nor a status nor an error")
        return None

    def _ticker(self, data: TickerFrame, received_us: int) -> Sequence[Record]:
        time_ms = to_epoch_ms(data.timestamp)
        track = self.track_of(_TICKER, data.code)
        if track is None:
            return ()
        if not data.trade_price:
            return self._without_record(track, "ticker without a price")
        track.sequence += 1
        return (
            Ticker(
                self._exchange,
                self._region,
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
                None,  # bid and ask, with their quantities: a ticker has none
                None,
                None,
                None,
                _STREAM_TYPES.get(data.stream_type, _UNKNOWN_STREAM),
            ),
        )

    def _trade(self, data: TradeFrame, received_us: int) -> Sequence[Record]:
        track = self.track_of(_TRADE, data.code)
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
                self._exchange,
                self._region,
                track.symbol,
                track.exchange_symbol,
                data.trade_timestamp,
                received_us,
                self.session_id,
                track.sequence,
                data.trade_price,
                data.trade_volume,
                _TAKER_SIDES.get(data.ask_bid, _UNKNOWN_SIDE),
                trade_id,
            ),
        )

    def _orderbook(self, data: BookFrame | ShortBookFrame, received_us: int) -> Sequence[Record]:
        time_ms = to_epoch_ms(data.timestamp)
        track = self.track_of(_BOOK, _code_of(data))
        if track is None:
            return ()
        units: Sequence[Unit] = data.orderbook_units or ()
        track.sequence += 1
        return (
            self.books.restate(
                track,
                OrderBook(
                    self._exchange,
                    self._region,
                    track.symbol,
                    track.exchange_symbol,
                    time_ms,
                    received_us,
                    self.session_id,
                    track.sequence,
                    _SNAPSHOT,
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
        track = self.track_of(_TRADE, code)
        if track is not None:
            self._without_record(track, "snapshot before any trade")

    def _complain(self, error: ErrorText | str) -> None:
        """The errors name no code: only what the text or the circumstances make certain is refused."""
        self.control()
        if isinstance(error, str):
            error = ErrorText(message=error)
        name, text = str(error.name or "error")[:64], error.message or ""
        message = f"{self._exchange.capitalize()}: {name}: {text[:256]}"
        if "TOO_MANY" in name.upper():
            self.notices.append(Complaint(ErrorCode.RATE_LIMITED, message))
            return
        if name not in _REQUEST_ERRORS:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))
            return
        waiting = [track for track in self.tracks.values() if track.active and not track.confirmed]
        codes = frozenset(_CODE.findall(text))
        named = [track for track in waiting if track.exchange_symbol in codes]
        refused = named or (waiting if len(waiting) == 1 and not codes else [])
        if refused:
            symbols = tuple(track.symbol for track in refused)
            self.notices.append(Refused(symbols, ErrorCode.SUBSCRIBE_REJECTED, message))
        else:
            self.notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, message))


def _is_list(frame: str | bytes) -> bool:
    return frame.lstrip()[:1] in ("[", b"[")


def _code_of(data: MarketFrame) -> str:
    """``KRW-BTC`` also for ``KRW-BTC.5``, a book of so many levels."""
    return data.code.partition(".")[0] if "." in data.code else data.code


class UpbitProtocolProfile(QuoteFirstProfile):
    """An exchange that speaks it. ``wire_format``: which keys the subscriptions ask for."""

    request_types = frozenset(RequestType)
    confirm_within_s: ClassVar[float | None] = 10.0

    def __init__(self, wire_format: WireFormat = "DEFAULT") -> None:
        self.wire_format: WireFormat = wire_format

    def dialect(self, request_type: RequestType, session_id: int) -> UpbitProtocol:
        """A new connection's protocol."""
        return UpbitProtocol(self, request_type, session_id, self.wire_format)
