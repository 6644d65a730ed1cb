"""The producer core against librdkafka's mock cluster."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from core.errors import DeliveryError, ErrorCode, ProducerNotStartedError, QueueFullError
from infra.messaging.clients.kafka_producer import KafkaProducer
from infra.messaging.clients.producer_profiles import control_producer_config, data_producer_config
from infra.settings import KafkaSettings
from tests.kafka_mock import mock_cluster, read_topic
from tests.waiting import until


@pytest.fixture(scope="module")
def kafka() -> Iterator[str]:
    with mock_cluster(brokers=3) as bootstrap:
        yield bootstrap


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


async def test_send_returns_the_brokers_message(kafka):
    producer = KafkaProducer(control_producer_config(KafkaSettings(bootstrap_servers=kafka)))
    await producer.start()
    message = await producer.send("t.send", b"v", "k", timestamp_ms=1_700_000_000_123, headers={"a": "b"})
    assert message.offset() >= 0
    assert await producer.stop() == 0
    (read,) = await asyncio.to_thread(read_topic, kafka, "t.send", 1)
    assert (read.key(), read.value(), read.headers()) == (b"k", b"v", [("a", b"b")])
    assert read.timestamp()[1] == 1_700_000_000_123


async def test_the_hot_path_is_accounted_for(kafka):
    producer = KafkaProducer(data_producer_config(KafkaSettings(bootstrap_servers=kafka)))
    await producer.start()
    assert await producer.warm(["t.hot"])
    reports: list[tuple[object, int]] = []
    threads: set[str] = set()

    def on_delivery(error, message):
        threads.add(threading.current_thread().name)
        reports.append((error, int(message.value())))

    for i in range(5000):
        producer.produce("t.hot", b"%d" % i, b"key", on_delivery=on_delivery)
    assert await producer.flush(10) == 0
    figures = producer.figures()
    assert (figures.produced, figures.delivered, figures.failed, figures.in_flight) == (5000, 5000, 0, 0)
    assert figures.produced_bytes == sum(len(b"%d" % i) for i in range(5000))
    assert figures.oldest_unacknowledged_age_s == 0.0
    assert reports == [(None, i) for i in range(5000)]
    assert threads == {"producer-poll"}
    await producer.stop()
    assert [int(m.value()) for m in await asyncio.to_thread(read_topic, kafka, "t.hot", 5000)] == list(
        range(5000)
    )


async def test_warm_writes_nothing(kafka):
    producer = KafkaProducer(data_producer_config(KafkaSettings(bootstrap_servers=kafka)))
    await producer.start()
    assert await producer.warm(["t.warm"])
    assert (await producer.send("t.warm", b"first", partition=0)).offset() == 0
    await producer.stop()


async def test_a_full_queue_is_said_at_once_and_the_age_grows(nobody):
    config = data_producer_config(KafkaSettings(bootstrap_servers=nobody, queue_max_messages=100))
    producer = KafkaProducer(config)
    await producer.start()
    begun_s = time.monotonic()
    for _ in range(100):
        producer.produce("t", b"v")
    with pytest.raises(QueueFullError):
        producer.produce("t", b"v")
    await until(lambda: producer.all_brokers_down)
    await until(lambda: producer.oldest_unacknowledged_age_s() > 0.5)
    figures = producer.figures()
    assert (figures.produced, figures.in_flight, figures.refused) == (100, 100, 1)
    assert abs(figures.oldest_unacknowledged_age_s - (time.monotonic() - begun_s)) < 0.2
    assert await producer.stop(timeout_s=0.1) == 100
    assert producer.figures().failed == 100
    assert not producer.started


async def test_the_age_is_that_of_the_one_stalled_partition(kafka):
    """Nothing but the oldest record counts, whatever is delivered after it."""
    producer = KafkaProducer(data_producer_config(KafkaSettings(bootstrap_servers=kafka)))
    await producer.start()
    await producer.warm(["t.age"])
    book = producer._book
    stuck = book.receipt(None, time.monotonic() - 7.0)  # handed over seven seconds ago, no report since
    stuck.opened += 1
    book.produced += 1
    for _ in range(50):
        await producer.send("t.age", b"v")
        producer.produce("t.age", b"v")
    assert 7.0 <= producer.oldest_unacknowledged_age_s() < 9.0
    stuck(None, None)
    await until(lambda: producer.oldest_unacknowledged_age_s() == 0.0)
    assert await producer.stop() == 0


async def test_too_large_is_a_delivery_error_with_its_code(kafka):
    producer = KafkaProducer(control_producer_config(KafkaSettings(bootstrap_servers=kafka)))
    await producer.start()
    with pytest.raises(DeliveryError) as caught:
        await producer.send("t.large", b"x" * 2_000_000)
    assert caught.value.code == ErrorCode.TOO_LARGE
    assert producer.figures().in_flight == 0
    await producer.stop()


async def test_not_started_and_stopped_are_the_callers_mistake(kafka):
    producer = KafkaProducer(control_producer_config(KafkaSettings(bootstrap_servers=kafka)))
    with pytest.raises(ProducerNotStartedError):
        producer.produce("t", b"v")
    await producer.start()
    await producer.start()
    await producer.stop()
    await producer.stop()
    with pytest.raises(ProducerNotStartedError):
        await producer.send("t", b"v")
    await producer.start()
    assert (await producer.send("t.again", b"v")).offset() == 0
    await producer.stop()


async def test_a_callback_that_raises_costs_nobody_else_a_report(kafka):
    producer = KafkaProducer(control_producer_config(KafkaSettings(bootstrap_servers=kafka)))
    await producer.start()

    def broken(_error, _message):
        raise RuntimeError("broken on purpose")

    with capture_logs() as logs:
        producer.produce("t.broken", b"v", on_delivery=broken)
        await producer.send("t.broken", b"v")
        assert await producer.flush(5) == 0
    assert [line["event"] for line in logs] == ["delivery_callback_raised"]
    await producer.stop()


async def test_reports_of_a_batch_cross_into_the_loop_once(kafka):
    producer = KafkaProducer(control_producer_config(KafkaSettings(bootstrap_servers=kafka)))
    await producer.start()
    await producer.warm(["t.batch"])
    crossings: list[int] = []
    into_loop = producer._into_loop
    producer._into_loop = lambda batch: (crossings.append(len(batch)), into_loop(batch))
    await asyncio.gather(*(producer.send("t.batch", b"v", partition=0) for _ in range(2000)))
    assert sum(crossings) == 2000
    assert len(crossings) < 200
    await producer.stop()


async def test_an_outage_does_not_flood_the_log(nobody):
    producer = KafkaProducer(control_producer_config(KafkaSettings(bootstrap_servers=nobody)))
    with capture_logs() as logs:
        await producer.start()
        await until(lambda: producer._link._errors >= 5)
        await producer.stop(timeout_s=0.1)
    assert [line["event"] for line in logs] == ["kafka_broker_unreachable"]
    assert "refused" in logs[0]["reason"]
