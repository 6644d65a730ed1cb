"""Which schema may follow which, in words; and that the current ones may follow what was released."""

import itertools
import json

import pytest

from core.errors import RegistryError
from infra.messaging.avro.schema_evolution import (
    check_against_released,
    house_rule_violations,
    incompatibilities,
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
        "BACKWARD: the new schema cannot read what version 1 of 2 writes: b: string in version 1 of 2, long in "
        "the new schema (type mismatch)"
    )


@pytest.mark.parametrize(
    ("new", "old", "level", "said"),
    [
        (
            record(A, REQUIRED),
            record(A),
            "BACKWARD",
            "BACKWARD: the new schema cannot read what the last version writes: b: the last version does not "
            "have it and the new schema gives no default (reader field missing default value)",
        ),
        (
            record(),
            record(A),
            "FORWARD",
            "FORWARD: the last version cannot read what the new schema writes: a: the new schema does not have "
            "it and the last version gives no default (reader field missing default value)",
        ),
        (
            record(field("e", enum("X"))),
            record(field("e", enum("X", "Y"))),
            "BACKWARD",
            "e: the new schema lacks the enum's symbols Y and has no default (missing enum symbols)",
        ),
        (
            record(field("x", "string")),
            record(field("x", ["null", "string"])),
            "BACKWARD",
            "x: the last version may hold null, the new schema takes only string (missing union branch)",
        ),
        (
            record(field("x", {"type": "array", "items": json.loads(record(REQUIRED, name="I"))})),
            record(field("x", {"type": "array", "items": json.loads(record(name="I"))})),
            "BACKWARD",
            "x[].b: the last version does not have it",
        ),
        (
            record(field("x", ["null", json.loads(record(REQUIRED, name="I"))])),
            record(field("x", ["null", json.loads(record(name="I"))])),
            "BACKWARD",
            "x.b: the last version does not have it",
        ),
        (
            record(field("x", {"type": "map", "values": "int"})),
            record(field("x", {"type": "map", "values": "long"})),
            "BACKWARD",
            "x{}: long in the last version, int in the new schema (type mismatch)",
        ),
        (record(A, name="S"), record(A), "FULL", "record R in the last version, S in the new schema"),
        (
            record(field("x", {"type": "fixed", "name": "F", "size": 4})),
            record(field("x", {"type": "fixed", "name": "F", "size": 8})),
            "BACKWARD",
            "x: 8 bytes in the last version, 4 in the new schema (fixed size)",
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
    assert any(" a: the last version does not have it" in reason for reason in reasons)


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
            assert " x: " in reason or " x[" in reason or " x{" in reason
    assert 50 < refused < 95


@pytest.mark.parametrize(
    ("new", "old", "said"),
    [
        (record(A, REQUIRED), record(A), 'b: a new field must be ["null", …] with default null'),
        (record(A, field("b", "long", default=0)), record(A), "b: a new field must be"),
        (record(A, field("b", ["long", "null"], default=0)), record(A), "b: a new field must be"),
        (record(A, field("b", ["null", "long"])), record(A), "b: a new field must be"),
        (record(field("e", enum("X"))), None, "e: the enum E has no default"),
    ],
)
def test_the_house_rule(new, old, said):
    (violation,) = house_rule_violations(new, old)
    assert violation.startswith(said)


def test_the_house_rule_lets_good_changes_through():
    inner = json.loads(record(REQUIRED, name="I"))
    assert house_rule_violations(record(A, REQUIRED), None) == []
    assert house_rule_violations(record(A, field("x", ["null", inner], default=None)), record(A)) == []
    assert house_rule_violations(record(A), record(A, NULLABLE)) == []


def test_a_decimals_scale_never_changes():
    def priced(scale):
        decimal = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": scale}
        return record(field("price", ["null", decimal], default=None))

    assert incompatibilities(priced(4), [priced(2)], "FULL") == []
    (violation,) = house_rule_violations(priced(4), priced(2))
    assert violation.startswith("price: the decimal's scale changed from 2 to 4")
    assert house_rule_violations(priced(2), priced(2)) == []


@pytest.mark.parametrize("text", ["{", '{"type": "nonsense"}', '"absent"', "[]x"])
def test_what_is_no_schema(text):
    with pytest.raises(RegistryError, match="the new schema is"):
        incompatibilities(text, [], "FULL")


def test_an_unknown_level():
    with pytest.raises(RegistryError, match="'SIDEWARD' is none of BACKWARD"):
        incompatibilities(record(A), [], "SIDEWARD")
