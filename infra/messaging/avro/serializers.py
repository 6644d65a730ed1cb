"""Any message of the packaged schemas to framed Avro and back."""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import msgspec
import orjson
from pydantic import BaseModel

from core.errors import PayloadError, RegistryError, SchemaNotFoundError
from infra.messaging.avro.codec.compiled_writer import Write, compile_writer
from infra.messaging.avro.codec.framing import header_of, schema_id_of
from infra.messaging.avro.codec.json_text import from_json_text, json_text_paths, to_json_text
from infra.messaging.avro.codec.reader import Read, compile_reader
from infra.messaging.avro.registration import register_schema
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.settings import load_settings

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
            register = self._register
            if register is None:
                register = load_settings().gateway.schema_register == "on"
            if self._registry is None:
                async with SchemaRegistryClient() as registry:
                    self._use(await self._resolve(registry, register=register))
            else:
                self._use(await self._resolve(self._registry, register=register))

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

    async def _resolve(self, registry: SchemaRegistryClient, *, register: bool) -> int:
        if register:
            return await register_schema(registry, self._subject, self._text, self._compatibility)
        try:
            return (await registry.find(self._subject, self._text)).id
        except SchemaNotFoundError as exc:
            raise SchemaNotFoundError(
                f"{registry.url} does not have {self.schema_name} under {self._subject}, and registration is "
                "off"
            ) from exc

    def _use(self, schema_id: int) -> None:
        header = header_of(schema_id)
        self._write_object = compile_writer(self._schema, access="attribute", header=header)
        self._write_mapping = compile_writer(self._schema, access="item", header=header)


class AvroDeserializer:
    """Reads framed bytes of any schema that ``registry`` knows.

    Schemas are kept for good; that an id is unknown, or the registry away, is kept ``negative_ttl_s`` seconds,
    so that a stream of such messages does not become a stream of requests. With ``schema_name`` every value
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
        self._wanted = schema if schema_name is None else (loader or SchemaLoader()).schema(schema_name)
        self._readers: dict[int, Read] = {}
        self._failed: dict[int, tuple[float, RegistryError]] = {}
        self._negative_ttl_s = negative_ttl_s
        self._clock = clock
        self._fetching = asyncio.Lock()

    def deserialize(self, data: bytes) -> Any:
        """The value in ``data``, without asking the registry.

        Raises ``core.errors.PayloadError`` for anything but one whole framed value of a schema that is known.
        """
        schema_id = schema_id_of(data)
        reader = self._readers.get(schema_id)
        if reader is None:
            raise PayloadError(
                f"schema id {schema_id} was not fetched yet: await deserialize_async(), or prepare({schema_id})"
            )
        return reader(data)

    async def deserialize_async(self, data: bytes) -> Any:
        """The same, fetching an unknown schema first.

        Raises ``PayloadError`` also when the registry has no such id, and ``RegistryUnavailableError`` when it
        cannot be asked: the same bytes may be read later.
        """
        schema_id = schema_id_of(data)
        reader = self._readers.get(schema_id)
        if reader is None:
            try:
                await self.prepare(schema_id)
            except SchemaNotFoundError as exc:
                raise PayloadError(f"the bytes name schema id {schema_id}: {exc.message}") from exc
            reader = self._readers[schema_id]
        if len(data) >= LARGE_WEIGHT * 10:
            return await asyncio.to_thread(reader, data)
        return reader(data)

    async def prepare(self, schema_id: int) -> None:
        """Fetch one schema; raises what the registry client raises."""
        async with self._fetching:
            if schema_id in self._readers:
                return
            failed = self._failed.get(schema_id)
            if failed is not None and self._clock() < failed[0]:
                raise type(failed[1])(failed[1].message, detail=failed[1].detail)
            try:
                text = await self._registry.schema_by_id(schema_id)
                self._readers[schema_id] = _reader_of(text, self._wanted)
            except RegistryError as exc:
                if len(self._failed) >= 1024:
                    self._failed.clear()
                self._failed[schema_id] = (self._clock() + self._negative_ttl_s, exc)
                raise
            self._failed.pop(schema_id, None)

    async def close(self) -> None:
        """Close the registry client if it was made here."""
        if self._owns_registry:
            await self._registry.close()


def _reader_of(text: str, wanted: Any) -> Read:
    try:
        written = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise RegistryError(f"the registry's schema is not JSON: {exc}") from exc
    read = compile_reader(written, wanted)
    paths = json_text_paths(written if wanted is None else wanted)
    if not paths:
        return read
    return lambda data: from_json_text(read(data), paths)


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
