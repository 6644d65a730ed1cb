"""Whether a schema may follow released ones, in words that name the field and the rule.

The verdict on compatibility is that of Apache Avro's own checker (``avro.compatibility``); the walk here finds
the words for it. The house rule goes beyond any checker: a new field is nullable with default null, an enum
has a default, a decimal's scale never changes, so that old and new read each other both ways.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import avro.compatibility
import avro.errors
import avro.schema
import orjson

from core.errors import RegistryError
from infra.messaging.schemas.schema_loader import COMPATIBILITIES, SchemaLoader

Direction = Literal["BACKWARD", "FORWARD"]

_DIRECTIONS: Final[dict[str, tuple[Direction, ...]]] = {
    "NONE": (),
    "BACKWARD": ("BACKWARD",),
    "FORWARD": ("FORWARD",),
    "FULL": ("BACKWARD", "FORWARD"),
}
_PROMOTIONS: Final[dict[str, frozenset[str]]] = {
    "long": frozenset({"int"}),
    "float": frozenset({"int", "long"}),
    "double": frozenset({"int", "long", "float"}),
    "bytes": frozenset({"string"}),
    "string": frozenset({"bytes"}),
}


def incompatibilities(new: str, earlier: Sequence[str], level: str) -> list[str]:
    """Why schema ``new`` may not follow ``earlier`` (oldest first) under ``level``; empty when it may.

    BACKWARD: the new schema reads what was written under the last earlier one; FORWARD: the other way round;
    FULL: both; ``_TRANSITIVE``: with all earlier ones. Schemas are JSON texts. Raises ``RegistryError`` for a
    text that is no Avro schema and for an unknown level.
    """
    if level not in COMPATIBILITIES:
        raise RegistryError(f"compatibility {level!r} is none of {', '.join(sorted(COMPATIBILITIES))}")
    stem, _, transitive = level.partition("_")
    numbered = list(enumerate(earlier, start=1))
    compared = numbered if transitive else numbered[-1:]
    parsed = _parsed(new, "the new schema")
    reasons: list[str] = []
    for number, text in reversed(compared):
        old = _parsed(text, f"earlier schema {number}")
        for direction in _DIRECTIONS[stem]:
            reasons += _direction(parsed, old, direction, number, len(numbered))
    return reasons


def house_rule_violations(new: str, previous: str | None) -> list[str]:
    """What in ``new`` breaks the house rule against the version before it (None: it is the first)."""
    after = _Outline(_json(new, "the new schema"))
    before = None if previous is None else _Outline(_json(previous, "the released schema"))
    found = [
        f'{path}: the enum {name} has no default; give it a symbol UNKNOWN and "default": "UNKNOWN"'
        for path, (name, default) in after.enums.items()
        if default is None
    ]
    if before is None:
        return found
    for path, field in after.fields.items():
        if path in before.fields or _inside_new(path, before, after):
            continue
        kind = field["type"]
        if not isinstance(kind, list) or kind[0] != "null" or field.get("default", "missing") is not None:
            found.append(f'{path}: a new field must be ["null", …] with default null')
    for path, scale in after.scales.items():
        if path in before.scales and before.scales[path] != scale:
            found.append(
                f"{path}: the decimal's scale changed from {before.scales[path]} to {scale}; every old value "
                "would be read wrong. Add a new field instead"
            )
    return found


def check_against_released(name: str, loader: SchemaLoader | None = None) -> list[str]:
    """Why the current schema ``name`` may not follow its released versions (its level, and the house rule)."""
    loader = loader or SchemaLoader()
    current = loader.text(name)
    released = [text for _version, text in loader.released(name)]
    reasons = incompatibilities(current, released, loader.subject(name).compatibility)
    return reasons + house_rule_violations(current, released[-1] if released else None)


# -- compatibility in words ----------------------------------------------------------------------------


def _direction(new: Any, old: Any, direction: Direction, number: int, of: int) -> list[str]:
    reader, writer = (new, old) if direction == "BACKWARD" else (old, new)
    verdict = _verdict(reader, writer)
    if verdict.compatibility is avro.compatibility.SchemaCompatibilityType.compatible:
        return []
    earlier = "the last version" if number == of else f"version {number} of {of}"
    names = ("the new schema", earlier) if direction == "BACKWARD" else (earlier, "the new schema")
    reasons = list(dict.fromkeys(_differences(reader, writer, "", names, frozenset())))
    if not reasons:
        reasons = [f"{'; '.join(sorted(verdict.messages))} at {', '.join(sorted(verdict.locations))}"]
    return [f"{direction}: {names[0]} cannot read what {names[1]} writes: {reason}" for reason in reasons]


def _differences(
    reader: Any, writer: Any, path: str, names: tuple[str, str], seen: frozenset[tuple[int, int]]
) -> Iterator[str]:
    """Each place where ``reader`` cannot read ``writer``; ``names`` are what they are called."""
    if (id(reader), id(writer)) in seen:
        return
    seen |= {(id(reader), id(writer))}
    where = path or "the value"
    if writer.type == "union":
        for branch in writer.schemas:
            if not _readable(reader, branch):
                yield from _branch_differences(reader, branch, path, names, seen)
        return
    if reader.type == "union":
        if not any(_readable(branch, writer) for branch in reader.schemas):
            yield from _branch_differences(reader, writer, path, names, seen)
        return
    if reader.type != writer.type:
        if writer.type not in _PROMOTIONS.get(reader.type, ()):
            yield f"{where}: {writer.type} in {names[1]}, {reader.type} in {names[0]} (type mismatch)"
        return
    match reader.type:
        case "record":
            yield from _record_differences(reader, writer, path, names, seen)
        case "array":
            yield from _differences(reader.items, writer.items, f"{path}[]", names, seen)
        case "map":
            yield from _differences(reader.values, writer.values, f"{path}{{}}", names, seen)
        case "enum":
            if not _same_name(reader, writer):
                yield f"{where}: enum {writer.name} in {names[1]}, {reader.name} in {names[0]} (name mismatch)"
            lost = sorted(set(writer.symbols) - set(reader.symbols))
            if lost and reader.props.get("default") not in reader.symbols:
                yield (
                    f"{where}: {names[0]} lacks the enum's symbols {', '.join(lost)} and has no default "
                    "(missing enum symbols)"
                )
        case "fixed":
            if not _same_name(reader, writer):
                yield f"{where}: fixed {writer.name} in {names[1]}, {reader.name} in {names[0]} (name mismatch)"
            if reader.size != writer.size:
                yield f"{where}: {writer.size} bytes in {names[1]}, {reader.size} in {names[0]} (fixed size)"


def _branch_differences(
    reader: Any, branch: Any, path: str, names: tuple[str, str], seen: frozenset[tuple[int, int]]
) -> Iterator[str]:
    """Look into the branch of the same kind, where there is one: the reason lies deeper then."""
    options = reader.schemas if reader.type == "union" else [reader]
    for option in options:
        if option.type == branch.type and option.type in ("record", "array", "map", "enum", "fixed"):
            yield from _differences(option, branch, path, names, seen)
            return
    kinds = "/".join(option.type for option in options)
    yield (
        f"{path or 'the value'}: {names[1]} may hold {branch.type}, {names[0]} takes only {kinds} "
        "(missing union branch)"
    )


def _record_differences(
    reader: Any, writer: Any, path: str, names: tuple[str, str], seen: frozenset[tuple[int, int]]
) -> Iterator[str]:
    if not _same_name(reader, writer):
        where = path or "the value"
        yield f"{where}: record {writer.name} in {names[1]}, {reader.name} in {names[0]} (name mismatch)"
    for field in reader.fields:
        where = f"{path}.{field.name}" if path else field.name
        written = avro.compatibility.lookup_writer_field(writer_schema=writer, reader_field=field)
        if written is not None:
            yield from _differences(field.type, written.type, where, names, seen)
        elif not field.has_default:
            yield (
                f"{where}: {names[1]} does not have it and {names[0]} gives no default "
                "(reader field missing default value)"
            )


def _verdict(reader: Any, writer: Any) -> Any:
    checker: Any = avro.compatibility.ReaderWriterCompatibilityChecker
    return checker().get_compatibility(reader, writer)


def _readable(reader: Any, writer: Any) -> bool:
    return bool(_verdict(reader, writer).compatibility is avro.compatibility.SchemaCompatibilityType.compatible)


def _same_name(reader: Any, writer: Any) -> bool:
    return bool(avro.compatibility.schema_name_equals(reader, writer))


def _json(text: str, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise RegistryError(f"{what} is not JSON: {exc}") from exc


def _parsed(text: str, what: str) -> Any:
    _json(text, what)
    try:
        return avro.schema.parse(text)
    except avro.errors.AvroException as exc:
        raise RegistryError(f"{what} is no Avro schema: {exc}") from exc


# -- the outline of a schema, for the house rule -------------------------------------------------------


class _Outline:
    """By path (``batch.items[].total``): fields, enums (name, default), scales of decimals."""

    def __init__(self, schema: Any) -> None:
        self.fields: dict[str, dict[str, Any]] = {}
        self.enums: dict[str, tuple[str, str | None]] = {}
        self.scales: dict[str, int] = {}
        self._named: dict[str, Any] = {}
        self._visit(schema, "", frozenset())

    def _visit(self, schema: Any, path: str, inside: frozenset[str]) -> None:
        if isinstance(schema, list):
            for branch in schema:
                self._visit(branch, path, inside)
            return
        if isinstance(schema, str):
            short = schema.rpartition(".")[2]
            if short in self._named and short not in inside:
                self._visit(self._named[short], path, inside)
            return
        if schema.get("logicalType") == "decimal":
            self.scales[path] = int(schema.get("scale", 0))
        name = schema.get("name")
        if name is not None:
            self._named[str(name).rpartition(".")[2]] = schema
            inside |= {str(name).rpartition(".")[2]}
        match schema["type"]:
            case "record":
                for field in schema["fields"]:
                    where = f"{path}.{field['name']}" if path else field["name"]
                    self.fields[where] = field
                    self._visit(field["type"], where, inside)
            case "enum":
                self.enums[path] = (name, schema.get("default"))
            case "array":
                self._visit(schema["items"], f"{path}[]", inside)
            case "map":
                self._visit(schema["values"], f"{path}{{}}", inside)
            case dict() | list() as inner:
                self._visit(inner, path, inside)
            case _:
                pass


def _inside_new(path: str, before: _Outline, after: _Outline) -> bool:
    """Whether a field stands in a record that is itself new: that one's own field is what the rule is about."""
    parent = path.rpartition(".")[0].rstrip("[]{}")
    return bool(parent) and parent in after.fields and parent not in before.fields
