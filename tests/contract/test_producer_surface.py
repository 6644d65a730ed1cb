"""The names and calls others rely on, against librdkafka's mock cluster."""

import asyncio
import json
from collections.abc import Iterator

import msgspec
import pytest
from structlog.testing import capture_logs

from core.commands import ConnectionTargetDTO
from core.errors import ConnectFailedError, DeliveryError, PayloadError, ProducerNotStartedError
from core.records import BookKind, OrderBook, Ticker, Trade
from infra.messaging.clients.avro_client import AvroProducerWrapper
from infra.messaging.clients.json_client import JsonProducerWrapper, create_producer
from infra.messaging.connect.producer_client import (
    AvroProducer,
    ErrorEventProducer,
    MetricsProducer,
    RealtimeDataProducer,
)
from tests.kafka_mock import mock_cluster, read_topic, settings_for


@pytest.fixture(scope="module")
def kafka() -> Iterator[str]:
    with mock_cluster() as bootstrap:
        yield bootstrap


@pytest.fixture
def environment(kafka, monkeypatch) -> str:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    return kafka


async def read_json(kafka: str, topic: str, count: int = 1) -> list:
    return [json.loads(m.value()) for m in await asyncio.to_thread(read_topic, kafka, topic, count)]


async def test_create_producer_reads_the_environment_at_start(environment):
    producer = create_producer()
    await producer.start()
    ok = await producer.send_and_wait("test-topic", {"key": "value"})
    assert ok is True
    await producer.stop()
    assert await read_json(environment, "test-topic") == [{"key": "value"}]


async def test_async_with_and_keys(environment):
    async with JsonProducerWrapper() as producer:
        assert await producer.send("test-keys", {"n": 1}, key="upbit|korea") is True
        assert await producer.send_and_wait("test-keys", ConnectionTargetDTO(exchange="a", request_type="b"))
        assert await producer.send_and_wait("test-keys", None, key=b"k")
        with pytest.raises(PayloadError):
            await producer.send_and_wait("test-keys", {"n": 1}, key=5)
        with pytest.raises(PayloadError, match="set"):
            await producer.send_and_wait("test-keys", {"n": {1, 2}})
    with pytest.raises(ProducerNotStartedError):
        await producer.send_and_wait("test-keys", {})
    read = await asyncio.to_thread(read_topic, environment, "test-keys", 3)
    by_key = {m.key(): m.value() for m in read}
    assert by_key[b"upbit|korea"] == b'{"n":1}'
    assert by_key[b"k"] is None


async def test_what_is_not_delivered_is_false_logged_and_counted():
    settings = settings_for("127.0.0.1:1", delivery_timeout_ms=1000)
    with capture_logs() as logs:
        async with JsonProducerWrapper(settings=settings) as producer:
            assert await producer.send_and_wait("t", {"n": 1}) is False
            assert await producer.send_and_wait("t", {"n": 1}) is False
            with pytest.raises(DeliveryError):
                await producer.send("t", {"n": 1})
    assert producer.undelivered == 2
    assert [line["topic"] for line in logs if line["event"] == "message_not_delivered"] == ["t"]


class Framed:
    """A serializer that marks what it made."""

    def __init__(self, mark: bytes) -> None:
        self.mark = mark

    async def serialize_async(self, message: object) -> bytes:
        return self.mark + msgspec.json.encode(message)


async def test_avro_wrapper_serializes_by_topic(kafka):
    serializers = {"avro-a": Framed(b"A"), "avro-b": Framed(b"B")}
    async with AvroProducerWrapper(serializers, settings=settings_for(kafka)) as producer:
        assert await producer.send_and_wait("avro-a", {"x": 1})
        assert await producer.send_and_wait("avro-b", {"x": 1})
        with pytest.raises(PayloadError, match="avro-c"):
            await producer.send_and_wait("avro-c", {"x": 1})
    (a,) = await asyncio.to_thread(read_topic, kafka, "avro-a", 1)
    (b,) = await asyncio.to_thread(read_topic, kafka, "avro-b", 1)
    assert (a.value()[:1], b.value()[:1]) == (b"A", b"B")


async def test_avro_producer_picks_the_wrapper(kafka):
    producer = AvroProducer(use_avro=False, settings=settings_for(kafka))
    with pytest.raises(ProducerNotStartedError):
        await producer.produce_sending({"a": 1}, "picked")
    await producer.start_producer()
    assert await producer.produce_sending({"a": 1}, "picked", key="k") is True
    assert await producer.send_and_wait("picked", {"a": 2}) is True
    await producer.stop_producer()
    assert sorted(m["a"] for m in await read_json(kafka, "picked", 2)) == [1, 2]


async def test_error_events(kafka):
    async with ErrorEventProducer(settings=settings_for(kafka, prefix="e1.")) as producer:
        target = ConnectionTargetDTO(exchange="upbit", region="korea", request_type="ticker")
        assert await producer.send_error_event(
            target=target,
            error=OSError("no route"),
            kind="ws_connection",
            context={"url": "wss://me:secret@host/x", "password": "p"},
        )
        assert await producer.send_error_event(
            ConnectionTargetDTO(exchange="upbit", request_type="ticker"), ConnectFailedError("closed"), "x"
        )
        assert await producer.send_error_event(None, ValueError("?"))
    read = await asyncio.to_thread(read_topic, kafka, "e1.ws.error", 3)
    events = {json.loads(m.value())["error"]["error_message"]["message"]: m for m in read}
    first = json.loads(events["OSError: no route"].value())
    assert first["error"]["error_domain"] == "connection"
    assert first["error"]["error_code"] == "connect_failed"
    assert first["target"] == {"exchange": "upbit", "region": "korea", "request_type": "ticker"}
    assert first["meta"]["raw_context"] == {
        "kind": "ws_connection",
        "url": "wss://***@host/x",
        "password": "***",
    }
    assert events["OSError: no route"].key() == b"upbit|korea|ticker"
    assert events["closed"].key() == b"upbit|korea|ticker"
    assert events["ValueError: ?"].key() is None


async def test_metrics(kafka):
    batch = {
        "range_start_ts_kst": 0,
        "range_end_ts_kst": 60_000,
        "bucket_size_sec": 60,
        "items": [{"minute_start_ts_kst": 0, "total": 1, "details": {"BTC-KRW_COUNT": 1}}],
        "version": 1,
    }
    producer = MetricsProducer(use_avro=True, serializer=Framed(b"M"), settings=settings_for(kafka))
    await producer.start_producer()
    assert await producer.send_counting_batch(
        region="korea", exchange="upbit", request_type="ticker", batch=batch, frames=3
    )
    await producer.stop_producer()
    (read,) = await asyncio.to_thread(read_topic, kafka, "ws.metrics", 1)
    event = msgspec.json.decode(read.value()[1:])
    assert event == {
        "region": "korea",
        "exchange": "upbit",
        "request_type": "ticker",
        "batch": batch,
        "frames": 3,
    }
    assert read.key() == b"upbit|korea|ticker"


class JsonCodec:
    def encode(self, record: object) -> bytes:
        return msgspec.json.encode(record)


COMMON = {
    "exchange": "upbit",
    "region": "korea",
    "symbol": "BTC-KRW",
    "exchange_symbol": "KRW-BTC",
    "exchange_ts_ms": 1_600_000_000_000,
    "received_ts_us": 1_700_000_000_123_456,
    "session_id": 1,
}


@pytest.mark.parametrize(
    ("exchange_time", "timestamp_ms"), [(False, 1_700_000_000_123), (True, 1_600_000_000_000)]
)
async def test_publish_is_the_hot_path(kafka, monkeypatch, exchange_time, timestamp_ms):
    if exchange_time:
        monkeypatch.setenv("GATEWAY_MESSAGE_TIMESTAMP", "exchange")
    prefix = f"hot{exchange_time}."
    producer = RealtimeDataProducer(codec=JsonCodec(), settings=settings_for(kafka, prefix=prefix))
    ticker = Ticker(**COMMON, sequence=1, price=1.5)
    with pytest.raises(ProducerNotStartedError):
        producer.publish(ticker)
    await producer.start_producer()
    reports = []
    producer.publish(ticker, lambda error, message: reports.append((error, message.topic())))
    producer.publish(Trade(**COMMON, sequence=1, price=1.5, quantity=2.0))
    producer.publish(OrderBook(**COMMON, sequence=1, kind=BookKind.DELTA, bids=[], asks=[]))
    core = producer.core
    await producer.stop_producer()
    assert core.figures().delivered == 3
    assert reports == [(None, f"{prefix}realtime.ticker")]
    for topic, kind in (("ticker", Ticker), ("trade", Trade), ("orderbook", OrderBook)):
        (read,) = await asyncio.to_thread(read_topic, kafka, f"{prefix}realtime.{topic}", 1)
        assert read.key() == b"upbit|BTC-KRW"
        assert read.timestamp()[1] == timestamp_ms
        assert msgspec.json.decode(read.value(), type=kind).sequence == 1
