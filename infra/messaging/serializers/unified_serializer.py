"""JSON or Avro behind one face: by configuration when writing, by the first byte when reading."""

from decimal import Decimal
from typing import Any

import msgspec
import orjson
from pydantic import BaseModel

from core.errors import ErrorCode, ErrorDomain, PayloadError
from core.records import Level, OrderBook, json_form
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroDeserializer, AvroSerializer
from infra.messaging.schemas.schema_loader import SchemaLoader


class UnifiedSerializer:
    """Writes JSON, or with ``use_avro`` framed Avro under ``schema_name``; reads both.

    A value whose first byte is 0 is framed Avro (no JSON text begins so). Raises ``ValueError`` when
    ``use_avro`` comes without a schema name.
    """

    def __init__(
        self,
        *,
        use_avro: bool = False,
        schema_name: str | None = None,
        registry: SchemaRegistryClient | None = None,
        loader: SchemaLoader | None = None,
    ) -> None:
        self._avro: AvroSerializer | None = None
        if use_avro:
            if schema_name is None:
                raise ValueError("use_avro needs a schema_name")
            self._avro = AvroSerializer(schema_name, registry, loader=loader)
        self._registry = registry
        self._reader: AvroDeserializer | None = None

    @property
    def use_avro(self) -> bool:
        """Whether it writes Avro."""
        return self._avro is not None

    async def prepare(self) -> None:
        """Resolve the schema's id when writing Avro."""
        if self._avro is not None:
            await self._avro.prepare()

    async def look_again(self) -> None:
        """See ``AvroSerializer.look_again``, when writing Avro."""
        if self._avro is not None:
            await self._avro.look_again()

    def serialize(self, message: Any) -> bytes:
        """``message`` as bytes; raises ``core.errors.PayloadError`` when it cannot be encoded."""
        return _to_json(message) if self._avro is None else self._avro.serialize(message)

    async def serialize_async(self, message: Any) -> bytes:
        """The same; with Avro it resolves the id first, and converts large values in a thread."""
        return _to_json(message) if self._avro is None else await self._avro.serialize_async(message)

    def deserialize(self, data: bytes) -> Any:
        """The value in ``data``, of a schema that is known already; raises ``core.errors.PayloadError``."""
        return self._avro_reader().deserialize(data) if data[:1] == b"\0" else _from_json(data)

    async def deserialize_async(self, data: bytes) -> Any:
        """The same, fetching an unknown schema first."""
        if data[:1] == b"\0":
            return await self._avro_reader().deserialize_async(data)
        return _from_json(data)

    async def close(self) -> None:
        """Close what was opened for reading."""
        if self._reader is not None:
            await self._reader.close()

    def _avro_reader(self) -> AvroDeserializer:
        if self._reader is None:
            self._reader = AvroDeserializer(self._registry)
        return self._reader


def _to_json(message: Any) -> bytes:
    try:
        return orjson.dumps(message, default=_plain)
    except orjson.JSONEncodeError as exc:
        raise PayloadError(
            f"the value cannot be written as JSON: {exc}",
            code=ErrorCode.INVALID_SCHEMA,
            domain=ErrorDomain.PAYLOAD,
        ) from exc


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, OrderBook | Level):
        return json_form(value)
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _from_json(data: bytes) -> Any:
    if not data:
        raise PayloadError("the value is empty, neither JSON nor Avro")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise PayloadError(f"neither JSON nor framed Avro: {exc}") from exc
