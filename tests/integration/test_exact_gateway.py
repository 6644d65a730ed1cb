"""GATEWAY_NUMBERS=exact in a whole gateway: from the simulated exchange's text to the topic's bytes."""

import asyncio
from decimal import Decimal

import pytest

from infra.messaging.avro.writer_schemas import WriterSchemas
from infra.messaging.message_decoding import MessageDecoder
from tests.gateway_rig import TopicLog, connect, embedded_world, publish, running


@pytest.mark.parametrize("numbers", ["exact", "double"])
async def test_exact_numbers_reach_the_topic(numbers):
    async with embedded_world(numbers=numbers) as world:
        container = world.container()
        topics = ("realtime.ticker", "realtime.trade", "realtime.orderbook")
        async with running(container), TopicLog(world.settings, topics) as log:
            for exchange, symbol in (("upbit", "BTC-KRW"), ("binance", "BTC-USDT")):
                for request_type in ("ticker", "trade", "orderbook"):
                    await publish(world.settings, "ws.command", connect(exchange, request_type, symbol))
            await log.until(lambda: all(len(log.messages[topic]) > 20 for topic in topics), 30)
            values = {topic: [m.value() for m in log.messages[topic]] for topic in topics}

        def decoded() -> dict[str, list[dict]]:
            schemas = WriterSchemas(world.settings.registry)
            try:
                decoder = MessageDecoder(schemas)
                return {topic: [decoder.decode(value) for value in found] for topic, found in values.items()}
            finally:
                schemas.close()

        records = await asyncio.to_thread(decoded)
    assert {record["exchange"] for record in records["realtime.trade"]} == {"upbit", "binance"}
    for record in (*records["realtime.ticker"], *records["realtime.trade"]):
        names = [name for name in ("price", "quantity") if name in record]
        for name in names:
            exact = record[f"{name}_exact"]
            if numbers == "double":
                assert exact is None
            else:
                assert isinstance(exact, Decimal)
                assert float(exact) == record[name]
    assert all(
        "price_exact" not in record["bids"][0] for record in records["realtime.orderbook"] if record["bids"]
    )
