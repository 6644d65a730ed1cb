"""Confluent's wire format: byte 0, the schema id as 4 bytes big-endian, Avro binary."""

import struct
from typing import Final

from core.errors import PayloadError

HEADER_SIZE: Final = 5
_HEADER = struct.Struct(">BI")


def header_of(schema_id: int) -> bytes:
    """The 5 bytes before the Avro binary; raises ``ValueError`` for an id that does not fit 4 bytes."""
    if not 0 <= schema_id < 1 << 32:
        raise ValueError(f"schema id {schema_id} does not fit 4 bytes")
    return _HEADER.pack(0, schema_id)


def schema_id_of(data: bytes) -> int:
    """The schema id in framed ``data``; raises ``PayloadError`` when it is not framed."""
    if len(data) < HEADER_SIZE:
        raise PayloadError(f"{len(data)} bytes are too short for Confluent's framing (5 bytes and a value)")
    magic, schema_id = _HEADER.unpack_from(data)
    if magic != 0:
        raise PayloadError(f"not Confluent's framing: the first byte is {magic:#04x}, not 0x00")
    return int(schema_id)
