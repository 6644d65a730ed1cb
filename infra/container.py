"""The composition: who is made of what. Nothing here runs before a provider is called.

Every provider is awaited (``producer = await container.messaging.error_producer()``) and can be overridden;
after that the same awaited call gives the double, and what is built afterwards works through it. What a
provider starts is stopped by ``await close_container(container)``.
"""

import random
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, cast

from confluent_kafka import Consumer
from dependency_injector import containers, providers

from application.backpressure import BACKPRESSURE_TOPIC, BackpressureWatch
from application.orchestrator import StreamOrchestrator
from application.outcomes import OutcomeWriter
from application.ports import (
    AtomicWriter,
    BookSnapshots,
    Clock,
    ConnectBudgets,
    ConnectionSpecStore,
    Connector,
    EventProducer,
    RecordSink,
)
from application.reporting import DLQ_TOPIC, ERROR_TOPIC, ErrorReporter
from application.stream import StreamParts
from application.upkeep import Upkeep
from core.backoff import full_jitter
from core.exchanges.base import BookSettings, ExchangeProfile
from core.exchanges.table import PROFILES
from core.identity import RequestType
from core.liveness import LivenessSettings
from core.session_id import SessionIds
from infra.cache.cache_client import RedisConnectionManager
from infra.cache.cache_store import BreakerStateCache, WebsocketConnectionCache
from infra.cache.connect_budgets import SharedConnectBudgets
from infra.clock import SystemClock
from infra.lifecycle import Lifecycle
from infra.messaging.avro.prepared_codec import PreparedCodec
from infra.messaging.avro.registry_watch import RegistryWatch
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroSerializer
from infra.messaging.clients.cb.base import CircuitBreakerProducer
from infra.messaging.clients.cb.config import CircuitBreakerConfig
from infra.messaging.clients.event_client import EventProducerWrapper
from infra.messaging.clients.kafka_producer import KafkaProducer
from infra.messaging.clients.producer_profiles import control_producer_config, data_producer_config
from infra.messaging.connect.awaited_sink import AwaitedSink
from infra.messaging.connect.consumer_client import KafkaConsumerClient, default_rules
from infra.messaging.connect.control_writers import PlainWriter, TransactionalWriter
from infra.messaging.connect.disconnection_consumer import DisconnectionConsumerClient
from infra.messaging.connect.producer_client import (
    ErrorEventProducer,
    MetricsProducer,
    RealtimeDataProducer,
)
from infra.messaging.streams.desired_state_consumer import DesiredStateConsumer
from infra.messaging.topics import EmbeddedTopicAdmin, TopicAdmin, Topics
from infra.rest.book_snapshots import RestAddress, RestBookSnapshots
from infra.settings import Settings, default_instance_id, load_settings
from infra.websocket.connector import WebsocketsConnector


class _ControlProducer(CircuitBreakerProducer):
    """The container's own. Whatever else stands in its place is called by ``send_and_wait`` alone."""


class _ErrorProducer(ErrorEventProducer):
    """The container's own, over whatever the control producer is."""


class AsyncSingleton(providers.Singleton[Any]):
    """One object a container, made by a function that may be async, and always awaited."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.enable_async_mode()


# -- makers --------------------------------------------------------------------------------------------


def _backoff(settings: Settings) -> Callable[[], Iterator[float]]:
    return lambda: full_jitter(random.uniform, first_s=0.5, max_s=settings.gateway.reconnect_max_s)


def _instance(settings: Settings) -> str:
    return settings.gateway.instance_id or default_instance_id()


async def _control_producer(
    settings: Settings, lifecycle: Lifecycle, breakers: BreakerStateCache, instance: str
) -> CircuitBreakerProducer:
    wrapper = EventProducerWrapper(settings=settings, profile=control_producer_config, name="control")
    producer = _ControlProducer(
        wrapper,
        name="control",
        config=CircuitBreakerConfig.from_settings(settings.breaker),
        store=breakers,
        instance=instance,
    )
    await producer.start()
    lifecycle.add("control producer", producer.stop)
    return producer


async def _data_producer(
    settings: Settings, lifecycle: Lifecycle, breakers: BreakerStateCache, instance: str
) -> CircuitBreakerProducer:
    core = KafkaProducer(lambda: data_producer_config(settings.kafka), name="data")
    producer = CircuitBreakerProducer(
        core,
        name="data",
        config=CircuitBreakerConfig.from_settings(settings.breaker),
        store=breakers,
        instance=instance,
    )
    await producer.start()
    lifecycle.add("data producer", producer.stop)
    return producer


async def _facts_producer(settings: Settings, lifecycle: Lifecycle) -> KafkaProducer:
    """The embedded broker's way to ``ws.streams``; on a real one the transactions write there."""
    producer = KafkaProducer(lambda: control_producer_config(settings.kafka), name="desired-state")
    await producer.start()
    lifecycle.add("desired-state producer", producer.stop)
    return producer


async def _error_producer(settings: Settings, control: EventProducer) -> ErrorEventProducer:
    producer = _ErrorProducer(settings=settings, wrapper=control)
    await producer.start_producer()
    return producer


async def _metrics_producer(
    settings: Settings, control: EventProducer, serializer: AvroSerializer
) -> MetricsProducer:
    producer = MetricsProducer(settings=settings, wrapper=_Serializing(control, serializer))
    await producer.start_producer()
    return producer


async def _realtime_producer(
    settings: Settings, lifecycle: Lifecycle, codec: PreparedCodec, data: Any
) -> RealtimeDataProducer | AwaitedSink:
    if not hasattr(data, "produce"):
        return _awaited_sink(settings, lifecycle, data, encode=codec.encode)
    producer = RealtimeDataProducer(codec=codec, producer=data, settings=settings)
    await producer.start_producer()
    lifecycle.add("realtime producer", producer.stop_producer)
    return producer


def _record_sink(settings: Settings, lifecycle: Lifecycle, realtime: Any) -> RecordSink:
    """The realtime producer itself, or a way to one that has only ``send_and_wait``."""
    return (
        cast(RecordSink, realtime)
        if hasattr(realtime, "publish")
        else _awaited_sink(settings, lifecycle, realtime)
    )


def _awaited_sink(settings: Settings, lifecycle: Lifecycle, producer: Any, **how: Any) -> AwaitedSink:
    sink = AwaitedSink(producer, settings.gateway.topic, **how)
    lifecycle.add("awaited sink", sink.stop)
    return sink


class _Serializing:
    """Avro over a producer that takes bytes as they are."""

    def __init__(self, producer: EventProducer, serializer: AvroSerializer) -> None:
        self._producer = producer
        self._serializer = serializer

    async def send_and_wait(self, topic: str, value: Any, key: Any = None) -> bool:
        """Encode, then send."""
        return await self._producer.send_and_wait(topic, await self._serializer.serialize_async(value), key)


async def _redis(settings: Settings, lifecycle: Lifecycle) -> RedisConnectionManager:
    manager = RedisConnectionManager.get_instance()
    await manager.initialize(settings)
    lifecycle.add("redis", manager.close)
    return manager


def _registry(settings: Settings, lifecycle: Lifecycle) -> SchemaRegistryClient:
    client = SchemaRegistryClient(settings.registry)
    lifecycle.add("registry client", client.close)
    return client


def _topics(settings: Settings, *, embedded: bool) -> Topics:
    return EmbeddedTopicAdmin(settings) if embedded else TopicAdmin(settings)


def _event_producers(control: EventProducer, error: EventProducer) -> Mapping[str, EventProducer]:
    """Who writes which event topic; ``ws.error`` through the error producer, which tests override."""
    return {
        ERROR_TOPIC: error,
        DLQ_TOPIC: control,
        "ws.connect_success": control,
        "ws.disconnect_success": control,
        BACKPRESSURE_TOPIC: control,
    }


def _doubles(producers: Mapping[str, EventProducer]) -> dict[str, EventProducer]:
    """Those that are not the container's own: a transaction would pass them by."""
    doubles = {t: p for t, p in producers.items() if not isinstance(p, _ControlProducer | _ErrorProducer)}
    error = producers[ERROR_TOPIC]
    if isinstance(error, _ErrorProducer) and DLQ_TOPIC in doubles:
        doubles[ERROR_TOPIC] = error  # over a control producer that is a double
    return doubles


async def _writer_for(
    settings: Settings,
    lifecycle: Lifecycle,
    topics: Topics,
    producers: Mapping[str, EventProducer],
    facts_producer: Callable[[], Awaitable[KafkaProducer]],
    instance: str,
    *,
    embedded: bool,
) -> Callable[..., AtomicWriter]:
    """Makes a writer by role, with the consumer whose positions it commits."""
    prefix = settings.gateway.prefix
    if embedded:
        facts = await facts_producer()

        def plain(_role: str, consumer: Callable[[], Consumer | None] = lambda: None) -> AtomicWriter:
            return PlainWriter(
                facts, producers, lambda: topics.streams_partitions, prefix=prefix, consumer=consumer
            )

        return plain

    outside = _doubles(producers)
    # Two processes of one configured name must not fence each other; a zombie's commands are fenced by the
    # consumer group's metadata in its transactions (KIP-447), not by this id. Its outcomes are not:
    # docs/decisions/outcomes-as-facts.md.
    process = f"{instance}-{secrets.token_hex(4)}"

    def transactional(role: str, consumer: Callable[[], Consumer | None] = lambda: None) -> AtomicWriter:
        writer = TransactionalWriter(
            {
                **settings.kafka.client_config(),
                "transaction.timeout.ms": settings.kafka.transaction_timeout_ms,
                "compression.type": settings.kafka.compression,
            },
            f"{prefix}gateway-{process}-{role}",
            lambda: topics.streams_partitions,
            prefix=prefix,
            consumer=consumer,
            outside=outside,
        )
        lifecycle.add(f"{role} transactions", writer.close)
        return writer

    return transactional


def _reporter(producers: Mapping[str, EventProducer], clock: Clock, settings: Settings) -> ErrorReporter:
    return ErrorReporter(producers, clock, prefix=settings.gateway.prefix, uniform=random.uniform)


def _registry_watch(
    codec: PreparedCodec, metrics_serializer: AvroSerializer, reporter: ErrorReporter, settings: Settings
) -> RegistryWatch:
    followers = [one for one in (codec, metrics_serializer) if hasattr(one, "look_again")]  # a double has none
    return RegistryWatch(lambda: followers, every_s=settings.registry.check_s, on_lost=reporter.report)


def _outcomes(writer_for: Callable[..., AtomicWriter], clock: Clock, settings: Settings) -> OutcomeWriter:
    return OutcomeWriter(writer_for("outcomes"), clock, _backoff(settings))


def _stream_parts(
    settings: Settings,
    connector: Connector,
    snapshots: BookSnapshots,
    budgets: ConnectBudgets,
    sink: RecordSink,
    reporter: ErrorReporter,
    clock: Clock,
    instance: str,
) -> StreamParts:
    gateway = settings.gateway
    ids = SessionIds(f"{instance}-{secrets.token_hex(8)}")  # also where two processes have one configured name

    def url_of(profile: ExchangeProfile, request_type: RequestType) -> str:
        return profile.url_for(request_type, gateway.exchange_urls.get(profile.exchange.value))

    return StreamParts(
        connector=connector,
        sink=sink,
        reporter=reporter,
        clock=clock,
        new_session_id=lambda: ids.next(clock.epoch_us()),
        backoff=_backoff(settings),
        liveness=LivenessSettings(probe_after_s=gateway.probe_after_s, stale_after_s=gateway.stale_after_s),
        hold_max_s=gateway.hold_max_s,
        url_of=url_of,
        budgets=budgets,
        snapshots=snapshots,
        books=BookSettings(depth=gateway.book_depth, snapshot_every_s=gateway.book_snapshot_s),
        instance=instance,
        exact_numbers=gateway.numbers == "exact",
    )


def _book_snapshots(settings: Settings, lifecycle: Lifecycle) -> RestBookSnapshots:
    addresses = {
        exchange.value: RestAddress(url, profile.rest_limit)
        for exchange, profile in PROFILES.items()
        if (url := settings.gateway.rest_url(exchange.value, profile.rest_url)) is not None
    }
    snapshots = RestBookSnapshots(addresses)
    lifecycle.add("book snapshots", snapshots.close)
    return snapshots


def _connect_budgets(
    settings: Settings, manager: RedisConnectionManager, instance: str
) -> SharedConnectBudgets:
    egress = settings.gateway.egress or socket.gethostname()
    return SharedConnectBudgets(manager, egress=egress, instance=instance)


def _orchestrator(
    writer_for: Callable[..., AtomicWriter],
    outcomes: OutcomeWriter,
    parts: StreamParts,
    clock: Clock,
    settings: Settings,
) -> StreamOrchestrator:
    return StreamOrchestrator(
        writer=writer_for("desired-state"),
        outcomes=outcomes,
        parts=parts,
        profiles=PROFILES,
        clock=clock,
        session_timeout_s=settings.kafka.session_timeout_ms / 1000,
    )


def _backpressure(data: Any, reporter: ErrorReporter, clock: Clock, settings: Settings) -> BackpressureWatch:
    core = getattr(data, "inner", None)
    return BackpressureWatch(
        getattr(data, "name", "data"),
        lambda: core.figures().in_flight if isinstance(core, KafkaProducer) else 0,
        settings.kafka.queue_max_messages,
        reporter,
        clock,
    )


def _upkeep(
    orchestrator: StreamOrchestrator,
    metrics: EventProducer,
    specs: ConnectionSpecStore,
    clock: Clock,
    settings: Settings,
) -> Upkeep:
    return Upkeep(orchestrator, metrics, specs, clock, prefix=settings.gateway.prefix)


def _command_consumer(
    settings: Settings,
    lifecycle: Lifecycle,
    orchestrator: StreamOrchestrator,
    writer_for: Callable[..., AtomicWriter],
) -> KafkaConsumerClient:
    consumer = KafkaConsumerClient(
        topic=["ws.command"],
        orchestrator=orchestrator,
        settings=settings,
        rules=default_rules(settings),
        writer=lambda consumer: writer_for("command", consumer),
    )
    lifecycle.add("command consumer", consumer.stop)
    return consumer


def _disconnection_consumer(
    settings: Settings,
    lifecycle: Lifecycle,
    orchestrator: StreamOrchestrator,
    writer_for: Callable[..., AtomicWriter],
) -> DisconnectionConsumerClient:
    consumer = DisconnectionConsumerClient(
        topic=["ws.disconnection"],
        orchestrator=orchestrator,
        settings=settings,
        rules=default_rules(settings),
        writer=lambda consumer: writer_for("disconnection", consumer),
    )
    lifecycle.add("disconnection consumer", consumer.stop)
    return consumer


def _desired_state_consumer(
    settings: Settings, lifecycle: Lifecycle, orchestrator: StreamOrchestrator, topics: Topics
) -> DesiredStateConsumer:
    consumer = DesiredStateConsumer(settings, orchestrator, topics)
    lifecycle.add("desired-state consumer", consumer.stop)
    return consumer


# -- containers ----------------------------------------------------------------------------------------


class CacheContainer(containers.DeclarativeContainer):
    """Redis: shared, not vital."""

    settings: Any = providers.Dependency()
    lifecycle: Any = providers.Dependency()
    instance: Any = providers.Dependency()
    manager: Any = AsyncSingleton(_redis, settings, lifecycle)
    connections: Any = AsyncSingleton(WebsocketConnectionCache, manager)
    connect_budgets: Any = AsyncSingleton(_connect_budgets, settings, manager, instance)
    breakers: Any = AsyncSingleton(BreakerStateCache, manager)


class MessagingContainer(containers.DeclarativeContainer):
    """Kafka and the registry."""

    settings: Any = providers.Dependency()
    lifecycle: Any = providers.Dependency()
    instance: Any = providers.Dependency()
    breakers: Any = providers.Dependency()
    embedded: Any = providers.Object(False)

    registry: Any = AsyncSingleton(_registry, settings, lifecycle)
    codec: Any = AsyncSingleton(PreparedCodec, registry, settings.provided.gateway)
    metrics_serializer: Any = AsyncSingleton(AvroSerializer, "metrics_event", registry)
    topics: Any = AsyncSingleton(_topics, settings, embedded=embedded)
    control_producer: Any = AsyncSingleton(_control_producer, settings, lifecycle, breakers, instance)
    data_producer: Any = AsyncSingleton(_data_producer, settings, lifecycle, breakers, instance)
    error_producer: Any = AsyncSingleton(_error_producer, settings, control_producer)
    metrics_producer: Any = AsyncSingleton(_metrics_producer, settings, control_producer, metrics_serializer)
    realtime_producer: Any = AsyncSingleton(_realtime_producer, settings, lifecycle, codec, data_producer)
    record_sink: Any = AsyncSingleton(_record_sink, settings, lifecycle, realtime_producer)
    facts_producer: Any = AsyncSingleton(_facts_producer, settings, lifecycle)
    event_producers: Any = AsyncSingleton(_event_producers, control_producer, error_producer)
    writer_for: Any = AsyncSingleton(
        _writer_for,
        settings,
        lifecycle,
        topics,
        event_producers,
        facts_producer.provider,
        instance,
        embedded=embedded,
    )


class ApplicationLayerContainer(containers.DeclarativeContainer):
    """The use cases."""

    settings: Any = providers.Dependency()
    clock: Any = providers.Dependency()
    instance: Any = providers.Dependency()
    messaging: Any = providers.DependenciesContainer()
    connector: Any = providers.Dependency()
    connections: Any = providers.Dependency()
    connect_budgets: Any = providers.Dependency()
    lifecycle: Any = providers.Dependency()

    book_snapshots: Any = AsyncSingleton(_book_snapshots, settings, lifecycle)
    reporter: Any = AsyncSingleton(_reporter, messaging.event_producers, clock, settings)
    registry_watch: Any = AsyncSingleton(
        _registry_watch, messaging.codec, messaging.metrics_serializer, reporter, settings
    )
    outcomes: Any = AsyncSingleton(_outcomes, messaging.writer_for, clock, settings)
    stream_parts: Any = AsyncSingleton(
        _stream_parts,
        settings,
        connector,
        book_snapshots,
        connect_budgets,
        messaging.record_sink,
        reporter,
        clock,
        instance,
    )
    orchestrator: Any = AsyncSingleton(
        _orchestrator, messaging.writer_for, outcomes, stream_parts, clock, settings
    )
    backpressure: Any = AsyncSingleton(_backpressure, messaging.data_producer, reporter, clock, settings)
    upkeep: Any = AsyncSingleton(
        _upkeep, orchestrator, messaging.metrics_producer, connections, clock, settings
    )


class ControlContainer(containers.DeclarativeContainer):
    """The consumers of the control topics."""

    settings: Any = providers.Dependency()
    lifecycle: Any = providers.Dependency()
    orchestrator: Any = providers.Dependency()
    writer_for: Any = providers.Dependency()
    topics: Any = providers.Dependency()

    command_consumer: Any = AsyncSingleton(_command_consumer, settings, lifecycle, orchestrator, writer_for)
    disconnection_consumer: Any = AsyncSingleton(
        _disconnection_consumer, settings, lifecycle, orchestrator, writer_for
    )
    desired_state_consumer: Any = AsyncSingleton(
        _desired_state_consumer, settings, lifecycle, orchestrator, topics
    )


class ApplicationContainer(containers.DeclarativeContainer):
    """All of it."""

    settings: Any = providers.Singleton(load_settings)
    lifecycle: Any = providers.Singleton(Lifecycle)
    clock: Any = providers.Singleton(SystemClock)
    instance: Any = providers.Singleton(_instance, settings)
    connector: Any = providers.Singleton(WebsocketsConnector)

    cache: Any = providers.Container(CacheContainer, settings=settings, lifecycle=lifecycle, instance=instance)
    messaging: Any = providers.Container(
        MessagingContainer,
        settings=settings,
        lifecycle=lifecycle,
        instance=instance,
        breakers=cache.breakers,
    )
    application: Any = providers.Container(
        ApplicationLayerContainer,
        settings=settings,
        clock=clock,
        instance=instance,
        messaging=messaging,
        connector=connector,
        connections=cache.connections,
        connect_budgets=cache.connect_budgets,
        lifecycle=lifecycle,
    )
    control: Any = providers.Container(
        ControlContainer,
        settings=settings,
        lifecycle=lifecycle,
        orchestrator=application.orchestrator,
        writer_for=messaging.writer_for,
        topics=messaging.topics,
    )


async def close_container(container: Any) -> None:
    """Stop what the container's providers started, last first."""
    await container.lifecycle().close()
