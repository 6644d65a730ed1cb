"""An in-process Kafka: librdkafka's mock cluster, reachable over TCP by other processes too.

It keeps about 5 MB a partition, makes topics on first use with four partitions, has working consumer groups
and idempotence, and no compaction, no admin answers and no transactions that hold.
"""

import asyncio

from confluent_kafka import KafkaException, Producer

from core.errors import GatewayError


class EmbeddedBroker:
    """Lives as long as this object is started; ``bootstrap_servers`` is its address."""

    def __init__(self) -> None:
        self._owner: Producer | None = None
        self._address: str | None = None

    @property
    def bootstrap_servers(self) -> str:
        """``127.0.0.1:PORT``."""
        if self._address is None:
            raise GatewayError("the embedded broker is not started")
        return self._address

    async def start(self) -> None:
        """Start the mock cluster with one broker."""
        self._owner = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        try:
            metadata = await asyncio.to_thread(self._owner.list_topics, None, 10.0)
        except KafkaException as exc:
            raise GatewayError(f"the embedded broker did not start: {exc}") from exc
        broker = next(iter(metadata.brokers.values()))
        self._address = f"{broker.host}:{broker.port}"

    async def stop(self) -> None:
        """End it, with all it holds."""
        self._owner = None
        self._address = None
