"""What the gateway knows of an exchange: a static profile, and a dialect for each open connection.

A *profile* answers what can be known without a connection: address, allowed hosts, limits, how symbols are
spelled. A *dialect* is made per session and speaks for it: which messages subscribe, what a frame is, what
keeps the connection alive. Both are pure: no socket, no clock; time comes in as an argument.

``docs/add-an-exchange.md`` and ``core/exchanges/_template.py`` show how one is made.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from core.exact_numbers import ExactNumbers
from core.exchanges.book_keeper import BookKeeper
from core.exchanges.kept_book import BookSettings, Resync
from core.exchanges.notices import (
    Complaint,
    Confirmed,
    Interrupted,
    Notice,
    Refused,
    SnapshotWanted,
    SymbolBroken,
    SymbolWhole,
    Unparsed,
)
from core.exchanges.symbol_track import SymbolTrack
from core.identity import Exchange, Region, RequestType, Symbol
from core.order_books import Book
from core.records import Record

__all__ = [
    "Book",
    "BookKeeper",
    "BookSettings",
    "Complaint",
    "Confirmed",
    "ConnectionLimits",
    "Dialect",
    "ExchangeProfile",
    "Interrupted",
    "Makers",
    "Notice",
    "Outgoing",
    "Refused",
    "Resync",
    "SnapshotWanted",
    "SymbolBroken",
    "SymbolTrack",
    "SymbolWhole",
    "Unparsed",
]


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What an exchange allows on and around one connection.

    ``max_symbols``: symbols per connection. ``max_connects`` in ``connect_window_s``: connection attempts per
    address. ``max_messages`` in ``message_window_s``: messages a client may send. ``max_frame_bytes``: the
    largest frame taken (inflated). ``max_symbols_per_message``: symbols in one subscribe message.
    """

    max_symbols: int
    max_symbols_per_message: int
    max_connects: int
    connect_window_s: float
    max_messages: int
    message_window_s: float
    max_frame_bytes: int = 4 * 1024 * 1024


Outgoing = str | bytes

Makers = dict[type, Callable[[Any, int], Sequence[Record]]]
"""What makes the records of a frame, by the type that it was read as. A look-up takes a fifth of the time in
which ``isinstance`` finds that a struct is none of another type."""


class Dialect(ABC):
    """One session's side of an exchange's protocol.

    ``tracks`` maps the exchange's own spelling to the symbol's track; the session owns and fills it, a
    dialect looks symbols up in it and takes the next sequence number from the track:
    ``track.sequence += 1``.

    ``accept_all`` is set by the session for a replay: see ``track_of``.

    A dialect hands back what is not a record through ``outbox`` (answers, which go out at once), ``requests``
    (messages that wait for their turn in the exchange's rate), both in order, and ``notices``;
    it counts frames that are neither data nor error by ``self.control()`` and ``self.ignore(reason)``.

    ``books`` keeps the order books and makes their records: see ``BookKeeper``. A dialect is made per
    session, so whatever a protocol numbers or names per connection (channel ids, request ids) is an attribute
    of its own.
    """

    resync: ClassVar[Resync] = Resync.RESUBSCRIBE
    """How a symbol's book is had anew."""

    NOT_SUBSCRIBED: ClassVar[str] = "not subscribed"
    OTHER_REQUEST_TYPE: ClassVar[str] = "other request type"
    OTHER_MARKET: ClassVar[str] = "symbol of another market"

    def __init__(self, profile: "ExchangeProfile", request_type: RequestType, session_id: int) -> None:
        self.profile = profile
        self.request_type = request_type
        self.session_id = session_id
        self.accept_all = False
        self.tracks: dict[str, SymbolTrack] = {}
        self._other_tracks: dict[tuple[RequestType, str], SymbolTrack] = {}
        self.outbox: list[Outgoing] = []
        self.requests: list[Outgoing] = []
        self.notices: list[Notice] = []
        self.controls = 0
        self.ignored: dict[str, int] = {}
        self.books = BookKeeper(
            profile.exchange.value,
            profile.region.value,
            session_id,
            self.notices,
            resync=self.resync,
            checksum=self.checksum,
        )

    def control(self) -> None:
        """Count a frame that is an acknowledgement, a heartbeat or a notice."""
        self.controls += 1

    def ignore(self, reason: str) -> None:
        """Count a frame that is recognised and not wanted; ``reason`` is short and from a fixed set."""
        self.ignored[reason] = self.ignored.get(reason, 0) + 1

    def track_of(self, request_type: RequestType, exchange_symbol: str) -> SymbolTrack | None:
        """The track whose next record this is; None (counted as ignored) when nobody asked for it.

        Data comes late after an unsubscription, or for what a replaced subscription brought in. With
        ``accept_all`` (a replay, which subscribes to nothing) a track is made at first sight, one for each
        request type, since their records go to different topics; None then is for a symbol that no pair of
        this exchange is spelled like: a swap, an option, a quote currency that is not known.
        """
        if request_type is self.request_type:
            track = self.tracks.get(exchange_symbol)
            if track is not None and track.active:
                return track
            if not self.accept_all:
                self.ignore(self.NOT_SUBSCRIBED)
                return None
        elif not self.accept_all:
            self.ignore(self.OTHER_REQUEST_TYPE)
            return None
        return self._seen(request_type, exchange_symbol)

    def _seen(self, request_type: RequestType, exchange_symbol: str) -> SymbolTrack | None:
        if request_type is self.request_type:
            track = self.tracks.get(exchange_symbol)
        else:
            track = self._other_tracks.get((request_type, exchange_symbol))
        if track is None:
            symbol = self._pair_of(exchange_symbol)
            if symbol is None:
                self.ignore(self.OTHER_MARKET)
                return None
            track = SymbolTrack(str(symbol), exchange_symbol, self.session_id, confirmed=True)
            if request_type is self.request_type:
                self.tracks[exchange_symbol] = track
            else:
                self._other_tracks[request_type, exchange_symbol] = track
        track.active = True
        return track

    def _pair_of(self, exchange_symbol: str) -> Symbol | None:
        try:
            symbol = self.profile.parse_symbol(exchange_symbol)
        except ValueError:
            return None
        # What reads as a pair and is spelled otherwise is none: ``BTC-27DEC24`` where pairs have no dash.
        return symbol if self.profile.spell_symbol(symbol) == exchange_symbol else None

    @abstractmethod
    def subscribe(self, added: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """The messages that add ``added``; ``active`` is every symbol that shall run afterwards."""

    @abstractmethod
    def unsubscribe(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack]) -> list[Outgoing]:
        """The messages that end ``removed``; ``active`` is every symbol that shall go on.

        None where the protocol has no word for it: data that still comes is ignored.
        """

    @abstractmethod
    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame into its records, in order; none for controls and ignored frames.

        Raises ``core.errors.PayloadError`` or ``msgspec.MsgspecError`` for a frame that cannot be read; any
        other exception is a defect.
        """

    def exact_numbers(self, frame: str | bytes) -> Sequence[ExactNumbers]:
        """The exact numbers of a frame that gave tickers or trades, in the order of its records.

        Called after ``receive``, and only when exact numbers are asked for: the frame is read again, as text.
        None where a dialect does not give them.
        """
        return ()

    @abstractmethod
    def probe(self) -> Outgoing | None:
        """A message to which the exchange answers with a frame, asking whether it is still there.

        None where the protocol has none: silence then counts as such without asking, so the exchange must
        send heartbeats of its own.
        """

    def heartbeat(self) -> Outgoing | None:
        """What the client must send every ``profile.heartbeat_s``; by default the probe.

        Where the exchange pings in the band, ``receive`` answers by ``self.outbox.append(…)``: it goes out at
        once.
        """
        return self.probe()

    def checksum(self, book: Book) -> int:
        """The exchange's checksum of ``book``, as its frames carry it; for dialects that hand one to
        ``books``."""
        raise NotImplementedError(f"{self.profile.exchange} has no checksum")

    def snapshot_request(self, tracks: Sequence[SymbolTrack]) -> list[Outgoing]:
        """With ``Resync.REQUEST``: the messages that ask for the books of ``tracks``; the answer goes to
        ``books.merge``."""
        raise NotImplementedError(f"{self.profile.exchange} gives no snapshot on the socket")

    def snapshot_path(self, track: SymbolTrack) -> str:
        """With ``Resync.FETCH``: path and query of the symbol's book, below ``profile.rest_url``."""
        raise NotImplementedError(f"{self.profile.exchange} has no REST snapshot")

    def read_snapshot(self, track: SymbolTrack, body: bytes, received_us: int) -> Sequence[Record]:
        """With ``Resync.FETCH``: read what ``snapshot_path`` led to, and hand it to ``books.merge``.

        Raises as ``receive`` does.
        """
        raise NotImplementedError(f"{self.profile.exchange} has no REST snapshot")


class ExchangeProfile(ABC):
    """What is known of an exchange without a connection; one instance an exchange, immutable."""

    exchange: ClassVar[Exchange]
    region: ClassVar[Region]
    request_types: ClassVar[frozenset[RequestType]]
    url: ClassVar[str]
    """The public endpoint, ``wss://``."""
    rest_url: ClassVar[str | None] = None
    """The public REST address, ``https://`` without a path, where snapshots are fetched from it."""
    rest_limit: ClassVar[tuple[int, float]] = (1, 1.0)
    """How many snapshots may be fetched in how many seconds, by address."""
    heartbeat_s: ClassVar[float | None] = None
    """How often the client must send ``Dialect.heartbeat``; None: it need not."""
    channel_heartbeat_s: ClassVar[float | None] = None
    """Where the exchange sends heartbeats on each symbol's own channel (the dialect counts them in
    ``track.beats``): how often, at the least. A channel without any, and without data, is then found and
    subscribed anew by itself."""
    compressed: ClassVar[bool] = False
    """Whether the exchange packs its frames itself (gzip), so that the dialect inflates them."""
    allowed_hosts: ClassVar[frozenset[str]]
    """Hosts that a command's ``connection.url`` may name, besides those of the settings."""
    limits: ClassVar[ConnectionLimits]
    confirm_within_s: ClassVar[float | None] = None
    """Where the exchange answers an unknown symbol with silence: how long a subscription may stay without
    its first frame before it counts as refused. None: the exchange says so itself, or never refuses."""

    def url_for(self, request_type: RequestType, base: str | None = None) -> str:
        """The address of a request type's connections, for exchanges that have several.

        ``base`` replaces ``url``, as settings may say; the URL of a command is taken as it is.
        """
        return base or self.url

    @abstractmethod
    def parse_symbol(self, text: str) -> Symbol:
        """Read the canonical or the exchange's own spelling, in any case; ``ValueError`` for neither."""

    @abstractmethod
    def spell_symbol(self, symbol: Symbol) -> str:
        """The exchange's own spelling, as its frames carry it."""

    @abstractmethod
    def dialect(self, request_type: RequestType, session_id: int) -> Dialect:
        """The protocol object for one new session."""
