"""A problem becomes one ``ws.error``, once; what cannot be sent now is kept, in order and within a bound."""

import asyncio
import uuid
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

import structlog

from application.ports import Clock, Event, EventProducer
from core.backoff import full_jitter
from core.errors import DeliveryError
from core.events import dlq_event, error_event, target_of
from core.identity import ConnectionScopeDomain

ERROR_TOPIC: Final = "ws.error"
DLQ_TOPIC: Final = "ws.dlq"

_log = structlog.get_logger("reporting")


class ErrorReporter:
    """Takes problems from anywhere in the process without waiting, and sends them one after the other.

    ``producers`` maps a topic (without prefix) to the producer that writes it. While Kafka is away up to
    ``max_waiting`` events are kept, of one stream ``max_waiting_of_one``: none takes all the room. What comes
    after is counted in ``dropped`` and logged.
    """

    def __init__(
        self,
        producers: Mapping[str, EventProducer],
        clock: Clock,
        *,
        prefix: str = "",
        max_waiting: int = 10_000,
        max_waiting_of_one: int = 1_000,
        uniform: Any = None,
    ) -> None:
        self._producers = producers
        self._clock = clock
        self._prefix = prefix
        self._max_waiting = max_waiting
        self._max_waiting_of_one = max_waiting_of_one
        self._waiting: deque[Event] = deque()
        self._waiting_of: Counter[str | None] = Counter()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._uniform = uniform or (lambda low, high: (low + high) / 2)
        self.reported = 0
        self.dropped = 0

    def report(
        self,
        error: BaseException,
        scope: ConnectionScopeDomain | None = None,
        *,
        correlation_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        ticket_id: str | None = None,
    ) -> None:
        """Queue one ``ws.error``; an error without a scope has no key."""
        event = error_event(
            error,
            ticket_id=ticket_id or uuid.uuid4(),
            now_us=self._clock.epoch_us(),
            target=target_of(scope) if scope else None,
            correlation_id=correlation_id,
            observed_key=scope.key if scope else None,
            raw_context=context,
        )
        body = event["error"]
        _log.warning(
            "problem reported",
            scope=scope.key if scope else None,
            code=body["error_code"],
            message=body["error_message"]["message"],
        )
        self.queue(Event(ERROR_TOPIC, scope.stream.key if scope else None, event))

    def dead_letter(self, reason: str, payload: bytes, scope: ConnectionScopeDomain, *, source: str) -> None:
        """Queue one ``ws.dlq`` for bytes that came from an exchange; ``source`` names the connection."""
        event = dlq_event(
            reason,
            payload,
            ticket_id=uuid.uuid4(),
            now_us=self._clock.epoch_us(),
            topic=source,
            partition=-1,
            offset=-1,
            target=target_of(scope),
        )
        self.queue(Event(DLQ_TOPIC, scope.key, event))

    def queue(self, event: Event) -> None:
        """Queue any event for one of the producers."""
        of_one = self._waiting_of[event.key]
        if len(self._waiting) >= self._max_waiting or of_one >= self._max_waiting_of_one:
            self.dropped += 1
            if self.dropped == 1 or self.dropped % 1000 == 0:
                _log.error("events dropped, too many wait for Kafka", dropped=self.dropped, key=event.key)
            return
        self._waiting.append(event)
        self._waiting_of[event.key] = of_one + 1
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Send what is queued, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._send(self._waiting[0])
                sent = self._waiting.popleft()
                self._waiting_of[sent.key] -= 1
                if not self._waiting_of[sent.key]:
                    del self._waiting_of[sent.key]
            self._idle.set()

    async def drained(self, timeout_s: float) -> bool:
        """Wait until nothing is queued; False when that takes longer."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def _send(self, event: Event) -> None:
        """Try until it is delivered: an error must not be lost because Kafka is away for a while."""
        producer = self._producers[event.topic]
        waits = full_jitter(self._uniform, first_s=0.5, max_s=10.0)
        while True:
            try:
                if await producer.send_and_wait(self._prefix + event.topic, event.value, event.key):
                    self.reported += 1
                    return
            except DeliveryError as exc:
                if not exc.retriable:
                    _log.error("event given up", topic=event.topic, reason=exc.message)
                    return
            except Exception as exc:  # noqa: BLE001 - a user's own producer may raise anything
                _log.error("event given up", topic=event.topic, reason=str(exc))
                return
            await self._clock.sleep(next(waits))
