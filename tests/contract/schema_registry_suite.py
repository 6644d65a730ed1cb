"""What the gateway and its users rely on in a Schema Registry, whichever serves it.

Subclass and give a fixture ``registry_url``. Subjects are new for every test, so a registry with data will do.
"""

import asyncio
import io
import json
import uuid

import fastavro
import httpx2
import pytest
from confluent_kafka.schema_registry import AsyncSchemaRegistryClient, Schema
from confluent_kafka.schema_registry import SchemaRegistryClient as ConfluentClient
from confluent_kafka.schema_registry._async.avro import AsyncAvroDeserializer
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from core.errors import RegistryError, SchemaIncompatibleError, SchemaNotFoundError
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from infra.messaging.avro.codec.record_codec import RecordCodec
from infra.messaging.avro.registration import register_all
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroDeserializer as OurDeserializer
from infra.messaging.avro.serializers import AvroSerializer as OurSerializer
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.settings import RegistrySettings


def record(name: str, *fields: dict) -> str:
    return json.dumps({"type": "record", "name": name, "namespace": "contract", "fields": list(fields)})


A = {"name": "a", "type": "string"}
NULLABLE_B = {"name": "b", "type": ["null", "long"], "default": None}
REQUIRED_B = {"name": "b", "type": "long"}


class SchemaRegistryContract:
    """The suite."""

    @pytest.fixture
    async def client(self, registry_url):
        async with SchemaRegistryClient(RegistrySettings(url=registry_url, timeout_s=20)) as client:
            yield client

    @pytest.fixture
    def subject(self) -> str:
        return f"contract-{uuid.uuid4().hex}-value"

    @pytest.fixture
    def name(self) -> str:
        return f"R{uuid.uuid4().hex}"

    async def test_registering_gives_an_id_that_reads_back(self, client, registry_url, subject, name):
        schema_id = await client.register(subject, record(name, A))
        async with SchemaRegistryClient(RegistrySettings(url=registry_url, timeout_s=20)) as other:
            assert json.loads(await other.schema_by_id(schema_id)) == json.loads(record(name, A))
            latest = await other.schema_of(subject)
        assert (latest.subject, latest.version, latest.id) == (subject, 1, schema_id)
        assert subject in await client.subjects()

    async def test_registering_again_changes_nothing(self, registry_url, subject, name):
        ids = set()
        for _ in range(2):
            async with SchemaRegistryClient(RegistrySettings(url=registry_url, timeout_s=20)) as client:
                ids.add(await client.register(subject, record(name, A)))
                assert await client.versions(subject) == [1]
        assert len(ids) == 1

    async def test_one_schema_has_one_id_under_all_subjects(self, client, subject, name):
        first = await client.register(subject, record(name, A))
        assert await client.register(f"{subject}-2", record(name, A)) == first

    async def test_versions_count_up(self, client, subject, name):
        await client.register(subject, record(name, A))
        await client.register(subject, record(name, A, NULLABLE_B))
        assert await client.versions(subject) == [1, 2]
        assert (await client.schema_of(subject)).version == 2
        assert (await client.schema_of(subject, 1)).version == 1

    async def test_a_schema_is_found_by_its_text(self, client, subject, name):
        schema_id = await client.register(subject, record(name, A))
        found = await client.find(subject, record(name, A))
        assert (found.id, found.version) == (schema_id, 1)
        with pytest.raises(SchemaNotFoundError):
            await client.find(subject, record(name, A, NULLABLE_B))

    async def test_what_does_not_exist_is_not_found(self, client, subject, name):
        for call in (
            client.schema_of(subject),
            client.versions(subject),
            client.schema_by_id(2_000_000_000),
            client.find(subject, record(name, A)),
            client.delete_subject(subject),
        ):
            with pytest.raises(SchemaNotFoundError):
                await call
        await client.register(subject, record(name, A))
        with pytest.raises(SchemaNotFoundError):
            await client.schema_of(subject, 99)

    async def test_what_is_no_schema_is_refused(self, client, subject):
        with pytest.raises(RegistryError) as caught:
            await client.register(subject, '{"type": "nonsense"}')
        assert not caught.value.retriable

    @pytest.mark.parametrize(
        ("level", "may", "may_not"),
        [
            ("BACKWARD", NULLABLE_B, REQUIRED_B),
            ("FULL", NULLABLE_B, REQUIRED_B),
            ("FORWARD", REQUIRED_B, None),
        ],
    )
    async def test_levels_hold(self, client, subject, name, level, may, may_not):
        await client.register(subject, record(name, A))
        await client.set_compatibility(level, subject)
        assert await client.compatibility(subject) == level
        if may_not is not None:
            assert not (await client.test_compatibility(subject, record(name, A, may_not))).is_compatible
            with pytest.raises(SchemaIncompatibleError):
                await client.register(subject, record(name, A, may_not))
            assert await client.versions(subject) == [1]
        assert (await client.test_compatibility(subject, record(name, A, may))).is_compatible
        await client.register(subject, record(name, A, may))
        assert await client.versions(subject) == [1, 2]

    async def test_forward_refuses_to_take_a_required_field_away(self, client, subject, name):
        await client.register(subject, record(name, A, REQUIRED_B))
        await client.set_compatibility("FORWARD", subject)
        with pytest.raises(SchemaIncompatibleError):
            await client.register(subject, record(name, A))

    async def test_none_allows_everything(self, client, subject, name):
        await client.register(subject, record(name, A))
        await client.set_compatibility("NONE", subject)
        await client.register(subject, record(name, {"name": "a", "type": "long"}))
        assert await client.versions(subject) == [1, 2]

    async def test_a_deleted_subject_is_gone_and_its_ids_answer(self, client, registry_url, subject, name):
        schema_id = await client.register(subject, record(name, A))
        assert await client.delete_subject(subject) == [1]
        assert subject not in await client.subjects()
        with pytest.raises(SchemaNotFoundError):
            await client.versions(subject)
        async with SchemaRegistryClient(RegistrySettings(url=registry_url, timeout_s=20)) as other:
            assert json.loads(await other.schema_by_id(schema_id)) == json.loads(record(name, A))

    async def test_a_version_can_be_deleted(self, client, subject, name):
        await client.register(subject, record(name, A))
        await client.register(subject, record(name, A, NULLABLE_B))
        assert await client.delete_version(subject, 1) == 1
        assert await client.versions(subject) == [2]

    @pytest.mark.parametrize(
        ("path", "status", "code"),
        [
            ("/subjects/absent-{n}/versions", 404, 40401),
            ("/subjects/absent-{n}/versions/1", 404, 40401),
            ("/schemas/ids/2000000000", 404, 40403),
        ],
    )
    async def test_error_bodies(self, registry_url, path, status, code):
        async with httpx2.AsyncClient() as http:
            answer = await http.get(registry_url + path.format(n=uuid.uuid4().hex))
        assert (answer.status_code, answer.json()["error_code"]) == (status, code)
        assert answer.json()["message"]

    async def test_confluents_own_client_agrees(self, client, registry_url, subject, name):
        async with AsyncSchemaRegistryClient({"url": registry_url}) as official:
            schema_id = await official.register_schema(subject, Schema(record(name, A), "AVRO"))
            assert await client.register(subject, record(name, A)) == schema_id
            assert json.loads((await official.get_schema(schema_id)).schema_str) == json.loads(record(name, A))
            assert (await official.get_latest_version(subject)).version == 1
            await official.set_compatibility(subject, "FULL")
            assert await client.compatibility(subject) == "FULL"

    async def test_register_all_and_what_the_codec_writes(self, client, registry_url):
        """Ids come back, doing it again changes nothing, and Confluent's deserializer reads the records."""
        prefix = f"t{uuid.uuid4().hex[:8]}."
        ids = await register_all(client, prefix=prefix, avro_topics=["ws.error"])
        loader = SchemaLoader()
        assert sorted(ids) == loader.names()
        subjects = await client.subjects()
        for subject in ("ticker-data-value", f"{prefix}realtime.ticker-value", f"{prefix}ws.error-value"):
            assert subject in subjects
        assert f"{prefix}ws.command-value" not in subjects
        assert await client.compatibility(f"{prefix}realtime.ticker-value") == "FORWARD"
        assert await client.compatibility("metrics-events-value") == "BACKWARD"
        async with SchemaRegistryClient(RegistrySettings(url=registry_url, timeout_s=20)) as other:
            assert await register_all(other, prefix=prefix, avro_topics=["ws.error"]) == ids
            assert await other.versions(f"{prefix}realtime.ticker-value") == [1]
        async with SchemaRegistryClient(RegistrySettings(url=registry_url, timeout_s=20)) as other:
            assert await register_all(other, register=False) == ids

        codec = RecordCodec(ids)
        common = ("upbit", "korea", "BTC-KRW", "KRW-BTC", None, 1_700_000_000_000_001, 1 << 60, 7)
        levels = [Level(100.5 + n, n * 0.25) for n in range(40)]
        async with AsyncSchemaRegistryClient({"url": registry_url}) as official:
            deserializer = await AsyncAvroDeserializer(official)
            for topic, message in (
                ("realtime.ticker", Ticker(*common, 1.5, high=2.5, stream_type=StreamType.REALTIME)),
                ("realtime.trade", Trade(*common, 1.5, 0.25, Side.SELL, "é-17")),
                ("realtime.orderbook", OrderBook(*common, BookKind.DELTA, levels, [], None, 9, None, True)),
            ):
                framed = codec.encode(message)
                context = SerializationContext(prefix + topic, MessageField.VALUE)
                read = await deserializer(framed, context)
                expected = _plain(message)
                assert read == expected
                parsed = fastavro.parse_schema(loader.schema(_schema_name(message)))
                assert fastavro.schemaless_reader(io.BytesIO(framed[5:]), parsed, None) == expected

    async def test_confluents_serializer_and_ours_read_each_other(self, client, registry_url):
        """Also the official synchronous pair, with its default way to find the subject."""
        message = Trade("upbit", "korea", "BTC-KRW", "KRW-BTC", 5, 6, 7, 8, 1.5, 0.25, Side.BUY, "x")
        topic = f"t{uuid.uuid4().hex}"
        context = SerializationContext(topic, MessageField.VALUE)
        text = SchemaLoader().text("trade_data")

        def official() -> tuple[bytes, object]:
            with ConfluentClient({"url": registry_url}) as confluent:
                framed = AvroSerializer(confluent, text)(_plain(message), context)
                return framed, AvroDeserializer(confluent)(framed, context)

        framed, read = await asyncio.to_thread(official)
        assert read == _plain(message)
        assert await OurDeserializer(client).deserialize_async(framed) == _plain(message)
        subject = f"{topic}-value"
        ours = await OurSerializer("trade_data", client, subject=subject, register=False).serialize_async(
            message
        )
        assert ours == framed

    async def test_many_instances_may_register_at_once(self, registry_url, subject, name):
        async def once() -> int:
            async with SchemaRegistryClient(RegistrySettings(url=registry_url, timeout_s=20)) as client:
                return await client.register(subject, record(name, A))

        assert len(set(await asyncio.gather(*(once() for _ in range(5))))) == 1


def _schema_name(message) -> str:
    return {Ticker: "ticker_data", Trade: "trade_data", OrderBook: "orderbook_data"}[type(message)]


def _plain(value):
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "__struct_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return str(value) if isinstance(value, str) else value
