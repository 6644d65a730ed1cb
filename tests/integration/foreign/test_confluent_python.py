"""The official confluent-kafka Avro deserializers read what a gateway wrote, record by record."""

import time
from typing import Any

import pytest
from confluent_kafka import DeserializingConsumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer

from tests.integration.foreign.market import SCHEMAS, Market

# The first test pays for the broker, the registry and the gateway's run.
pytestmark = pytest.mark.timeout(240)

Read = dict[tuple[int, int], dict[str, Any]]


def _read(market: Market, topic: str, count: int) -> tuple[Read, list[Any]]:
    """``count`` values by partition and offset, and their keys."""
    registry = SchemaRegistryClient({"url": market.registry_url})
    consumer = DeserializingConsumer(
        {
            "bootstrap.servers": market.bootstrap_servers,
            "group.id": f"{topic}-confluent",
            "auto.offset.reset": "earliest",
            "value.deserializer": AvroDeserializer(registry),
            "key.deserializer": lambda key, _context: key.decode(),
        }
    )
    values: Read = {}
    keys = []
    try:
        consumer.subscribe([topic])
        until_s = time.monotonic() + 30
        while len(values) < count and time.monotonic() < until_s:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                values[message.partition(), message.offset()] = message.value()
                keys.append(message.key())
    finally:
        consumer.close()
    return values, keys


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_record_is_read_as_it_was_written(market: Market, name: str) -> None:
    stored = {(partition, offset): record for partition, offset, record in market.records[name]}
    assert stored

    values, keys = _read(market, market.topic(name), len(stored))

    assert values == stored
    exchanges = {"upbit", "binance"}
    assert {record["exchange"] for record in values.values()} == exchanges
    if name == "ws.metrics":
        assert set(keys) <= {f"{e}|{r}|{t}" for e, r in (("upbit", "korea"), ("binance", "asia"))
                             for t in ("ticker", "trade", "orderbook")}  # fmt: skip
        counted = sum(item["total"] for record in values.values() for item in record["batch"]["items"])
        assert counted == sum(len(market.records[topic]) for topic in SCHEMAS if topic != name)
    else:
        assert sorted(keys) == sorted(f"{r['exchange']}|{r['symbol']}" for r in values.values())
