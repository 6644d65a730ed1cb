"""Every kind of change that a schema may go through, as pairs of old and new.

``DIFFERENCES`` is what Apache Avro's Python package, a registry (Apache Avro's Java library underneath) and
this project's check answer differently; the table in docs/schemas.md is made from it.
"""

import dataclasses
import json
from typing import Any, Final


@dataclasses.dataclass(frozen=True)
class Change:
    """One change: what it is called, and the two schemas as JSON texts."""

    name: str
    old: str
    new: str


def record(*fields: dict[str, Any], name: str = "R", namespace: str = "n", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": namespace, "fields": list(fields), **more}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def enum(*symbols: str, name: str = "E", **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size: int, name: str = "F", **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size, **more}


def decimal(precision: int, scale: int, base: Any = "bytes") -> dict[str, Any]:
    kind = base if isinstance(base, dict) else {"type": base}
    return {**kind, "logicalType": "decimal", "precision": precision, "scale": scale}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def map_of(values: Any) -> dict[str, Any]:
    return {"type": "map", "values": values}


A: Final = field("a", "string")
INNER: Final = record(field("x", "int"), name="I")
INNER_NULLABLE: Final = record(field("x", "int"), field("y", ["null", "long"], default=None), name="I")
INNER_REQUIRED: Final = record(field("x", "int"), field("y", "long"), name="I")
INNER_RENAMED: Final = record(field("x", "int"), name="J")
WIDE: Final = enum("X", "Y")
NARROW: Final = enum("X")
WIDE_DEFAULT: Final = enum("X", "Y", "UNKNOWN", default="UNKNOWN")
NARROW_DEFAULT: Final = enum("X", "UNKNOWN", default="UNKNOWN")


def _of(kind: Any, **more: Any) -> dict[str, Any]:
    return record(A, field("v", kind, **more))


_PAIRS: Final[list[tuple[str, Any, Any]]] = [
    # fields
    ("nothing", record(A), record(A)),
    ("doc changed", record(A), record(A, doc="words")),
    ("nullable field with default null added", record(A), _of(["null", "long"], default=None)),
    ("nullable field with default null removed", _of(["null", "long"], default=None), record(A)),
    ("nullable field without default added", record(A), _of(["null", "long"])),
    ("field with default added", record(A), _of("long", default=0)),
    ("field with default removed", _of("long", default=0), record(A)),
    ("required field added", record(A), _of("long")),
    ("required field removed", _of("long"), record(A)),
    ("required field renamed", _of("long"), record(A, field("w", "long"))),
    ("required field renamed with alias", _of("long"), record(A, field("w", "long", aliases=["v"]))),
    ("field with default renamed", _of("long", default=0), record(A, field("w", "long", default=0))),
    ("fields reordered", record(A, field("v", "long")), record(field("v", "long"), A)),
    ("default changed", _of("long", default=0), _of("long", default=1)),
    ("default taken away", _of("long", default=0), _of("long")),
    ("default given", _of("long"), _of("long", default=0)),
    ("field alias added", _of("long"), _of("long", aliases=["w"])),
    # types
    *[
        (f"{old} to {new}", _of(old), _of(new))
        for old, new in (
            ("int", "long"),
            ("int", "float"),
            ("int", "double"),
            ("long", "float"),
            ("long", "double"),
            ("float", "double"),
            ("string", "bytes"),
            ("double", "long"),
            ("long", "string"),
            ("boolean", "int"),
            ("null", "int"),
        )
    ],
    ("string to enum", _of("string"), _of(NARROW)),
    ("record to string", _of(INNER), _of("string")),
    # unions
    ("long to null|long", _of("long"), _of(["null", "long"])),
    ("int to null|long", _of("int"), _of(["null", "long"])),
    ("null|long to long|null", _of(["null", "long"]), _of(["long", "null"])),
    ("null|int to null|long", _of(["null", "int"]), _of(["null", "long"])),
    ("union branch added", _of(["null", "long"]), _of(["null", "long", "string"])),
    ("union branch of one type to the type", _of(["long"]), _of("long")),
    ("null|string to null|bytes", _of(["null", "string"]), _of(["null", "bytes"])),
    ("record in a union gets a nullable field", _of(["null", INNER]), _of(["null", INNER_NULLABLE])),
    ("record in a union gets a required field", _of(["null", INNER]), _of(["null", INNER_REQUIRED])),
    ("record in a union renamed", _of(["null", INNER]), _of(["null", INNER_RENAMED])),
    # enums
    ("enum symbol added", _of(NARROW), _of(WIDE)),
    ("enum symbol added, default on both", _of(NARROW_DEFAULT), _of(WIDE_DEFAULT)),
    ("enum symbol removed", _of(WIDE), _of(NARROW)),
    ("enum symbol removed, default on both", _of(WIDE_DEFAULT), _of(NARROW_DEFAULT)),
    ("enum symbol removed, default on the field only", _of(WIDE, default="X"), _of(NARROW, default="X")),
    ("enum symbols reordered", _of(enum("X", "Y")), _of(enum("Y", "X"))),
    ("enum renamed", _of(WIDE), _of(enum("X", "Y", name="E2"))),
    ("enum renamed with alias", _of(WIDE), _of(enum("X", "Y", name="E2", aliases=["E"]))),
    ("enum default given", _of(WIDE), _of(enum("X", "Y", default="X"))),
    (
        "enum in a union gets a symbol, default on both",
        _of(["null", NARROW_DEFAULT], default=None),
        _of(["null", WIDE_DEFAULT], default=None),
    ),
    ("enum in a union gets a symbol", _of(["null", NARROW]), _of(["null", WIDE])),
    # nested
    ("nested record gets a nullable field", _of(INNER), _of(INNER_NULLABLE)),
    ("nested record gets a required field", _of(INNER), _of(INNER_REQUIRED)),
    ("nested record renamed", _of(INNER), _of(INNER_RENAMED)),
    (
        "nested record renamed with alias",
        _of(INNER),
        _of(record(field("x", "int"), name="J", aliases=["I"])),
    ),
    ("nested record in another namespace", _of(INNER), _of({**INNER, "namespace": "other"})),
    ("array of int to array of long", _of(array("int")), _of(array("long"))),
    ("array of records gets a required field", _of(array(INNER)), _of(array(INNER_REQUIRED))),
    ("array of records gets a nullable field", _of(array(INNER)), _of(array(INNER_NULLABLE))),
    ("array to map", _of(array("int")), _of(map_of("int"))),
    ("map of int to map of long", _of(map_of("int")), _of(map_of("long"))),
    ("map of records gets a nullable field", _of(map_of(INNER)), _of(map_of(INNER_NULLABLE))),
    ("map of records gets a required field", _of(map_of(INNER)), _of(map_of(INNER_REQUIRED))),
    # names
    ("record renamed", record(A), record(A, name="S")),
    ("record renamed with alias", record(A), record(A, name="S", aliases=["R"])),
    ("record in another namespace", record(A), record(A, namespace="other")),
    ("record in another namespace with alias", record(A), record(A, namespace="other", aliases=["n.R"])),
    ("record to enum", record(A), enum("X", name="R", namespace="n")),
    # fixed and logical types
    ("fixed size changed", _of(fixed(4)), _of(fixed(8))),
    ("fixed renamed", _of(fixed(4)), _of(fixed(4, "G"))),
    ("fixed to bytes", _of(fixed(4)), _of("bytes")),
    ("decimal scale changed", _of(decimal(18, 2)), _of(decimal(18, 4))),
    ("decimal precision grown", _of(decimal(18, 2)), _of(decimal(38, 2))),
    ("bytes to decimal", _of("bytes"), _of(decimal(18, 2))),
    ("fixed decimal scale changed", _of(decimal(9, 2, fixed(4))), _of(decimal(9, 4, fixed(4)))),
    ("long to timestamp-millis", _of("long"), _of({"type": "long", "logicalType": "timestamp-millis"})),
    (
        "timestamp-millis to timestamp-micros",
        _of({"type": "long", "logicalType": "timestamp-millis"}),
        _of({"type": "long", "logicalType": "timestamp-micros"}),
    ),
    (
        "recursive record gets a nullable field",
        record(field("next", ["null", "R"], default=None)),
        record(field("next", ["null", "R"], default=None), field("y", ["null", "int"], default=None)),
    ),
    (
        "recursive record gets a required field",
        record(field("next", ["null", "R"], default=None)),
        record(field("next", ["null", "R"], default=None), field("y", "int")),
    ),
    # what differs between libraries, or might
    ("fixed renamed with alias", _of(fixed(4)), _of(fixed(4, "G", aliases=["F"]))),
    ("fixed in another namespace", _of(fixed(4)), _of(fixed(4, namespace="other"))),
    ("enum in another namespace", _of(WIDE), _of(enum("X", "Y", namespace="other"))),
    (
        "record in a union renamed with alias",
        _of(["null", INNER]),
        _of(["null", record(field("x", "int"), name="J", aliases=["I"])]),
    ),
    (
        "record in a union in another namespace",
        _of(["null", INNER]),
        _of(["null", {**INNER, "namespace": "o"}]),
    ),
    (
        "record in a union beside one of the same fields",
        _of(["null", INNER]),
        _of(["null", INNER_RENAMED, INNER]),
    ),
    ("enum in a union renamed", _of(["null", WIDE]), _of(["null", enum("X", "Y", name="E2")])),
    ("fixed in a union renamed", _of(["null", fixed(4)]), _of(["null", fixed(4, "G")])),
    ("int to null|long|double", _of("int"), _of(["null", "long", "double"])),
    ("string to null|bytes", _of("string"), _of(["null", "bytes"])),
    ("array in a union widened", _of(["null", array("int")]), _of(["null", array("long")])),
    ("default of the wrong type added", record(A), _of("long", default="x")),
    ("default of an enum that is no symbol added", record(A), _of(enum("X"), default="Z")),
    ("default of a record without a required field added", record(A), _of(INNER, default={})),
    ("default of a record whole added", record(A), _of(INNER, default={"x": 1})),
    ("default of an array of another type added", record(A), _of(array("int"), default=["x"])),
    ("default array added", record(A), _of(array("int"), default=[1])),
    ("default map added", record(A), _of(map_of("int"), default={"k": 1})),
    ("default 0 for a double added", record(A), _of("double", default=0)),
    ("default 0.5 for a long added", record(A), _of("long", default=0.5)),
    ("default beyond an int added", record(A), _of("int", default=2**31)),
    ("default bytes added", record(A), _of("bytes", default="\u00ff")),
    ("default of a fixed of another size added", record(A), _of(fixed(4), default="x")),
    ("default of the second branch added", record(A), _of(["null", "long"], default=5)),
    ("default of no branch added", record(A), _of(["null", "long"], default="x")),
    ("default null for null last added", record(A), _of(["long", "null"], default=None)),
    ("enum default that is no symbol", _of(enum("X")), _of(enum("X", default="Z"))),
    ("enum default on the new schema only, symbol removed", _of(WIDE), _of(NARROW_DEFAULT)),
    ("enum symbol repeated", _of(enum("X")), _of(enum("X", "X"))),
    ("field repeated", record(A), record(A, A)),
    ("union branch repeated", _of(["null", "long"]), _of(["null", "long", "long"])),
    ("name with a hyphen", record(A), record(A, field("b-c", "long", default=0))),
    ("decimal of scale beyond precision", _of(decimal(4, 2)), _of(decimal(4, 6))),
    (
        "alias of a field that stays",
        record(A, field("v", "long")),
        record(A, field("v", "long"), field("w", "long", aliases=["v"])),
    ),
]

CHANGES: Final = [Change(name, json.dumps(old), json.dumps(new)) for name, old, new in _PAIRS]

NEITHER: Final = "nobody"
DIFFERENCES: Final[dict[str, tuple[str, str, str]]] = {
    # change: (rules under which they differ, who refuses, why)
    **dict.fromkeys(
        (
            "enum renamed with alias",
            "nested record renamed with alias",
            "record renamed with alias",
            "fixed renamed with alias",
            "record in a union renamed with alias",
        ),
        (
            "BACKWARD",
            "avro package",
            "it takes an alias only as a full name (`namespace.Name`); the registry completes a short one",
        ),
    ),
    **dict.fromkeys(
        (
            "default of the wrong type added",
            "default of a record without a required field added",
            "default of an array of another type added",
            "default 0.5 for a long added",
            "default beyond an int added",
            "default of no branch added",
        ),
        (
            "all",
            "registry",
            "the avro package does not look at defaults; the registry calls the schema invalid",
        ),
    ),
    **dict.fromkeys(
        ("default of an enum that is no symbol added", "default of a fixed of another size added"),
        ("all", NEITHER, "neither looks; no reader could take the default, so the check here refuses it"),
    ),
    "name with a hyphen": (
        "all",
        "registry",
        "the avro package takes a field's name as it is; the registry calls the schema invalid",
    ),
}


def differences_table() -> str:
    """The Markdown table of docs/schemas.md."""
    rows = ["| change | rule | who refuses | why |", "|---|---|---|---|"]
    rows += [f"| {name} | {rule} | {who} | {why} |" for name, (rule, who, why) in DIFFERENCES.items()]
    return "\n".join(rows)
