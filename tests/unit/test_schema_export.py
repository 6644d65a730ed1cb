"""What ``gateway schemas export`` gives is complete: it parses, type-checks, and takes real values."""

import asyncio
import dataclasses
import json
import subprocess
import sys
from decimal import Decimal
from typing import Any

import jsonschema
import orjson
import pytest

from core.errors import RegistryError
from infra.embedded.registry import EmbeddedRegistry
from infra.messaging.avro.codec.compiled_writer import compile_writer
from infra.messaging.avro.codec.framing import header_of
from infra.messaging.avro.codec.reader import compile_reader
from infra.messaging.avro.schema_evolution import incompatibilities
from infra.messaging.message_decoding import json_form
from infra.messaging.schemas.export.files import FORMATS, exported
from infra.messaging.schemas.export.model import schema_model
from infra.messaging.schemas.schema_loader import SchemaLoader
from tests.evolution.samples import EXACT, SAMPLES

LOADER = SchemaLoader()
NAMES = LOADER.names()
COMMAND = {
    "type": "status",
    "action": "connect_and_subscribe",
    "target": {"exchange": "upbit", "region": None, "request_type": "ticker"},
    "symbols": ["BTC-KRW"],
    "connection": {"url": None, "socket_params": '[{"ticket":"x"}]'},
    "projection": None,
    "ttl_ms": 5000,
    "schema_version": "1.0",
    "routing": '{"team":"quant"}',
    "ts_issue": None,
    "ts_ingest": None,
    "timestamp": None,
    "correlation_id": "c-1",
    "ticket_id": None,
}
VALUES = [(name, value) for name, values in SAMPLES.items() for value in values] + [
    ("connect_request", COMMAND)
]


def module_of(name: str) -> dict[str, Any]:
    path, text = exported(name, "python", LOADER)
    namespace: dict[str, Any] = {"__name__": path}
    exec(compile(text, path, "exec"), namespace)
    return namespace


def read_back(name: str, value: dict[str, Any]) -> Any:
    """The value after a way through Avro."""
    framed = compile_writer(LOADER.schema(name), access="item", header=header_of(1))(value)
    return compile_reader(LOADER.schema(name))(framed)


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_dataclasses_take_real_values(name, value):
    module = module_of(name)
    record = module[schema_model(LOADER.schema(name)).root.name].from_dict(read_back(name, value))
    assert {field.name for field in dataclasses.fields(record)} == set(value)
    if name == "connect_request":
        assert record.routing == {"team": "quant"}
        assert record.connection.socket_params == [{"ticket": "x"}]
        assert record.target.region is None
    else:
        assert dataclasses.asdict(record) == value


def test_dataclasses_take_records_of_other_versions():
    TickerData = module_of("ticker_data")["TickerData"]
    old = {key: value for key, value in SAMPLES["ticker_data"][0].items() if key != "price_exact"}
    assert TickerData.from_dict(old).price_exact is None
    later = {**SAMPLES["ticker_data"][0], "stream_type": "DELAYED", "something_new": 1}
    assert TickerData.from_dict(later).stream_type == "UNKNOWN"
    assert type(TickerData.from_dict(later).price_exact) is Decimal


async def test_confluents_deserializer_gives_the_dataclass():
    """As the module's first lines say, from a topic whose writer used version 1."""
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    module = module_of("trade_data")
    TradeData = module["TradeData"]
    first = LOADER.released("trade_data")[0][1]
    value = {key: v for key, v in SAMPLES["trade_data"][0].items() if not key.endswith("_exact")}

    def read(url: str) -> Any:
        with SchemaRegistryClient({"url": url}) as client:
            schema_id = client.register_schema("t-value", Schema(first, "AVRO"))
            framed = compile_writer(json.loads(first), access="item", header=header_of(schema_id))(value)
            reader = AvroDeserializer(client, module["SCHEMA"], from_dict=lambda d, _: TradeData.from_dict(d))
            return reader(framed, SerializationContext("t", MessageField.VALUE))

    async with EmbeddedRegistry(incompatibilities) as registry:
        record = await asyncio.to_thread(read, registry.url)
    assert (record.trade_id, record.side, record.price_exact) == ("é-17", module["Side"].SELL, None)


def test_the_python_code_passes_a_strict_type_check(tmp_path):
    for name in NAMES:
        path, text = exported(name, "python", LOADER)
        (tmp_path / path).write_text(text, "utf-8")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_json_schemas_take_what_tail_shows(name, value):
    schema = json.loads(exported(name, "json-schema", LOADER)[1])
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    shown = orjson.loads(orjson.dumps(read_back(name, value), default=json_form))
    validator.validate(shown)
    for broken in (
        {**shown, next(iter(shown)): 5},
        {key: item for key, item in shown.items() if key != next(iter(shown))},
    ):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(broken)


def test_json_schema_of_an_exact_number():
    schema = json.loads(exported("ticker_data", "json-schema", LOADER)[1])
    exact = jsonschema.Draft202012Validator(schema["properties"]["price_exact"])
    for good in (None, "0", "135660000.123456789012345678", json_form(EXACT), json_form(Decimal("1E-18"))):
        exact.validate(good)
    for bad in (1.5, "1e5", "1.", "0.1234567890123456789"):
        with pytest.raises(jsonschema.ValidationError):
            exact.validate(bad)


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_every_schema_can_be_had_in_every_format(name, how):
    path, text = exported(name, how, LOADER)
    assert path
    assert text.endswith("\n")
    if how == "avsc":
        assert text == LOADER.text(name)


@pytest.mark.parametrize(
    "kind", [["string", "long"], {"type": "fixed", "name": "F", "size": 4}, "Later", ["null", "int", "long"]]
)
def test_what_cannot_be_exported_is_said(kind):
    with pytest.raises(RegistryError, match="cannot be exported"):
        schema_model({"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]})
