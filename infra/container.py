"""The composition: who is made of what. Nothing here runs before a provider is called.

Every provider is awaited (``producer = await container.messaging.error_producer()``) and can be overridden;
after that the same awaited call gives the double, and what is built afterwards works through it. What a
provider starts is stopped by ``await close_container(container)``.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from confluent_kafka import Consumer
from dependency_injector import containers, providers

from application.backpressure import BACKPRESSURE_TOPIC, BackpressureWatch
from application.orchestrator import StreamOrchestrator
from application.outcomes import OutcomeWriter
from application.ports import AtomicWriter, Clock, ConnectionSpecStore, Connector, EventProducer, RecordSink
from application.reporting import DLQ_TOPIC, ERROR_TOPIC, ErrorReporter
from application.stream import StreamParts
from application.upkeep import Upkeep
from core.backoff import full_jitter
from core.exchanges.base import ExchangeProfile
from core.exchanges.table import PROFILES
from core.liveness import LivenessSettings
from core.session_id import SessionIds
from infra.cache.cache_client import RedisConnectionManager
from infra.cache.cache_store import BreakerStateCache, WebsocketConnectionCache
from infra.clock import SystemClock
from infra.lifecycle import Lifecycle
from infra.messaging.avro.prepared_codec import PreparedCodec
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroSerializer
from infra.messaging.clients.cb.base import CircuitBreakerProducer
from infra.messaging.clients.cb.config import CircuitBreakerConfig
from infra.messaging.clients.json_client import JsonProducerWrapper
from infra.messaging.clients.kafka_producer import KafkaProducer
from infra.messaging.clients.producer_profiles import control_producer_config, data_producer_config
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
from infra.settings import Settings, default_instance_id, load_settings
from infra.websocket.connector import WebsocketsConnector


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
    wrapper = JsonProducerWrapper(settings=settings, profile=control_producer_config, name="control")
    producer = CircuitBreakerProducer(
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


async def _error_producer(settings: Settings, control: EventProducer) -> ErrorEventProducer:
    producer = ErrorEventProducer(settings=settings, wrapper=control)
    await producer.start_producer()
    return producer


async def _metrics_producer(
    settings: Settings, control: CircuitBreakerProducer, serializer: AvroSerializer
) -> MetricsProducer:
    producer = MetricsProducer(settings=settings, wrapper=_Serializing(control, serializer))
    await producer.start_producer()
    return producer


async def _realtime_producer(
    settings: Settings, codec: PreparedCodec, data: CircuitBreakerProducer
) -> RealtimeDataProducer:
    producer = RealtimeDataProducer(codec=codec, producer=data, settings=settings)
    await producer.start_producer()
    return producer


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


def _writer_for(
    settings: Settings,
    lifecycle: Lifecycle,
    topics: Topics,
    control: CircuitBreakerProducer,
    producers: Mapping[str, EventProducer],
    instance: str,
    *,
    embedded: bool,
) -> Callable[[str, Callable[[], Consumer | None]], AtomicWriter]:
    """Makes a writer by role, with the consumer whose positions it commits."""

    def make(role: str, consumer: Callable[[], Consumer | None] = lambda: None) -> AtomicWriter:
        prefix = settings.gateway.prefix
        if embedded:
            core = cast(JsonProducerWrapper, control.inner).core
            return PlainWriter(
                core, producers, lambda: topics.streams_partitions, prefix=prefix, consumer=consumer
            )
        error = producers[ERROR_TOPIC]
        writer = TransactionalWriter(
            {
                **settings.kafka.client_config(),
                "transaction.timeout.ms": settings.kafka.transaction_timeout_ms,
                "compression.type": settings.kafka.compression,
            },
            f"{prefix}gateway-{instance}-{role}",
            lambda: topics.streams_partitions,
            prefix=prefix,
            consumer=consumer,
            outside=None if isinstance(error, ErrorEventProducer) else {ERROR_TOPIC: error},
        )
        lifecycle.add(f"{role} writer", writer.close)
        return writer

    return make


def _reporter(producers: Mapping[str, EventProducer], clock: Clock, settings: Settings) -> ErrorReporter:
    return ErrorReporter(producers, clock, prefix=settings.gateway.prefix, uniform=random.uniform)


def _outcomes(writer_for: Callable[[str], AtomicWriter], clock: Clock, settings: Settings) -> OutcomeWriter:
    return OutcomeWriter(writer_for("outcomes"), clock, _backoff(settings))


def _stream_parts(
    settings: Settings,
    connector: Connector,
    sink: RecordSink,
    reporter: ErrorReporter,
    clock: Clock,
    instance: str,
) -> StreamParts:
    gateway = settings.gateway
    ids = SessionIds(instance)

    def url_of(profile: ExchangeProfile) -> str:
        return gateway.exchange_urls.get(profile.exchange.value, profile.url)

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
        instance=instance,
    )


def _orchestrator(
    writer_for: Callable[[str], AtomicWriter],
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


def _backpressure(
    data: CircuitBreakerProducer, reporter: ErrorReporter, clock: Clock, settings: Settings
) -> BackpressureWatch:
    return BackpressureWatch(
        data.name,
        lambda: data.inner.figures().in_flight,
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
    orchestrator: StreamOrchestrator,
    writer_for: Callable[..., AtomicWriter],
) -> KafkaConsumerClient:
    return KafkaConsumerClient(
        topic=["ws.command"],
        orchestrator=orchestrator,
        settings=settings,
        rules=default_rules(settings),
        writer=lambda consumer: writer_for("command", consumer),
    )


def _disconnection_consumer(
    settings: Settings,
    orchestrator: StreamOrchestrator,
    writer_for: Callable[..., AtomicWriter],
) -> DisconnectionConsumerClient:
    return DisconnectionConsumerClient(
        topic=["ws.disconnection"],
        orchestrator=orchestrator,
        settings=settings,
        rules=default_rules(settings),
        writer=lambda consumer: writer_for("disconnection", consumer),
    )


# -- containers ----------------------------------------------------------------------------------------


class CacheContainer(containers.DeclarativeContainer):
    """Redis: shared, not vital."""

    settings: Any = providers.Dependency()
    lifecycle: Any = providers.Dependency()
    manager: Any = AsyncSingleton(_redis, settings, lifecycle)
    connections: Any = AsyncSingleton(WebsocketConnectionCache, manager)
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
    realtime_producer: Any = AsyncSingleton(_realtime_producer, settings, codec, data_producer)
    event_producers: Any = AsyncSingleton(_event_producers, control_producer, error_producer)
    writer_for: Any = AsyncSingleton(
        _writer_for, settings, lifecycle, topics, control_producer, event_producers, instance, embedded=embedded
    )


class ApplicationLayerContainer(containers.DeclarativeContainer):
    """The use cases."""

    settings: Any = providers.Dependency()
    clock: Any = providers.Dependency()
    instance: Any = providers.Dependency()
    messaging: Any = providers.DependenciesContainer()
    connector: Any = providers.Dependency()
    connections: Any = providers.Dependency()

    reporter: Any = AsyncSingleton(_reporter, messaging.event_producers, clock, settings)
    outcomes: Any = AsyncSingleton(_outcomes, messaging.writer_for, clock, settings)
    stream_parts: Any = AsyncSingleton(
        _stream_parts, settings, connector, messaging.realtime_producer, reporter, clock, instance
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
    orchestrator: Any = providers.Dependency()
    writer_for: Any = providers.Dependency()
    topics: Any = providers.Dependency()

    command_consumer: Any = AsyncSingleton(_command_consumer, settings, orchestrator, writer_for)
    disconnection_consumer: Any = AsyncSingleton(_disconnection_consumer, settings, orchestrator, writer_for)
    desired_state_consumer: Any = AsyncSingleton(DesiredStateConsumer, settings, orchestrator, topics)


class ApplicationContainer(containers.DeclarativeContainer):
    """All of it."""

    settings: Any = providers.Singleton(load_settings)
    lifecycle: Any = providers.Singleton(Lifecycle)
    clock: Any = providers.Singleton(SystemClock)
    instance: Any = providers.Singleton(_instance, settings)
    connector: Any = providers.Singleton(WebsocketsConnector)

    cache: Any = providers.Container(CacheContainer, settings=settings, lifecycle=lifecycle)
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
    )
    control: Any = providers.Container(
        ControlContainer,
        settings=settings,
        orchestrator=application.orchestrator,
        writer_for=messaging.writer_for,
        topics=messaging.topics,
    )


async def close_container(container: Any) -> None:
    """Stop what the container's providers started, last first."""
    await container.lifecycle().close()
