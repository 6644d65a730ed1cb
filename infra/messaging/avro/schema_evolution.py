"""Whether a schema may follow released ones, in words that name the field, the rule and what would mend it.

The verdict on compatibility is that of Apache Avro's own checker; where a registry is stricter (names,
defaults) its answer counts. The house rule goes beyond both, so that every version reads every other, old and
new, both ways: a new field is nullable with default null, an enum has a default, a logical type (a decimal's
precision and scale) never changes, there are no aliases, and nothing is done that only one direction allows.
"""

from collections.abc import Sequence
from typing import Final, Literal

from core.errors import RegistryError
from infra.messaging.avro.schema_differences import Difference, Kind, differences
from infra.messaging.avro.schema_outline import Outline, parsed_json, parsed_schema
from infra.messaging.schemas.schema_loader import COMPATIBILITIES, SchemaLoader

Direction = Literal["BACKWARD", "FORWARD"]

_DIRECTIONS: Final[dict[str, tuple[Direction, ...]]] = {
    "NONE": (),
    "BACKWARD": ("BACKWARD",),
    "FORWARD": ("FORWARD",),
    "FULL": ("BACKWARD", "FORWARD"),
}
_HOUSE_RULE: Final = "the house rule"


def incompatibilities(
    new: str, earlier: Sequence[str], level: str, *, numbers: Sequence[int] | None = None
) -> list[str]:
    """Why schema ``new`` may not follow ``earlier`` (oldest first) under ``level``; empty when it may.

    BACKWARD: the new schema reads what was written under the last earlier one; FORWARD: the other way round;
    FULL: both; ``_TRANSITIVE``: with all earlier ones. Schemas are JSON texts; ``numbers`` are the earlier
    ones' versions (default 1, 2, …). Raises ``RegistryError`` for a text that is no Avro schema and for an
    unknown level.
    """
    if level not in COMPATIBILITIES:
        raise RegistryError(f"compatibility {level!r} is none of {', '.join(sorted(COMPATIBILITIES))}")
    return [words for _path, words in _findings(new, earlier, level, numbers, level)]


def house_rule_violations(
    new: str, earlier: Sequence[str], *, numbers: Sequence[int] | None = None
) -> list[str]:
    """What in ``new`` breaks the house rule against all versions before it (none: it is the first)."""
    after = Outline(parsed_json(new, "the new schema"))
    found = [
        f"`{path}`: the enum {enum['name']} has no default; {_HOUSE_RULE} wants a symbol UNKNOWN and "
        '"default": "UNKNOWN" from the first version on'
        for path, enum in after.enums.items()
        if enum.get("default") is None
    ]
    found += [
        f"{_place(path)} has the alias {', '.join(names)}; {_HOUSE_RULE} wants none, since readers take "
        "aliases differently: a field with a new name is a new field"
        for path, names in after.aliases.items()
    ]
    if not earlier:
        return found
    labels = numbers or range(1, len(earlier) + 1)
    outlines = [Outline(parsed_json(text, f"v{number}")) for number, text in zip(labels, earlier, strict=True)]
    named = set()
    for path, field in after.fields.items():
        if path in outlines[-1].fields or _inside_new(path, outlines[-1], after):
            continue
        kind = field["type"]
        if not isinstance(kind, list) or kind[0] != "null" or field.get("default", "missing") is not None:
            named.add(path)
            found.append(
                f'`{path}` was added as {after.types[path]}; {_HOUSE_RULE} wants a new field as ["null", …] '
                "with default null"
            )
    both_ways = _findings(new, earlier, "FULL_TRANSITIVE", numbers, _HOUSE_RULE)
    found += [words for path, words in both_ways if path not in named]
    named |= {path for path, _words in both_ways}
    for number, before in zip(labels, outlines, strict=True):
        silent = _silent_changes(before, after, f"v{number}")
        found += [words for words in silent if words.split("`")[1] not in named]
    return list(dict.fromkeys(found))


def check_against_released(name: str, loader: SchemaLoader | None = None) -> list[str]:
    """Why the current schema ``name`` may not follow its released versions (its level, and the house rule)."""
    loader = loader or SchemaLoader()
    released = loader.released(name)
    return reasons_against(
        loader.text(name),
        [text for _number, text in released],
        loader.subject(name).compatibility,
        numbers=[number for number, _text in released],
    )


def reasons_against(
    new: str, earlier: Sequence[str], level: str, *, numbers: Sequence[int] | None = None
) -> list[str]:
    """Level and house rule together; each difference is told once, under the level where it breaks that."""
    by_level = _findings(new, earlier, level, numbers, level)
    told = {words.partition(";")[0] for _path, words in by_level}
    house = house_rule_violations(new, earlier, numbers=numbers)
    return [words for _path, words in by_level] + [
        words for words in house if words.partition(";")[0] not in told
    ]


def _findings(
    new: str, earlier: Sequence[str], level: str, numbers: Sequence[int] | None, rule: str
) -> list[tuple[str, str]]:
    """(path, words) of each difference that ``level`` does not allow; ``rule`` is what the words call it."""
    stem, _, transitive = level.partition("_")
    numbered = list(zip(numbers or range(1, len(earlier) + 1), earlier, strict=True))
    parsed = parsed_schema(new, "the new schema")
    found: dict[tuple[str, str], None] = {}
    for number, text in reversed(numbered if transitive else numbered[-1:]):
        old = parsed_schema(text, f"v{number}")
        for direction in _DIRECTIONS[stem]:
            reader, writer = (parsed, old) if direction == "BACKWARD" else (old, parsed)
            for difference in differences(reader, writer):
                words = _words(difference, direction, f"v{number}", rule)
                found[difference.path, words] = None
    return list(found)


def _place(path: str) -> str:
    return f"`{path}`" if path else "the record"


def _words(difference: Difference, direction: Direction, old: str, rule: str) -> str:
    """As "`price` was removed: readers of v3 cannot read new records; FORWARD needs a default for it"."""
    backward = direction == "BACKWARD"
    where = _place(difference.path)
    written, read = difference.written, difference.read
    here, there = ("the new schema", old) if backward else (old, "the new schema")
    was, now = (written, read) if backward else (read, written)
    match difference.kind:
        case Kind.FIELD if backward:
            change, remedy = f"{where} was added without a default", "a default for it"
        case Kind.FIELD:
            change, remedy = f"{where} was removed", "a default for it"
        case Kind.TYPE:
            change, remedy = f"{where} changed from {was} to {now}", f"a type that reads {written}"
        case Kind.BRANCH:
            change = f"{where} may be {written} in {there}, and {here} takes only {read}"
            remedy = f"{written} among its types"
        case Kind.SYMBOLS if backward:
            change, remedy = f"{where} lost the symbols {written} and has no default", "a default symbol"
        case Kind.SYMBOLS:
            change = f"{where} got the symbols {written}, and its enum has no default in {old}"
            remedy = "a default symbol from before"
        case Kind.NAME:
            change, remedy = (
                f"{where}: {was} became {now}",
                f"the name kept, or the full name {was} as an alias",
            )
        case Kind.SIZE:
            change, remedy = f"{where} changed from {was} to {now} bytes", "the size kept"
        case Kind.OTHER:
            change, remedy = f"{where}: {written}", "it otherwise"
    cannot = (
        f"the new schema cannot read records of {old}"
        if backward
        else f"readers of {old} cannot read new records"
    )
    return f"{change}: {cannot}; {rule} needs {remedy}"


def _silent_changes(before: Outline, after: Outline, old: str) -> list[str]:
    """What every checker lets pass although values are read wrong, or not at all (bytes as string)."""
    found = []
    for path in sorted(after.fields.keys() & before.fields.keys()):
        was, now = before.types[path], after.types[path]
        if set(was.split(" | ")) == set(now.split(" | ")):
            continue
        scales = [outline.decimals.get(path) for outline in (before, after)]
        if scales[0] and scales[1] and scales[0][1] != scales[1][1]:
            change = f"the decimal's scale changed from {scales[0][1]} in {old} to {scales[1][1]}"
        else:
            change = f"changed from {was} in {old} to {now}"
        found.append(
            f"`{path}`: {change}: old and new readers take each other's values for something else; "
            f"{_HOUSE_RULE} wants a new field in its place"
        )
    return found


def _inside_new(path: str, before: Outline, after: Outline) -> bool:
    """Whether a field stands in a record that is itself new: that one's own field is what the rule is about."""
    parent = path.rpartition(".")[0].rstrip("[]{}")
    return bool(parent) and parent in after.fields and parent not in before.fields
