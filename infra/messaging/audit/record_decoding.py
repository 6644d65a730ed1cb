"""Just as much of a market record as the auditor needs, at a fraction of a full decoding.

Avro's binary form is the fields one after the other, so a schema cut off behind the last field of interest
reads a record's beginning and leaves the rest alone.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException

from core.errors import PayloadError
from infra.messaging.avro.codec.framing import HEADER_SIZE, schema_id_of
from infra.messaging.avro.writer_schemas import WriterSchemas

RECORD_FIELDS = frozenset(
    {
        "exchange",
        "region",
        "symbol",
        "exchange_ts_ms",
        "received_ts_us",
        "session_id",
        "sequence",
    }
)
METRICS_FIELDS = frozenset({"region", "exchange", "request_type", "batch", "sequences", "shed"})


class PrefixDecoder:
    """Reads the fields up to the last one in ``needed``, by the schema each message was written with."""

    def __init__(self, schemas: WriterSchemas, needed: frozenset[str]) -> None:
        self._schemas = schemas
        self._needed = needed
        self._readers: dict[int, Callable[[io.BytesIO], Any]] = {}

    def decode(self, value: bytes | None) -> Mapping[str, Any]:
        """The fields; raises ``PayloadError`` for what is not such a record, ``RegistryUnavailableError``."""
        if value is None:
            raise PayloadError("it has no value")
        schema_id = schema_id_of(value)
        reader = self._readers.get(schema_id)
        if reader is None:
            reader = self._readers[schema_id] = self._make(schema_id)
        stream = io.BytesIO(value)
        stream.seek(HEADER_SIZE)
        try:
            fields: Mapping[str, Any] = reader(stream)
        except (EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as exc:
            raise PayloadError(f"it cannot be read with schema {schema_id}: {exc!r}") from exc
        return fields

    def _make(self, schema_id: int) -> Callable[[io.BytesIO], Any]:
        schema = self._schemas.get(schema_id)
        fields = schema.get("fields", []) if isinstance(schema, dict) else []
        places = [at for at, field in enumerate(fields) if field["name"] in self._needed]
        if len(places) != len(self._needed):
            lacking = sorted(self._needed - {field["name"] for field in fields})
            raise PayloadError(f"schema {schema_id} is without {', '.join(lacking)}")
        try:
            cut = fastavro.parse_schema({**schema, "fields": fields[: places[-1] + 1]})
        except SchemaParseException as exc:
            raise PayloadError(f"schema {schema_id} cannot be used: {exc}") from exc
        return lambda stream: fastavro.schemaless_reader(stream, cut, None)
