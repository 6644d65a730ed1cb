"""A hundred bad commands among a hundred good ones; a subclass gives ``world``."""

import asyncio
import base64
import hashlib
import json
import random
from collections import Counter
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from infra.messaging.clients.json_client import AsyncProducerWrapper
from infra.settings import Settings
from tests.contract.bad_commands import bad_commands
from tests.gateway_rig import TopicLog, World, connect, running
from tests.waiting import until

EXCHANGES = ("upbit", "binance")
TYPES = ("ticker", "trade", "orderbook")

Place = tuple[str, int, int]


def good_commands(world: World, count: int) -> list[dict[str, Any]]:
    """``count`` commands for different symbols; every fifth repeats the one before it."""
    commands: list[dict[str, Any]] = []
    pairs = [
        (exchange, request_type, symbol)
        for symbols in zip(*(world.simulators[e].venue.markets for e in EXCHANGES), strict=False)
        for exchange, symbol in zip(EXCHANGES, symbols, strict=True)
        for request_type in TYPES
    ]
    for number in range(count):
        if number % 5 == 4:
            commands.append({**commands[-1], "correlation_id": f"good-{number}"})
        else:
            exchange, request_type, symbol = pairs[number]
            commands.append(connect(exchange, request_type, str(symbol), correlation_id=f"good-{number}"))
    return commands


async def publish_all(settings: Settings, messages: list[bytes | None]) -> list[Place]:
    """Publish them in their order; returns where each stands."""
    async with AsyncProducerWrapper(settings=settings) as producer:
        topic = settings.gateway.topic("ws.command")
        await producer.core.warm([topic])
        sent = await asyncio.gather(
            *(producer.core.send(topic, message, f"key-{number}") for number, message in enumerate(messages))
        )
    return [(m.topic(), m.partition(), m.offset()) for m in sent]


def lag(settings: Settings, group: str, topic: str) -> int:
    """How many messages the group has not committed."""
    consumer = Consumer(
        {
            **settings.kafka.client_config(),
            "group.id": settings.gateway.topic(group),
            "enable.auto.commit": False,
        }
    )
    try:
        name = settings.gateway.topic(topic)
        places = [TopicPartition(name, p) for p in consumer.list_topics(name, 10).topics[name].partitions]
        behind = 0
        for place in consumer.committed(places, 10):
            low, high = consumer.get_watermark_offsets(place, 10)
            behind += high - max(low, place.offset)
        return behind
    finally:
        consumer.close()


class CommandStormSuite:
    """On any broker."""

    async def test_each_bad_one_is_said_once_and_each_good_one_runs(self, world: World) -> None:
        good = [json.dumps(command).encode() for command in good_commands(world, 100)]
        bad = list(bad_commands(100))
        mixed: list[tuple[str, bytes | None, str | None]] = [
            *((name, raw, code) for name, raw, code in bad),
            *(("good", raw, None) for raw in good),
        ]
        random.Random(5).shuffle(mixed)
        container = world.container()
        async with (
            TopicLog(world.settings, ["ws.error", "ws.dlq", "ws.connect_success"]) as log,
            running(container) as gateway,
        ):
            places = await publish_all(world.settings, [raw for _, raw, _ in mixed])
            await log.until(
                lambda: len(log.messages["ws.dlq"]) >= 100 and len(log.messages["ws.connect_success"]) >= 100,
                30,
            )
            await log.settle()
            wanted = Counter((c["target"]["exchange"], c["target"]["request_type"]) for c in unique(good))
            await until(
                lambda: (
                    {
                        (s["exchange"], s["request_type"]): len(s["symbols"])
                        for s in gateway.streams()
                        if s["delivered"]
                    }
                    == dict(wanted)
                )
            )
            behind = await asyncio.to_thread(lag, world.settings, "gateway-command", "ws.command")
        assert behind == 0

        errors = {place_of(event["meta"]["raw_context"]): event for event in log.on("ws.error")}
        letters = {place_of(event["source"]): event for event in log.on("ws.dlq")}
        assert len(log.on("ws.error")) == len(errors) == 100
        assert len(log.on("ws.dlq")) == len(letters) == 100
        for (name, raw, code), place in zip(mixed, places, strict=True):
            if code is None:
                assert place not in errors
                continue
            assert errors[place]["error"]["error_code"] == code, (name, errors[place])
            assert errors[place]["error"]["error_message"]["message"], name
            check_letter(name, letters[place], raw or b"")
        acknowledged = Counter(event["meta"]["correlation_id"] for event in log.on("ws.connect_success"))
        assert acknowledged == {f"good-{number}": 1 for number in range(100)}


def unique(commands: list[bytes]) -> list[dict[str, Any]]:
    """One command for each symbol of each scope."""
    return list({(str(c["target"]), str(c["symbols"])): c for c in map(json.loads, commands)}.values())


def place_of(source: dict[str, Any]) -> Place:
    """Where the message stands that an event is about."""
    return source["topic"], source["partition"], source["offset"]


def check_letter(name: str, letter: dict[str, Any], raw: bytes) -> None:
    """The dead letter carries the raw bytes, or their beginning and says so."""
    kept = base64.b64decode(letter["payload_b64"])
    assert letter["payload_size"] == len(raw), name
    assert letter["payload_sha256"] == hashlib.sha256(raw).hexdigest(), name
    assert letter["truncated"] is (name == "as large as a topic takes"), name
    assert raw.startswith(kept) if letter["truncated"] else kept == raw, name
    assert "secret" not in letter["reason"], name
    assert letter["reason"], name
