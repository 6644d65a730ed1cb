"""Serializers over every packaged schema: what does not fit is one error with its path, whatever the bytes."""

import contextlib
import copy
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import PayloadError, RegistryError
from infra.messaging.avro.codec.compiled_writer import compile_writer
from infra.messaging.avro.codec.framing import header_of
from infra.messaging.avro.codec.reader import compile_reader
from infra.messaging.avro.serializers import AvroSerializer
from infra.messaging.message_decoding import MessageDecoder
from infra.messaging.schemas.schema_loader import SchemaLoader
from tests.evolution.chains import value_of

LOADER = SchemaLoader()
NAMES = LOADER.names()
MAX_S = 2.0


def complete(schema: Any) -> Any:
    """A value with every optional part present."""
    return value_of(schema)


def places(schema: Any, value: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """(path, schema, holder with the key) of every field in ``value``, also in records within."""
    if isinstance(schema, list):
        schema = next(branch for branch in schema if branch != "null")
    found = []
    if isinstance(schema, dict) and schema["type"] == "record":
        for field in schema["fields"]:
            where = f"{path}.{field['name']}" if path else field["name"]
            found.append((where, field, value))
            found += places(field["type"], value[field["name"]], where)
    elif isinstance(schema, dict) and schema["type"] == "array":
        for index, item in enumerate(value):
            found += places(schema["items"], item, f"{path}[{index}]")
    return found


def resolved(schema: Any, named: dict[str, Any]) -> Any:
    """The schema with names replaced by what they stand for."""
    if isinstance(schema, str):
        return named.get(schema.rpartition(".")[2], schema)
    if isinstance(schema, list):
        return [resolved(branch, named) for branch in schema]
    schema = dict(schema)
    if schema["type"] == "record":
        schema["fields"] = [{**field, "type": resolved(field["type"], named)} for field in schema["fields"]]
    elif schema["type"] in ("array", "map"):
        inner = "items" if schema["type"] == "array" else "values"
        schema[inner] = resolved(schema[inner], named)
    if "name" in schema:
        named[schema["name"]] = schema
    return schema


def cases(name: str) -> list[tuple[str, Any]]:
    """(path of the fault, broken message) of every field of schema ``name``."""
    schema = resolved(LOADER.schema(name), {})
    whole = complete(schema)
    broken = []
    for number, (path, field, _holder) in enumerate(places(schema, whole)):
        wrongs = [object(), {1: 2}, [1], b"\xff"]
        if field["type"] in ("long", ["null", "long"]):
            wrongs += [2**63, -(2**63) - 1, True, 1.0, "1"]
        if field["type"] in ("int", ["null", "int"]):
            wrongs += [2**31, 1.0]
        if field["type"] == "string":
            wrongs += [None, 5, "\ud800"]
        if field["type"] == "double":
            wrongs += [None, "1.5", True, 10**400]
        for wrong in wrongs:
            value = copy.deepcopy(whole)
            _path, _field, holder = places(schema, value)[number]
            if isinstance(wrong, list) and isinstance(holder[field["name"]], list):
                path_of_fault = f"{path}[0]"
            else:
                path_of_fault = path
            holder[field["name"]] = wrong
            broken.append((path_of_fault, value))
        if "default" not in field:
            value = copy.deepcopy(whole)
            del places(schema, value)[number][2][field["name"]]
            broken.append((path, value))
    extra = copy.deepcopy(whole)
    extra["no_such_field"] = 1
    return [*broken, ("no_such_field", extra)]


@pytest.mark.parametrize("name", NAMES)
def test_every_field_that_does_not_fit_is_named(name):
    serializer = AvroSerializer(name, schema_id=7)
    writes = [
        serializer.serialize,
        compile_writer(LOADER.schema(name), access="item"),
        compile_writer(LOADER.schema(name), access="attribute"),
    ]
    found = cases(name)
    assert len(found) > 30
    for path, message in found:
        for write in writes:
            refused = refusal_of(write, message)
            if refused is not None:
                assert refused.startswith(path) or "JSON" in refused, (path, refused)
            else:
                # Free-form JSON takes lists and maps of text; nothing else may pass.
                assert write == serializer.serialize
                assert any(part in path for part in ("routing", "socket_params", "raw_context")), path


def refusal_of(call: Callable[[Any], Any], value: Any) -> str | None:
    """The message of the PayloadError, None when there is none."""
    try:
        call(value)
    except PayloadError as exc:
        return exc.message
    return None


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_bytes_are_read_or_refused_in_time(name, data):
    """As written, and as every released version reads it; what is read was really in the bytes."""
    schema = LOADER.schema(name)
    framed = bytearray(
        compile_writer(schema, access="item", header=header_of(7))(complete(resolved(schema, {})))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(5, len(framed) - 1))
        match data.draw(st.sampled_from(["set", "set", "cut", "insert", "drop"])):
            case "set":
                framed[place] = data.draw(st.integers(0, 255))
            case "cut":
                del framed[max(place, 6) :]
            case "insert":
                framed[place:place] = data.draw(st.binary(min_size=1, max_size=12))
            case "drop":
                del framed[place]
        if len(framed) < 7:
            break
    wanted = [None, schema, *(LOADER.released(name)[0][1:])]
    outcomes = []
    for reader in wanted:
        read = compile_reader(schema, json.loads(reader) if isinstance(reader, str) else reader)
        began_s = time.perf_counter()
        refused = refusal_of(read, bytes(framed))
        assert time.perf_counter() - began_s < MAX_S
        assert refused is None or len(refused) < 1_000
        outcomes.append(read(bytes(framed)) if refused is None else None)
    if outcomes[0] is None:
        assert outcomes == [None] * len(wanted)
    else:
        again = compile_writer(schema, access="item", header=header_of(7))(outcomes[0])
        assert str(compile_reader(schema)(again)) == str(outcomes[0])


class NoSchemas:
    """A registry that knows nothing."""

    def get(self, schema_id: int) -> Any:
        raise RegistryError(f"schema id {schema_id} is not in the registry")


@given(st.binary(max_size=64))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_decoded_or_refused(value):
    with contextlib.suppress(PayloadError):
        MessageDecoder(NoSchemas()).decode(value)
