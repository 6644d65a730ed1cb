"""What the application needs of the world: small protocols, implemented by the adapters in ``infra``.

A decorator of a port is the port again: the circuit breaker is a producer around a producer.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from core.identity import ConnectionScopeDomain
from core.records import Record
from core.streams import Fact, WebsocketConnectionSpecDomain

# -- Kafka, towards the broker -------------------------------------------------------------------------


class EventProducer(Protocol):
    """Sends one value and waits for the broker's answer."""

    async def send_and_wait(self, topic: str, value: Any, key: Any = None) -> bool:
        """True once the broker acknowledged; False when it was not delivered (logged and counted there).

        ``value`` is a JSON-like object or whatever the producer's format takes, ``key`` str or bytes.
        Raises only for a caller's mistake: a value that cannot be encoded, a producer not started.
        """
        ...


class RecordSink(Protocol):
    """The hot path to ``realtime.*``: no await, accounted for by delivery reports."""

    def publish(self, record: Record, on_delivery: Callable[[Any, Any], None] | None = None) -> None:
        """Encode and hand over one record.

        Raises ``core.errors.QueueFullError`` or ``CircuitOpenError`` when it was not taken: the caller keeps
        it and stops reading. ``on_delivery(error, message)`` is called once from the polling thread.
        """
        ...


class Event(msgspec.Struct, frozen=True):
    """One JSON-like event for a control topic; ``topic`` is the name without prefix."""

    topic: str
    key: str | None
    value: dict[str, Any]


class Position(msgspec.Struct, frozen=True):
    """The offset of the next message to read from a partition."""

    topic: str
    partition: int
    offset: int


class AtomicWriter(Protocol):
    """Writes what follows from a batch of commands, or of outcomes, all or nothing where the broker can.

    On a real broker facts, events and the consumer's positions are one transaction; on the embedded one they
    are written, acknowledged, committed in this order.
    """

    async def write(
        self,
        facts: Sequence[Fact],
        events: Sequence[Event],
        consumed: Sequence[Position] = (),
    ) -> None:
        """Return once all is acknowledged; raises ``DeliveryError`` (retriable or not) otherwise."""
        ...


# -- the exchange's side -------------------------------------------------------------------------------


class FrameHandler(Protocol):
    """What an open connection calls, from inside the transport's callback; must not block."""

    def on_frame(self, frame: str | bytes, received_us: int) -> None:
        """One WebSocket message, whole; ``received_us`` is epoch microseconds."""
        ...


class ConnectionEnd(msgspec.Struct, frozen=True):
    """How a WebSocket ended: the close code (RFC 6455; 1006 without a close frame), and words."""

    code: int
    reason: str


class Connection(Protocol):
    """One open WebSocket."""

    def send(self, message: str | bytes) -> None:
        """Queue one message; order is kept. A connection that is closing drops it."""
        ...

    def pause_reading(self) -> None:
        """Stop taking bytes from the socket, so that the other side feels it."""
        ...

    def resume_reading(self) -> None:
        """Go on."""
        ...

    async def closed(self) -> ConnectionEnd:
        """Wait for the end."""
        ...

    async def close(self) -> None:
        """Close in order, within the transport's time limit; safe to call twice."""
        ...


class Connector(Protocol):
    """Opens WebSockets."""

    async def connect(self, url: str, handler: FrameHandler, *, max_frame_bytes: int) -> Connection:
        """Open ``url``; raises ``core.errors.ConnectFailedError`` with a readable reason."""
        ...


class BookSnapshots(Protocol):
    """Order books by REST, for exchanges that give the first state of a book only there."""

    async def fetch(self, exchange: str, path: str) -> bytes:
        """The body of ``path`` (with its query) at the exchange's REST address, no faster than it allows.

        Also the body of an error that the exchange explains (400). Raises
        ``core.errors.ConnectFailedError`` when there is no answer of use.
        """
        ...


# -- shared, not vital ---------------------------------------------------------------------------------


class ConnectionSpecStore(Protocol):
    """Where the state of each stream can be looked up (Redis)."""

    async def set_connection_spec(
        self, scope: ConnectionScopeDomain, spec: WebsocketConnectionSpecDomain
    ) -> bool:
        """Write and renew the time to live; False when the store is away."""
        ...

    async def remove_connection_spec(self, scope: ConnectionScopeDomain) -> bool:
        """Forget the stream; False when the store is away."""
        ...


class ConnectBudgets(Protocol):
    """How often connections to an exchange may be opened from one address, whoever opens them."""

    async def reserve(self, exchange: str, max_connects: int, window_s: float) -> float:
        """Take one connect out of ``max_connects`` in ``window_s``; the seconds to wait before it is made.

        Kept by this process alone while the shared store is away.
        """
        ...

    async def hold_off(self, exchange: str, max_connects: int, window_s: float, seconds: float) -> None:
        """The exchange wants no connect for ``seconds``."""
        ...


class BreakerStateStore(Protocol):
    """Breaker states shared between instances; a hint, never by itself a reason to stop."""

    async def load(self, name: str) -> Mapping[str, str] | None:
        """The last state published under ``name``; None when there is none or the store is away."""
        ...

    async def save(self, name: str, state: Mapping[str, str], ttl_s: float) -> bool:
        """Publish a state; False when the store is away."""
        ...


# -- time ----------------------------------------------------------------------------------------------


class Clock(Protocol):
    """The two times and the wait, so that tests can give their own."""

    def monotonic_s(self) -> float:
        """Seconds that never go back."""
        ...

    def epoch_us(self) -> int:
        """Microseconds since the epoch."""
        ...

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait."""
        ...
