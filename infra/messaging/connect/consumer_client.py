"""The consumer of ``ws.command``: each command becomes desired state, or one error and one dead letter."""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import structlog
from confluent_kafka import Consumer, Message

from application.commands import (
    CommandRules,
    Connect,
    ControlMessage,
    Disconnect,
    Refusal,
    facts_of,
    judge,
    next_positions,
    refuse,
)
from application.ports import AtomicWriter, Event, EventProducer, Position
from core.backoff import full_jitter
from core.errors import DeliveryError, GatewayError, OrchestratorError
from core.exchanges.table import PROFILES
from core.streams import Fact, StreamContextDomain
from infra.clock import SystemClock
from infra.messaging.connect.consumer_thread import ConsumerThread
from infra.messaging.connect.control_writers import commit_positions, send_event
from infra.messaging.connect.producer_client import ErrorEventProducer
from infra.messaging.connect.services.command_validator import CommandValidator, peek
from infra.settings import Settings, load_settings

_log = structlog.get_logger("commands")


class Orchestrator(Protocol):
    """What a connect command needs of the orchestrator; for disconnect commands it has ``disconnect`` too,
    called as ``disconnect(scope, symbols, correlation_id=…, reason=…)``."""

    async def connect_from_context(self, context: StreamContextDomain) -> None:
        """Write the desired state; return once it is acknowledged."""
        ...


def default_rules(settings: Settings) -> CommandRules:
    """The rules that the settings ask for, over the exchanges of the table."""
    gateway = settings.gateway
    hosts = tuple(gateway.url_allow_list)
    return CommandRules(
        validator=CommandValidator(max_bytes=gateway.command_max_bytes),
        profiles=PROFILES,
        allowed_hosts=lambda _exchange: hosts,
        peek=peek,
        epoch_us=SystemClock().epoch_us,
    )


class KafkaConsumerClient:
    """Reads control topics in a consumer group and applies what they say, a batch at a time.

    With a ``writer`` whatever follows from a batch (facts, errors, dead letters, positions) is written at
    once; without one each command goes through ``orchestrator``, refusals through ``error_producer``, and the
    positions are committed after that. ``run`` returns after ``stop``.
    """

    group: ClassVar[str] = "gateway-command"
    disconnects: ClassVar[bool] = False

    def __init__(
        self,
        *,
        topic: Sequence[str],
        orchestrator: Orchestrator,
        settings: Settings | None = None,
        rules: CommandRules | None = None,
        writer: Callable[[Callable[[], Consumer | None]], AtomicWriter] | None = None,
        error_producer: EventProducer | None = None,
        backoff: Callable[[], Iterator[float]] | None = None,
    ) -> None:
        """``topic`` are names without prefix; ``writer`` makes the writer for this client's consumer."""
        self._topics = list(topic)
        self._orchestrator = orchestrator
        self._settings = settings
        self._rules = rules
        self._make_writer = writer
        self._errors = error_producer
        self._own_errors: ErrorEventProducer | None = None
        self._backoff = backoff or (lambda: full_jitter(random.uniform, first_s=0.2, max_s=5.0))
        self._waits: Iterator[float] | None = None
        self._thread: ConsumerThread | None = None
        self._writer: AtomicWriter | None = None
        self._prefix = ""
        self._stopping = False
        self._applied: set[tuple[str, int, int]] = set()
        """Messages of a batch to be read again that were done before it failed."""

    async def run(self) -> None:
        """Consume until ``stop``; raises what makes consuming impossible."""
        settings = self._settings or load_settings()
        self._prefix = settings.gateway.prefix
        self._rules = self._rules or default_rules(settings)
        if self._make_writer is not None:
            self._writer = self._make_writer(lambda: self._thread.consumer if self._thread else None)
        elif self._errors is None:
            self._errors = self._own_errors = ErrorEventProducer(settings=settings)
            await self._own_errors.start_producer()
        self._thread = ConsumerThread(
            self._config(settings),
            [self._prefix + topic for topic in self._topics],
            self._handle,
            name=self.group,
        )
        try:
            if not self._stopping:
                self._thread.start()
                await self._thread.ended()
        finally:
            await self._thread.stop()
            if self._own_errors is not None:
                await self._own_errors.stop_producer()

    async def stop(self) -> None:
        """Finish the batch at hand and leave the group; also where ``run`` has not come that far yet."""
        self._stopping = True
        if self._thread is not None:
            await self._thread.stop()

    def _config(self, settings: Settings) -> Mapping[str, Any]:
        config: dict[str, Any] = {
            **settings.kafka.client_config(),
            "group.id": settings.gateway.topic(self.group),
            "group.protocol": settings.kafka.group_protocol,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
            "topic.metadata.refresh.interval.ms": 5_000,
        }
        if settings.kafka.group_protocol == "classic":
            config["session.timeout.ms"] = settings.kafka.session_timeout_ms
            config["partition.assignment.strategy"] = "cooperative-sticky"
        return config

    async def _handle(self, batch: Sequence[Message]) -> None:
        messages = [
            ControlMessage(
                message.topic() or "",
                message.partition() or 0,
                message.offset() or 0,
                _bytes(message.key()),
                _bytes(message.value()),
            )
            for message in batch
            if message.error() is None
        ]
        if not messages:
            return
        try:
            if self._writer is not None:
                await self._write(self._writer, messages)
            else:
                await self._apply_one_by_one(messages)
        except DeliveryError:
            self._waits = self._waits or self._backoff()
            await asyncio.sleep(next(self._waits))
            raise
        self._waits = None

    async def _write(self, writer: AtomicWriter, messages: Sequence[ControlMessage]) -> None:
        facts: list[Fact] = []
        events: list[Event] = []
        for message in messages:
            verdict = self._judge(message)
            if isinstance(verdict, Refusal):
                events.extend(verdict.events)
            else:
                facts.extend(facts_of(verdict, self._now_ms()))
        await writer.write(facts, events, next_positions(messages))

    async def _apply_one_by_one(self, messages: Sequence[ControlMessage]) -> None:
        for message in messages:
            place = (message.topic, message.partition, message.offset)
            if place not in self._applied:
                await self._apply(message)
                self._applied.add(place)
            position = Position(message.topic, message.partition, message.offset + 1)
            consumer = self._thread.consumer if self._thread else None
            if consumer is not None:
                await asyncio.to_thread(commit_positions, consumer, [position])
        self._applied.clear()

    async def _apply(self, message: ControlMessage) -> None:
        verdict = self._judge(message)
        if not isinstance(verdict, Refusal):
            try:
                await self._ask_orchestrator(verdict)
            except DeliveryError as exc:
                if exc.retriable:
                    raise
                verdict = self._refuse(message, exc)
            except Exception as exc:  # noqa: BLE001 - another's orchestrator may raise anything
                _log.error("orchestrator failed", offset=message.offset, reason=f"{type(exc).__name__}: {exc}")
                verdict = self._refuse(message, exc)
        if isinstance(verdict, Refusal):
            assert self._errors is not None, "run() provides one"
            for event in verdict.events:
                await send_event(self._errors, event, self._prefix)

    async def _ask_orchestrator(self, verdict: Connect | Disconnect) -> None:
        match verdict:
            case Connect(context):
                await self._orchestrator.connect_from_context(context)
            case Disconnect(scope, symbols, ending):
                disconnect = getattr(self._orchestrator, "disconnect", None)
                if disconnect is None:
                    raise OrchestratorError("the orchestrator at hand cannot disconnect")
                await disconnect(scope, symbols, correlation_id=ending.correlation_id, reason=ending.reason)

    def _refuse(self, message: ControlMessage, error: Exception) -> Refusal:
        assert self._rules is not None, "run() provides them"
        if not isinstance(error, GatewayError):
            error = OrchestratorError(f"{type(error).__name__}: {error}")
        return refuse(message, error, self._rules)

    def _judge(self, message: ControlMessage) -> Connect | Disconnect | Refusal:
        assert self._rules is not None, "run() provides them"
        return judge(message, self._rules, disconnects=self.disconnects)

    def _now_ms(self) -> int:
        assert self._rules is not None, "run() provides them"
        return self._rules.epoch_us() // 1000


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
