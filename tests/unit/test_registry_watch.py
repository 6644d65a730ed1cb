"""A registry that comes back empty, or as another: what is written with is registered again, and read again."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from core.errors import (
    ErrorCode,
    PayloadError,
    RegistryError,
    RegistryUnavailableError,
    SchemaIncompatibleError,
)
from core.records import BookKind, OrderBook, Ticker, Trade
from infra.manual_clock import ManualClock
from infra.messaging.avro.codec.framing import schema_id_of
from infra.messaging.avro.prepared_codec import PreparedCodec
from infra.messaging.avro.registry_watch import RegistryWatch
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroDeserializer, AvroSerializer
from infra.messaging.avro.writer_schemas import WriterSchemas
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.settings import GatewaySettings, RegistrySettings
from tests.replaceable_registry import ReplaceableRegistry

RECORDS = (
    Ticker("upbit", "korea", "BTC-KRW", "KRW-BTC", None, 1, 2, 3, 1.5),
    Trade("upbit", "korea", "BTC-KRW", "KRW-BTC", None, 1, 2, 3, 1.5, 0.5),
    OrderBook("upbit", "korea", "BTC-KRW", "KRW-BTC", None, 1, 2, 3, BookKind.SNAPSHOT, (), ()),
)
THEIRS = (
    '{"type":"record","name":"TradeData","namespace":"streamgateway.v1",'
    '"fields":[{"name":"only","type":"string"}]}'
)


@pytest.fixture
async def replaceable() -> AsyncIterator[ReplaceableRegistry]:
    async with ReplaceableRegistry() as registry:
        yield registry


@pytest.fixture
async def client(replaceable: ReplaceableRegistry) -> AsyncIterator[SchemaRegistryClient]:
    async with SchemaRegistryClient(RegistrySettings(url=replaceable.url, timeout_s=2)) as client:
        yield client


async def prepared(client: SchemaRegistryClient, **settings: Any) -> PreparedCodec:
    codec = PreparedCodec(client, GatewaySettings(**settings))
    await codec.prepare()
    return codec


async def read(url: str, data: bytes) -> Any:
    """As one reads who knows nothing yet."""
    async with SchemaRegistryClient(RegistrySettings(url=url)) as client:
        return await AvroDeserializer(client).deserialize_async(data)


async def test_nothing_happens_while_all_is_there(client: SchemaRegistryClient) -> None:
    codec = await prepared(client)
    ids, subjects = dict(codec.schema_ids), await client.subjects()
    # An operator's own level is left alone as long as nothing is lost.
    await client.set_compatibility("NONE", "trade-data-value")
    await codec.look_again()
    assert codec.schema_ids == ids
    assert await client.subjects() == subjects
    assert await client.compatibility("trade-data-value") == "NONE"


async def test_an_emptied_registry_gets_every_subject_again_with_the_ids_it_had(
    replaceable: ReplaceableRegistry, client: SchemaRegistryClient
) -> None:
    codec = await prepared(client, prefix="p.")
    ids, subjects = dict(codec.schema_ids), sorted(await client.subjects())
    before = [codec.encode(record) for record in RECORDS]
    await replaceable.lose_everything()
    assert await client.subjects() == []
    await codec.look_again()
    assert sorted(await client.subjects()) == subjects
    assert "p.realtime.trade-value" in subjects
    assert await client.compatibility("trade-data-value") == "FORWARD"
    assert codec.schema_ids == ids
    # So what lies in the topics since before the loss can be read again.
    assert [await read(replaceable.url, data) for data in before]


async def test_other_ids_are_taken_by_every_kind_of_record_at_once(
    replaceable: ReplaceableRegistry, client: SchemaRegistryClient
) -> None:
    codec = await prepared(client)
    serializer = AvroSerializer("metrics_event", client)
    await serializer.prepare()
    before = [schema_id_of(codec.encode(record)) for record in RECORDS]
    theirs = [(f"theirs-{n}", f'{{"type":"record","name":"T{n}","fields":[]}}') for n in range(20)]
    await replaceable.lose_everything(*theirs)
    await codec.look_again()
    await serializer.look_again()
    for record, was in zip(RECORDS, before, strict=True):
        data = codec.encode(record)
        assert schema_id_of(data) > 20 > was
        assert (await read(replaceable.url, data))["session_id"] == record.session_id
    framed = serializer.serialize({"region": "k", "exchange": "u", "request_type": "t", "batch": BATCH})
    assert schema_id_of(framed) == codec.schema_ids["metrics_event"] > 20
    assert (await read(replaceable.url, framed))["batch"] == BATCH


BATCH = {"range_start_ts_kst": 1, "range_end_ts_kst": 2, "bucket_size_sec": 60, "items": [], "version": 1}


async def test_without_registration_it_is_told_until_somebody_registers(
    replaceable: ReplaceableRegistry, client: SchemaRegistryClient
) -> None:
    async with SchemaRegistryClient(RegistrySettings(url=replaceable.url)) as operator:
        await prepared(operator)
    codec = await prepared(client, schema_register="off")
    ids = dict(codec.schema_ids)
    await replaceable.lose_everything()
    with pytest.raises(RegistryError, match=r"no longer has .*trade-data-value.*registration is off") as caught:
        await codec.look_again()
    assert caught.value.code is ErrorCode.REGISTRY_UNAVAILABLE
    assert codec.schema_ids == ids
    assert await client.subjects() == []
    async with SchemaRegistryClient(RegistrySettings(url=replaceable.url)) as operator:
        await operator.register("first", '"string"')
        await prepared(operator)
    await codec.look_again()
    assert codec.schema_ids != ids
    assert await read(replaceable.url, codec.encode(RECORDS[1]))


async def test_another_registry_that_refuses_a_schema_changes_no_id(
    replaceable: ReplaceableRegistry, client: SchemaRegistryClient
) -> None:
    codec = await prepared(client)
    before = [codec.encode(record) for record in RECORDS]
    await replaceable.lose_everything(("trade-data-value", THEIRS))
    with pytest.raises(SchemaIncompatibleError, match=r"no longer has .*`only` was removed") as caught:
        await codec.look_again()
    assert caught.value.code is ErrorCode.SCHEMA_INCOMPATIBLE
    assert [codec.encode(record) for record in RECORDS] == before


async def test_a_registry_that_is_away_changes_nothing(
    replaceable: ReplaceableRegistry, client: SchemaRegistryClient
) -> None:
    codec = await prepared(client)
    serializer = AvroSerializer("metrics_event", client)
    await serializer.prepare()
    ids = dict(codec.schema_ids)
    await replaceable.running.stop()
    for follower in (codec, serializer):
        with pytest.raises(RegistryUnavailableError):
            await follower.look_again()
    assert codec.schema_ids == ids


async def test_who_has_asked_no_registry_looks_at_none(replaceable: ReplaceableRegistry) -> None:
    await replaceable.running.stop()
    async with SchemaRegistryClient(RegistrySettings(url=replaceable.url)) as client:
        await PreparedCodec(client, GatewaySettings()).look_again()
        await AvroSerializer("trade_data", client).look_again()
        await AvroSerializer("trade_data", client, schema_id=7).look_again()


# -- reading -------------------------------------------------------------------------------------------


async def test_an_id_that_stands_for_another_schema_now_is_read_both_ways(
    replaceable: ReplaceableRegistry, client: SchemaRegistryClient
) -> None:
    now = [0.0]
    reader = AvroDeserializer(client, negative_ttl_s=5, clock=lambda: now[0])
    loader = SchemaLoader()
    trade_id = await client.register("t", loader.text("trade_data"))
    trade = AvroSerializer("trade_data", schema_id=trade_id).serialize(RECORDS[1])
    assert (await reader.deserialize_async(trade))["quantity"] == 0.5
    await replaceable.lose_everything(("b", loader.text("orderbook_data")))
    book = AvroSerializer("orderbook_data", schema_id=trade_id).serialize(RECORDS[2])
    for _ in range(2):
        assert (await reader.deserialize_async(book))["bids"] == []
        assert reader.deserialize(book)["kind"] == "SNAPSHOT"
        assert (await reader.deserialize_async(trade))["quantity"] == 0.5
        assert reader.deserialize(trade)["quantity"] == 0.5


async def test_bytes_that_fit_nothing_are_asked_about_once_in_a_while(
    replaceable: ReplaceableRegistry, client: SchemaRegistryClient
) -> None:
    now = [0.0]
    reader = AvroDeserializer(client, negative_ttl_s=5, clock=lambda: now[0])
    await client.register("s", '"string"')
    text, number = b"\0\0\0\0\x01\x02a", b"\0\0\0\0\x01\x02"
    assert await reader.deserialize_async(text) == "a"
    with pytest.raises(PayloadError):
        await reader.deserialize_async(number)
    await replaceable.lose_everything(("n", '"long"'))
    with pytest.raises(PayloadError):
        await reader.deserialize_async(number)  # it was asked just now
    now[0] = 5.1
    assert await reader.deserialize_async(number) == 1
    await replaceable.running.stop()
    now[0] = 11.0
    with pytest.raises(PayloadError):
        await reader.deserialize_async(b"\0\0\0\0\x01")
    assert await reader.deserialize_async(text) == "a"


async def test_a_reader_in_a_thread_asks_again_for_what_was_not_there(
    replaceable: ReplaceableRegistry, client: SchemaRegistryClient
) -> None:
    now = [0.0]
    schemas = WriterSchemas(RegistrySettings(url=replaceable.url), clock=lambda: now[0])
    with ThreadPoolExecutor(max_workers=1) as thread:

        async def get() -> Any:
            return await asyncio.get_running_loop().run_in_executor(thread, schemas.get, 1)

        with pytest.raises(PayloadError, match="schema id 1 is not in the registry"):
            await get()
        await client.register("s", '"string"')
        with pytest.raises(PayloadError):
            await get()
        now[0] = 5.1
        assert await get() == "string"
        await asyncio.get_running_loop().run_in_executor(thread, schemas.close)


# -- the watch -----------------------------------------------------------------------------------------


class Told:
    """A follower that does as told: None, or an error to raise; and what the watch said."""

    def __init__(self) -> None:
        self.answer: RegistryError | None = None
        self.looks = 0
        self.lost: list[RegistryError] = []

    async def look_again(self) -> None:
        self.looks += 1
        if self.answer is not None:
            raise self.answer


@pytest.fixture
async def watched() -> AsyncIterator[tuple[ManualClock, Told, RegistryWatch]]:
    clock, told = ManualClock(), Told()
    watch = RegistryWatch(lambda: [told], every_s=30, on_lost=told.lost.append, sleep=clock.sleep)
    watch.start()
    yield clock, told, watch
    await watch.stop()
    await watch.stop()


async def test_it_looks_at_a_modest_interval_and_sooner_while_something_is_wrong(
    watched: tuple[ManualClock, Told, RegistryWatch],
) -> None:
    clock, told, watch = watched
    await clock.advance(29.9)
    assert told.looks == 0
    await clock.advance(60.2)
    assert told.looks == 3
    told.answer = RegistryUnavailableError("away")
    await clock.advance(30)
    assert told.looks == 4
    await clock.advance(1.1)
    assert told.looks >= 5
    assert (watch.problem, told.lost) == (None, [])
    told.answer = None
    await clock.advance(31)
    looks = told.looks
    await clock.advance(29)
    assert told.looks - looks <= 1


async def test_mending_that_broke_off_is_tried_again_before_it_is_told(
    watched: tuple[ManualClock, Told, RegistryWatch],
) -> None:
    clock, told, watch = watched
    told.answer = broken = RegistryError("gone, and then no answer")
    broken.__cause__ = RegistryUnavailableError("no answer")
    await clock.advance(30)
    assert (told.looks, told.lost, watch.problem) == (1, [], None)
    told.answer = None
    await clock.advance(31)
    told.answer = broken
    await clock.advance(100)
    assert told.lost == [broken]
    assert watch.problem is broken


async def test_an_incident_is_told_once_and_another_code_once_more(
    watched: tuple[ManualClock, Told, RegistryWatch],
) -> None:
    clock, told, watch = watched
    told.answer = first = RegistryError("empty, and registration is off")
    await clock.advance(300)
    assert watch.problem is first
    # Away in between: the loss stays a loss.
    told.answer = RegistryUnavailableError("away")
    await clock.advance(100)
    assert watch.problem is first
    told.answer = second = SchemaIncompatibleError("refused")
    await clock.advance(300)
    assert watch.problem is second
    assert told.lost == [first, second]
    told.answer = None
    await clock.advance(31)
    assert watch.problem is None
    told.answer = first
    await clock.advance(31)
    assert told.lost == [first, second, first]
