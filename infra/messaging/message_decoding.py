"""Any message of any topic as a plain value: Avro or JSON, by its first byte."""

from decimal import Decimal
from typing import Any

import orjson

from core.errors import PayloadError, RegistryError
from infra.messaging.avro.codec.framing import schema_id_of
from infra.messaging.avro.codec.reader import Read, compile_reader
from infra.messaging.avro.writer_schemas import WriterSchemas


class MessageDecoder:
    """Decodes by the schema each message was written with; one thread only."""

    def __init__(self, schemas: WriterSchemas) -> None:
        self._schemas = schemas
        self._readers: dict[int, Read] = {}
        self._unreadable: dict[int, str] = {}

    def decode(self, value: bytes | None) -> Any:
        """The value; None for a tombstone.

        Raises ``PayloadError`` for what is neither, and for a schema that cannot be had,
        ``RegistryUnavailableError`` when the registry does not answer.
        """
        if value is None:
            return None
        if value[:1] != b"\x00":
            try:
                return orjson.loads(value)
            except orjson.JSONDecodeError as exc:
                raise PayloadError(f"neither Avro nor JSON ({exc})") from exc
        schema_id = schema_id_of(value)
        read = self._readers.get(schema_id)
        if read is None:
            if schema_id in self._unreadable:
                raise PayloadError(self._unreadable[schema_id])
            try:
                read = self._readers[schema_id] = compile_reader(self._schemas.get(schema_id))
            except RegistryError as exc:
                if exc.retriable:
                    raise
                self._unreadable[schema_id] = exc.message
                raise PayloadError(exc.message) from exc
        return read(value)


def json_form(value: object) -> object:
    """For ``orjson.dumps``: a decimal as its digits, anything else as Python shows it."""
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return repr(value)
