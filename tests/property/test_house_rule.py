"""Whatever is done to a schema: what the check lets pass is readable, every version by every other."""

import io
import itertools
import json
import string
import warnings
from decimal import Decimal
from typing import Any

import avro.compatibility
import avro.schema
import fastavro
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.errors import RegistryError
from infra.messaging.avro.codec.compiled_writer import compile_writer
from infra.messaging.avro.codec.reader import compile_reader
from infra.messaging.avro.schema_evolution import reasons_against
from infra.messaging.schemas.schema_loader import COMPATIBILITIES

names = st.sampled_from(["a", "b", "c", "d", "e"])
primitives = st.sampled_from(["int", "long", "double", "string", "bytes", "boolean"])
VALUES = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False),
    "string": st.text(string.printable, max_size=5),
    "bytes": st.binary(max_size=5),
    "boolean": st.booleans(),
}
DEFAULTS = {"int": 1, "long": 2, "double": 0.5, "string": "s", "bytes": "b", "boolean": True}


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


decimals = st.sampled_from([decimal(9, 2), decimal(9, 4), decimal(12, 2)])


@st.composite
def enums(draw: st.DrawFn, name: str) -> dict[str, Any]:
    symbols = [*draw(st.lists(st.sampled_from(["X", "Y", "Z"]), unique=True, max_size=3)), "UNKNOWN"]
    has_default = draw(st.sampled_from([True, True, True, False]))
    return {
        "type": "enum",
        "name": f"E_{name}",
        "symbols": symbols,
        **({"default": "UNKNOWN"} if has_default else {}),
    }


@st.composite
def field_types(draw: st.DrawFn, name: str, *, nested: bool = True) -> Any:
    kinds = ["primitive", "primitive", "decimal", "enum", "array", "map", *(["record"] if nested else [])]
    match draw(st.sampled_from(kinds)):
        case "decimal":
            return draw(decimals)
        case "enum":
            return draw(enums(name))
        case "array":
            return {"type": "array", "items": draw(primitives)}
        case "map":
            return {"type": "map", "values": draw(primitives)}
        case "record":
            inner = draw(st.lists(names, min_size=1, max_size=3, unique=True))
            fields = [draw(fields_of(one, prefix=f"{name}_", nested=False)) for one in inner]
            return {"type": "record", "name": f"R_{name}", "fields": fields}
        case _:
            return draw(primitives)


@st.composite
def fields_of(draw: st.DrawFn, name: str, prefix: str = "", *, nested: bool = True) -> dict[str, Any]:
    kind = draw(field_types(prefix + name, nested=nested))
    form = draw(st.sampled_from(["nullable", "nullable", "nullable", "required", "default"]))
    if form == "nullable":
        return {"name": name, "type": ["null", kind], "default": None}
    if form == "default" and isinstance(kind, str):
        return {"name": name, "type": kind, "default": DEFAULTS[kind]}
    return {"name": name, "type": kind}


@st.composite
def edited(draw: st.DrawFn, schema: dict[str, Any]) -> dict[str, Any]:
    """One change of any kind, good or bad."""
    fields = [dict(field) for field in schema["fields"]]
    used = {field["name"] for field in fields}
    change = draw(st.sampled_from(["add", "add", "remove", "retype", "replace", "inside", "alias", "reorder"]))
    free = sorted(set("abcde") - used)
    index = draw(st.integers(0, len(fields) - 1)) if fields else 0
    if (change == "add" or not fields) and free:
        fields.insert(index, draw(fields_of(draw(st.sampled_from(free)))))
    elif change == "remove":
        del fields[index]
    elif change == "retype":
        fields[index]["type"] = draw(field_types(fields[index]["name"]))
        fields[index].pop("default", None)
    elif change == "replace":
        fields[index] = draw(fields_of(fields[index]["name"]))
    elif change == "alias" and free:
        fields[index] = {**fields[index], "name": free[0], "aliases": [fields[index]["name"]]}
    elif change == "inside":
        kind = fields[index]["type"]
        inner = kind[1] if isinstance(kind, list) else kind
        if isinstance(inner, dict) and inner["type"] == "record":
            new = draw(edited_inner(inner, fields[index]["name"]))
        elif isinstance(inner, dict) and inner["type"] == "enum":
            new = draw(enums(fields[index]["name"]))
        else:
            new = inner
        fields[index]["type"] = ["null", new] if isinstance(kind, list) else new
    else:
        fields.reverse()
    return {**schema, "fields": fields}


@st.composite
def edited_inner(draw: st.DrawFn, schema: dict[str, Any], name: str) -> dict[str, Any]:
    fields = list(schema["fields"])
    free = sorted(set("abcde") - {field["name"] for field in fields})
    if free and draw(st.booleans()):
        fields.append(draw(fields_of(draw(st.sampled_from(free)), prefix=f"{name}_", nested=False)))
    elif fields:
        del fields[draw(st.integers(0, len(fields) - 1))]
    return {**schema, "fields": fields}


def passes(candidate: dict[str, Any], chain: list[dict[str, Any]], rule: str) -> bool:
    try:
        return not reasons_against(json.dumps(candidate), [json.dumps(one) for one in chain], rule)
    except RegistryError:  # a type defined twice, as a renamed field can bring about
        return False


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[dict[str, Any]], str]:
    """(the versions that passed the check, the rule they passed under), up to five."""
    rule = draw(st.sampled_from(sorted(COMPATIBILITIES)))
    first = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    schema = {
        "type": "record",
        "name": "R",
        "namespace": "n",
        "fields": [draw(fields_of(one)) for one in first],
    }
    chain: list[dict[str, Any]] = []
    for attempt in range(12):
        candidate = schema if attempt == 0 else draw(edited(chain[-1] if chain else schema))
        if passes(candidate, chain, rule):
            chain.append(candidate)
        if len(chain) == 5:
            break
    return chain, rule


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    if isinstance(kind, list):
        return st.none() | values_of(kind[1])
    if isinstance(kind, str):
        return VALUES[kind]
    if "logicalType" in kind:
        top = Decimal(10 ** (kind["precision"] - kind["scale"])) - 1
        return st.decimals(-top, top, places=kind["scale"])
    match kind["type"]:
        case "record":
            return st.fixed_dictionaries({field["name"]: values_of(field["type"]) for field in kind["fields"]})
        case "enum":
            return st.sampled_from(kind["symbols"])
        case "array":
            return st.lists(values_of(kind["items"]), max_size=2)
        case _:
            return st.dictionaries(VALUES["string"], values_of(kind["values"]), max_size=2)


def same(read: Any, written: Any, kind: Any) -> bool:
    """What both versions know is the same; a symbol that the reader does not know is its default."""
    if isinstance(kind, list):
        return written is None if read is None else same(read, written, kind[1])
    if isinstance(kind, dict) and kind["type"] == "enum":
        return read == (written if written in kind["symbols"] else kind["default"])
    if isinstance(kind, dict) and kind["type"] == "record":
        return all(
            same(read[field["name"]], written[field["name"]], field["type"])
            for field in kind["fields"]
            if field["name"] in written
        )
    return bool(read == written)


@given(chains(), st.data())
@settings(  # not shrunk: a chain is drawn in some hundred steps
    max_examples=100,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_every_pair_of_what_passes_is_readable(chain_and_rule, data):
    chain, _rule = chain_and_rule
    compatible = avro.compatibility.SchemaCompatibilityType.compatible
    values = [data.draw(values_of(writer)) for writer in chain]
    for (number, writer), (other, reader) in itertools.product(enumerate(chain), repeat=2):
        value = values[number]
        framed = compile_writer(writer, access="item", header=b"\0\0\0\0\1")(value)
        read = compile_reader(writer, reader)(framed)
        assert same(read, value, reader), (number, other)
        parsed = [fastavro.parse_schema(json.loads(json.dumps(schema))) for schema in (writer, reader)]
        assert fastavro.schemaless_reader(io.BytesIO(framed[5:]), *parsed) == read
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pair = [avro.schema.parse(json.dumps(schema)) for schema in (reader, writer)]
        checker = avro.compatibility.ReaderWriterCompatibilityChecker()
        assert checker.get_compatibility(*pair).compatibility is compatible


@given(chains())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
def test_the_chains_have_many_versions(chain_and_rule):
    """The property above would say nothing if the check let nothing pass."""
    lengths.append(len(chain_and_rule[0]))


lengths: list[int] = []


def test_some_chains_are_long():
    assert lengths.count(5) > len(lengths) / 10
    assert len(lengths) > 20
