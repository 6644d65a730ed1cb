"""The record codec before and after the registry has given out its ids."""

from core.errors import RegistryUnavailableError
from core.records import Record
from infra.messaging.avro.codec.record_codec import RecordCodec
from infra.messaging.avro.registration import register_all
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.settings import GatewaySettings


class PreparedCodec:
    """Encodes records once ``prepare`` has registered, or looked up, every schema."""

    def __init__(self, registry: SchemaRegistryClient, gateway: GatewaySettings) -> None:
        self._registry = registry
        self._gateway = gateway
        self._codec: RecordCodec | None = None
        self.schema_ids: dict[str, int] = {}

    async def prepare(self) -> None:
        """Ask the registry; raises what ``register_all`` raises. A second call does nothing."""
        if self._codec is not None:
            return
        self.schema_ids = await register_all(
            self._registry,
            prefix=self._gateway.prefix,
            topic_subjects=self._gateway.topic_subjects == "on",
            register=self._gateway.schema_register == "on",
        )
        self._codec = RecordCodec(self.schema_ids)

    def encode(self, record: Record) -> bytes:
        """The framed bytes of one record."""
        codec = self._codec
        if codec is None:
            raise RegistryUnavailableError("the schemas are not registered yet: await prepare() first")
        return codec.encode(record)
