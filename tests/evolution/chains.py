"""Chains of five versions, one for each rule, and which reader may read which writer there."""

import itertools
from typing import Any, Final

from tests.evolution.cases import array, decimal, enum, field, record

Chain = list[dict[str, Any]]

_A: Final = field("a", "string")
_GROWING: Final = enum("X", "UNKNOWN", default="UNKNOWN")
_GROWN: Final = enum("X", "Y", "UNKNOWN", default="UNKNOWN")
_NOTE: Final = field("note", ["null", "string"], default=None)
_EXACT: Final = field("exact", ["null", decimal(38, 18)], default=None)
_LEVEL: Final = record(field("price", "double"), name="Level")
_LEVEL_MORE: Final = record(
    field("price", "double"), field("venue", ["null", "string"], default=None), name="Level"
)

# New reads old. Version 3 brings back a name that version 2 gave up, as another type.
_BACKWARD: Final[Chain] = [
    record(_A, field("b", "string"), field("n", "int")),
    record(_A, field("n", "int")),
    record(_A, field("n", "long"), field("b", "long", default=7)),
    record(_A, field("n", "double"), field("b", "long", default=7), field("e", enum("X"), default="X")),
    record(_A, field("n", ["null", "double"]), field("e", enum("X", "Y"), default="X")),
]
_BACKWARD_ALL: Final[Chain] = [
    record(_A, field("b", "string"), field("n", "int")),
    record(_A, field("n", "int")),
    record(_A, field("n", "long"), field("c", "long", default=7)),
    record(_A, field("n", "double"), field("e", enum("X"), default="X")),
    record(_A, field("n", ["null", "double"]), field("e", enum("X", "Y"), default="X"), _NOTE),
]
_FULL: Final[Chain] = [
    record(_A, field("b", ["null", "string"], default=None), field("e", _GROWING)),
    record(_A, field("e", _GROWN)),
    record(_A, field("b", ["null", "long"], default=None), field("e", _GROWN)),
    record(_A, field("e", _GROWING), _NOTE),
    record(_A, field("e", _GROWING), _NOTE, _EXACT),
]
_FULL_ALL: Final[Chain] = [
    record(_A, field("levels", array(_LEVEL)), field("e", _GROWING)),
    record(_A, field("levels", array(_LEVEL)), field("e", _GROWN), _NOTE),
    record(_A, field("levels", array(_LEVEL_MORE)), field("e", _GROWN), _NOTE),
    record(_A, field("levels", array(_LEVEL_MORE)), field("e", _GROWING), _EXACT),
    record(_A, field("levels", array(_LEVEL)), field("e", _GROWN), _EXACT, _NOTE),
]
CHAINS: Final[dict[str, Chain]] = {
    "BACKWARD": _BACKWARD,
    "BACKWARD_TRANSITIVE": _BACKWARD_ALL,
    "FORWARD": _BACKWARD[::-1],
    "FORWARD_TRANSITIVE": _BACKWARD_ALL[::-1],
    "FULL": _FULL,
    "FULL_TRANSITIVE": _FULL_ALL,
    "NONE": [record(field("a", kind)) for kind in ("string", "long", "boolean", array("int"), "bytes")],
}
BROKEN: Final[dict[str, tuple[int, int]]] = {
    "BACKWARD": (3, 1),
    "FORWARD": (3, 5),
    "FULL": (3, 1),
    "NONE": (2, 1),
}
"""A pair (reader, writer), counted from 1, that the rule does not promise and that cannot be read."""


def promised(rule: str) -> list[tuple[int, int]]:
    """(reader, writer) pairs, counted from 1, that the rule promises, each version's own among them."""
    stem, _, transitive = rule.partition("_")
    pairs = []
    for reader, writer in itertools.product(range(1, 6), repeat=2):
        backward, forward = reader > writer, reader < writer
        in_reach = bool(transitive) or abs(reader - writer) <= 1
        allowed = {"BACKWARD": backward, "FORWARD": forward, "FULL": True, "NONE": False}[stem]
        if reader == writer or (allowed and in_reach):
            pairs.append((reader, writer))
    return pairs


def value_of(schema: Any, number: int = 1) -> Any:
    """A value for ``schema`` that every optional part of it is present in."""
    if isinstance(schema, list):
        return value_of(next(branch for branch in schema if branch != "null"), number)
    kind = schema if isinstance(schema, str) else schema.get("logicalType", schema["type"])
    match kind:
        case "record":
            return {one["name"]: value_of(one["type"], number) for one in schema["fields"]}
        case "array":
            return [value_of(schema["items"], number + step) for step in range(2)]
        case "map":
            return {f"k{number}": value_of(schema["values"], number)}
        case "enum":
            return schema["symbols"][min(1, len(schema["symbols"]) - 1)]
        case "decimal":
            from decimal import Decimal

            return Decimal("1.500000000000000000") + number
        case "string":
            return f"text é {number}"
        case "bytes":
            return b"\x00\xff"
        case "boolean":
            return True
        case "double":
            return number + 0.5
        case _:
            return number
