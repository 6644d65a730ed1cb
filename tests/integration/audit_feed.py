"""Writes a gateway's topics by hand, so that a test knows what is in them."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import Producer

from core.records import Ticker
from infra.embedded.registry import EmbeddedRegistry
from infra.messaging.avro.codec.compiled_writer import compile_writer
from infra.messaging.avro.codec.framing import header_of
from infra.messaging.avro.codec.record_codec import RecordCodec
from infra.messaging.avro.registration import register_all
from infra.messaging.avro.schema_evolution import incompatibilities
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.settings import RegistrySettings

T0_US = 1_700_000_040 * 1_000_000  # a whole minute


@contextmanager
def registry_in_a_thread() -> Iterator[str]:
    """The URL of an embedded registry that answers while the test's own thread waits."""
    ready, loop, urls = threading.Event(), asyncio.new_event_loop(), []

    async def serve(stop: asyncio.Event) -> None:
        async with EmbeddedRegistry(incompatibilities) as registry:
            urls.append(registry.url)
            ready.set()
            await stop.wait()

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(stop),))
    thread.start()
    assert ready.wait(10)
    yield urls[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


class Feed:
    """One stream's records and metrics, encoded as the gateway does; partitions as the key decides."""

    def __init__(self, bootstrap: str, registry_url: str, *, prefix: str = "") -> None:
        ids = asyncio.run(self._register(registry_url))
        self._codec = RecordCodec(ids)
        schema = SchemaLoader().schema("metrics_event")
        self._metrics = compile_writer(schema, access="item", header=header_of(ids["metrics_event"]))
        self.producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True})
        self._prefix = prefix

    @staticmethod
    async def _register(url: str) -> dict[str, int]:
        async with SchemaRegistryClient(RegistrySettings(url=url, timeout_s=20)) as client:
            return await register_all(client)

    def records(self, symbol: str, sequences: Iterable[int], *, session: int = 7) -> None:
        """Tickers with these sequences, all in the minute of ``T0_US``; flushed."""
        for n in sequences:
            record = Ticker(
                "upbit", "korea", symbol, symbol, n * 10, T0_US + n, session_id=session, sequence=n, price=1.0
            )
            self.raw("realtime.ticker", f"upbit|{symbol}", self._codec.encode(record))
        self.producer.flush(30)

    def metrics(self, produced: Iterable[tuple[int, str, int, int]]) -> None:
        """The minute's report: (session, symbol, first, last) each; flushed."""
        parts = list(produced)
        details: dict[str, int] = {}
        for _, symbol, first, last in parts:
            details[f"{symbol}_COUNT"] = details.get(f"{symbol}_COUNT", 0) + last - first + 1
        start_ms = T0_US // 1000
        item = {"minute_start_ts_kst": start_ms, "total": sum(details.values()), "details": details}
        batch = {
            "range_start_ts_kst": start_ms,
            "range_end_ts_kst": start_ms + 60_000,
            "bucket_size_sec": 60,
            "items": [item],
            "version": 1,
        }
        names = ("session_id", "symbol", "first", "last")
        event = {
            "region": "korea",
            "exchange": "upbit",
            "request_type": "ticker",
            "batch": batch,
            "sequences": [dict(zip(names, part, strict=True)) for part in parts],
        }
        self.raw("ws.metrics", "upbit|korea|ticker", self._metrics(event))
        self.producer.flush(30)

    def raw(self, topic: str, key: str, value: bytes | None) -> None:
        """Any bytes; not flushed."""
        while True:
            try:
                self.producer.produce(self._prefix + topic, value, key)
                return
            except BufferError:
                self.producer.poll(0.1)
