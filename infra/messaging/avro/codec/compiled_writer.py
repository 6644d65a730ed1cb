"""Writers generated from a schema: plain Python functions that read an object and return Avro binary."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from io import BytesIO
from struct import Struct
from struct import error as StructError
from typing import Any, Final, Literal

import fastavro

from core.errors import PayloadError
from infra.messaging.avro.codec.checked_writer import refusal, write_checked
from infra.messaging.avro.codec.schema_nodes import (
    MISSING,
    ArrayNode,
    DecimalNode,
    FieldNode,
    MapNode,
    Node,
    Primitive,
    RecordNode,
    UnionNode,
    UnsupportedSchemaError,
    parse_schema,
)
from infra.messaging.avro.codec.shape_writers import (
    Nested,
    Part,
    Scalar,
    ShapeWriters,
    is_scalar,
)
from infra.messaging.avro.codec.varint import INT_MAX, INT_MIN, encode_long

Access = Literal["attribute", "item"]
Write = Callable[[Any], bytes]

_NOT_PLAIN: Final = (
    AttributeError,
    LookupError,
    OverflowError,
    PayloadError,
    StructError,
    TypeError,
    ValueError,
)
"""What a generated writer meets when a value is not of the common exact types."""

_FLOATS: Final = {float}


def compile_writer(
    schema: Any,
    *,
    access: Access,
    header: bytes = b"",
    repeated_texts: Iterable[str] = (),
    repeated_longs: Iterable[str] = (),
) -> Write:
    """A function from an object to ``header`` followed by its Avro binary under ``schema`` (a JSON object).

    ``access`` says how fields are read where it matters for speed: attributes of structs, or items of dicts;
    the other way works too, slower. ``repeated_texts`` are leading string fields, and ``repeated_longs`` long
    fields, of which few different values occur (an exchange's symbols, session ids): they are kept encoded.
    What is accepted is what ``checked_writer.write_checked`` accepts, and it gives the errors
    (``PayloadError``). Schemas beyond its nodes (logical types other than decimal, fixed, recursion)
    are written by fastavro.
    """
    try:
        node = parse_schema(schema)
    except UnsupportedSchemaError:
        return _fastavro_writer(schema, header)
    if not isinstance(node, RecordNode):
        return lambda value: header + write_checked(node, value)
    return _record_writer(node, access, header, tuple(repeated_texts), frozenset(repeated_longs))


def _fastavro_writer(schema: Any, header: bytes) -> Write:
    parsed = fastavro.parse_schema(schema)

    def write(value: Any) -> bytes:
        buffer = BytesIO()
        buffer.write(header)
        try:
            fastavro.validate(value, parsed, strict=True)
            fastavro.schemaless_writer(buffer, parsed, value, strict_allow_default=True)
        except Exception as exc:
            raise refusal("", str(exc)) from exc
        return buffer.getvalue()

    return write


# -- one function per node -----------------------------------------------------------------------------


def _writer(node: Node, access: Access) -> Write:
    """A writer of ``node`` that raises anything of ``_NOT_PLAIN`` for what only the checked one can judge."""
    match node:
        case RecordNode():
            return _record_writer(node, access, b"", (), frozenset(), checked=False)
        case ArrayNode(items=RecordNode() as record) if record.fields and all(
            field.node == Primitive("double") for field in record.fields
        ):
            return _doubles_array_writer(record, access)
        case ArrayNode():
            return _array_writer(node, access)
        case MapNode():
            return _map_writer(node, access)
        case UnionNode() if node.optional is not None:
            return _optional_writer(node.optional, access)
        case Primitive("string"):
            return _write_text
        case Primitive("long"):
            return _write_long
        case Primitive("int"):
            return _write_int
        case _:
            return partial(write_checked, node)


def _write_text(value: Any) -> bytes:
    if type(value) is not str:
        raise TypeError
    raw = value.encode()
    return encode_long(len(raw)) + raw


def _write_long(value: Any) -> bytes:
    if type(value) is not int:
        raise TypeError
    return encode_long(value)


def _write_int(value: Any) -> bytes:
    if type(value) is not int or not INT_MIN <= value <= INT_MAX:
        raise TypeError
    return encode_long(value)


def _optional_writer(optional: tuple[int, int, Node], access: Access) -> Write:
    null_index, other_index, other = optional
    absent, present = encode_long(null_index), encode_long(other_index)
    inner = _writer(other, access)

    def write(value: Any) -> bytes:
        return absent if value is None else present + inner(value)

    return write


def _array_writer(node: ArrayNode, access: Access) -> Write:
    item = _writer(node.items, access)
    join = b"".join

    def write(values: Any) -> bytes:
        if not isinstance(values, list | tuple):
            raise TypeError
        if not values:
            return b"\0"
        return join((encode_long(len(values)), *map(item, values), b"\0"))

    return write


class _DoublePackers(dict[int, Callable[..., bytes]]):
    """Count of doubles -> what packs them; at most 1024, then it starts anew."""

    def __missing__(self, count: int) -> Callable[..., bytes]:
        if len(self) >= 1024:
            self.clear()
        pack = self[count] = Struct(f"<{count}d").pack
        return pack


def _doubles_array_writer(record: RecordNode, access: Access) -> Write:
    """An array of records of doubles alone (a book's levels): column by column into one ``struct`` call."""
    width = len(record.fields)
    columns = "; ".join(
        f"numbers[{index}::{width}] = [level[{field.name!r}] for level in levels]"
        if access == "item"
        else f"numbers[{index}::{width}] = [level.{field.name} for level in levels]"
        for index, field in enumerate(record.fields)
    )
    scope: dict[str, Any] = {}
    exec(f"def flatten(levels, numbers): {columns}", scope)
    flatten: Callable[[Any, list[Any]], None] = scope["flatten"]
    packers = _DoublePackers()
    lengths = {width}

    def write(levels: Any) -> bytes:
        if not isinstance(levels, list | tuple):
            raise TypeError
        count = len(levels)
        if not count:
            return b"\0"
        if access == "item" and set(map(len, levels)) != lengths:
            raise TypeError
        numbers = [0.0] * (count * width)
        flatten(levels, numbers)
        if set(map(type, numbers)) != _FLOATS:
            raise TypeError
        return encode_long(count) + packers[count * width](*numbers) + b"\0"

    return write


def _map_writer(node: MapNode, access: Access) -> Write:
    inner = _writer(node.values, access)
    join = b"".join

    def write(value: Any) -> bytes:
        if not isinstance(value, Mapping):
            raise TypeError
        if not value:
            return b"\0"
        entries = [_write_text(key) + inner(item) for key, item in value.items()]
        return join((encode_long(len(value)), *entries, b"\0"))

    return write


# -- records -------------------------------------------------------------------------------------------


class _LeadingTexts(dict[Any, bytes]):
    """The header and the leading strings of a record, encoded; at most 16384, then it starts anew."""

    def __init__(self, header: bytes) -> None:
        super().__init__()
        self._header = header

    def __missing__(self, texts: Any) -> bytes:
        if len(self) >= 16384:
            self.clear()
        values = (texts,) if isinstance(texts, str) else texts
        if not all(isinstance(text, str) for text in values):
            raise TypeError
        encoded = self[texts] = self._header + b"".join(_write_text(str(text)) for text in values)
        return encoded


def _record_writer(
    node: RecordNode,
    access: Access,
    header: bytes,
    repeated_texts: tuple[str, ...],
    repeated_longs: frozenset[str],
    *,
    checked: bool = True,
) -> Write:
    if not node.fields:
        return lambda value: header + write_checked(node, value)
    lead_fields = node.fields[: len(repeated_texts)]
    if tuple(field.name for field in lead_fields) != repeated_texts or not all(
        field.node == Primitive("string") for field in lead_fields
    ):
        raise ValueError(f"{node.name} does not begin with the strings {', '.join(repeated_texts)}")
    rest = node.fields[len(repeated_texts) :]
    parts = [_part(field, access, repeats=field.name in repeated_longs) for field in rest]
    lead_values = ", ".join(f"l{index}" for index in range(len(lead_fields)))
    scope: dict[str, Any] = {
        "shapes": ShapeWriters(parts),
        "leads": _LeadingTexts(header),
        "lead": header,
        "KNOWN": frozenset(field.name for field in node.fields),
        "NOT_PLAIN": _NOT_PLAIN,
        "header": header,
        "checked": partial(write_checked, node),
        "D": [field.default for field in node.fields],
    }
    targets = [f"l{index}" for index in range(len(lead_fields))]
    targets += [f"v{index}" for index in range(len(rest))]
    lines = _loads(node.fields, targets, access)
    types = "".join(f"type(v{index}), " for index, part in enumerate(parts) if isinstance(part, Scalar))
    lead = f"leads[{lead_values}]" if lead_fields else "lead"
    values = ", ".join([lead, *(f"v{index}" for index in range(len(rest)))])
    lines.append(f"return shapes[({types})]({values})")
    source = "def write(record):\n"
    if checked:
        source += "    try:\n" + "".join(f"        {line}\n" for line in lines)
        source += "    except NOT_PLAIN:\n        return header + checked(record)\n"
    else:
        source += "".join(f"    {line}\n" for line in lines)
    exec(compile(source, f"<avro writer of {node.name}>", "exec"), scope)
    write: Write = scope["write"]
    return write


def _part(field: FieldNode, access: Access, *, repeats: bool) -> Part:
    node = field.node
    if is_scalar(node):
        assert not isinstance(node, RecordNode | ArrayNode | MapNode), "these are not scalar"
        return Scalar(node, repeats)
    return Nested(_writer(node, access))


def _loads(fields: tuple[FieldNode, ...], targets: list[str], access: Access) -> list[str]:
    """The lines that read the fields. A dict with fewer keys takes defaults, unknown keys are refused."""
    if access == "attribute":
        return [f"{target} = record.{field.name}" for field, target in zip(fields, targets, strict=True)]
    lines = [f"if len(record) == {len(fields)}:"]
    lines += [f"    {target} = record[{f.name!r}]" for f, target in zip(fields, targets, strict=True)]
    lines += ["else:", "    if not record.keys() <= KNOWN: raise KeyError", "    get = record.get"]
    for index, (field, target) in enumerate(zip(fields, targets, strict=True)):
        is_plain = field.node != Primitive("bytes") and not isinstance(field.node, DecimalNode)
        has_default = field.default is not MISSING and is_plain
        read = f"get({field.name!r}, D[{index}])" if has_default else f"record[{field.name!r}]"
        lines.append(f"    {target} = {read}")
    return lines
