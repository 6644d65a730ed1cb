"""Any message of the packaged schemas to framed Avro and back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from time import monotonic
from typing import Any

import msgspec
import structlog
from pydantic import BaseModel

from core.errors import PayloadError, RegistryError, SchemaNotFoundError
from infra.messaging.avro.codec.compiled_writer import Write, compile_writer
from infra.messaging.avro.codec.framing import header_of, schema_id_of
from infra.messaging.avro.codec.json_text import json_text_paths, to_json_text
from infra.messaging.avro.known_readers import KnownReaders
from infra.messaging.avro.registration import id_under, lost_for_now, register_schema
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.settings import load_settings

_log = structlog.get_logger("schemas")

LARGE_WEIGHT = 5_000
"""From this many items and characters on, a message is converted in a thread (about a millisecond)."""


class AvroSerializer:
    """Writes messages under the packaged schema ``schema_name``.

    ``registry`` (default: that of the settings) is asked once for the schema's id, under ``subject`` (default:
    the table's): the schema is registered there, or with ``register`` off (default:
    ``GATEWAY_SCHEMA_REGISTER``) only looked up. An id that is known already can be given as ``schema_id``; then
    no registry is needed. Raises ``core.errors.RegistryError`` for an unknown schema name.
    """

    def __init__(
        self,
        schema_name: str,
        registry: SchemaRegistryClient | None = None,
        *,
        schema_id: int | None = None,
        subject: str | None = None,
        register: bool | None = None,
        loader: SchemaLoader | None = None,
    ) -> None:
        loader = loader or SchemaLoader()
        self.schema_name = schema_name
        self._text = loader.text(schema_name)
        self._schema = loader.schema(schema_name)
        entry = loader.subject(schema_name)
        self._subject = subject or entry.subject
        self._compatibility = entry.compatibility
        self._registry = registry
        self._register = register
        self._json_paths = json_text_paths(self._schema)
        self._preparing = asyncio.Lock()
        self._resolved_id: int | None = None
        self._write_mapping: Write | None = None
        self._write_object: Write | None = None
        if schema_id is not None:
            self._use(schema_id)

    @property
    def is_prepared(self) -> bool:
        """Whether the schema's id is known."""
        return self._write_mapping is not None

    async def prepare(self) -> None:
        """Resolve the schema's id (once). Raises what the registry client raises."""
        async with self._preparing:
            if self.is_prepared:
                return
            async with self._opened() as registry:
                self._use(await self._resolve(registry))

    async def look_again(self) -> None:
        """Ask whether the registry still has the schema under the id in use, and resolve it anew if not.

        Does nothing before ``prepare``, nor with a ``schema_id`` that was given. Raises
        ``RegistryUnavailableError`` when the registry does not answer, and ``SchemaIncompatibleError`` or
        ``RegistryError`` when the schema is gone and cannot be had again: the id stays as it was.
        """
        async with self._preparing:
            used = self._resolved_id
            if used is None:
                return
            async with self._opened() as registry:
                found = await id_under(registry, self._subject, self._text)
                if found == used:
                    return
                try:
                    self._use(await self._resolve(registry))
                except RegistryError as exc:
                    raise lost_for_now(registry, [self._subject], exc) from exc
            _log.warning(
                "schema registered again", subject=self._subject, id_before=used, id_now=self._resolved_id
            )

    def serialize(self, message: Any) -> bytes:
        """``message`` (a mapping, a struct or a model) as framed bytes.

        Raises ``core.errors.PayloadError`` naming the field that does not fit, and ``RegistryError`` when the
        schema's id is not known yet.
        """
        if self._write_mapping is None or self._write_object is None:
            raise RegistryError(
                f"the schema id of {self.schema_name} is not known yet: await prepare(), or serialize_async()"
            )
        if self._json_paths:
            message = _mapping_of(message)
            if isinstance(message, Mapping):
                message = to_json_text(message, self._json_paths)
        if isinstance(message, Mapping):
            return self._write_mapping(message)
        return self._write_object(message)

    async def serialize_async(self, message: Any) -> bytes:
        """The same; resolves the id first if need be, and converts a large message in a thread."""
        if not self.is_prepared:
            await self.prepare()
        if _weight(message, LARGE_WEIGHT) >= LARGE_WEIGHT:
            return await asyncio.to_thread(self.serialize, message)
        return self.serialize(message)

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[SchemaRegistryClient]:
        """The registry that was given, or that of the settings for as long as it is asked."""
        if self._registry is not None:
            yield self._registry
        else:
            async with SchemaRegistryClient() as registry:
                yield registry

    async def _resolve(self, registry: SchemaRegistryClient) -> int:
        if self._register is None:
            self._register = load_settings().gateway.schema_register == "on"
        if self._register:
            found = await register_schema(registry, self._subject, self._text, self._compatibility)
        else:
            looked_up = await id_under(registry, self._subject, self._text)
            if looked_up is None:
                raise SchemaNotFoundError(
                    f"{registry.url} does not have {self.schema_name} under {self._subject}, and registration "
                    "is off"
                )
            found = looked_up
        self._resolved_id = found
        return found

    def _use(self, schema_id: int) -> None:
        header = header_of(schema_id)
        self._write_object = compile_writer(self._schema, access="attribute", header=header)
        self._write_mapping = compile_writer(self._schema, access="item", header=header)


class AvroDeserializer:
    """Reads framed bytes of any schema that ``registry`` knows.

    Schemas are kept; that an id is unknown, or the registry away, is kept ``negative_ttl_s`` seconds,
    so that a stream of such messages does not become a stream of requests. Bytes that do not fit their schema
    make it ask, no more often, what the id stands for by now: a registry that lost its storage may give it to
    another schema. Both meanings are tried from then on, the newer one first. With ``schema_name`` every value
    comes as that packaged schema says (Avro's schema resolution), with ``schema`` (a JSON object) as that one
    does, else as it was written. Without ``registry`` it opens that of the settings; ``close`` closes that one
    alone.
    """

    def __init__(
        self,
        registry: SchemaRegistryClient | None = None,
        *,
        schema_name: str | None = None,
        schema: dict[str, Any] | None = None,
        loader: SchemaLoader | None = None,
        negative_ttl_s: float = 5.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._registry = registry if registry is not None else SchemaRegistryClient()
        self._owns_registry = registry is None
        self._readers = KnownReaders(
            self._registry,
            schema if schema_name is None else (loader or SchemaLoader()).schema(schema_name),
            negative_ttl_s=negative_ttl_s,
            clock=clock,
        )

    def deserialize(self, data: bytes) -> Any:
        """The value in ``data``, without asking the registry.

        Raises ``core.errors.PayloadError`` for anything but one whole framed value of a schema that is known.
        """
        schema_id = schema_id_of(data)
        if not self._readers.knows(schema_id):
            raise PayloadError(
                f"schema id {schema_id} was not fetched yet: await deserialize_async(), or prepare({schema_id})"
            )
        return self._readers.read(schema_id, data)

    async def deserialize_async(self, data: bytes) -> Any:
        """The same, fetching an unknown schema first.

        Raises ``PayloadError`` also when the registry has no such id, and ``RegistryUnavailableError`` when it
        cannot be asked: the same bytes may be read later.
        """
        schema_id = schema_id_of(data)
        if not self._readers.knows(schema_id):
            try:
                await self.prepare(schema_id)
            except SchemaNotFoundError as exc:
                raise PayloadError(f"the bytes name schema id {schema_id}: {exc.message}") from exc
        meaning = self._readers.meaning(schema_id)
        try:
            return await self._read(schema_id, data)
        except PayloadError:
            if not await self._readers.has_changed(schema_id, meaning):
                raise
        return await self._read(schema_id, data)

    async def prepare(self, schema_id: int) -> None:
        """Fetch one schema; raises what the registry client raises."""
        await self._readers.fetch(schema_id)

    async def close(self) -> None:
        """Close the registry client if it was made here."""
        if self._owns_registry:
            await self._registry.close()

    async def _read(self, schema_id: int, data: bytes) -> Any:
        """A long value is read in a thread."""
        if len(data) >= LARGE_WEIGHT * 10:
            return await asyncio.to_thread(self._readers.read, schema_id, data)
        return self._readers.read(schema_id, data)


def _mapping_of(message: Any) -> Any:
    if isinstance(message, BaseModel):
        return message.model_dump()
    if isinstance(message, msgspec.Struct):
        return msgspec.structs.asdict(message)
    return message


def _weight(value: Any, limit: int) -> int:
    """Roughly how many items and characters ``value`` holds; counting stops at ``limit``."""
    total, waiting = 0, [value]
    while waiting and total < limit:
        item = waiting.pop()
        if isinstance(item, BaseModel):
            item = item.__dict__
        if isinstance(item, Mapping):
            total += len(item)
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            total += len(item)
            waiting.extend(item[:limit])
        elif isinstance(item, str | bytes):
            total += len(item) // 100 + 1
        elif isinstance(item, msgspec.Struct):
            total += len(item.__struct_fields__)
            waiting.extend(getattr(item, name) for name in item.__struct_fields__)
    return total
