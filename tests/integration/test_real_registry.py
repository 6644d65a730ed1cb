"""The registry that the tests start is one for Confluent's clients, and it enforces compatibility."""

import json

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from infra.services.registry import SchemaRegistry

_LONG = {"name": "a", "type": "long"}
_REQUIRED = {"name": "b", "type": "string"}
_OPTIONAL = {"name": "b", "type": ["null", "string"], "default": None}


def _record(*fields: object) -> Schema:
    return Schema(json.dumps({"type": "record", "name": "R", "namespace": "t", "fields": fields}), "AVRO")


def _client(registry: SchemaRegistry) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": registry.url})


@pytest.mark.parametrize(
    ("compatibility", "first", "allowed", "refused"),
    [
        ("BACKWARD", [_LONG], [_LONG, _OPTIONAL], [_LONG, _REQUIRED]),
        ("FORWARD", [_LONG, _OPTIONAL], [_LONG, _OPTIONAL, {"name": "c", "type": "int"}], [_OPTIONAL]),
        ("FULL", [_LONG], [_LONG, _OPTIONAL], [_LONG, _REQUIRED]),
    ],
)
def test_a_schema_against_the_subjects_rule_is_refused_with_409(
    registry: SchemaRegistry, prefix: str, compatibility: str, first: list, allowed: list, refused: list
) -> None:
    client = _client(registry)
    subject = f"{prefix}ticker-value"
    schema_id = client.register_schema(subject, _record(*first))
    client.set_compatibility(subject, compatibility)

    with pytest.raises(SchemaRegistryError) as caught:
        client.register_schema(subject, _record(*refused))
    assert caught.value.http_status_code == 409

    assert client.register_schema(subject, _record(*allowed)) != schema_id
    assert client.get_versions(subject) == [1, 2]


def test_the_rule_can_be_set_before_the_first_version(registry: SchemaRegistry, prefix: str) -> None:
    client = _client(registry)
    subject = f"{prefix}early-value"
    client.set_compatibility(subject, "FORWARD")
    client.register_schema(subject, _record(_LONG, _OPTIONAL))
    with pytest.raises(SchemaRegistryError) as caught:
        client.register_schema(subject, _record(_OPTIONAL))
    assert caught.value.http_status_code == 409


def test_without_a_rule_it_refuses_as_a_confluent_registry_does(registry: SchemaRegistry, prefix: str) -> None:
    client = _client(registry)
    assert client.get_compatibility() == "BACKWARD"
    client.register_schema(f"{prefix}plain-value", _record(_LONG))
    with pytest.raises(SchemaRegistryError) as caught:
        client.register_schema(f"{prefix}plain-value", _record(_LONG, _REQUIRED))
    assert caught.value.http_status_code == 409


def test_one_schema_under_two_subjects_has_one_id(registry: SchemaRegistry, prefix: str) -> None:
    client = _client(registry)
    schema = _record(_LONG, {"name": prefix.strip("."), "type": "int"})
    first = client.register_schema(f"{prefix}one-value", schema)
    assert client.register_schema(f"{prefix}two-value", schema) == first
    assert json.loads(_client(registry).get_schema(first).schema_str) == json.loads(schema.schema_str)


def test_a_killed_registry_comes_back_with_its_schemas_and_ids(own_registry: SchemaRegistry) -> None:
    schema_id = _client(own_registry).register_schema("kept-value", _record(_LONG))
    url = own_registry.url
    own_registry.kill()
    own_registry.start()
    assert own_registry.url == url
    client = _client(own_registry)
    assert client.get_latest_version("kept-value").schema_id == schema_id
    assert client.register_schema("kept-value", _record(_LONG)) == schema_id
