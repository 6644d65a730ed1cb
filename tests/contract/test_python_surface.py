"""The names and calls that others rely on, one by one; the producers' are in ``test_producer_surface``.

Everything here is built without the container, from nothing but environment variables.
"""

import asyncio
import importlib
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.commands import CommandDTO, ConnectionTargetDTO, DisconnectCommandDTO
from core.errors import CommandError, ErrorCode, PayloadError
from core.identity import ConnectionScopeDomain
from core.records import Ticker
from core.streams import StreamContextDomain, WebsocketConnectionSpecDomain
from infra.cache.cache_client import RedisConnectionManager
from infra.cache.cache_store import WebsocketConnectionCache
from infra.embedded.broker import EmbeddedBroker
from infra.embedded.redis import EmbeddedRedis
from infra.embedded.registry import EmbeddedRegistry
from infra.messaging.avro.schema_evolution import incompatibilities
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroDeserializer, AvroSerializer
from infra.messaging.clients.avro_client import AvroConsumerWrapper
from infra.messaging.clients.cb.base import CircuitBreakerConsumer
from infra.messaging.clients.json_client import AsyncConsumerWrapper, create_producer
from infra.messaging.connect.consumer_client import KafkaConsumerClient
from infra.messaging.connect.disconnection_consumer import DisconnectionConsumerClient
from infra.messaging.connect.producer_client import MetricsProducer, RealtimeDataProducer
from infra.messaging.connect.services.command_validator import CommandValidator
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.messaging.serializers.unified_serializer import UnifiedSerializer
from infra.messaging.topics import EmbeddedTopicAdmin
from infra.settings import load_settings
from tests.gateway_rig import TopicLog, connect, disconnect, publish
from tests.waiting import until

NAMES: dict[str, dict[str, list[str]]] = {
    "infra.messaging.clients.json_client": {
        "AsyncProducerWrapper": [],
        "JsonProducerWrapper": [],
        "AsyncConsumerWrapper": [],
        "create_producer": [],
    },
    "infra.messaging.clients.avro_client": {"AvroProducerWrapper": [], "AvroConsumerWrapper": []},
    "infra.messaging.clients.cb.base": {"CircuitBreakerProducer": [], "CircuitBreakerConsumer": []},
    "infra.messaging.clients.cb.config": {"CircuitBreakerConfig": []},
    "infra.messaging.connect.producer_client": {
        "AvroProducer": ["use_avro"],
        "ErrorEventProducer": ["use_avro"],
        "MetricsProducer": ["use_avro"],
        "RealtimeDataProducer": ["use_avro"],
        "AvroProducer.produce_sending": ["self", "message", "topic", "key"],
        "AvroProducer.send_and_wait": ["self", "topic", "value", "key"],
        "AvroProducer.start_producer": ["self"],
        "AvroProducer.stop_producer": ["self"],
        "ErrorEventProducer.send_error_event": ["self", "target", "error", "kind", "context"],
        "MetricsProducer.send_counting_batch": ["self", "region", "exchange", "request_type", "batch"],
        "RealtimeDataProducer.publish": ["self", "record"],
    },
    "infra.messaging.connect.consumer_client": {"KafkaConsumerClient": ["topic", "orchestrator"]},
    "infra.messaging.connect.disconnection_consumer": {
        "DisconnectionConsumerClient": ["topic", "orchestrator"]
    },
    "infra.messaging.connect.services.command_validator": {"CommandValidator": []},
    "application.orchestrator": {"StreamOrchestrator.connect_from_context": ["self", "context"]},
    "core.commands": {"CommandDTO": [], "DisconnectCommandDTO": [], "ConnectionTargetDTO": []},
    "core.identity": {"ConnectionScopeDomain": ["exchange", "region", "request_type", "symbol"]},
    "core.streams": {
        "StreamContextDomain": ["scope", "symbols", "url", "socket_params", "projection", "correlation_id"],
        "WebsocketConnectionSpecDomain": ["scope", "symbols", "url", "status", "connected_at_ms"],
    },
    "core.errors": {"DeliveryError": []},
    "infra.messaging.avro.serializers": {
        "AvroSerializer": ["schema_name", "registry"],
        "AvroDeserializer": [],
        "AvroSerializer.serialize": ["self", "message"],
        "AvroSerializer.serialize_async": ["self", "message"],
    },
    "infra.messaging.avro.schema_registry": {"SchemaRegistryClient": []},
    "infra.messaging.avro.schema_evolution": {},
    "infra.messaging.serializers.unified_serializer": {"UnifiedSerializer": []},
    "infra.messaging.schemas.schema_loader": {"SchemaLoader": []},
    "infra.cache.cache_client": {"RedisConnectionManager.get_instance": [], "RedisConnectionManager": []},
    "infra.cache.cache_store": {
        "WebsocketConnectionCache": ["manager"],
        "WebsocketConnectionCache.set_connection_spec": ["self", "scope", "spec"],
        "WebsocketConnectionCache.get_connection_spec": ["self", "scope"],
    },
    "infra.container": {"ApplicationContainer": []},
}


@pytest.mark.parametrize("module", NAMES)
def test_names_and_signatures(module: str) -> None:
    """The parameters shown come first and in this order; what follows them has defaults."""
    found = importlib.import_module(module)
    for dotted, parameters in NAMES[module].items():
        target: Any = found
        for part in dotted.split("."):
            target = getattr(target, part)
        if dotted == "ApplicationContainer":
            continue
        signature = inspect.signature(target)
        names = list(signature.parameters)
        assert names[: len(parameters)] == parameters, dotted
        for name in names[len(parameters) :]:
            parameter = signature.parameters[name]
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            required_dto = dotted.endswith("DTO") or dotted in ("DeliveryError", "CircuitBreakerProducer")
            breaker = dotted == "CircuitBreakerConsumer" and name == "consumer"
            assert parameter.default is not parameter.empty or required_dto or breaker, (dotted, name)


@pytest.fixture
async def environment(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedRegistry]:
    """A user's environment: addresses and nothing else."""
    broker, registry, redis = EmbeddedBroker(), EmbeddedRegistry(incompatibilities), EmbeddedRedis()
    for part in (broker, registry, redis):
        await part.start()
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", registry.url)
    monkeypatch.setenv("REDIS_URL", redis.url)
    await RedisConnectionManager.get_instance().close()
    await EmbeddedTopicAdmin(load_settings()).ensure()
    yield registry
    await RedisConnectionManager.get_instance().close()
    for part in (redis, registry, broker):
        await part.stop()


# -- consumers of commands -----------------------------------------------------------------------------


class ConnectsAlone:
    """All that a connect command needs."""

    def __init__(self) -> None:
        self.contexts: list[StreamContextDomain] = []
        self.failing: Exception | None = None

    async def connect_from_context(self, context: StreamContextDomain) -> None:
        if self.failing is not None:
            failing, self.failing = self.failing, None
            raise failing
        self.contexts.append(context)


class Disconnects(ConnectsAlone):
    """Disconnects too."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[tuple[str, Any]] = []

    async def disconnect(self, scope: ConnectionScopeDomain, symbols: Any = None, **_more: Any) -> None:
        self.ended.append((scope.key, symbols))


async def test_a_consumer_with_an_orchestrator_of_ones_own(environment: EmbeddedRegistry) -> None:
    orchestrator = ConnectsAlone()
    consumer = KafkaConsumerClient(topic=["ws.command"], orchestrator=orchestrator)
    running = asyncio.create_task(consumer.run())
    settings = load_settings()
    commands = [
        connect("upbit", "ticker", "KRW-BTC", projection=["price"], correlation_id="c"),
        connect("mtgox", "ticker", "KRW-BTC", correlation_id="bad"),
        b"{",
    ]
    async with TopicLog(settings, ["ws.error", "ws.dlq"]) as log:
        await publish(settings, "ws.command", *commands, key="k")
        await log.until(lambda: orchestrator.contexts and len(log.on("ws.dlq")) == 2)
        await log.settle()
    (context,) = orchestrator.contexts
    scope = ConnectionScopeDomain("upbit", "korea", "ticker")
    assert context == StreamContextDomain(scope, ("BTC-KRW",), None, None, ("price",), "c")
    codes = [e["error"]["error_code"] for e in log.on("ws.error")]
    assert sorted(codes) == ["deserialization_error", "unknown_exchange"]
    await consumer.stop()
    await asyncio.wait_for(running, 10)


async def test_a_consumer_that_is_cancelled_leaves_nothing_running(environment: EmbeddedRegistry) -> None:
    orchestrator = ConnectsAlone()
    consumer = KafkaConsumerClient(topic=["ws.command"], orchestrator=orchestrator)
    running = asyncio.create_task(consumer.run())
    await publish(load_settings(), "ws.command", connect("upbit", "ticker", "KRW-BTC"))
    await until(lambda: orchestrator.contexts)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert consumer._thread is not None
    assert consumer._thread._thread is not None
    assert not consumer._thread._thread.is_alive()


async def test_an_orchestrator_that_fails_costs_one_command(environment: EmbeddedRegistry) -> None:
    orchestrator = ConnectsAlone()
    orchestrator.failing = RuntimeError("no more room")
    consumer = KafkaConsumerClient(topic=["ws.command"], orchestrator=orchestrator)
    running = asyncio.create_task(consumer.run())
    settings = load_settings()
    async with TopicLog(settings, ["ws.error", "ws.dlq"]) as log:
        commands = [connect("upbit", "ticker", "KRW-BTC"), connect("upbit", "ticker", "KRW-ETH")]
        await publish(settings, "ws.command", *commands, key="k")
        await log.until(lambda: orchestrator.contexts and log.on("ws.dlq") and log.on("ws.error"))
    (error,) = log.on("ws.error")
    assert error["error"]["error_code"] == "orchestrator_error"
    assert "no more room" in error["error"]["error_message"]["message"]
    assert [context.symbols for context in orchestrator.contexts] == [("ETH-KRW",)]
    await consumer.stop()
    await running


@pytest.mark.parametrize("orchestrator", [ConnectsAlone(), Disconnects()])
async def test_a_disconnection_consumer(environment: EmbeddedRegistry, orchestrator: ConnectsAlone) -> None:
    consumer = DisconnectionConsumerClient(topic=["ws.disconnection"], orchestrator=orchestrator)
    running = asyncio.create_task(consumer.run())
    settings = load_settings()
    async with TopicLog(settings, ["ws.error", "ws.dlq"]) as log:
        commands = [disconnect("upbit", "ticker", "KRW-BTC"), disconnect("binance", "trade")]
        await publish(settings, "ws.disconnection", *commands, key="k")
        if isinstance(orchestrator, Disconnects):
            await until(lambda: len(orchestrator.ended) == 2)
            assert orchestrator.ended == [("upbit|korea|ticker", ("BTC-KRW",)), ("binance|asia|trade", None)]
        else:
            await log.until(lambda: len(log.on("ws.error")) == 2)
            assert {e["error"]["error_code"] for e in log.on("ws.error")} == {"orchestrator_error"}
    await consumer.stop()
    await running


def test_the_validator_turns_bytes_into_a_dto_or_an_error() -> None:
    validator = CommandValidator()
    command = validator.validate_command(
        b'{"type":"status","action":"connect_and_subscribe",'
        b'"target":{"exchange":"upbit","request_type":"ticker"},"symbols":["KRW-BTC"]}'
    )
    assert isinstance(command, CommandDTO)
    assert command.target == ConnectionTargetDTO(exchange="upbit", request_type="ticker")
    ended = validator.validate_disconnect(
        b'{"type":"status","action":"disconnect","target":{"exchange":"upbit","request_type":"ticker"}}'
    )
    assert isinstance(ended, DisconnectCommandDTO)
    with pytest.raises(CommandError) as caught:
        validator.validate_command(b"{")
    assert caught.value.code is ErrorCode.DESERIALIZATION_ERROR


# -- Avro ----------------------------------------------------------------------------------------------


async def test_avro_from_the_settings_alone(environment: EmbeddedRegistry) -> None:
    batch = {
        "range_start_ts_kst": 0,
        "range_end_ts_kst": 60_000,
        "bucket_size_sec": 60,
        "items": [{"minute_start_ts_kst": 0, "total": 1, "details": {"BTC-KRW_COUNT": 1}}],
        "version": 1,
    }
    p = MetricsProducer(use_avro=True)
    await p.start_producer()
    assert await p.send_counting_batch(region="korea", exchange="upbit", request_type="ticker", batch=batch)
    await p.stop_producer()
    ticker = Ticker(
        exchange="upbit",
        region="korea",
        symbol="BTC-KRW",
        exchange_symbol="KRW-BTC",
        exchange_ts_ms=None,
        received_ts_us=1,
        session_id=2,
        sequence=3,
        price=4.0,
    )
    realtime = RealtimeDataProducer()
    await realtime.start_producer()
    realtime.publish(ticker)
    await realtime.stop_producer()
    found: dict[str, Any] = {}
    async with AvroConsumerWrapper(["ws.metrics", "realtime.ticker"], group_id="readers") as consumer:
        async with asyncio.timeout(20):
            async for messages in consumer.batches():
                found |= {message.topic: message for message in messages}
                if len(found) == 2:
                    break
    assert found["ws.metrics"].value["batch"] == batch
    assert found["realtime.ticker"].value["sequence"] == 3
    assert found["realtime.ticker"].key == b"upbit|BTC-KRW"


async def test_serializers(environment: EmbeddedRegistry) -> None:
    async with SchemaRegistryClient() as registry:
        serializer = AvroSerializer("ticker_data", registry=registry)
        message = {
            "exchange": "upbit",
            "region": "korea",
            "symbol": "BTC-KRW",
            "exchange_symbol": "KRW-BTC",
            "received_ts_us": 1,
            "session_id": 2,
            "sequence": 3,
            "price": 4.0,
        }
        framed = await serializer.serialize_async(message)
        assert framed[0] == 0
        assert serializer.serialize(message) == framed
        deserializer = AvroDeserializer(registry)
        assert (await deserializer.deserialize_async(framed))["price"] == 4.0
        assert deserializer.deserialize(framed)["sequence"] == 3
        with pytest.raises(PayloadError, match="price"):
            serializer.serialize({**message, "price": "4"})
    unified = UnifiedSerializer(use_avro=True, schema_name="ticker_data")
    both = [await unified.serialize_async(message), await UnifiedSerializer().serialize_async(message)]
    assert both[0] == framed
    assert [(await unified.deserialize_async(data))["symbol"] for data in both] == ["BTC-KRW"] * 2
    await unified.close()
    assert SchemaLoader().schema("ticker_data")["name"] == "TickerData"


# -- JSON consumers ------------------------------------------------------------------------------------


async def test_a_consumer_behind_a_breaker_tries_a_batch_again(environment: EmbeddedRegistry) -> None:
    async with create_producer() as producer:
        assert await producer.send_and_wait("test-topic", {"key": "value"}) is True
    handled: list[Any] = []

    async def handle(batch: Any) -> None:
        handled.append([message.value for message in batch])
        if len(handled) == 1:
            raise RuntimeError("not this time")

    consumer = CircuitBreakerConsumer(AsyncConsumerWrapper("test-topic", group_id="g"))
    async with consumer:
        running = asyncio.create_task(consumer.run(handle))
        await until(lambda: len(handled) == 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert handled == [[{"key": "value"}]] * 2


# -- Redis ---------------------------------------------------------------------------------------------


async def test_redis(environment: EmbeddedRegistry) -> None:
    manager = RedisConnectionManager.get_instance()
    await manager.initialize()
    await manager.initialize()
    assert manager is RedisConnectionManager.get_instance()
    cache = WebsocketConnectionCache(manager)
    scope = ConnectionScopeDomain("upbit", "korea", "ticker")
    spec = WebsocketConnectionSpecDomain(scope, ("BTC-KRW",), "wss://api.upbit.com", "connected", 5)
    assert await cache.set_connection_spec(scope, spec)
    assert await cache.get_connection_spec(scope) == spec
    await manager.close()
    assert await cache.get_connection_spec(scope) == spec
