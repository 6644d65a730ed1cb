"""The producers, breakers and consumers against a real broker, registry and Redis."""

import asyncio
import time
from uuid import uuid4

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME

from core.breaker import BreakerState
from core.commands import ConnectionTargetDTO
from core.errors import CircuitOpenError, QueueFullError
from core.records import Ticker
from infra.cache.cache_client import RedisConnectionManager
from infra.cache.cache_store import BreakerStateCache, WebsocketConnectionCache
from infra.messaging.clients.avro_client import AvroConsumerWrapper, AvroProducerWrapper
from infra.messaging.clients.cb.base import CircuitBreakerProducer
from infra.messaging.clients.cb.config import CircuitBreakerConfig
from infra.messaging.clients.json_client import JsonProducerWrapper, create_producer
from infra.messaging.clients.kafka_producer import KafkaProducer
from infra.messaging.clients.producer_profiles import data_producer_config
from infra.messaging.connect.producer_client import ErrorEventProducer, MetricsProducer, RealtimeDataProducer
from infra.settings import KafkaSettings
from tests.contract.cache_suite import SCOPE, SPEC, CacheSuite, redis_settings
from tests.contract.consumer_suite import ConsumerSuite
from tests.kafka_mock import read_topic, settings_for
from tests.waiting import until


@pytest.fixture
def environment(services, monkeypatch, prefix):
    """A user's environment: nothing but the variables that ``gateway services`` prints."""
    for name, value in services.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GATEWAY_PREFIX", prefix)
    return prefix


class TestRealRedis(CacheSuite):
    """The suite of the stand-in on a real Redis."""

    @pytest.fixture
    def redis_url(self, redis_server):
        return redis_server.environment()["REDIS_URL"]


class TestRealBroker(ConsumerSuite):
    """The suite of the mock cluster on a real broker."""

    @pytest.fixture
    def bootstrap(self, kafka):
        return kafka.bootstrap_servers

    @pytest.fixture
    def topic(self, prefix):
        return f"{prefix}{uuid4().hex}"


async def test_json_producer(environment):
    producer = create_producer()
    await producer.start()
    ok = await producer.send_and_wait(f"{environment}test-topic", {"key": "value"})
    assert ok is True
    await producer.stop()


async def test_error_events_and_metrics_as_others_use_them(environment):
    errors = ErrorEventProducer()
    await errors.start_producer()
    assert await errors.send_error_event(
        target=ConnectionTargetDTO(exchange="upbit", region="korea", request_type="ticker"),
        error=OSError("refused"),
        kind="ws_connection",
        context={"url": "wss://api.upbit.com"},
    )
    await errors.stop_producer()
    batch = {
        "range_start_ts_kst": 0,
        "range_end_ts_kst": 60_000,
        "bucket_size_sec": 60,
        "items": [{"minute_start_ts_kst": 0, "total": 2, "details": {"BTC-KRW_COUNT": 2}}],
        "version": 1,
    }
    metrics = MetricsProducer(use_avro=True)
    await metrics.start_producer()
    assert await metrics.send_counting_batch(
        region="korea", exchange="upbit", request_type="ticker", batch=batch
    )
    await metrics.stop_producer()
    async with AvroConsumerWrapper(f"{environment}ws.metrics", group_id=environment) as consumer:
        async with asyncio.timeout(30):
            async for message in consumer:
                assert message.error is None
                assert message.value["batch"] == batch
                assert message.value["frames"] == 0
                break


async def test_avro_without_its_registry_is_false_not_an_exception(kafka, prefix, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SCHEMA_REGISTRY_TIMEOUT_S", "1")
    async with AvroProducerWrapper() as producer:
        assert await producer.send_and_wait("ws.error", {}) is False
        assert producer.undelivered == 1


async def test_realtime_records_in_order_keyed_and_stamped(environment, kafka):
    producer = RealtimeDataProducer()
    await producer.start_producer()
    assert await producer.core.warm(producer.topics)
    for sequence in range(1, 2001):
        producer.publish(ticker(sequence))
    core = producer.core
    await producer.stop_producer()
    assert core.figures().delivered == 2000
    async with AvroConsumerWrapper(f"{environment}realtime.ticker", group_id=environment) as consumer:
        found = []
        async with asyncio.timeout(30):
            async for message in consumer:
                found.append(message.value["sequence"])
                assert message.key == b"upbit|BTC-KRW"
                assert message.timestamp_ms == 1_700_000_000_123
                if len(found) == 2000:
                    break
    assert found == list(range(1, 2001))


def ticker(sequence: int) -> Ticker:
    return Ticker(
        exchange="upbit",
        region="korea",
        symbol="BTC-KRW",
        exchange_symbol="KRW-BTC",
        exchange_ts_ms=None,
        received_ts_us=1_700_000_000_123_456,
        session_id=1,
        sequence=sequence,
        price=1.0,
    )


async def test_a_dead_broker_gives_false_and_the_breaker_opens_and_closes_again(own_kafka, prefix):
    """Outage of the control producer: False, then refused at once, then delivered again soon after."""
    settings = settings_for(own_kafka.bootstrap_servers, delivery_timeout_ms=3000)
    inner = JsonProducerWrapper(settings=settings)
    async with CircuitBreakerProducer(inner, name="control") as producer:
        assert await producer.send_and_wait(f"{prefix}c", {"n": 1}) is True
        await asyncio.to_thread(own_kafka.kill)
        killed_s = time.monotonic()
        assert await producer.send_and_wait(f"{prefix}c", {"n": 2}) is False
        await until(lambda: producer.state is BreakerState.OPEN, 10)
        assert time.monotonic() - killed_s < 10
        begun_s = time.monotonic()
        assert await producer.send_and_wait(f"{prefix}c", {"n": 3}) is False
        assert time.monotonic() - begun_s < 0.1
        await asyncio.to_thread(own_kafka.start)
        await until(lambda: producer.state is BreakerState.HALF_OPEN, 20)
        assert await producer.send_and_wait(f"{prefix}c", {"n": 4}) is True
        assert await producer.send_and_wait(f"{prefix}c", {"n": 5}) is True
        assert producer.state is BreakerState.CLOSED


@pytest.mark.parametrize("outage", ["kill", "pause"])
async def test_what_was_taken_arrives_once_and_in_order_after_an_outage(own_kafka, prefix, outage):
    """The hot path at 2,000 records/s over an outage; a paused broker leaves its connections open."""
    topic = f"{prefix}r"
    settings = KafkaSettings(bootstrap_servers=own_kafka.bootstrap_servers)
    core = KafkaProducer(data_producer_config(settings), name="data")
    taken: list[int] = []
    refused = 0
    async with CircuitBreakerProducer(core, name="data", config=CircuitBreakerConfig()) as producer:
        assert await core.warm([topic])

        async def produce(until_true) -> None:
            nonlocal refused
            number = (taken[-1] if taken else 0) + 1
            deadline_s = time.monotonic() + 60
            while not until_true():
                assert time.monotonic() < deadline_s
                for _ in range(20):
                    try:
                        producer.produce(topic, b"%d" % number, b"key", partition=0)
                        taken.append(number)
                    except (CircuitOpenError, QueueFullError):
                        refused += 1
                    number += 1
                await asyncio.sleep(0.01)

        await produce(lambda: core.figures().delivered > 2000)
        await asyncio.to_thread(getattr(own_kafka, outage))
        down_s = time.monotonic()
        await produce(lambda: producer.state is BreakerState.OPEN)
        assert time.monotonic() - down_s < 10
        await produce(lambda: refused > 1000)
        back = own_kafka.start if outage == "kill" else own_kafka.resume
        returning = asyncio.create_task(asyncio.to_thread(back))
        await produce(lambda: returning.done() and producer.state is BreakerState.CLOSED)
        await returning
        more = len(taken) + 500
        await produce(lambda: len(taken) > more)
        assert producer.refused == refused
        assert await core.flush(20) == 0
        assert core.figures().failed == 0
    read = await asyncio.to_thread(read_topic, own_kafka.bootstrap_servers, topic, len(taken))
    assert [int(m.value()) for m in read if m.partition() == 0] == taken
    assert read[0].timestamp()[0] == TIMESTAMP_CREATE_TIME


async def test_redis_killed_and_back(own_redis, prefix):
    manager = RedisConnectionManager()
    await manager.initialize(redis_settings(own_redis.environment()["REDIS_URL"], prefix))
    cache, breakers = WebsocketConnectionCache(manager), BreakerStateCache(manager)
    assert await cache.set_connection_spec(SCOPE, SPEC) is True
    await asyncio.to_thread(own_redis.kill)
    assert await cache.set_connection_spec(SCOPE, SPEC) is False
    assert await breakers.load("data") is None
    await asyncio.to_thread(own_redis.start)
    deadline_s = time.monotonic() + 10
    while not await cache.set_connection_spec(SCOPE, SPEC):
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.05)
    assert manager.available
    await manager.close()
