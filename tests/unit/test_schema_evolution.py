"""Which schema may follow which, in words; and that the current ones may follow what was released."""

import itertools
import json

import pytest

from core.errors import RegistryError
from infra.messaging.avro.schema_evolution import (
    check_against_released,
    house_rule_violations,
    incompatibilities,
    reasons_against,
)
from infra.messaging.schemas.schema_loader import COMPATIBILITIES, SchemaLoader


def record(*fields, name="R"):
    return json.dumps({"type": "record", "name": name, "namespace": "n", "fields": list(fields)})


def field(name, kind, **more):
    return {"name": name, "type": kind, **more}


def enum(*symbols, **more):
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


A = field("a", "string")
NULLABLE = field("b", ["null", "long"], default=None)
REQUIRED = field("b", "long")
LEVELS = sorted(COMPATIBILITIES)


@pytest.mark.parametrize("name", SchemaLoader().names())
def test_the_current_schemas_may_follow_the_released_ones(name):
    assert SchemaLoader().released(name), f"{name} has no released version"
    assert check_against_released(name) == []


@pytest.mark.parametrize("level", LEVELS)
def test_a_nullable_field_with_default_may_come_and_go(level):
    assert incompatibilities(record(A, NULLABLE), [record(A)], level) == []
    assert incompatibilities(record(A), [record(A, NULLABLE)], level) == []


@pytest.mark.parametrize("level", LEVELS)
def test_a_required_field(level):
    stem = level.removesuffix("_TRANSITIVE")
    added = incompatibilities(record(A, REQUIRED), [record(A)], level)
    removed = incompatibilities(record(A), [record(A, REQUIRED)], level)
    assert bool(added) == (stem in ("BACKWARD", "FULL"))
    assert bool(removed) == (stem in ("FORWARD", "FULL"))
    assert incompatibilities(record(A, REQUIRED), [], level) == []


def test_only_transitive_levels_look_further_back():
    versions = [record(A, field("b", "string")), record(A)]
    new = record(A, field("b", "long", default=0))
    assert incompatibilities(new, versions, "BACKWARD") == []
    (reason,) = incompatibilities(new, versions, "BACKWARD_TRANSITIVE")
    assert reason == (
        "`b` changed from string to long: the new schema cannot read records of v1; BACKWARD_TRANSITIVE "
        "needs a type that reads string"
    )


@pytest.mark.parametrize(
    ("new", "old", "level", "said"),
    [
        (
            record(A, REQUIRED),
            record(A),
            "BACKWARD",
            "`b` was added without a default: the new schema cannot read records of v1; BACKWARD needs a "
            "default for it",
        ),
        (
            record(),
            record(A),
            "FORWARD",
            "`a` was removed: readers of v1 cannot read new records; FORWARD needs a default for it",
        ),
        (
            record(field("e", enum("X"))),
            record(field("e", enum("X", "Y"))),
            "BACKWARD",
            "`e` lost the symbols Y and has no default: the new schema cannot read records of v1; BACKWARD",
        ),
        (
            record(field("x", "string")),
            record(field("x", ["null", "string"])),
            "BACKWARD",
            "`x` may be null in v1, and the new schema takes only string: the new schema cannot read",
        ),
        (
            record(field("x", {"type": "array", "items": json.loads(record(REQUIRED, name="I"))})),
            record(field("x", {"type": "array", "items": json.loads(record(name="I"))})),
            "BACKWARD",
            "`x[].b` was added without a default",
        ),
        (
            record(field("x", ["null", json.loads(record(REQUIRED, name="I"))])),
            record(field("x", ["null", json.loads(record(name="I"))])),
            "BACKWARD",
            "`x.b` was added without a default",
        ),
        (
            record(field("x", {"type": "map", "values": "int"})),
            record(field("x", {"type": "map", "values": "long"})),
            "BACKWARD",
            "`x{}` changed from long to int",
        ),
        (record(A, name="S"), record(A), "FULL", "the record: record n.R became record n.S"),
        (
            record(field("x", {"type": "fixed", "name": "F", "size": 4})),
            record(field("x", {"type": "fixed", "name": "F", "size": 8})),
            "BACKWARD",
            "`x` changed from 8 to 4 bytes",
        ),
    ],
)
def test_the_words_name_field_and_rule(new, old, level, said):
    reasons = incompatibilities(new, [old], level)
    assert any(said in reason for reason in reasons), reasons


@pytest.mark.parametrize(
    ("reader", "writer"), [("long", "int"), ("double", "long"), ("string", "bytes"), ("float", "int")]
)
def test_promotions(reader, writer):
    new, old = record(field("x", reader)), record(field("x", writer))
    assert incompatibilities(new, [old], "BACKWARD") == []
    both_ways = {"string", "bytes"} == {reader, writer}
    assert bool(incompatibilities(new, [old], "FORWARD")) != both_ways


def test_an_enum_with_default_may_lose_symbols():
    new = record(field("e", enum("X", "UNKNOWN", default="UNKNOWN")))
    assert (
        incompatibilities(new, [record(field("e", enum("X", "Y", "UNKNOWN", default="UNKNOWN")))], "FULL") == []
    )


def test_aliases_are_followed():
    assert incompatibilities(record(field("z", "string", aliases=["a"])), [record(A)], "BACKWARD") == []


def test_recursive_schemas_end():
    def tree(*more):
        return record(field("next", ["null", "R"], default=None), *more)

    assert incompatibilities(tree(A), [tree(A)], "FULL_TRANSITIVE") == []
    reasons = incompatibilities(tree(A), [tree()], "BACKWARD")
    assert any("`a` was added without a default" in reason for reason in reasons)


def test_every_refusal_has_words():
    """Whatever the official checker refuses, at least one reason is given, and none where it agrees."""
    kinds = ["null", "int", "long", "string", enum("X"), enum("Y"), ["null", "int"], ["string", "long"]]
    kinds += [{"type": "array", "items": "int"}, {"type": "map", "values": "int"}]
    refused = 0
    for new, old in itertools.product(kinds, kinds):
        reasons = incompatibilities(record(field("x", new)), [record(field("x", old))], "BACKWARD")
        if new == old:
            assert reasons == []
        refused += bool(reasons)
        for reason in reasons:
            assert reason.startswith(("`x`", "`x[", "`x{"))
    assert 50 < refused < 95


@pytest.mark.parametrize(
    ("new", "old", "said"),
    [
        (record(A, REQUIRED), record(A), "`b` was added as long; the house rule wants"),
        (record(A, field("b", "long", default=0)), record(A), "`b` was added as long"),
        (record(A, field("b", ["long", "null"], default=0)), record(A), "`b` was added as long | null"),
        (record(A, field("b", ["null", "long"])), record(A), "`b` was added as null | long"),
        (record(field("e", enum("X"))), None, "`e`: the enum E has no default"),
        (record(), record(A), "`a` was removed: readers of v1 cannot read new records; the house rule needs"),
        (record(field("a", "bytes")), record(A), "`a`: changed from string in v1 to bytes"),
        (
            record(field("a", {"type": "array", "items": "bytes"})),
            record(field("a", {"type": "array", "items": "string"})),
            "`a`: changed from array of string in v1 to array of bytes",
        ),
        (record(field("a", "long")), record(field("a", "int")), "`a` changed from int to long"),
        (
            record(field("a", "string", aliases=["z"])),
            record(A),
            "`a` has the alias z; the house rule wants none",
        ),
    ],
)
def test_the_house_rule(new, old, said):
    (violation,) = house_rule_violations(new, [] if old is None else [old])
    assert violation.startswith(said)


def test_the_house_rule_lets_good_changes_through():
    inner = json.loads(record(REQUIRED, name="I"))
    assert house_rule_violations(record(A, REQUIRED), []) == []
    assert house_rule_violations(record(A, field("x", ["null", inner], default=None)), [record(A)]) == []
    assert house_rule_violations(record(A), [record(A, NULLABLE)]) == []


def test_the_house_rule_looks_at_every_version():
    """A name that was given up may not come back as another type."""
    versions = [record(A, NULLABLE), record(A)]
    again = record(A, field("b", ["null", "string"], default=None))
    (first, second) = house_rule_violations(again, versions)
    assert first.startswith("`b` may be long in v1, and the new schema takes only null or string")
    assert second.startswith("`b` may be string in the new schema, and v1 takes only null or long")
    assert house_rule_violations(record(A, NULLABLE), versions) == []


def test_a_decimals_scale_never_changes():
    def priced(scale, precision=18):
        decimal = {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
        return record(field("price", ["null", decimal], default=None))

    assert incompatibilities(priced(4), [priced(2)], "FULL") == []
    (violation,) = house_rule_violations(priced(4), [priced(2)])
    assert violation.startswith("`price`: the decimal's scale changed from 2 in v1 to 4")
    (violation,) = house_rule_violations(priced(2, 38), [priced(2)])
    assert violation.startswith("`price`: changed from null | decimal(18,2) in v1 to null | decimal(38,2)")
    assert house_rule_violations(priced(2), [priced(2)]) == []
    (violation,) = house_rule_violations(priced(4), [priced(2), record(NULLABLE)])
    assert "scale changed from 2 in v1 to 4" in violation


def test_a_difference_is_told_once_under_its_level():
    reasons = reasons_against(record(), [record(A)], "FORWARD")
    assert reasons == ["`a` was removed: readers of v1 cannot read new records; FORWARD needs a default for it"]
    (reason,) = reasons_against(record(), [record(A)], "BACKWARD")
    assert reason.endswith("the house rule needs a default for it")


def test_versions_are_called_by_their_numbers():
    (reason,) = incompatibilities(record(), [record(A)], "FORWARD", numbers=[7])
    assert "readers of v7 cannot" in reason


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([field("b-c", "long")], "'b-c' is not a name"),
        ([field("b", "long", default="x")], "`b`: 'x' is no default of long"),
        ([field("b", "boolean", default=0)], "`b`: 0 is no default of boolean"),
        ([field("b", enum("X"), default="Z")], "`b`: 'Z' is no default of enum E"),
        ([field("b", {"type": "fixed", "name": "F", "size": 2}, default="a")], "no default of fixed F"),
    ],
)
def test_names_and_defaults_are_looked_at(fields, said):
    with pytest.raises(RegistryError, match=said):
        incompatibilities(record(*fields), [], "NONE")


@pytest.mark.parametrize("text", ["{", '{"type": "nonsense"}', '"absent"', "[]x"])
def test_what_is_no_schema(text):
    with pytest.raises(RegistryError, match="the new schema is"):
        incompatibilities(text, [], "FULL")


def test_an_unknown_level():
    with pytest.raises(RegistryError, match="'SIDEWARD' is none of BACKWARD"):
        incompatibilities(record(A), [], "SIDEWARD")
