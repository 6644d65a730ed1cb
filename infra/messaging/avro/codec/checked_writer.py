"""The strict writer: walks schema and value together and names the path of what does not fit.

It defines what a value may be. The generated writers are its fast form: they take the common exact types and
leave everything else to this one.
"""

import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from core.errors import ErrorCode, ErrorDomain, PayloadError
from infra.messaging.avro.codec.decimal_bytes import decimal_reader, decimal_writer
from infra.messaging.avro.codec.schema_nodes import (
    MISSING,
    ArrayNode,
    DecimalNode,
    EnumNode,
    FieldNode,
    MapNode,
    Node,
    Primitive,
    RecordNode,
    UnionNode,
)
from infra.messaging.avro.codec.varint import INT_MAX, INT_MIN, LONG_MAX, LONG_MIN, encode_long

_DOUBLE = struct.Struct("<d")
_FLOAT = struct.Struct("<f")
_decimal_writer = lru_cache(decimal_writer)


def write_checked(node: Node, value: Any) -> bytes:
    """Avro binary of ``value``.

    A record may be a mapping (without unknown keys) or any object with its fields as attributes; a missing
    field takes its default. Numbers must be in range, bool is no number, an enum's text must be one of its
    symbols; a double may be given as int, and may be infinite or NaN. Raises ``core.errors.PayloadError``
    naming the path, as ``batch.items[3].total``.
    """
    out = bytearray()
    _write(node, value, out, "")
    return bytes(out)


def _write(node: Node, value: Any, out: bytearray, path: str) -> None:
    match node:
        case Primitive():
            out += _primitive(node.kind, value, path)
        case RecordNode():
            _record(node, value, out, path)
        case UnionNode():
            _union(node, value, out, path)
        case DecimalNode():
            if not isinstance(value, Decimal):
                raise _wrong(path, "a Decimal", value)
            try:
                out += _decimal_writer(node.precision, node.scale)(value)
            except ValueError as exc:
                reason = f"{_shown(value)} does not fit decimal({node.precision},{node.scale}): {exc}"
                raise refusal(path, reason) from exc
        case EnumNode():
            if not isinstance(value, str):
                raise _wrong(path, "a text", value)
            if value not in node.symbols:
                raise refusal(path, f"{str(value)!r} is none of {', '.join(node.symbols)}")
            out += encode_long(node.symbols.index(value))
        case ArrayNode():
            if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence):
                raise _wrong(path, "a list", value)
            if value:
                out += encode_long(len(value))
                for index, item in enumerate(value):
                    _write(node.items, item, out, f"{path}[{index}]")
            out.append(0)
        case MapNode():
            if not isinstance(value, Mapping):
                raise _wrong(path, "a map", value)
            if value:
                out += encode_long(len(value))
                for key, item in value.items():
                    if not isinstance(key, str):
                        raise refusal(path, f"a key must be a text, not {_shown(key)}")
                    out += _text(key, f"{path}[{key!r}]")
                    _write(node.values, item, out, f"{path}[{key!r}]")
            out.append(0)


def _record(node: RecordNode, value: Any, out: bytearray, path: str) -> None:
    is_mapping = isinstance(value, Mapping)
    if not is_mapping and (
        value is None or isinstance(value, str | bytes | bytearray | int | float | list | tuple)
    ):
        raise _wrong(path, "an object", value)
    if not is_mapping and node.fields and not any(hasattr(value, field.name) for field in node.fields):
        raise _wrong(path, f"an object with the fields of {node.name}", value)
    if is_mapping:
        unknown = sorted(str(key) for key in value.keys() - {field.name for field in node.fields})
        if unknown:
            raise refusal(_join(path, unknown[0]), f"{node.name} has no such field")
    for field in node.fields:
        item = value.get(field.name, MISSING) if is_mapping else getattr(value, field.name, MISSING)
        where = _join(path, field.name)
        if item is not MISSING:
            _write(field.node, item, out, where)
        elif field.default is not MISSING:
            _default(field, out, where)
        else:
            raise refusal(where, "missing, and it has no default")


def _default(field: FieldNode, out: bytearray, path: str) -> None:
    """Write the schema's default; that of a union belongs to its first branch (Avro, Complex Types)."""
    if isinstance(field.node, UnionNode):
        out.append(0)
        _write(field.node.branches[0], _from_json(field.node.branches[0], field.default), out, path)
    else:
        _write(field.node, _from_json(field.node, field.default), out, path)


def _from_json(node: Node, default: Any) -> Any:
    if isinstance(node, DecimalNode) and isinstance(default, str):
        return decimal_reader(node.precision, node.scale)(default.encode("iso-8859-1"))
    is_bytes = isinstance(node, Primitive) and node.kind == "bytes" and isinstance(default, str)
    return default.encode("iso-8859-1") if is_bytes else default


def _union(node: UnionNode, value: Any, out: bytearray, path: str) -> None:
    optional = node.optional
    if optional is not None:
        null_index, other_index, other = optional
        if value is None:
            out += encode_long(null_index)
        else:
            out += encode_long(other_index)
            _write(other, value, out, path)
        return
    for index, branch in enumerate(node.branches):
        attempt = bytearray()
        try:
            _write(branch, value, attempt, path)
        except PayloadError:
            continue
        out += encode_long(index)
        out += attempt
        return
    raise refusal(path, f"{type(value).__name__} fits no branch of the union")


def _primitive(kind: str, value: Any, path: str) -> bytes:
    match kind:
        case "null":
            if value is None:
                return b""
            raise _wrong(path, "null", value)
        case "boolean":
            if value is True or value is False:
                return b"\x01" if value else b"\x00"
            raise _wrong(path, "true or false", value)
        case "int":
            return _integer(value, INT_MIN, INT_MAX, "an int (32 bits)", path)
        case "long":
            return _integer(value, LONG_MIN, LONG_MAX, "a long (64 bits)", path)
        case "float" | "double":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _wrong(path, "a number", value)
            try:
                return (_FLOAT if kind == "float" else _DOUBLE).pack(value)
            except (OverflowError, struct.error) as exc:
                raise refusal(path, f"{_shown(value)} does not fit a {kind}") from exc
        case "bytes":
            if not isinstance(value, bytes | bytearray | memoryview):
                raise _wrong(path, "bytes", value)
            raw = bytes(value)
            return encode_long(len(raw)) + raw
        case _:
            if not isinstance(value, str):
                raise _wrong(path, "a text", value)
            return _text(value, path)


def _integer(value: Any, low: int, high: int, kind: str, path: str) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(path, kind, value)
    if not low <= value <= high:
        raise refusal(path, f"{_shown(value)} does not fit {kind}")
    return encode_long(int(value))


def _text(value: str, path: str) -> bytes:
    try:
        raw = value.encode()
    except UnicodeEncodeError as exc:
        raise refusal(path, f"the text is not valid Unicode ({exc.reason})") from exc
    return encode_long(len(raw)) + raw


def refusal(path: str, reason: str) -> PayloadError:
    """The error for a value that cannot be encoded; ``path`` is empty for the whole of it."""
    return PayloadError(
        f"{path or 'value'}: {reason}", code=ErrorCode.INVALID_SCHEMA, domain=ErrorDomain.PAYLOAD
    )


def _wrong(path: str, expected: str, value: object) -> PayloadError:
    if value is None:
        return refusal(path, f"null, where {expected} is expected")
    return refusal(path, f"{type(value).__name__} {_shown(value)}, where {expected} is expected")


def _shown(value: object) -> str:
    """At most 60 characters of a value; Python refuses to print integers of thousands of digits."""
    try:
        return repr(value)[:60]
    except ValueError:
        return "(too long to print)"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
