"""A record codec of its own, for who writes market data without a gateway."""

from typing import Self

from infra.messaging.avro.prepared_codec import PreparedCodec
from infra.messaging.avro.registry_watch import RegistryWatch
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.settings import Settings


class WatchedCodec:
    """``codec``, with the registry that it asks and the watch over both; made by ``opened``."""

    def __init__(self, codec: PreparedCodec, registry: SchemaRegistryClient, check_s: float) -> None:
        self.codec = codec
        self._registry = registry
        self._watch = RegistryWatch(lambda: [codec], every_s=check_s)
        self._watch.start()

    @classmethod
    async def opened(cls, settings: Settings) -> Self:
        """Ready to encode; raises what ``register_all`` raises."""
        registry = SchemaRegistryClient(settings.registry)
        codec = PreparedCodec(registry, settings.gateway)
        try:
            await codec.prepare()
        except BaseException:
            await registry.close()
            raise
        return cls(codec, registry, settings.registry.check_s)

    async def close(self) -> None:
        """Look no more, and close the connections."""
        await self._watch.stop()
        await self._registry.close()
