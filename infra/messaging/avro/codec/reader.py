"""Framed Avro binary back to plain objects, strict about where the value ends."""

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import fastavro
from fastavro.read import SchemaResolutionError

from core.errors import PayloadError, RegistryError
from infra.messaging.avro.codec.compiled_reader import CutOffError, MalformedError, ReadAt, compile_reader_at
from infra.messaging.avro.codec.framing import HEADER_SIZE
from infra.messaging.avro.codec.schema_nodes import UnsupportedSchemaError, parse_schema

Read = Callable[[bytes], Any]


def compile_reader(schema: Any, reader_schema: Any = None) -> Read:
    """A function from framed bytes, written under ``schema``, to dicts, lists and plain values.

    With ``reader_schema`` the value comes as that schema says (Avro's schema resolution). The function raises
    ``core.errors.PayloadError`` for bytes that end too early, go on after the value, or do not fit the schema;
    the framing is the caller's to look at. Readers are generated; fastavro reads what needs schema resolution
    (after a generated reader has found nothing wrong, since it is less strict), and schemas with other logical
    types than decimal, fixed, recursion or arrays nested very deep. Raises ``RegistryError`` when ``schema`` is
    none.
    """
    try:
        written = fastavro.parse_schema(schema)
        wanted = None if reader_schema is None else fastavro.parse_schema(reader_schema)
    except Exception as exc:
        raise RegistryError(f"not a readable Avro schema: {exc}") from exc
    strict: ReadAt | None
    try:
        strict = compile_reader_at(parse_schema(schema))
    except (UnsupportedSchemaError, SyntaxError):  # Python nests at most 20 blocks
        strict = None
    if strict is not None and wanted is None:
        return _whole(strict)
    resolve = _whole(_fastavro_reader(written, wanted))
    if strict is None:
        return resolve
    look = _whole(strict)

    def read(data: bytes) -> Any:
        look(data)
        return resolve(data)

    return read


def _whole(read_at: ReadAt) -> Read:
    """A reader that takes nothing but one whole value."""

    def read(data: bytes) -> Any:
        try:
            value, end = read_at(data, HEADER_SIZE)
        except (IndexError, EOFError, struct.error, CutOffError) as exc:
            raise PayloadError(f"the Avro value is cut off: {len(data)} bytes") from exc
        except UnicodeDecodeError as exc:
            raise PayloadError("the bytes do not fit the schema they name: a text is not UTF-8") from exc
        except MalformedError as exc:
            raise PayloadError(f"the bytes do not fit the schema they name: {exc}") from exc
        if end != len(data):
            raise PayloadError(
                f"{len(data) - end} bytes follow the Avro value: it was not written under the schema it names"
            )
        return value

    return read


def _fastavro_reader(written: Any, wanted: Any) -> ReadAt:
    def read(data: bytes, position: int) -> tuple[Any, int]:
        buffer = BytesIO(data)
        buffer.seek(position)
        try:
            value = fastavro.schemaless_reader(buffer, written, wanted)
        except (EOFError, UnicodeDecodeError):
            raise
        except SchemaResolutionError as exc:
            raise MalformedError(f"the reader's schema cannot take it: {exc}") from exc
        except Exception as exc:
            raise MalformedError(f"{type(exc).__name__}: {exc}") from exc
        return value, buffer.tell()

    return read
