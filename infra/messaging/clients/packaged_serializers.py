"""Avro serializers by topic, from the packaged table of subjects and the registry of the settings."""

from typing import Any

from core.errors import PayloadError
from infra.messaging.avro.registry_watch import RegistryWatch
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroSerializer
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.settings import Settings


class PackagedSerializers:
    """Picks the packaged schema of a topic, or always ``schema_name``; the registry is asked at first use.

    From then on it is asked now and then whether it still has what is written with.
    """

    def __init__(self, settings: Settings, schema_name: str | None = None) -> None:
        self._schema_name = schema_name
        self._prefix = settings.gateway.prefix
        self._register = settings.gateway.schema_register == "on"
        self._registry = SchemaRegistryClient(settings.registry)
        self._loader = SchemaLoader()
        self._by_schema: dict[str, AvroSerializer] = {}
        self._watch = RegistryWatch(self._by_schema.values, every_s=settings.registry.check_s)

    async def serialize(self, topic: str, message: Any) -> bytes:
        """Framed bytes; raises ``PayloadError``, also for a topic without a schema, and ``RegistryError``."""
        name = self._schema_name or self._schema_of(topic)
        serializer = self._by_schema.get(name)
        if serializer is None:
            serializer = self._by_schema[name] = AvroSerializer(
                name, self._registry, register=self._register, loader=self._loader
            )
            self._watch.start()
        return await serializer.serialize_async(message)

    async def close(self) -> None:
        """Close the connections to the registry."""
        await self._watch.stop()
        await self._registry.close()

    def _schema_of(self, topic: str) -> str:
        bare = topic.removeprefix(self._prefix)
        for name, entry in self._loader.subjects().items():
            if bare in entry.topics or bare in entry.json_topics:
                return name
        raise PayloadError(f"no packaged schema belongs to the topic {topic}: give a serializer for it")
