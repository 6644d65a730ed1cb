"""The parts every simulated exchange is made of.

A *venue* stands for one exchange: its markets, and how an update of a market is spelled. A *conversation* is
one connection's protocol without I/O: messages in, replies out, and the feeds it is subscribed to. A new
exchange is one file with a subclass of each, and a line in ``venues.py``. Nothing here knows the gateway's
own dialects: both sides are written from the exchanges' documentation, so each checks the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from http import HTTPStatus
from typing import ClassVar, NamedTuple

import msgspec

from core.identity import Exchange, Symbol
from infra.simulator.market import PairMarket, PriceGrid, start_price


class Feed(NamedTuple):
    """What can be subscribed to: a channel of one pair, in the exchange's own spelling."""

    channel: str
    exchange_symbol: str


class FrameIdentity(msgspec.Struct, frozen=True):
    """By what a data frame can be recognised downstream.

    ``exchange_ts_ms`` is the exchange's time that a parser would put into the record (None where the frame has
    none); within (request_type, symbol) it grows strictly from update to update. ``n`` counts the updates of
    (request_type, symbol) from 1; a snapshot carries the number of the update that it repeats.
    """

    request_type: str
    symbol: str
    exchange_symbol: str
    exchange_ts_ms: int | None
    n: int


class Frame(NamedTuple):
    """One frame of an update, and the updates that it tells of, in their order: each is one record downstream,
    unless it is a trade that the same connection was told of before."""

    payload: bytes
    told: tuple[FrameIdentity, ...]


Render = Callable[[Hashable, bool], bytes]
"""(form, whether it is sent as a snapshot) to the frame's payload."""
RenderFrames = Callable[[Hashable, bool], tuple[Frame, ...]]
"""The same to several frames, in the order in which they go out."""


class Update:
    """One update of one feed; each form of it is rendered once, however many connections get it."""

    __slots__ = ("_render", "_rendered", "feed", "identity")

    def __init__(self, feed: Feed, identity: FrameIdentity, render: Render) -> None:
        self.feed = feed
        self.identity = identity
        self._render = render
        self._rendered: dict[tuple[Hashable, bool], bytes] = {}

    def payload(self, form: Hashable, snapshot: bool = False) -> bytes:
        """The frame's payload in the form a connection asked for."""
        key = (form, snapshot)
        payload = self._rendered.get(key)
        if payload is None:
            payload = self._rendered[key] = self._render(form, snapshot)
        return payload

    def frames(self, form: Hashable, snapshot: bool = False) -> tuple[Frame, ...]:
        """What goes out for the update: one frame that tells of it."""
        return (Frame(self.payload(form, snapshot), (self.identity,)),)


class ManyFrames(Update):
    """An update of several frames, or one whose snapshot tells of several updates.

    All frames of one update carry its time, so a reader's records are matched with them by their order.
    """

    __slots__ = ("_frames", "_render_frames")

    def __init__(self, feed: Feed, identity: FrameIdentity, render: RenderFrames) -> None:
        super().__init__(feed, identity, lambda form, snapshot: self.frames(form, snapshot)[0].payload)
        self._render_frames = render
        self._frames: dict[tuple[Hashable, bool], tuple[Frame, ...]] = {}

    def frames(self, form: Hashable, snapshot: bool = False) -> tuple[Frame, ...]:
        """All of them, in the form a connection asked for."""
        key = (form, snapshot)
        frames = self._frames.get(key)
        if frames is None:
            frames = self._frames[key] = self._render_frames(form, snapshot)
        return frames


class Answer(msgspec.Struct, frozen=True):
    """A frame that is no market data: an acknowledgement, a heartbeat, an error; bytes go as a binary one."""

    text: str | bytes


class Snapshot(msgspec.Struct, frozen=True):
    """The present state of a feed, once."""

    feed: Feed
    form: Hashable


class Beat(msgspec.Struct, frozen=True):
    """A frame of a feed that tells of no update, and keeps its place among those that do: a heartbeat."""

    feed: Feed
    payload: bytes


class Close(msgspec.Struct, frozen=True):
    """The exchange ends the connection."""

    code: int
    reason: str


Reply = Answer | Snapshot | Beat | Close


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What an exchange enforces on a connection; None or 0: nothing.

    ``idle_timeout_s``: closed when nothing went either way for so long. ``ping_interval_s``,
    ``ping_timeout_s``: WebSocket pings by the exchange, and how long it waits for the pong.
    ``max_messages`` per ``message_window_s``: incoming messages, control frames included where
    ``count_control_frames``. ``max_lifetime_s``: closed at that age. ``max_connects`` per
    ``connect_window_s``: opening handshakes beyond it are answered with HTTP 429.
    """

    idle_timeout_s: float | None = None
    ping_interval_s: float | None = None
    ping_timeout_s: float | None = None
    max_messages: tuple[tuple[int, float], ...] = ()
    count_control_frames: bool = False
    max_lifetime_s: float | None = None
    max_connects: tuple[int, float] | None = None


class Conversation(ABC):
    """One connection's side of the protocol, without I/O.

    ``feeds``: what it is subscribed to, with the form in which it wants it. ``subscribed`` turns true with the
    first accepted subscription, also one to nothing that exists.
    """

    def __init__(self) -> None:
        self.feeds: dict[Feed, Hashable] = {}
        self.subscribed = False

    @abstractmethod
    def receive(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        """Take one message of the client; whatever it holds, nothing is raised."""

    def tick(self, now_s: float) -> Sequence[Reply]:
        """Called several times a second: what the exchange says of its own accord."""
        return ()

    def wrap(self, feed: Feed, payload: bytes, time_ms: int | None) -> bytes:
        """A frame of a feed as this connection gets it: called once for each, in the order they go out.

        For exchanges whose frames carry what is the connection's own, as a running number. ``time_ms`` is the
        exchange's time of what the frame tells.
        """
        return payload

    def maintenance(self, begins: bool) -> Answer | None:
        """What the exchange says when maintenance begins, or ends; None: nothing."""
        return None

    def farewell(self, now_ms: int) -> Answer | None:
        """What the exchange says before it goes down; None: nothing."""
        return None


class Venue(ABC):
    """One simulated exchange: its markets, their updates, and its protocol."""

    exchange: ClassVar[Exchange]
    path: ClassVar[str]
    """Path of the WebSocket endpoint, as put into the simulator's URL."""
    binary: ClassVar[bool]
    """Whether market data comes in binary frames."""
    limits: ClassVar[Limits]
    default_symbols: ClassVar[tuple[str, ...]]

    def __init__(self, symbols: Sequence[str] | None, seed: int) -> None:
        self.operative = True
        """Whether it is not in maintenance."""
        self.markets: dict[str, PairMarket] = {}
        for canonical in symbols or self.default_symbols:
            symbol = Symbol.parse(canonical)
            price = start_price(symbol, seed)
            market = PairMarket(symbol, price, self.price_grid(symbol, price), seed)
            self.markets[self.spell(symbol)] = market
        self._latest: dict[Feed, Update] = {}
        self._clocks: dict[tuple[str, str], tuple[int, int]] = {}

    @abstractmethod
    def spell(self, symbol: Symbol) -> str:
        """The exchange's own spelling of a pair."""

    @abstractmethod
    def price_grid(self, symbol: Symbol, price: float) -> PriceGrid:
        """How prices of a pair are quoted at that level."""

    @abstractmethod
    def converse(self, path: str) -> Conversation | None:
        """A new connection's protocol for the request path with its query; None: there is no such path
        (404)."""

    def rest(self, path: str) -> tuple[HTTPStatus, str] | None:
        """Answer a plain HTTP GET for the request path with its query: status and JSON; None: no such path."""
        return None

    @abstractmethod
    def advance(self, feed: Feed, now_ms: int) -> Update:
        """Move the feed's market one step on; the result is remembered as the latest."""

    @abstractmethod
    def identify(self, payload: bytes) -> FrameIdentity | None:
        """Recognise a recorded data frame (``n`` is 0); None for any other frame."""

    @abstractmethod
    def unknown_type(self) -> bytes:
        """A well-formed frame of a kind that the exchange's documentation does not know."""

    def latest(self, feed: Feed, now_ms: int) -> Update:
        """The feed's last update; the first one is made when there is none yet."""
        update = self._latest.get(feed)
        return self.advance(feed, now_ms) if update is None else update

    @abstractmethod
    def default_form(self) -> Hashable:
        """The form of a frame for a connection that has not asked for one."""

    def sample(self, feed: Feed | None, form: Hashable, now_ms: int) -> bytes:
        """Some good frame, to be spoilt: the feed's latest one, or else a ticker of the first pair."""
        if feed is None:
            feed, form = Feed("ticker", next(iter(self.markets))), self.default_form()
        return self.latest(feed, now_ms).payload(form)

    def remember(self, update: Update) -> Update:
        """Keep an update as its feed's latest."""
        self._latest[update.feed] = update
        return update

    def stamp(self, request_type: str, exchange_symbol: str, now_ms: int) -> tuple[int, int]:
        """The next (exchange_ts_ms, n) of a request type and pair: never the same millisecond twice.

        Above 1,000 updates a second of one pair the exchange's clock therefore runs ahead of the real one.
        """
        last_ms, n = self._clocks.get((request_type, exchange_symbol), (0, 0))
        stamped = (max(now_ms, last_ms + 1), n + 1)
        self._clocks[request_type, exchange_symbol] = stamped
        return stamped
