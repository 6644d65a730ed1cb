"""Producer and consumer of Avro messages in Confluent's wire format."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from core.errors import PayloadError
from infra.messaging.avro.registry_watch import RegistryWatch
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroDeserializer, AvroSerializer
from infra.messaging.clients.kafka_producer import KafkaProducer
from infra.messaging.clients.packaged_serializers import PackagedSerializers
from infra.messaging.clients.producer_profiles import control_producer_config
from infra.messaging.clients.value_consumer import ValueConsumer
from infra.messaging.clients.value_producer import Profile, ValueProducer
from infra.settings import Settings, load_settings


class ValueSerializer(Protocol):
    """Turns a value into framed bytes (``infra.messaging.avro.serializers.AvroSerializer``)."""

    async def serialize_async(self, message: Any) -> bytes:
        """Byte 0, schema id, Avro binary; raises ``PayloadError`` naming the field, ``RegistryError``."""
        ...


class AvroProducerWrapper(ValueProducer):
    """Sends Avro: ``serializer`` is one for every topic, or one per topic by name.

    Without it the packaged schema ``schema_name`` is written, or that of each topic, with the registry of the
    settings, which is first asked when it is first needed. While the registry cannot be asked ``send_and_wait``
    answers False and ``send`` raises ``DeliveryError``. While it is started, every
    ``SCHEMA_REGISTRY_CHECK_S`` the registry is asked whether it still has the schemas, also those of an
    ``AvroSerializer`` that was given; one that lost them gets them again.
    """

    def __init__(
        self,
        serializer: ValueSerializer | Mapping[str, ValueSerializer] | None = None,
        *,
        schema_name: str | None = None,
        settings: Settings | None = None,
        profile: Profile = control_producer_config,
        name: str = "control-avro",
        core: KafkaProducer | None = None,
    ) -> None:
        super().__init__(settings=settings, profile=profile, name=name, core=core)
        self._serializer = serializer
        self._schema_name = schema_name
        self._packaged: PackagedSerializers | None = None
        self._watch: RegistryWatch | None = None

    async def start(self) -> None:
        """Read the settings and open the client; a second call does nothing."""
        await super().start()
        if self._serializer is None:
            if self._packaged is None:
                self._packaged = PackagedSerializers(self._settings or load_settings(), self._schema_name)
        elif self._watch is None and (given := self._given_serializers()):
            settings = self._settings or load_settings()
            self._watch = RegistryWatch(lambda: given, every_s=settings.registry.check_s)
            self._watch.start()

    async def stop(self) -> None:
        """Deliver what is in flight within the drain time-out, then close."""
        await super().stop()
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.stop()
        packaged, self._packaged = self._packaged, None
        if packaged is not None:
            await packaged.close()

    async def encode(self, topic: str, value: Any) -> bytes | None:
        """Confluent-framed Avro; bytes are taken as already framed, None is a tombstone."""
        if value is None or isinstance(value, bytes):
            return value
        if self._packaged is not None:
            return await self._packaged.serialize(topic, value)
        serializer = self._serializer
        if isinstance(serializer, Mapping):
            serializer = serializer.get(topic)
        if serializer is None:
            raise PayloadError(f"no Avro serializer for the topic {topic}")
        return await serializer.serialize_async(value)

    def _given_serializers(self) -> list[AvroSerializer]:
        """Those that were given and have their ids of a registry."""
        given = self._serializer
        serializers = given.values() if isinstance(given, Mapping) else (given,)
        return [one for one in serializers if isinstance(one, AvroSerializer)]


class AvroConsumerWrapper(ValueConsumer):
    """Reads Avro in batches; see ``ValueConsumer``.

    ``deserializer`` defaults to one on the registry of the settings that gives values as they were written.
    While that registry cannot be asked, iteration waits for it and stays in its group.
    """

    def __init__(
        self,
        topics: str | Sequence[str] = (),
        *,
        deserializer: AvroDeserializer | None = None,
        group_id: str = "streamgateway",
        settings: Settings | None = None,
        from_beginning: bool = True,
        max_batch: int = 500,
        name: str = "consumer-avro",
    ) -> None:
        super().__init__(
            topics,
            group_id=group_id,
            settings=settings,
            from_beginning=from_beginning,
            max_batch=max_batch,
            name=name,
        )
        self._given = deserializer
        self._registry: SchemaRegistryClient | None = None
        self._deserializer = deserializer

    async def start(self) -> None:
        """Join the group; a second call does nothing."""
        if self._deserializer is None:
            self._registry = SchemaRegistryClient((self._settings or load_settings()).registry)
            self._deserializer = AvroDeserializer(self._registry)
        await super().start()

    async def stop(self) -> None:
        """Leave the group and close the registry client if it was made here."""
        await super().stop()
        registry, self._registry = self._registry, None
        if registry is not None:
            self._deserializer = None
            await registry.close()

    async def decode(self, topic: str, data: bytes) -> Any:
        """The value as it was written; raises ``PayloadError``."""
        assert self._deserializer is not None, "batches come only after start"
        return await self._deserializer.deserialize_async(data)
