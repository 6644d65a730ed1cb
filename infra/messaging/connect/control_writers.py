"""The ``AtomicWriter`` port on Kafka: one transaction on a real broker, one after the other on the embedded."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from application.ports import Event, EventProducer, Position
from application.reporting import DLQ_TOPIC
from core.errors import DeliveryError, ErrorCode
from core.events import with_payload_cut
from core.partitioning import partition_of
from core.streams import Fact, fact_to_message, scope_of_key
from infra.messaging.client_settings import kafka_settings_checked
from infra.messaging.clients.event_client import event_headers
from infra.messaging.connect.consumer_thread import QuietLog

STREAMS_TOPIC = "ws.streams"
_TXN_TIMEOUT_S = 60.0
_TXN_SLICE_S = 2.0
_PAYLOAD_LIMITS = (1_000_000, 100_000, 10_000, 0)
"""Bytes of a dead letter's payload: the next, smaller one is used once a topic has refused its size."""

_log = structlog.get_logger("control_writer")


class RawSender(Protocol):
    """Sends bytes and waits for the broker's report; raises ``DeliveryError``."""

    async def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | str | None = None,
        *,
        headers: Mapping[str, str | bytes] | None = None,
        partition: int = -1,
    ) -> Any:
        """The report's message."""
        ...


class PlainWriter:
    """Writes facts, then events, then the consumer's positions; each step acknowledged before the next.

    ``producers`` are the event producers by topic without prefix; ``partitions()`` tells how many partitions
    ``ws.streams`` has.
    """

    def __init__(
        self,
        facts: RawSender,
        producers: Mapping[str, EventProducer],
        partitions: Callable[[], int],
        *,
        prefix: str = "",
        consumer: Callable[[], Consumer | None] = lambda: None,
    ) -> None:
        self._facts = facts
        self._producers = producers
        self._partitions = partitions
        self._prefix = prefix
        self._consumer = consumer

    async def write(
        self, facts: Sequence[Fact], events: Sequence[Event], consumed: Sequence[Position] = ()
    ) -> None:
        """Write all of it; raises ``DeliveryError`` where Kafka took a part or nothing."""
        partitions = self._partitions()
        sends = []
        for fact in facts:
            key, value, headers = fact_to_message(fact)
            partition = partition_of(scope_of_key(key).key, partitions)
            sends.append(
                self._facts.send(self._prefix + STREAMS_TOPIC, value, key, headers=headers, partition=partition)
            )
        await asyncio.gather(*sends)
        await asyncio.gather(*(send_event(self._producers[e.topic], e, self._prefix) for e in events))
        consumer = self._consumer()
        if consumed and consumer is not None:
            await asyncio.to_thread(commit_positions, consumer, consumed)


class TransactionalWriter:
    """Writes facts, events and the consumer's positions as one transaction.

    Events of a topic in ``outside`` do not go into the transaction but, before it, through that producer:
    so a double in a user's test sees them.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        transactional_id: str,
        partitions: Callable[[], int],
        *,
        prefix: str = "",
        consumer: Callable[[], Consumer | None] = lambda: None,
        outside: Mapping[str, EventProducer] | None = None,
    ) -> None:
        self._config = {**config, "transactional.id": transactional_id}
        self._partitions = partitions
        self._prefix = prefix
        self._consumer = consumer
        self._outside = outside or {}
        self._producer: Producer | None = None
        self._closing = threading.Event()
        self._lock = asyncio.Lock()
        self._payload_limits = list(_PAYLOAD_LIMITS)

    async def write(
        self, facts: Sequence[Fact], events: Sequence[Event], consumed: Sequence[Position] = ()
    ) -> None:
        """All or nothing; raises ``DeliveryError`` when it was nothing."""
        inside = []
        for event in events:
            double = self._outside.get(event.topic)
            if double is None:
                inside.append(event)
            else:
                await send_event(double, event, self._prefix)
        async with self._lock:
            while True:
                cut = [_cut(event, self._payload_limits[0]) for event in inside]
                try:
                    return await asyncio.to_thread(self._transaction, facts, cut, consumed)
                except DeliveryError as exc:
                    if exc.code is not ErrorCode.TOO_LARGE or len(self._payload_limits) == 1:
                        raise
                    del self._payload_limits[0]
                    _log.warning("dead letters are cut to fit", max_payload_bytes=self._payload_limits[0])

    async def close(self) -> None:
        """Wait for no broker any more, and close the client once the transaction at hand is over."""
        self._closing.set()
        async with self._lock:
            self._producer = None

    def _transaction(
        self, facts: Sequence[Fact], events: Sequence[Event], consumed: Sequence[Position]
    ) -> None:
        producer = self._ready()
        too_large = False

        def report(error: KafkaError | None, _message: object) -> None:
            nonlocal too_large
            too_large |= error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE

        try:
            producer.begin_transaction()
            self._produce(producer, facts, events, report)
            consumer = self._consumer()
            if consumed and consumer is not None:
                positions = [TopicPartition(p.topic, p.partition, p.offset) for p in consumed]
                group = consumer.consumer_group_metadata()
                self._patiently(lambda s: producer.send_offsets_to_transaction(positions, group, s))
            self._patiently(producer.commit_transaction)
        except (KafkaException, BufferError) as exc:
            self._abort(producer)
            code = None
            if too_large or _is_too_large(exc):
                code = ErrorCode.TOO_LARGE
                self._producer = None  # its sequence numbers are out of step with the broker's now
            raise DeliveryError(f"the transaction was aborted: {_reason(exc)}", code=code) from exc

    def _produce(
        self,
        producer: Producer,
        facts: Sequence[Fact],
        events: Sequence[Event],
        report: Callable[[KafkaError | None, object], None],
    ) -> None:
        partitions = self._partitions()
        for fact in facts:
            key, value, headers = fact_to_message(fact)
            producer.produce(
                self._prefix + STREAMS_TOPIC,
                value,
                key,
                partition_of(scope_of_key(key).key, partitions),
                headers=dict(headers),
                on_delivery=report,
            )
        for event in events:
            producer.produce(
                self._prefix + event.topic,
                orjson.dumps(event.value),
                event.key,
                headers=dict(event_headers(event.value)),
                on_delivery=report,
            )

    def _ready(self) -> Producer:
        if self._producer is None:
            with kafka_settings_checked():
                producer = Producer(self._config, logger=QuietLog("transactions"))
            try:
                self._patiently(producer.init_transactions)
            except KafkaException as exc:
                raise DeliveryError(f"no transaction can begin: {_reason(exc)}") from exc
            self._producer = producer
        return self._producer

    def _abort(self, producer: Producer) -> None:
        """Abort; a producer that cannot even do that is given up, and its successor fences it."""
        try:
            self._patiently(producer.abort_transaction)
        except KafkaException as exc:
            _log.warning("transactional producer given up", reason=_reason(exc))
            self._producer = None

    def _patiently(self, call: Callable[[float], None]) -> None:
        """``call(timeout_s)`` again as long as its failure may pass: librdkafka then goes on where it was.

        So a commit whose answer is late ends in the answer, and not in a doubt.
        """
        deadline_s = time.monotonic() + _TXN_TIMEOUT_S
        while True:
            try:
                return call(_TXN_SLICE_S)
            except KafkaException as exc:
                again = exc.args[0].retriable() and not self._closing.is_set()
                if not again or time.monotonic() > deadline_s:
                    raise


async def send_event(producer: EventProducer, event: Event, prefix: str) -> None:
    """Send one event and wait; raises ``DeliveryError`` whatever kept it from being delivered."""
    topic = prefix + event.topic
    try:
        delivered = await producer.send_and_wait(topic, event.value, event.key)
    except DeliveryError:
        raise
    except Exception as exc:
        raise DeliveryError(f"{topic}: {type(exc).__name__}: {exc}") from exc
    if not delivered:
        raise DeliveryError(f"{topic}: not delivered")


def commit_positions(consumer: Consumer, consumed: Sequence[Position]) -> None:
    """Commit and wait for the broker; raises ``DeliveryError``."""
    offsets = [TopicPartition(p.topic, p.partition, p.offset) for p in consumed]
    try:
        consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException as exc:
        raise DeliveryError(f"the position was not committed: {_reason(exc)}") from exc


def _cut(event: Event, max_payload_bytes: int) -> Event:
    if event.topic != DLQ_TOPIC:
        return event
    return Event(event.topic, event.key, with_payload_cut(event.value, max_payload_bytes))


def _is_too_large(exc: BaseException) -> bool:
    error = exc.args[0] if exc.args else None
    return isinstance(error, KafkaError) and error.code() == KafkaError.MSG_SIZE_TOO_LARGE


def _reason(exc: BaseException) -> str:
    error = exc.args[0] if exc.args else exc
    return error.str() if isinstance(error, KafkaError) else str(error)
