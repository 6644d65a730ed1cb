"""The record codec before and after the registry has given out its ids, and after it gave out others."""

import structlog

from core.errors import RegistryError, RegistryUnavailableError
from core.records import Record
from infra.messaging.avro.codec.record_codec import RecordCodec
from infra.messaging.avro.registration import id_under, lost_for_now, planned, register_all
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.settings import GatewaySettings

_log = structlog.get_logger("schemas")


class PreparedCodec:
    """Encodes records once ``prepare`` has registered, or looked up, every schema."""

    def __init__(self, registry: SchemaRegistryClient, gateway: GatewaySettings) -> None:
        self._registry = registry
        self._gateway = gateway
        self._registers = gateway.schema_register == "on"
        self._loader = SchemaLoader()
        self._subjects = planned(
            self._loader, gateway.prefix, topic_subjects=self._registers and gateway.topic_subjects == "on"
        )
        self._codec: RecordCodec | None = None
        self.schema_ids: dict[str, int] = {}

    async def prepare(self) -> None:
        """Ask the registry; raises what ``register_all`` raises. A second call does nothing."""
        if self._codec is None:
            self._use(await self._register_all())

    async def look_again(self) -> None:
        """Ask whether the registry still has what records are written with, and mend it where it has not.

        What is gone is registered again, or only looked up, as the settings say. Where ids are others now,
        records carry those from the next one on, all kinds at once. Raises ``RegistryUnavailableError`` when
        the registry does not answer, and ``SchemaIncompatibleError`` or ``RegistryError`` when what is gone
        cannot be had again: the ids stay as they were.
        """
        if self._codec is None:
            return
        gone = [
            one.subject
            for one in self._subjects
            if not self._stands(
                await id_under(self._registry, one.subject, self._loader.text(one.schema)),
                self.schema_ids[one.schema],
                is_main=one.is_main,
            )
        ]
        if not gone:
            return
        before = self.schema_ids
        try:
            self._use(await self._register_all())
        except RegistryError as exc:
            raise lost_for_now(self._registry, gone, exc) from exc
        _log.warning(
            "schemas registered again",
            url=self._registry.url,
            gone=gone,
            new_ids={name: now for name, now in self.schema_ids.items() if now != before[name]},
        )

    def encode(self, record: Record) -> bytes:
        """The framed bytes of one record."""
        codec = self._codec
        if codec is None:
            raise RegistryUnavailableError("the schemas are not registered yet: await prepare() first")
        return codec.encode(record)

    @staticmethod
    def _stands(found: int | None, used: int, *, is_main: bool) -> bool:
        """Under a topic's own subject some registries give another id, and nothing is written with that."""
        return found == used if is_main else found is not None

    async def _register_all(self) -> dict[str, int]:
        return await register_all(
            self._registry,
            loader=self._loader,
            prefix=self._gateway.prefix,
            topic_subjects=self._gateway.topic_subjects == "on",
            register=self._registers,
        )

    def _use(self, schema_ids: dict[str, int]) -> None:
        codec = RecordCodec(schema_ids, self._loader)
        self.schema_ids, self._codec = schema_ids, codec
