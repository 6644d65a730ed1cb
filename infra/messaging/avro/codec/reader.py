"""Framed Avro binary back to plain objects, by fastavro; strict about where the value ends."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import fastavro

from core.errors import PayloadError, RegistryError
from infra.messaging.avro.codec.framing import HEADER_SIZE

Read = Callable[[bytes], Any]


def compile_reader(schema: Any, reader_schema: Any = None) -> Read:
    """A function from framed bytes, written under ``schema``, to dicts, lists and plain values.

    With ``reader_schema`` the value comes as that schema says (Avro's schema resolution). The function raises
    ``core.errors.PayloadError`` for bytes that end too early, go on after the value, or do not fit the schema;
    the framing is the caller's to look at. Raises ``RegistryError`` when ``schema`` is none.
    """
    try:
        written = fastavro.parse_schema(schema)
        wanted = None if reader_schema is None else fastavro.parse_schema(reader_schema)
    except Exception as exc:
        raise RegistryError(f"not a readable Avro schema: {exc}") from exc

    def read(data: bytes) -> Any:
        buffer = BytesIO(data)
        buffer.seek(HEADER_SIZE)
        try:
            value = fastavro.schemaless_reader(buffer, written, wanted)
        except EOFError as exc:
            raise PayloadError(f"the Avro value is cut off: {len(data)} bytes", detail=str(exc)) from exc
        except Exception as exc:
            raise PayloadError(
                f"the bytes do not fit the schema they name ({type(exc).__name__})", detail=str(exc)
            ) from exc
        if buffer.tell() != len(data):
            raise PayloadError(
                f"{len(data) - buffer.tell()} bytes follow the Avro value: it was not written under the schema "
                "it names"
            )
        return value

    return read
