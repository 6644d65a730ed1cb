"""What the gateway knows of an exchange: a static profile, and a dialect for each open connection.

A *profile* answers what can be known without a connection: address, allowed hosts, limits, how symbols are
spelled. A *dialect* is made per session and speaks for it: which messages subscribe, what a frame is, what
keeps the connection alive. Both are pure: no socket, no clock; time comes in as an argument.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from core.errors import ErrorCode, PayloadError
from core.exact_numbers import ExactNumbers
from core.identity import Exchange, Region, RequestType, Symbol
from core.records import Record


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


class SymbolTrack(msgspec.Struct):
    """One symbol on one session: both spellings, and where its sequence stands.

    ``sequence`` is the last one given out (0: none yet). ``confirmed`` turns true once the exchange
    acknowledged the subscription or the first record came; ``asked_s`` is when the subscription went out.
    A track outlives an unsubscription (``active`` false), so that the sequence goes on.
    """

    symbol: str
    exchange_symbol: str
    session_id: int
    sequence: int = 0
    active: bool = True
    confirmed: bool = False
    asked_s: float | None = None


class Confirmed(msgspec.Struct, frozen=True):
    """The exchange acknowledged these canonical symbols."""

    symbols: tuple[str, ...]


class Refused(msgspec.Struct, frozen=True):
    """The exchange will not stream these canonical symbols; asking again makes no sense."""

    symbols: tuple[str, ...]
    code: ErrorCode
    message: str


class Complaint(msgspec.Struct, frozen=True):
    """The exchange reports a problem that concerns the connection, not a symbol."""

    code: ErrorCode
    message: str


class Unparsed(msgspec.Struct, frozen=True):
    """A frame that could not be read; the session counts it and goes on."""

    reason: str
    frame: bytes


Notice = Confirmed | Refused | Complaint | Unparsed

Outgoing = str | bytes


class Dialect(ABC):
    """One session's side of an exchange's protocol.

    ``tracks`` maps the exchange's own spelling to the symbol's track; the session owns and fills it, a
    dialect looks symbols up in it and takes the next sequence number from the track:
    ``track.sequence += 1``.

    ``accept_all`` is set by the session for a replay: see ``track_of``.

    A dialect hands back what is not a record through ``outbox`` (messages to send, in order) and ``notices``;
    it counts frames that are neither data nor error by ``self.control()`` and ``self.ignore(reason)``.
    """

    NOT_SUBSCRIBED: ClassVar[str] = "not subscribed"
    OTHER_REQUEST_TYPE: ClassVar[str] = "other request type"

    def __init__(self, profile: "ExchangeProfile", request_type: RequestType, session_id: int) -> None:
        self.profile = profile
        self.request_type = request_type
        self.session_id = session_id
        self.accept_all = False
        self.tracks: dict[str, SymbolTrack] = {}
        self._other_tracks: dict[tuple[RequestType, str], SymbolTrack] = {}
        self.outbox: list[Outgoing] = []
        self.notices: list[Notice] = []
        self.controls = 0
        self.ignored: dict[str, int] = {}

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
        request type, since their records go to different topics; raises ``PayloadError`` when the symbol
        cannot be read.
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

    def _seen(self, request_type: RequestType, exchange_symbol: str) -> SymbolTrack:
        if request_type is self.request_type:
            track = self.tracks.get(exchange_symbol)
        else:
            track = self._other_tracks.get((request_type, exchange_symbol))
        if track is None:
            try:
                symbol = self.profile.parse_symbol(exchange_symbol)
            except ValueError as exc:
                raise PayloadError(f"the frame's symbol cannot be read: {exc}") from exc
            track = SymbolTrack(str(symbol), exchange_symbol, self.session_id, confirmed=True)
            if request_type is self.request_type:
                self.tracks[exchange_symbol] = track
            else:
                self._other_tracks[request_type, exchange_symbol] = track
        track.active = True
        return track

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
        """A message to which the exchange answers with a frame, asking whether it is still there."""


class ExchangeProfile(ABC):
    """What is known of an exchange without a connection; one instance an exchange, immutable."""

    exchange: ClassVar[Exchange]
    region: ClassVar[Region]
    request_types: ClassVar[frozenset[RequestType]]
    url: ClassVar[str]
    """The public endpoint, ``wss://``."""
    allowed_hosts: ClassVar[frozenset[str]]
    """Hosts that a command's ``connection.url`` may name, besides those of the settings."""
    limits: ClassVar[ConnectionLimits]
    confirm_within_s: ClassVar[float | None] = None
    """Where the exchange answers an unknown symbol with silence: how long a subscription may stay without
    its first frame before it counts as refused. None: the exchange says so itself, or never refuses."""

    @abstractmethod
    def parse_symbol(self, text: str) -> Symbol:
        """Read the canonical or the exchange's own spelling, in any case; ``ValueError`` for neither."""

    @abstractmethod
    def spell_symbol(self, symbol: Symbol) -> str:
        """The exchange's own spelling, as its frames carry it."""

    @abstractmethod
    def dialect(self, request_type: RequestType, session_id: int) -> Dialect:
        """The protocol object for one new session."""
