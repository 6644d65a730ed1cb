"""A gateway under which the registry loses its storage: it notices, registers again, and goes on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from infra.gateway import Gateway
from infra.messaging.avro.codec.framing import schema_id_of
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroDeserializer, AvroSerializer
from infra.messaging.clients.avro_client import AvroConsumerWrapper, AvroProducerWrapper
from infra.messaging.connect.producer_client import RealtimeDataProducer
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.settings import RegistrySettings
from tests.evolution.samples import SAMPLES
from tests.gateway_rig import TopicLog, World, connect, embedded_world, publish, running
from tests.registry_proxy import RegistryProxy, loop_lag
from tests.replaceable_registry import ReplaceableRegistry
from tests.waiting import until

TOPICS = ["realtime.ticker", "realtime.trade", "ws.error"]
THEIRS = (
    '{"type":"record","name":"TradeData","namespace":"streamgateway.v1",'
    '"fields":[{"name":"only","type":"string"}]}'
)
OTHERS = [(f"theirs-{n}", f'{{"type":"record","name":"T{n}","fields":[]}}') for n in range(30)]


@pytest.fixture
async def replaceable() -> AsyncIterator[ReplaceableRegistry]:
    async with ReplaceableRegistry() as registry:
        yield registry


@pytest.fixture
async def world(replaceable: ReplaceableRegistry) -> AsyncIterator[World]:
    async with embedded_world() as world:
        registry = RegistrySettings(url=replaceable.url, timeout_s=2, check_s=0.2)
        world.settings = world.settings.model_copy(update={"registry": registry})
        yield world


async def readyz(gateway: Gateway) -> tuple[int, dict[str, str]]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{gateway.url}/readyz")
        return answer.status_code, answer.json()["parts"]


def newest_ids(log: TopicLog) -> list[int]:
    """The schema ids of the last record of each market topic."""
    return [schema_id_of(log.messages[topic][-1].value()) for topic in TOPICS[:2]]


async def streaming(world: World, log: TopicLog) -> None:
    await publish(world.settings, "ws.command", connect("upbit", "ticker", "KRW-BTC"))
    await publish(world.settings, "ws.command", connect("upbit", "trade", "KRW-BTC"))
    await log.until(lambda: all(len(log.messages[topic]) > 5 for topic in TOPICS[:2]))


async def test_records_go_on_under_ids_that_can_be_looked_up(
    world: World, replaceable: ReplaceableRegistry
) -> None:
    async with TopicLog(world.settings, TOPICS) as log:
        async with running(world.container()) as gateway:
            await streaming(world, log)
            assert max(newest_ids(log)) < 20
            await replaceable.lose_everything(*OTHERS)
            await log.until(lambda: min(newest_ids(log)) > 30)
            assert (await readyz(gateway))[0] == 200
        await log.settle()
    assert log.on("ws.error") == []
    async with SchemaRegistryClient(world.settings.registry) as client:
        reader = AvroDeserializer(client)
        for topic in TOPICS[:2]:
            ids = [schema_id_of(message.value()) for message in log.messages[topic]]
            changed = next(at for at, schema_id in enumerate(ids) if schema_id > 30)
            assert len(set(ids[:changed])) == len(set(ids[changed:])) == 1
            found = [await reader.deserialize_async(m.value()) for m in log.messages[topic][changed:]]
            # The sequence goes on: no session ended, no record was lost over it.
            assert [record["sequence"] for record in found] == list(
                range(changed + 1, changed + 1 + len(found))
            )


@pytest.mark.parametrize(
    ("settings", "foreign", "code", "says"),
    [
        ({"schema_register": "off"}, (), "registry_unavailable", "registration is off"),
        ({}, (("trade-data-value", THEIRS),), "schema_incompatible", "`only` was removed"),
    ],
)
async def test_what_cannot_be_mended_is_told_once_and_readiness_says_no(
    replaceable: ReplaceableRegistry, settings: dict[str, Any], foreign: Any, code: str, says: str
) -> None:
    registry = RegistrySettings(url=replaceable.url, timeout_s=2, check_s=0.1)
    loader = SchemaLoader()
    async with embedded_world(**settings) as world:
        world.settings = world.settings.model_copy(update={"registry": registry})
        for name, entry in loader.subjects().items():
            replaceable.running.store.register(entry.subject, loader.text(name))
        async with TopicLog(world.settings, TOPICS) as log:
            async with running(world.container()) as gateway:
                await streaming(world, log)
                before = newest_ids(log)
                await replaceable.lose_everything(*foreign)
                await log.until(lambda: log.on("ws.error"))
                status, parts = await readyz(gateway)
                assert status == 503
                assert says in parts["registry"]
                # Records go on as they were, and the incident is not told at every look.
                count = len(log.messages["realtime.trade"])
                await log.until(lambda: len(log.messages["realtime.trade"]) > count + 50)
                assert newest_ids(log) == before
                (event,) = log.on("ws.error")
                assert (event["error"]["error_code"], event["error"]["error_domain"]) == (code, "registry")
                assert says in event["error"]["error_message"]["message"]
                # Somebody puts it right.
                await replaceable.lose_everything()
                for name, entry in loader.subjects().items():
                    replaceable.running.store.register(entry.subject, loader.text(name))
                await until(lambda: gateway.parts["registry"] == "ready")
                assert (await readyz(gateway))[0] == 200
            await log.settle()
        assert len(log.on("ws.error")) == 1


async def test_a_registry_that_hangs_and_then_comes_back_empty(
    world: World, replaceable: ReplaceableRegistry
) -> None:
    async with RegistryProxy(replaceable.url) as proxy, TopicLog(world.settings, TOPICS) as log:
        registry = RegistrySettings(url=proxy.url, timeout_s=2, check_s=0.2)
        world.settings = world.settings.model_copy(update={"registry": registry})
        async with running(world.container()) as gateway:
            await streaming(world, log)
            proxy.mode = "hang"
            asked = len(proxy.requests)
            async with loop_lag() as lag:
                await until(lambda: len(proxy.requests) >= asked + 3)
            assert lag.worst_s < registry.timeout_s / 2
            count = len(log.messages["realtime.trade"])
            await log.until(lambda: len(log.messages["realtime.trade"]) > count + 5)
            # Known schemas go on: a registry that does not answer is no reason to be not ready.
            assert (await readyz(gateway))[0] == 200
            await replaceable.lose_everything(*OTHERS)
            proxy.mode = "pass"
            await log.until(lambda: min(newest_ids(log)) > 30)
        await log.settle()
        assert log.on("ws.error") == []


async def test_wrappers_and_the_realtime_producer_of_ones_own_follow(
    world: World, replaceable: ReplaceableRegistry
) -> None:
    settings, topic = world.settings, world.settings.gateway.topic("realtime.trade")
    value = SAMPLES["trade_data"][0]
    async with (
        SchemaRegistryClient(settings.registry) as client,
        AvroProducerWrapper(settings=settings) as packaged,
        AvroProducerWrapper(AvroSerializer("trade_data", client), settings=settings) as given,
        RealtimeDataProducer(settings=settings) as realtime,
        AvroConsumerWrapper("mine", group_id="mine", settings=settings) as consumer,
    ):
        messages = aiter(consumer)
        for wrapper in (packaged, given):
            assert await wrapper.send_and_wait(topic, value)
        assert await given.send_and_wait("mine", value)
        first = await anext(messages)
        assert (first.value, first.error) == (value, None)
        await replaceable.lose_everything(*OTHERS)
        async with asyncio.timeout(20):
            while min([schema_id_of(await w.encode(topic, value) or b"") for w in (packaged, given)]) < 30:
                await asyncio.sleep(0.02)
        found = await client.find("trade-data-value", SchemaLoader().text("trade_data"))
        codec = realtime._own_codec
        assert codec is not None
        await until(lambda: codec.codec.schema_ids["trade_data"] == found.id)
        assert await given.send_and_wait("mine", value)
        second = await anext(messages)
        assert schema_id_of(second.raw or b"") == found.id
        assert (second.value, second.error) == (value, None)
