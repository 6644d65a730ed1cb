"""Serializers against the embedded registry: framed bytes both ways, and the errors in between."""

import json
from types import MappingProxyType

import pytest

from core.commands import CommandDTO
from core.errors import (
    PayloadError,
    RegistryError,
    RegistryUnavailableError,
    SchemaIncompatibleError,
    SchemaNotFoundError,
)
from core.events import error_event, success_event
from core.identity import ConnectionScopeDomain
from core.records import Trade
from infra.embedded.registry import EmbeddedRegistry
from infra.messaging.avro.registration import register_all
from infra.messaging.avro.schema_evolution import incompatibilities
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroDeserializer, AvroSerializer
from infra.messaging.serializers.unified_serializer import UnifiedSerializer
from infra.settings import RegistrySettings

COMMAND = {
    "type": "status",
    "action": "connect_and_subscribe",
    "target": {"exchange": "upbit", "region": None, "request_type": "ticker"},
    "symbols": ["BTC-KRW"],
    "connection": {"url": None, "socket_params": [{"ticket": "x"}, {"type": "ticker", "codes": ["KRW-BTC"]}]},
    "projection": None,
    "ttl_ms": 5000,
    "schema_version": "1.0",
    "routing": {"team": {"name": "quant", "sizes": [1, 2.5, None]}},
    "ts_issue": 1_700_000_000_000,
    "ts_ingest": None,
    "timestamp": None,
    "correlation_id": "c-1",
    "ticket_id": None,
}


@pytest.fixture
async def embedded():
    async with EmbeddedRegistry(incompatibilities) as registry:
        yield registry


@pytest.fixture
async def registry(embedded):
    async with SchemaRegistryClient(RegistrySettings(url=embedded.url)) as client:
        yield client


async def test_free_form_objects_travel_as_json_text(registry):
    serializer = AvroSerializer("connect_request", registry)
    framed = await serializer.serialize_async(COMMAND)
    assert await AvroDeserializer(registry).deserialize_async(framed) == COMMAND
    assert json.dumps(COMMAND["routing"], separators=(",", ":")).encode() in framed
    assert serializer.serialize(CommandDTO.model_validate(COMMAND)) == framed
    assert serializer.serialize(MappingProxyType(COMMAND)) == framed


async def test_every_event_of_the_gateway_fits_its_schema(registry):
    scope = ConnectionScopeDomain("upbit", "korea", "ticker", "BTC-KRW")
    error = error_event(
        RegistryError("no", detail="x"), ticket_id="t", now_us=1, raw_context={"url": "wss://x", "n": [1]}
    )
    success = success_event("connect_success", scope, ticket_id="t", now_us=1, correlation_id=None)
    for name, event in (("error_event", error), ("connect_success", success)):
        framed = await AvroSerializer(name, registry).serialize_async(event)
        assert await AvroDeserializer(registry).deserialize_async(framed) == event


async def test_the_id_must_be_known_first(registry):
    serializer = AvroSerializer("trade_data", registry)
    with pytest.raises(RegistryError, match=r"id of trade_data is not known yet: await prepare"):
        serializer.serialize({})
    await serializer.prepare()
    record = Trade("upbit", "korea", "BTC-KRW", "KRW-BTC", None, 1, 2, 3, 1.5, 0.5)
    framed = serializer.serialize(record)
    with pytest.raises(PayloadError, match="was not fetched yet"):
        AvroDeserializer(registry).deserialize(framed)


async def test_large_values_take_the_same_way(registry):
    serializer = AvroSerializer("metrics_event", registry)
    items = [
        {"minute_start_ts_kst": n, "total": n, "details": {f"S{k}_COUNT": k for k in range(100)}}
        for n in range(100)
    ]
    batch = {
        "range_start_ts_kst": 1,
        "range_end_ts_kst": 2,
        "bucket_size_sec": 60,
        "items": items,
        "version": 1,
    }
    message = {"region": "korea", "exchange": "upbit", "request_type": "ticker", "batch": batch}
    framed = await serializer.serialize_async(message)
    assert framed == serializer.serialize(message)
    assert (await AvroDeserializer(registry).deserialize_async(framed))["batch"] == batch


async def test_without_registration_a_missing_schema_is_named(registry):
    with pytest.raises(SchemaNotFoundError, match="does not have trade_data under trade-data-value"):
        await AvroSerializer("trade_data", registry, register=False).prepare()
    with pytest.raises(SchemaNotFoundError, match=r"trade-data-value.*GATEWAY_SCHEMA_REGISTER"):
        await register_all(registry, register=False)
    ids = await register_all(registry)
    assert await register_all(registry, register=False) == ids


async def test_an_incompatible_schema_at_start_is_named_with_its_subject(registry):
    other = {"type": "record", "name": "TradeData", "namespace": "streamgateway.v1", "fields": []}
    other["fields"].append({"name": "only", "type": "string"})
    await registry.set_compatibility("FORWARD", "p.realtime.trade-value")
    await registry.register("p.realtime.trade-value", other)
    with pytest.raises(SchemaIncompatibleError) as caught:
        await register_all(registry, prefix="p.")
    assert "p.realtime.trade-value: " in caught.value.message
    assert "`only` was removed: readers of v1 cannot read new records; FORWARD" in caught.value.message
    # Nobody's schema was overwritten, and without topic subjects nothing stands in the way.
    assert await registry.versions("p.realtime.trade-value") == [1]
    assert "trade_data" in await register_all(registry, prefix="p.", topic_subjects=False)


async def test_what_does_not_fit_is_a_payload_error(registry):
    serializer = AvroSerializer("connect_request", registry)
    with pytest.raises(PayloadError, match=r"routing\.x|routing: cannot be written as JSON"):
        await serializer.serialize_async({**COMMAND, "routing": {"x": object()}})
    with pytest.raises(PayloadError, match=r"target\.exchange: int 5"):
        await serializer.serialize_async({**COMMAND, "target": {"exchange": 5, "request_type": "t"}})
    with pytest.raises(PayloadError, match="value: int 7, where an object"):
        await serializer.serialize_async(7)


async def test_unknown_ids_are_asked_for_once_in_a_while(embedded, registry):
    now = [0.0]
    deserializer = AvroDeserializer(registry, negative_ttl_s=5, clock=lambda: now[0])
    framed = b"\0\0\0\0\x01" + b"\x02a"
    with pytest.raises(PayloadError, match=r"schema id 1: .*not found"):
        await deserializer.deserialize_async(framed)
    await registry.register("s", '"string"')
    with pytest.raises(PayloadError, match="schema id 1"):
        await deserializer.deserialize_async(framed)
    now[0] = 5.1
    assert await deserializer.deserialize_async(framed) == "a"
    await embedded.stop()
    assert await deserializer.deserialize_async(framed) == "a"


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\0\0\0\0", b"\x01\0\0\0\1\2a", b"{}", b"\0\0\0\0\1\2ab", b"\0\0\0\0\1\4a"]
)
async def test_bytes_that_are_no_framed_value(registry, data):
    await registry.register("s", '"string"')
    with pytest.raises(PayloadError):
        await AvroDeserializer(registry).deserialize_async(data)


async def test_a_registry_that_is_away_is_retriable(embedded, registry):
    await embedded.stop()
    with pytest.raises(RegistryUnavailableError) as caught:
        await AvroDeserializer(registry).deserialize_async(b"\0\0\0\0\x09a")
    assert caught.value.retriable


async def test_old_values_come_as_the_current_schema_says(registry):
    old = {"type": "record", "name": "TradeData", "namespace": "streamgateway.v1", "fields": []}
    for name in ("exchange", "region", "symbol", "exchange_symbol"):
        old["fields"].append({"name": name, "type": "string"})
    for name in ("received_ts_us", "session_id", "sequence"):
        old["fields"].append({"name": name, "type": "long"})
    for name in ("price", "quantity"):
        old["fields"].append({"name": name, "type": "double"})
    schema_id = await registry.register("old", old)
    framed = b"\0" + schema_id.to_bytes(4, "big") + b"\x02a" * 4 + b"\x02\x04\x06" + b"\0" * 16
    value = await AvroDeserializer(registry, schema_name="trade_data").deserialize_async(framed)
    assert (value["side"], value["trade_id"], value["sequence"]) == ("UNKNOWN", None, 3)


async def test_unified_reads_both_and_writes_what_is_configured(registry):
    as_json = UnifiedSerializer(registry=registry)
    as_avro = UnifiedSerializer(use_avro=True, schema_name="connect_request", registry=registry)
    await as_avro.prepare()
    texts = await as_json.serialize_async(COMMAND), await as_avro.serialize_async(COMMAND)
    assert texts[0].startswith(b"{")
    assert texts[1].startswith(b"\0")
    for reader in (as_json, as_avro):
        for data in texts:
            assert await reader.deserialize_async(data) == COMMAND
            assert reader.deserialize(data) == COMMAND
    assert json.loads(as_json.serialize(CommandDTO.model_validate(COMMAND))) == COMMAND
    for data in (b"", b"\xff", b"{"):
        with pytest.raises(PayloadError, match="neither JSON nor"):
            as_json.deserialize(data)
    with pytest.raises(PayloadError, match="cannot be written as JSON"):
        as_json.serialize({"x": object()})
    with pytest.raises(ValueError, match="schema_name"):
        UnifiedSerializer(use_avro=True)
