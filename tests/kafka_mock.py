"""librdkafka's in-process broker for tests: real protocol, no server to start."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from infra.settings import GatewaySettings, KafkaSettings, Settings


class _Silent:
    def log(self, *_args: object) -> None:
        """librdkafka announces the mock cluster on stderr; tests need no such line."""


@contextmanager
def mock_cluster(brokers: int = 1) -> Iterator[str]:
    """Bootstrap address of a mock cluster that lives as long as the block."""
    keeper = Producer({"test.mock.num.brokers": brokers, "bootstrap.servers": "ignored"}, logger=_Silent())
    found = keeper.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)
    del keeper


def settings_for(bootstrap: str, *, prefix: str = "", **kafka: object) -> Settings:
    """The gateway's settings, pointed at ``bootstrap``."""
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=bootstrap, **kafka), gateway=GatewaySettings(prefix=prefix)
    )


def read_topic(bootstrap: str, topic: str, count: int, timeout_s: float = 20.0) -> list[Message]:
    """At least ``count`` messages of ``topic`` from its beginning; fails after ``timeout_s``."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": uuid4().hex, "auto.offset.reset": "earliest"}
    )
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    found: list[Message] = []
    deadline_s = time.monotonic() + timeout_s
    try:
        while len(found) < count:
            assert time.monotonic() < deadline_s, f"{len(found)} of {count} messages on {topic}"
            found += [m for m in consumer.consume(1000, 0.2) if m.error() is None]
    finally:
        consumer.close()
    return found
