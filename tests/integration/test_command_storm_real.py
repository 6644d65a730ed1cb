"""The storm on a real broker, where effect, events and offsets are one transaction."""

import base64
import random
from collections.abc import AsyncIterator

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conftest import Services
from tests.contract.command_storm_suite import CommandStormSuite
from tests.gateway_rig import TopicLog, World, connect, publish, real_world, running


class TestReal(CommandStormSuite):
    @pytest.fixture
    async def world(self, services: Services, prefix: str) -> AsyncIterator[World]:
        async with real_world(services, prefix) as world:
            yield world

    async def test_a_dead_letter_is_cut_to_what_its_topic_takes(self, world: World) -> None:
        name = world.settings.gateway.topic("ws.dlq")
        admin = AdminClient(world.settings.kafka.client_config())
        limits = {"max.message.bytes": "20000", "cleanup.policy": "delete"}
        for future in admin.create_topics([NewTopic(name, 1, 1, config=limits)]).values():
            future.result(10)
        raw = random.Random(1).randbytes(200_000)  # cannot be compressed
        async with (
            TopicLog(world.settings, ["ws.error", "ws.dlq", "ws.connect_success"]) as log,
            running(world.container()),
        ):
            await publish(world.settings, "ws.command", raw, connect("upbit", "ticker", "KRW-BTC"))
            await log.until(lambda: log.on("ws.dlq") and log.on("ws.connect_success"))
            await log.settle()
        (letter,) = log.on("ws.dlq")
        (error,) = log.on("ws.error")
        assert error["error"]["error_code"] == "deserialization_error"
        assert letter["truncated"] is True
        assert letter["payload_size"] == 200_000
        kept = base64.b64decode(letter["payload_b64"])
        assert raw.startswith(kept)
        assert len(kept) == 10_000
