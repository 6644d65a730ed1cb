"""Where a schema cannot read what another one writes: the place, the kind and both sides of each difference.

The verdict is that of Apache Avro's own checker (``avro.compatibility``); this walk finds where it comes from.
Schemas here are those of the ``avro`` package.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

import avro.compatibility
import msgspec

_PROMOTIONS: Final[dict[str, frozenset[str]]] = {
    "long": frozenset({"int"}),
    "float": frozenset({"int", "long"}),
    "double": frozenset({"int", "long", "float"}),
    "bytes": frozenset({"string"}),
    "string": frozenset({"bytes"}),
}
_NESTED: Final = frozenset({"record", "array", "map", "enum", "fixed"})


class Kind(Enum):
    """What about a place is different."""

    FIELD = "the reader has a field without default that the writer lacks"
    TYPE = "the types differ, and the reader's does not read the writer's"
    BRANCH = "the writer may hold a type that the reader does not take"
    SYMBOLS = "the writer has symbols that the reader lacks, without a default"
    NAME = "a named type is called otherwise"
    SIZE = "a fixed has another size"
    OTHER = "what the official checker says, where this walk finds nothing"


class Difference(msgspec.Struct, frozen=True):
    """One difference: ``path`` (``batch.items[].total``, empty for the whole value), and both sides as text.

    ``written`` and ``read`` are types, names or sizes; for SYMBOLS ``written`` lists what the reader lacks.
    """

    path: str
    kind: Kind
    written: str = ""
    read: str = ""


def differences(reader: Any, writer: Any) -> list[Difference]:
    """Why ``reader`` cannot read what ``writer`` writes; empty when it can."""
    verdict = _verdict(reader, writer)
    if verdict.compatibility is avro.compatibility.SchemaCompatibilityType.compatible:
        return []
    found = list(dict.fromkeys(_differences(reader, writer, "", frozenset())))
    if not found:
        says = f"{'; '.join(sorted(verdict.messages))} at {', '.join(sorted(verdict.locations))}"
        found = [Difference("", Kind.OTHER, says)]
    return found


def _differences(reader: Any, writer: Any, path: str, seen: frozenset[tuple[int, int]]) -> Iterator[Difference]:
    if (id(reader), id(writer)) in seen:
        return
    seen |= {(id(reader), id(writer))}
    if writer.type == "union":
        for branch in writer.schemas:
            if not _readable(reader, branch):
                yield from _branch(reader, branch, path, seen)
        return
    if reader.type == "union":
        if not any(_readable(branch, writer) for branch in reader.schemas):
            yield from _branch(reader, writer, path, seen)
        return
    if reader.type != writer.type:
        if writer.type not in _PROMOTIONS.get(reader.type, ()):
            yield Difference(path, Kind.TYPE, writer.type, reader.type)
        return
    match reader.type:
        case "record":
            yield from _record(reader, writer, path, seen)
        case "array":
            yield from _differences(reader.items, writer.items, f"{path}[]", seen)
        case "map":
            yield from _differences(reader.values, writer.values, f"{path}{{}}", seen)
        case "enum":
            yield from _name(reader, writer, path)
            lost = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
            if lost and reader.props.get("default") not in reader.symbols:
                yield Difference(path, Kind.SYMBOLS, ", ".join(lost), reader.name)
        case "fixed":
            yield from _name(reader, writer, path)
            if reader.size != writer.size:
                yield Difference(path, Kind.SIZE, str(writer.size), str(reader.size))


def _branch(reader: Any, branch: Any, path: str, seen: frozenset[tuple[int, int]]) -> Iterator[Difference]:
    """Look into the branch of the same kind, where there is one: the reason lies deeper then."""
    options = reader.schemas if reader.type == "union" else [reader]
    for option in options:
        if option.type == branch.type and option.type in _NESTED:
            yield from _differences(option, branch, path, seen)
            return
    yield Difference(path, Kind.BRANCH, branch.type, " or ".join(option.type for option in options))


def _record(reader: Any, writer: Any, path: str, seen: frozenset[tuple[int, int]]) -> Iterator[Difference]:
    yield from _name(reader, writer, path)
    for field in reader.fields:
        where = f"{path}.{field.name}" if path else field.name
        written = avro.compatibility.lookup_writer_field(writer_schema=writer, reader_field=field)
        if written is not None:
            yield from _differences(field.type, written.type, where, seen)
        elif not field.has_default:
            yield Difference(where, Kind.FIELD)


def _name(reader: Any, writer: Any, path: str) -> Iterator[Difference]:
    if not avro.compatibility.schema_name_equals(reader, writer):
        yield Difference(
            path, Kind.NAME, f"{writer.type} {writer.fullname}", f"{reader.type} {reader.fullname}"
        )


def _verdict(reader: Any, writer: Any) -> Any:
    checker: Any = avro.compatibility.ReaderWriterCompatibilityChecker
    return checker().get_compatibility(reader, writer)


def _readable(reader: Any, writer: Any) -> bool:
    return bool(_verdict(reader, writer).compatibility is avro.compatibility.SchemaCompatibilityType.compatible)
