"""Producer and consumer of Avro messages in Confluent's wire format."""

from collections.abc import Mapping
from typing import Any, Protocol

from core.errors import PayloadError
from infra.messaging.clients.kafka_producer import KafkaProducer
from infra.messaging.clients.producer_profiles import control_producer_config
from infra.messaging.clients.value_producer import Profile, ValueProducer
from infra.settings import Settings


class ValueSerializer(Protocol):
    """Turns a value into framed bytes (``infra.messaging.avro.serializers.AvroSerializer``)."""

    def serialize(self, message: Any) -> bytes:
        """Byte 0, schema id, Avro binary; raises ``PayloadError`` naming the field."""
        ...


class AvroProducerWrapper(ValueProducer):
    """Sends Avro: ``serializer`` is one for every topic, or one per topic by name."""

    def __init__(
        self,
        serializer: ValueSerializer | Mapping[str, ValueSerializer] | None = None,
        *,
        settings: Settings | None = None,
        profile: Profile = control_producer_config,
        name: str = "control-avro",
        core: KafkaProducer | None = None,
    ) -> None:
        super().__init__(settings=settings, profile=profile, name=name, core=core)
        self._serializer = serializer

    def encode(self, topic: str, value: Any) -> bytes | None:
        """Confluent-framed Avro; bytes are taken as already framed, None is a tombstone."""
        if value is None or isinstance(value, bytes):
            return value
        serializer = self._serializer
        if isinstance(serializer, Mapping):
            serializer = serializer.get(topic)
        if serializer is None:
            raise PayloadError(f"no Avro serializer for the topic {topic}")
        return serializer.serialize(value)
