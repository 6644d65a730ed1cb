"""An Avro schema as a tree of nodes, for the writers to be built from."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from core.errors import RegistryError

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
MISSING: Final = object()
"""Stands for "no default" (None is one)."""


class UnsupportedSchemaError(Exception):
    """The schema uses what the generated writers do not cover; fastavro writes it then."""


class Primitive(msgspec.Struct, frozen=True):
    """One of Avro's primitive types."""

    kind: str


class DecimalNode(msgspec.Struct, frozen=True):
    """A decimal in bytes: ``precision`` digits, ``scale`` of them after the point."""

    precision: int
    scale: int


class EnumNode(msgspec.Struct, frozen=True):
    """An enum: its symbols in order."""

    name: str
    symbols: tuple[str, ...]


class ArrayNode(msgspec.Struct, frozen=True):
    """An array of ``items``."""

    items: "Node"


class MapNode(msgspec.Struct, frozen=True):
    """A map of text to ``values``."""

    values: "Node"


class UnionNode(msgspec.Struct, frozen=True):
    """A union; a branch is written as its index."""

    branches: "tuple[Node, ...]"

    @property
    def optional(self) -> "tuple[int, int, Node] | None":
        """(index of null, index of the other, the other) of a union of null and one more type."""
        if len(self.branches) != 2:
            return None
        for null_index in (0, 1):
            other = self.branches[1 - null_index]
            if self.branches[null_index] == NULL and other != NULL:
                return null_index, 1 - null_index, other
        return None


class FieldNode(msgspec.Struct, frozen=True):
    """A field of a record; ``default`` is MISSING when there is none.

    ``is_json_text`` marks a string that carries any JSON value (``contentMediaType`` in the schema).
    """

    name: str
    node: "Node"
    default: Any
    is_json_text: bool = False


class RecordNode(msgspec.Struct, frozen=True):
    """A record: its full name and its fields in order."""

    name: str
    fields: tuple[FieldNode, ...]


Node = Primitive | DecimalNode | EnumNode | ArrayNode | MapNode | UnionNode | RecordNode
NULL: Final = Primitive("null")
JSON_MEDIA_TYPE: Final = "application/json"


def parse_schema(schema: Any) -> Node:
    """Read a schema (JSON objects, lists and texts).

    Raises ``UnsupportedSchemaError`` for logical types (but decimals in bytes), fixed and recursive records,
    and ``core.errors.RegistryError`` for what is no schema at all.
    """
    return _parse(schema, "", {}, frozenset())


def _parse(schema: Any, namespace: str, named: dict[str, Node], open_names: frozenset[str]) -> Node:
    if isinstance(schema, str):
        if schema in PRIMITIVES:
            return Primitive(schema)
        full = _full_name(schema, namespace)
        if full in open_names:
            raise UnsupportedSchemaError(f"{full} contains itself")
        if full not in named:
            raise RegistryError(f"the schema names a type {full!r} that it does not define before")
        return named[full]
    if isinstance(schema, list):
        return UnionNode(tuple(_parse(branch, namespace, named, open_names) for branch in schema))
    if not isinstance(schema, Mapping) or "type" not in schema:
        raise RegistryError(f"not an Avro schema: {schema!r:.100}")
    if schema.get("logicalType") == "decimal" and schema["type"] == "bytes":
        return _parse_decimal(schema)
    if "logicalType" in schema:
        raise UnsupportedSchemaError(f"logical type {schema['logicalType']}")
    kind = schema["type"]
    match kind:
        case "record":
            return _parse_record(schema, namespace, named, open_names)
        case "enum":
            full = _name_of(schema, namespace)
            symbols = schema.get("symbols")
            if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
                raise RegistryError(f"the enum {full} has no list of symbols")
            enum = named[full] = EnumNode(full, tuple(symbols))
            return enum
        case "array":
            return ArrayNode(_parse(schema.get("items"), namespace, named, open_names))
        case "map":
            return MapNode(_parse(schema.get("values"), namespace, named, open_names))
        case "fixed" | "error":
            raise UnsupportedSchemaError(str(kind))
        case _:
            return _parse(kind, namespace, named, open_names)


def _parse_decimal(schema: Mapping[str, Any]) -> Node:
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int) or not 0 <= scale <= precision != 0:
        raise UnsupportedSchemaError("a decimal that makes no sense")
    return DecimalNode(precision, scale)


def _parse_record(
    schema: Mapping[str, Any], namespace: str, named: dict[str, Node], open_names: frozenset[str]
) -> Node:
    full = _name_of(schema, namespace)
    inner = full.rpartition(".")[0]
    fields = []
    entries = schema.get("fields")
    if not isinstance(entries, list):
        raise RegistryError(f"the record {full} has no list of fields")
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str) or "type" not in entry:
            raise RegistryError(f"the record {full} has a field without name or type: {entry!r:.100}")
        node = _parse(entry["type"], inner, named, open_names | {full})
        is_json_text = entry.get("contentMediaType") == JSON_MEDIA_TYPE
        fields.append(FieldNode(entry["name"], node, entry.get("default", MISSING), is_json_text))
    record = named[full] = RecordNode(full, tuple(fields))
    return record


def _name_of(schema: Mapping[str, Any], namespace: str) -> str:
    name = schema.get("name")
    if not isinstance(name, str) or not name:
        raise RegistryError(f"a {schema['type']} without a name")
    return _full_name(name, str(schema.get("namespace", namespace)))


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
