"""Bitfinex's public WebSocket, version 2.

Written after Bitfinex's documentation (read 2026-11): "General" (ws-general), "Public Channels" (ws-public),
"WebSocket Checksum" (ws-websocket-checksum), "Ticker", "Trades" and "Books" (ws-public-ticker, -trades,
-books) and "Symbols and currency codes" under docs.bitfinex.com, and "Order Books & Checksums" on its blog.

- A request subscribes one channel of one pair; the answer ``subscribed`` gives its number, by which its
  frames, arrays, go: ``[number, body, …]``. A body may be an update, a list of them (the snapshot), or a
  word: ``hb`` (every 15 s on each channel), ``te`` and ``tu`` with a trade, ``cs`` with a checksum.
- ``conf`` asks for a sequence over all arrays of the connection (65536), the server's time at their end
  (32768), checksums of books (131072). What of it is there is told by the size of the numbers. Arrays may
  grow. Heartbeats and checksums have a sequence too; whether each has a number of its own is not said, so a
  number that comes twice is no loss.
- A trade comes as ``te`` at once and as ``tu`` when it is stored, both with its id: what comes first is
  taken. An amount above 0 was bought by the taker. The snapshot has the last trades, the newest first: they
  are put in order, and those that came before the channel was renewed are passed over.
- One book of a pair is read, of several in a recording the most precise, then the deepest. Raw books, candles,
  ``status`` and all of lending (``fUSD``, with ``fte`` and ``ftu``) give no records.
- ``BID_SIZE`` and ``ASK_SIZE`` of a ticker are the sums of the 25 best orders, not what lies at the best
  price: no field of a record means that.
- A book entry is ``[price, count, amount]``; count 0 removes; amounts of asks are below 0. The checksum is
  CRC32, signed, of the best 25 of both sides in turn, ``price:amount``, in the text of the frames. It comes
  in a frame of its own, which becomes a delta without levels. A number left out of the sequence may have been
  any channel's: a book of up to 25 levels a side is doubted until its next checksum, a deeper one is broken.
- 25 channels a connection, 20 connects a minute and address. ``info`` 20051: the server restarts, connect anew,
  which is done at once; 20060: a maintenance begins, wait for 20061, which ends it: subscribe anew. Errors
  10300 (refused), 10305 (too many channels).
- Pairs are ``tBTCUSD``, with a colon where a currency's code is not of three letters: ``tDOGE:USD``. Some
  codes are the exchange's own: UST is USDT.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from core.errors import ErrorCode, PayloadError
from core.exact_numbers import ExactNumbers
from core.exchanges.base import (
    Book,
    Complaint,
    Confirmed,
    ConnectionLimits,
    Dialect,
    ExchangeProfile,
    Interrupted,
    Outgoing,
    SymbolTrack,
)
from core.exchanges.bitfinex_books import CHECKSUM_LEVELS, checksum_of, level_of, sides_of
from core.exchanges.bitfinex_channels import CHANNEL_NAMES, READS, Channel, Channels
from core.exchanges.bitfinex_events import (
    EVENT,
    MAINTENANCE_BEGINS,
    MAINTENANCE_ENDED,
    SERVER_RESTARTS,
    Event,
    judged,
)
from core.exchanges.bitfinex_exact import exact_ticker, exact_trades
from core.exchanges.bitfinex_frames import (
    ARRAY,
    END_TIME_MS,
    ENTRIES,
    ENTRY,
    FIRST_TIME_MS,
    NUMBER,
    TICKER,
    TRADE,
    TRADES,
    Array,
    BookFrame,
    TickerBody,
    TickerFrame,
    TradeBody,
)
from core.exchanges.bitfinex_symbols import parse_pair, spell_pair
from core.identity import Exchange, Region, RequestType, Symbol
from core.records import Level, Record, Side, StreamType, Ticker, Trade

_EXCHANGE, _REGION = Exchange.BITFINEX.value, Region.EUROPE.value
_TICKER, _TRADE, _ORDERBOOK = RequestType.TICKER, RequestType.TRADE, RequestType.ORDERBOOK
_BUY, _SELL = Side.BUY, Side.SELL
_SNAPSHOT, _REALTIME = StreamType.SNAPSHOT, StreamType.REALTIME
_LENGTHS: Final = (1, 25, 100, 250)
_TIMESTAMP, _SEQ_ALL, _OB_CHECKSUM, _BULK_UPDATES = 32_768, 65_536, 131_072, 536_870_912
_HEAD_BYTES: Final = 24
_NO_AMOUNT: Final = "a trade of amount 0 is none"


class BitfinexDialect(Dialect):
    """One connection to Bitfinex."""

    def __init__(self, profile: ExchangeProfile, request_type: RequestType, session_id: int) -> None:
        super().__init__(profile, request_type, session_id)
        self._configured = False
        self._channels = Channels()
        self._by_number = self._channels.by_number
        self._bulk = False
        # The number of the next frame, once there was one.
        self._next: int | None = None
        # What reads most frames of this connection at once.
        self._read_own = READS[request_type]
        # Which trades of the last snapshot became records, in their order.
        self._taken: Sequence[int] = ()
        self._last_ping = 0
        # How many subscriptions of a pair were asked for and not answered yet.
        self._asked: dict[str, int] = {}
        # Subscribed anew after a maintenance, and not answered yet.
        self._renewing: set[str] = set()

    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """A message a pair; before the first, what all frames shall carry."""
        messages: list[Outgoing] = []
        if not self._configured:
            self._configured = True
            flags = _TIMESTAMP | _SEQ_ALL
            if self.request_type is _ORDERBOOK:
                flags |= _OB_CHECKSUM
            messages.append(msgspec.json.encode({"event": "conf", "flags": flags}).decode())
        for track in added:
            request = {
                "event": "subscribe",
                "channel": CHANNEL_NAMES[self.request_type],
                "symbol": track.exchange_symbol,
            }
            if self.request_type is _ORDERBOOK:
                length = next((n for n in _LENGTHS if n >= self.books.settings.depth), _LENGTHS[-1])
                self.books.depth = length
                request |= {"prec": "P0", "freq": "F0", "len": str(length)}
            messages.append(msgspec.json.encode(request).decode())
            self._asked[track.exchange_symbol] = self._asked.get(track.exchange_symbol, 0) + 1
        return messages

    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """A message a channel. One that has no number yet is ended as soon as it has; one that is renewed is
        read until the exchange has ended it."""
        symbols = {track.exchange_symbol for track in removed}
        self._renewing -= symbols
        renewed = {track.exchange_symbol for track in removed if track.active}
        return [_unsubscribe(n) for n in self._channels.end(self.request_type, symbols, keep=renewed)]

    def probe(self) -> Outgoing:
        """Answered by ``pong``."""
        self._last_ping += 1
        return msgspec.json.encode({"event": "ping", "cid": self._last_ping}).decode()

    def checksum(self, book: Book) -> int:
        """See ``checksum_of``."""
        return checksum_of(book)

    # -- frames ------------------------------------------------------------------------------------

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame; see ``Dialect.receive``.

        What comes most is read at once where it is the next in the sequence; everything else by its parts.
        """
        read = self._read_own
        if self.accept_all:
            # In a recording, channels of all types come on one connection.
            recorded = self._channel_of(frame)
            if recorded is None or recorded.read is None:
                return self._receive_parts(frame, received_us)
            read = recorded.read
        try:
            data = read(frame)
        except msgspec.ValidationError:
            return self._receive_parts(frame, received_us)
        channel = self._by_number.get(data.channel_id)
        if channel is None or channel.read is not read:
            return self._receive_parts(frame, received_us)
        # By type: where isinstance says no to a struct, it takes five times as long.
        if type(data) is BookFrame:
            return self._book_frame(channel, data, frame, received_us)
        if data.sequence is not None:
            if data.sequence != self._next:
                return self._receive_parts(frame, received_us)
            self._next = data.sequence + 1
        if type(data) is TickerFrame:
            return self._ticker(channel, data.body, data.time_ms, received_us)
        return self._trade(channel, data.trade, received_us)

    def _book_frame(
        self, channel: Channel, data: BookFrame, frame: str | bytes, received_us: int
    ) -> Sequence[Record]:
        entry = data.body
        sequence, time_ms = (data.b, data.c) if isinstance(entry, str) else (data.a, data.b)
        if time_ms is not None and not FIRST_TIME_MS <= time_ms < END_TIME_MS:
            return self._receive_parts(frame, received_us)
        if sequence is not None:
            if sequence != self._next:
                return self._receive_parts(frame, received_us)
            self._next = sequence + 1
        if isinstance(entry, str):
            return self._compare(channel, data.a, time_ms, received_us)
        level = level_of(entry, frame if isinstance(frame, bytes) else frame.encode())
        if entry.amount < 0:
            return self._delta(channel, [], [level], time_ms, received_us)
        return self._delta(channel, [level], [], time_ms, received_us)

    def _receive_parts(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """A frame that is none of those that come most, by its parts."""
        try:
            array = ARRAY.decode(frame)
        except msgspec.ValidationError:
            self._take_event(EVENT.decode(frame))
            return ()
        word = array.word
        sequence, time_ms = array.tail(word)
        if sequence is not None:
            self._check_sequence(sequence, received_us)
        return self._read(self._by_number.get(array.channel_id), word, array, time_ms, received_us)

    def _channel_of(self, frame: str | bytes) -> Channel | None:
        """The channel that an array begins with; None for what is none, or is not known."""
        head = frame[1:_HEAD_BYTES]
        number = head.partition(",")[0] if isinstance(head, str) else head.partition(b",")[0]
        try:
            return self._by_number.get(int(number))
        except ValueError:
            return None

    def _read(
        self, channel: Channel | None, word: str | None, array: Array, time_ms: int | None, received_us: int
    ) -> Sequence[Record]:
        if word == "hb":
            self.control()
            track = None if channel is None else self.tracks.get(channel.exchange_symbol)
            if track is not None and track.active:
                track.beats += 1
            return ()
        if channel is None:
            self.ignore("channel that is not subscribed")
            return ()
        if word == "":
            self.ignore("word without records")
            return ()
        kind = channel.request_type
        if kind is None:
            self.ignore(channel.unread)
            return ()
        if kind is _TICKER and word is None:
            return self._ticker(channel, TICKER.decode(array.body), time_ms, received_us)
        if kind is _TRADE and word is None:
            return self._trades(channel, TRADES.decode(array.body), received_us)
        if kind is _TRADE and word != "cs":
            return self._trade(channel, TRADE.decode(array.a), received_us)
        if kind is _ORDERBOOK and word is None:
            return self._book(channel, array, time_ms, received_us)
        if kind is _ORDERBOOK and word == "cs":
            return self._compare(channel, NUMBER.decode(array.a), time_ms, received_us)
        raise PayloadError(f"{word!r} belongs to no {kind} channel")

    def _check_sequence(self, sequence: int, received_us: int) -> None:
        following, self._next = self._next, sequence + 1
        if following is None or following - 1 <= sequence <= following:
            return
        message = (
            f"Bitfinex: frame {sequence} of the connection came after {following - 1}; "
            "it is not known which of its channels lost something"
        )
        kept = [track for track in (*self.tracks.values(), *self._other_tracks.values()) if track.book]
        checked = {channel.exchange_symbol for channel in self._by_number.values() if channel.checked}
        doubted = [track for track in kept if track.exchange_symbol in checked]
        if doubted or not kept:
            self.notices.append(Complaint(ErrorCode.SEQUENCE_GAP, message))
        self.books.doubt(doubted, CHECKSUM_LEVELS, received_us)
        self.books.gap([track for track in kept if track not in doubted], message, received_us)

    # -- data --------------------------------------------------------------------------------------

    def _ask_track(self, channel: Channel) -> SymbolTrack | None:
        """The channel's track when somebody asked for the pair; None after it was counted."""
        assert channel.request_type is not None
        channel.track = self.track_of(channel.request_type, channel.exchange_symbol)
        return channel.track

    def _ticker(
        self, channel: Channel, data: TickerBody, time_ms: int | None, received_us: int
    ) -> Sequence[Record]:
        track = channel.track
        if track is None or not track.active:
            track = self._ask_track(channel)
        if track is None:
            return ()
        stream_type = _REALTIME if channel.past_snapshot else _SNAPSHOT
        channel.past_snapshot = True
        if not data.last:
            self.ignore("ticker without a price")
            return ()
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
                data.last,
                None,  # opening price
                data.high or None,
                data.low or None,
                None,  # previous close
                data.change_rate,
                data.volume,
                None,  # volume in the quote currency
                data.bid or None,
                None,
                data.ask or None,
                None,
                stream_type,
            ),
        )

    def _trades(self, channel: Channel, trades: list[TradeBody], received_us: int) -> Sequence[Record]:
        # The newest first, as the exchange sends them; records go by time.
        trades.sort(key=_trade_order)
        if 0 in [trade.amount for trade in trades]:
            raise PayloadError(_NO_AMOUNT)
        track = channel.track
        if track is None or not track.active:
            track = self._ask_track(channel)
        if track is None:
            return ()
        fresh = [trade for trade in trades if channel.seen.is_new(trade.trade_id)]
        if not fresh:
            self.ignore("trades already seen" if trades else "snapshot without trades")
        self._taken = [trade.trade_id for trade in fresh]
        return [self._record(track, trade, received_us) for trade in fresh]

    def _trade(self, channel: Channel, trade: TradeBody, received_us: int) -> Sequence[Record]:
        if not trade.amount:
            raise PayloadError(_NO_AMOUNT)
        track = channel.track
        if track is None or not track.active:
            track = self._ask_track(channel)
        if track is None:
            return ()
        if not channel.seen.is_new(trade.trade_id):
            self.ignore("trades already seen")
            return ()
        return (self._record(track, trade, received_us),)

    def _record(self, track: SymbolTrack, trade: TradeBody, received_us: int) -> Trade:
        amount = trade.amount
        track.sequence += 1
        return Trade(
            _EXCHANGE,
            _REGION,
            track.symbol,
            track.exchange_symbol,
            trade.time_ms,
            received_us,
            self.session_id,
            track.sequence,
            trade.price,
            abs(amount),
            _BUY if amount > 0 else _SELL,
            str(trade.trade_id),
        )

    def _book(self, channel: Channel, array: Array, time_ms: int | None, received_us: int) -> Sequence[Record]:
        whole = array.holds_items
        bids, asks = sides_of(ENTRIES.decode(array.body) if whole else [ENTRY.decode(array.body)])
        if not whole or (self._bulk and channel.past_snapshot):
            return self._delta(channel, bids, asks, time_ms, received_us)
        track = channel.track
        if track is None or not track.active:
            track = self._ask_track(channel)
        if track is None:
            return ()
        channel.past_snapshot = True
        bids.sort(key=_price, reverse=True)
        asks.sort(key=_price)
        return (self.books.snapshot(track, bids, asks, received_us, time_ms),)

    def _delta(
        self,
        channel: Channel,
        bids: list[Level],
        asks: list[Level],
        time_ms: int | None,
        received_us: int,
        checksum: int | None = None,
    ) -> Sequence[Record]:
        track = channel.track
        if track is None or not track.active:
            track = self._ask_track(channel)
        if track is None:
            return ()
        return (self.books.delta(track, bids, asks, received_us, time_ms, None, None, None, checksum),)

    def _compare(
        self, channel: Channel, checksum: int | None, time_ms: int | None, received_us: int
    ) -> Sequence[Record]:
        if checksum is None:
            raise PayloadError("the frame of a checksum has none")
        records = self._delta(channel, [], [], time_ms, received_us, checksum)
        channel.checked = channel.covered
        return records

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """The ticker of a frame, or those of its trades that became records."""
        array = ARRAY.decode(frame)
        if self._by_number[array.channel_id].request_type is _TICKER:
            return exact_ticker(array)
        return exact_trades(array, self._taken)

    # -- events ------------------------------------------------------------------------------------

    def _take_event(self, event: Event) -> None:
        match event.event:
            case "subscribed":
                if not self._open_channel(event):
                    self.ignore("channel that nobody asked for")
                    return
            case "unsubscribed":
                self._channels.close(event.channel_id)
            case "conf":
                self._bulk = bool((event.flags or 0) & _BULK_UPDATES)
            case "info":
                self._take_info(event)
            case "error":
                self._renewing.discard(event.exchange_symbol)
                notice = judged(event, self.tracks.get(event.exchange_symbol))
                if notice is not None:
                    self.notices.append(notice)
            case "pong" | "auth":
                pass
            case _:
                self.ignore("event that is not known")
                return
        self.control()

    def _open_channel(self, event: Event) -> bool:
        """False for one that nobody asked for; in a recording all are read."""
        number = event.channel_id
        if number is None:
            raise PayloadError("a subscription without the number of its channel")
        channel = Channel.of(event)
        self._renewing.discard(channel.exchange_symbol)
        asked = self._asked.get(channel.exchange_symbol, 0)
        if asked:
            self._asked[channel.exchange_symbol] = asked - 1
        track = self.tracks.get(channel.exchange_symbol) if channel.request_type is self.request_type else None
        if track is None and not self.accept_all:
            return False
        if track is not None and not track.active:
            if asked:
                self.requests.append(_unsubscribe(number))
            return bool(asked)
        for former in self._channels.open(number, channel, several=self.accept_all):
            if former.track is not None:
                self.books.forget(former.track)
        if track is not None:
            self.notices.append(Confirmed((track.symbol,)))
        return True

    def _take_info(self, event: Event) -> None:
        if event.version is not None and self.accept_all:
            # The first frame of a connection: in a recording, of the next one.
            self._channels.clear()
            self._next = None
            self._bulk = False
        if event.number in (SERVER_RESTARTS, MAINTENANCE_BEGINS):
            self.notices.append(Interrupted(event.text, reconnect=event.number == SERVER_RESTARTS))
        elif event.number == MAINTENANCE_ENDED:
            self._renew()

    def _renew(self) -> None:
        """Subscribe all anew. What waits for its answer is not asked for again, however often the end of the
        maintenance is told: where the answer is lost, the silence of the channel is noticed."""
        active = [
            track
            for track in self.tracks.values()
            if track.active and track.exchange_symbol not in self._renewing
        ]
        self.requests.extend(self.unsubscribe(active, ()))
        self.requests.extend(self.subscribe(active, active))
        self._renewing.update(track.exchange_symbol for track in active)


def _unsubscribe(number: int) -> str:
    return msgspec.json.encode({"event": "unsubscribe", "chanId": number}).decode()


def _trade_order(trade: TradeBody) -> tuple[int, int]:
    return trade.time_ms, trade.trade_id


def _price(level: Level) -> float:
    return level.price


class Bitfinex(ExchangeProfile):
    """Bitfinex (Europe)."""

    exchange = Exchange.BITFINEX
    region = Region.EUROPE
    request_types = frozenset(RequestType)
    url = "wss://api-pub.bitfinex.com/ws/2"
    allowed_hosts = frozenset({"api-pub.bitfinex.com"})
    # A bound on messages is not documented.
    limits = ConnectionLimits(
        max_symbols=25,
        max_symbols_per_message=1,
        max_connects=20,
        connect_window_s=60.0,
        max_messages=10,
        message_window_s=1.0,
    )
    channel_heartbeat_s: ClassVar[float | None] = 15.0

    def parse_symbol(self, text: str) -> Symbol:
        """See ``parse_pair``."""
        return parse_pair(text)

    def spell_symbol(self, symbol: Symbol) -> str:
        """See ``spell_pair``."""
        return spell_pair(symbol)

    def dialect(self, request_type: RequestType, session_id: int) -> BitfinexDialect:
        """A new connection's protocol."""
        return BitfinexDialect(self, request_type, session_id)
