"""Five versions under each rule, through a real registry and a real topic, read by everybody as promised."""

import asyncio
import io
import json
import warnings
from typing import Any

import avro.errors
import avro.io
import avro.schema
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient as ConfluentClient
from confluent_kafka.schema_registry.avro import AvroDeserializer as ConfluentDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from core.errors import PayloadError
from infra.messaging.avro.codec.compiled_writer import compile_writer
from infra.messaging.avro.codec.framing import HEADER_SIZE, header_of
from infra.messaging.avro.schema_evolution import house_rule_violations, incompatibilities
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroDeserializer
from infra.messaging.schemas.schema_loader import COMPATIBILITIES
from infra.settings import RegistrySettings
from tests.evolution.chains import BROKEN, CHAINS, promised, value_of

RULES = sorted(COMPATIBILITIES)


def through_a_topic(bootstrap_servers: str, topic: str, values: list[bytes]) -> list[bytes]:
    """Written to a new topic, and read back from it."""
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(20) == 0
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": topic, "auto.offset.reset": "earliest"}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        read = []
        for _ in values:
            message = consumer.poll(20)
            assert message is not None
            assert message.error() is None
            read.append(message.value())
        return read
    finally:
        consumer.close()


NOT_RESOLVED = "the avro package's reader takes no enum's default, although its checker counts on it"


def by_apache_avro(writer: dict[str, Any], reader: dict[str, Any], framed: bytes) -> Any:
    """What Apache Avro's own Python reader makes of it, or NOT_RESOLVED."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schemas = [avro.schema.parse(json.dumps(schema)) for schema in (writer, reader)]
        decoder = avro.io.BinaryDecoder(io.BytesIO(framed[HEADER_SIZE:]))
        try:
            return avro.io.DatumReader(*schemas).read(decoder)
        except avro.errors.SchemaResolutionException as exc:
            if (
                "Symbol Y not present" in str(exc)
                and '"default": "UNKNOWN"' in str(exc).partition("Reader's")[2]
            ):
                return NOT_RESOLVED
            raise


@pytest.mark.parametrize("rule", RULES)
async def test_every_promised_pair_reads(registry, kafka, prefix, rule):
    topic, chain = f"{prefix}chain", CHAINS[rule]
    subject = f"{topic}-value"
    written = [value_of(schema) for schema in chain]
    async with SchemaRegistryClient(RegistrySettings(url=registry.url, timeout_s=20)) as client:
        await client.set_compatibility(rule, subject)
        ids = [await client.register(subject, schema) for schema in chain]
        assert await client.versions(subject) == [1, 2, 3, 4, 5]
        framed = [
            compile_writer(schema, access="item", header=header_of(schema_id))(value)
            for schema, schema_id, value in zip(chain, ids, written, strict=True)
        ]
        messages = await asyncio.to_thread(through_a_topic, kafka.bootstrap_servers, topic, framed)
        ours = {n: AvroDeserializer(client, schema=schema) for n, schema in enumerate(chain, 1)}
        with ConfluentClient({"url": registry.url}) as confluent:
            theirs = {
                n: ConfluentDeserializer(confluent, json.dumps(schema)) for n, schema in enumerate(chain, 1)
            }
            context = SerializationContext(topic, MessageField.VALUE)
            for reader, writer in promised(rule):
                message = messages[writer - 1]
                value = await ours[reader].deserialize_async(message)
                assert value == await asyncio.to_thread(theirs[reader], message, context), (reader, writer)
                reference = by_apache_avro(chain[writer - 1], chain[reader - 1], message)
                assert reference in (value, NOT_RESOLVED), (reader, writer)
                if reference == NOT_RESOLVED:
                    assert value["e"] == "UNKNOWN"
                assert set(value) == {one["name"] for one in chain[reader - 1]["fields"]}
                assert value["a"] == written[writer - 1]["a"]
        if rule in BROKEN:
            reader, writer = BROKEN[rule]
            assert BROKEN[rule] not in promised(rule)
            with pytest.raises(PayloadError, match="reader's schema cannot take it"):
                await ours[reader].deserialize_async(messages[writer - 1])
            with pytest.raises((avro.errors.AvroException, TypeError)):
                by_apache_avro(chain[writer - 1], chain[reader - 1], messages[writer - 1])


@pytest.mark.parametrize("rule", RULES)
def test_the_check_lets_each_version_of_a_chain_pass(rule):
    texts = [json.dumps(schema) for schema in CHAINS[rule]]
    for number in range(1, 6):
        assert incompatibilities(texts[number - 1], texts[: number - 1], rule) == []
    if rule in BROKEN:
        transitive = "FULL_TRANSITIVE" if rule == "NONE" else f"{rule}_TRANSITIVE"
        assert any(incompatibilities(texts[n], texts[:n], transitive) for n in range(5))


def test_the_house_rule_lets_the_full_transitive_chain_pass():
    texts = [json.dumps(schema) for schema in CHAINS["FULL_TRANSITIVE"]]
    assert all(house_rule_violations(texts[n], texts[:n]) == [] for n in range(5))
