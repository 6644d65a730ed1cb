"""From a session's records to the producer: taken, held for a bounded time, or given up and counted."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from application.accounting import StreamAccounting
from application.ports import RecordSink
from core.errors import CircuitOpenError, DeliveryError, ErrorCode, GatewayError
from core.identity import ConnectionScopeDomain
from core.projection import Blanks, project
from core.records import Record


class Valve(Protocol):
    """Lets the owner of the connections stop and go on reading."""

    def pause_reading(self) -> None:
        """Stop."""
        ...

    def resume_reading(self) -> None:
        """Go on."""
        ...


class RecordPump:
    """One stream's way into the producer.

    While the producer takes no record (its queue is full, or its breaker open) reading stops and records wait
    here, in order. After ``hold_max_s`` that becomes shedding: reading goes on, so that the exchange does not
    cut us off, and each record is given up by its number until the producer takes records again and one was
    delivered: a breaker that lets a few through to try has not ended the outage. What is given up is counted
    by session and sequence; ``on_outage_end(shed)`` tells the sum once per outage.
    A record that no producer will ever take (it cannot be encoded, it is too large) is given up at once, alone,
    and told by ``on_rejected``.
    """

    def __init__(
        self,
        scope: ConnectionScopeDomain,
        sink: RecordSink,
        accounting: StreamAccounting,
        valve: Valve,
        *,
        hold_max_s: float,
        max_held: int = 20_000,
        on_outage: Callable[[GatewayError], None],
        on_outage_end: Callable[[int], None],
        on_rejected: Callable[[GatewayError], None],
    ) -> None:
        self._scope = scope
        self._publish: Callable[[Record, Callable[[Any, Any], None]], None] = sink.publish
        self._accounting = accounting
        self._on_delivery = accounting.delivered_one
        self._valve = valve
        self._hold_max_s = hold_max_s
        self._max_held = max_held
        self._on_outage = on_outage
        self._on_outage_end = on_outage_end
        self._on_rejected = on_rejected
        self._held: deque[Record] = deque()
        self._since_s: float | None = None
        self._shedding = False
        self._shed_in_outage = 0
        self._delivered_before = 0
        self.blanks: dict[str, Blanks] = {}
        """By symbol, what its projection leaves out."""

    @property
    def holding(self) -> bool:
        """Whether the producer takes no records: they wait here, or are given up."""
        return self._since_s is not None

    @property
    def reading_paused(self) -> bool:
        """Whether no connection of the stream should read: while records wait, not while they are given up."""
        return self._since_s is not None and not self._shedding

    def take(self, records: Sequence[Record]) -> None:
        """Hand over the records of one frame, in order."""
        if self.blanks:
            records = project(records, self.blanks)
        if self._since_s is None:
            publish, on_delivery = self._publish, self._on_delivery
            done = 0
            try:
                for record in records:
                    publish(record, on_delivery)
                    done += 1
            except GatewayError as exc:
                self._accounting.produced += done
                if _is_for_good(exc):
                    self._reject(records[done], exc)
                    self.take(records[done + 1 :])
                    return
                self._begin_outage(exc)
                self._hold(records[done:])
                return
            self._accounting.produced += done
        elif self._shedding:
            self._try_or_shed(records)
        else:
            self._hold(records)

    def on_time(self, now_s: float) -> None:
        """Try again, or begin to shed; called a few times a second while ``holding``."""
        if self._since_s is None or self._shedding:
            return
        if self._hand_over_held():
            self._end_outage()
            self._valve.resume_reading()
            return
        if self._since_s < 0:
            self._since_s = now_s
        if now_s - self._since_s >= self._hold_max_s:
            self._shed_held()
            self._shedding = True
            self._valve.resume_reading()

    def give_up(self) -> None:
        """Shed what is still held: the end of the stream, or the loss of the right to publish."""
        self._shed_held()
        if self._since_s is not None:
            self._end_outage()

    def _begin_outage(self, error: GatewayError) -> None:
        self._since_s = -1.0
        self._delivered_before = self._accounting.delivered
        self._valve.pause_reading()
        self._on_outage(error)

    def _end_outage(self) -> None:
        self._since_s = None
        self._shedding = False
        shed, self._shed_in_outage = self._shed_in_outage, 0
        self._on_outage_end(shed)

    def _hold(self, records: Sequence[Record]) -> None:
        self._held.extend(records)
        while len(self._held) > self._max_held:
            self._shed(self._held.popleft())

    def _hand_over_held(self) -> bool:
        """Publish what is held, in order; True when nothing is left."""
        held = self._held
        while held:
            try:
                self._publish(held[0], self._on_delivery)
            except GatewayError as exc:
                if not _is_for_good(exc):
                    return False
                self._reject(held.popleft(), exc)
            else:
                held.popleft()
                self._accounting.produced += 1
        return True

    def _try_or_shed(self, records: Sequence[Record]) -> None:
        """While shedding, the records themselves find out whether the producer takes some again."""
        taken = False
        for record in records:
            try:
                self._publish(record, self._on_delivery)
            except GatewayError as exc:
                if _is_for_good(exc):
                    self._reject(record, exc)
                    continue
                self._shed(record)
                taken = False
            else:
                self._accounting.produced += 1
                taken = True
        if taken and self._accounting.delivered > self._delivered_before:
            self._end_outage()

    def _shed_held(self) -> None:
        while self._held:
            self._shed(self._held.popleft())

    def _reject(self, record: Record, error: GatewayError) -> None:
        self._give_up(record)
        self._on_rejected(error)

    def _shed(self, record: Record) -> None:
        self._shed_in_outage += 1
        self._give_up(record)

    def _give_up(self, record: Record) -> None:
        self._accounting.shed += 1
        self._accounting.minutes.shed(record.session_id, record.symbol, record.sequence, record.received_ts_us)


def _is_for_good(error: GatewayError) -> bool:
    """Whether trying the same record again makes no sense; a producer that is stopped refuses all alike."""
    if isinstance(error, DeliveryError):
        return error.code is ErrorCode.TOO_LARGE
    return not error.retriable


def shed_error(scope: ConnectionScopeDomain, shed: int) -> CircuitOpenError:
    """The one report on what an outage cost."""
    return CircuitOpenError(
        f"{shed} records of {scope.key} were given up while Kafka took none; "
        "ws.metrics lists them by session and sequence under 'shed'"
    )
