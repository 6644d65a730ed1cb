"""The two producers a process has, as librdkafka settings.

Data and control are apart, so that a full data queue never holds back a ``ws.error``. Both are idempotent
with acks=all: no loss, no doubling and no reordering inside the producer, whatever it retries.
"""

from typing import Any, Final

from infra.settings import KafkaSettings, ProducerProfile

_BATCHING: Final[dict[ProducerProfile, dict[str, Any]]] = {
    ProducerProfile.BALANCED: {"linger.ms": 5, "batch.size": 128 * 1024},
    ProducerProfile.THROUGHPUT: {"linger.ms": 50, "batch.size": 128 * 1024},
    ProducerProfile.LATENCY: {"linger.ms": 0, "batch.size": 128 * 1024},
}


def _common(kafka: KafkaSettings) -> dict[str, Any]:
    return {
        **kafka.client_config(),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": kafka.compression,
        # One connection to every broker from the start: the first record to a leader waits for none.
        "enable.sparse.connections": False,
        "queue.buffering.max.messages": kafka.queue_max_messages,
        "queue.buffering.max.kbytes": kafka.queue_max_kbytes,
    }


def data_producer_config(kafka: KafkaSettings) -> dict[str, Any]:
    """For ``realtime.*``: no delivery time-out, so what is held is neither failed nor sent again."""
    return {**_common(kafka), **_BATCHING[kafka.profile], "message.timeout.ms": 0}


def control_producer_config(kafka: KafkaSettings) -> dict[str, Any]:
    """For everything that is awaited: the broker's answer, or a failure after ``delivery_timeout_ms``."""
    return {**_common(kafka), "linger.ms": 5, "message.timeout.ms": kafka.delivery_timeout_ms}
