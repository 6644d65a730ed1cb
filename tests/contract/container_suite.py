"""What holds of the container on any broker; a subclass gives ``world``."""

import asyncio
from typing import Any

import pytest

from core.records import Ticker
from infra.container import ApplicationContainer, close_container
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroDeserializer
from infra.messaging.connect.consumer_client import KafkaConsumerClient
from infra.messaging.connect.producer_client import ErrorEventProducer
from tests.gateway_rig import Double, TopicLog, World, connect, disconnect, publish, running
from tests.waiting import until


class ContainerSuite:
    """Doubles that have ``send_and_wait`` alone, in the place of each producer."""

    async def test_what_is_built_from_doubles_works_through_them(self, world: World) -> None:
        container = world.container()
        errors, metrics, realtime = Double(), Double(), Double()
        container.messaging.error_producer.override(errors)
        container.messaging.metrics_producer.override(metrics)
        container.messaging.realtime_producer.override(realtime)
        assert await container.messaging.error_producer() is errors
        topic = world.settings.gateway.topic
        async with (
            TopicLog(world.settings, ["ws.error", "ws.dlq", "ws.connect_success"]) as log,
            running(container),
        ):
            await publish(world.settings, "ws.command", b"{", connect("upbit", "ticker", "KRW-BTC", "KRW-ETH"))
            await log.until(lambda: len(log.on("ws.connect_success")) == 2 and log.on("ws.dlq"))
            await until(lambda: errors.sent and len(realtime.sent) > 20)
            await log.settle()
            (stream,) = (await container.application.orchestrator()).streams.values()
        totals = stream.accounting.totals()
        assert log.on("ws.error") == []
        ((where, event, key),) = errors.sent
        assert (where, key) == (topic("ws.error"), None)
        assert event["error"]["error_code"] == "deserialization_error"
        by_symbol: dict[str, list[int]] = {}
        for where, record, key in realtime.sent:
            assert where == topic("realtime.ticker")
            assert key == f"upbit|{record['symbol']}"
            by_symbol.setdefault(record["symbol"], []).append(record["sequence"])
        assert set(by_symbol) == {"BTC-KRW", "ETH-KRW"}
        for sequences in by_symbol.values():
            assert sequences == list(range(1, len(sequences) + 1))
        assert totals["produced"] == totals["delivered"] == len(realtime.sent)
        counted: dict[str, int] = {}
        for where, event, key in metrics.sent:
            assert (where, key) == (topic("ws.metrics"), "upbit|korea|ticker")
            for item in event["batch"]["items"]:
                for name, count in item["details"].items():
                    counted[name] = counted.get(name, 0) + count
        assert counted == {f"{symbol}_COUNT": len(found) for symbol, found in by_symbol.items()}

    async def test_a_control_producer_and_a_data_producer_that_are_doubles(self, world: World) -> None:
        container = world.container()
        control, data = Double(), Double()
        container.messaging.control_producer.override(control)
        container.messaging.data_producer.override(data)
        async with (
            TopicLog(
                world.settings, ["ws.error", "ws.dlq", "ws.connect_success", "ws.disconnect_success"]
            ) as log,
            running(container),
        ):
            await publish(world.settings, "ws.command", b"{", connect("upbit", "ticker", "KRW-BTC"))
            await until(
                lambda: control.on("ws.connect_success") and control.on("ws.dlq") and len(data.sent) > 5
            )
            await publish(world.settings, "ws.disconnection", disconnect("upbit", "ticker"))
            await until(lambda: control.on("ws.disconnect_success"))
            await log.settle()
        assert not any(log.messages.values())
        assert len(control.on("ws.error")) == len(control.on("ws.dlq")) == 1
        assert [event["symbol"] for event in control.on("ws.connect_success")] == ["BTC-KRW"]
        assert [event["symbol"] for event in control.on("ws.disconnect_success")] == ["BTC-KRW"]
        async with SchemaRegistryClient(world.settings.registry) as registry:
            deserializer = AvroDeserializer(registry)
            records = [await deserializer.deserialize_async(value) for _, value, _ in data.sent]
            (metrics,) = [await deserializer.deserialize_async(v) for v in control.on("ws.metrics")]
        assert [record["sequence"] for record in records] == list(range(1, len(records) + 1))
        assert metrics["batch"]["items"][0]["total"] == len(records)

    async def test_an_orchestrator_of_ones_own(self, world: World) -> None:
        asked: list[Any] = []

        class Orchestrator:
            async def connect_from_context(self, context: Any) -> None:
                asked.append(context)

        container = world.container()
        await (await container.messaging.topics()).ensure()
        producer = await container.messaging.error_producer()
        assert isinstance(producer, ErrorEventProducer)
        consumer = KafkaConsumerClient(
            topic=["ws.command"], orchestrator=Orchestrator(), settings=world.settings, error_producer=producer
        )
        running_consumer = asyncio.create_task(consumer.run())
        await publish(world.settings, "ws.command", connect("upbit", "ticker", "KRW-BTC"))
        await until(lambda: asked)
        await consumer.stop()
        await running_consumer
        await close_container(container)
        assert [(context.scope.key, context.symbols) for context in asked] == [
            ("upbit|korea|ticker", ("BTC-KRW",))
        ]

    @pytest.mark.parametrize("how", ["instance", "class", "with", "class and with"])
    async def test_an_overridden_provider_gives_the_double_at_the_first_call(
        self, world: World, how: str
    ) -> None:
        double = Double()
        target = ApplicationContainer if how.startswith("class") else world.container()
        scope = target.messaging.error_producer.override(double)
        try:
            if how == "class":
                target = world.container()
            elif how == "class and with":
                with scope:
                    target = world.container()
            assert await target.messaging.error_producer() is double
            reporter = await target.application.reporter()
            assert reporter._producers["ws.error"] is double
            await close_container(target)
        finally:
            if how.startswith("class"):
                ApplicationContainer.messaging.error_producer.reset_override()
        if how in ("instance", "with"):
            target.messaging.error_producer.reset_override()
            assert isinstance(await target.messaging.error_producer(), ErrorEventProducer)
            await close_container(target)

    async def test_ticker_is_what_the_double_gets(self, world: World) -> None:
        """The dict has the fields of the record."""
        container = world.container()
        double = Double()
        container.messaging.realtime_producer.override(double)
        sink = await container.messaging.record_sink()
        ticker = Ticker(
            exchange="upbit",
            region="korea",
            symbol="BTC-KRW",
            exchange_symbol="KRW-BTC",
            exchange_ts_ms=None,
            received_ts_us=1,
            session_id=2,
            sequence=3,
            price=4.0,
        )
        sink.publish(ticker)
        await sink.flush(5)
        await close_container(container)
        assert double.sent[0][1] == {name: getattr(ticker, name) for name in ticker.__struct_fields__}

    async def test_each_producer_sends_and_waits(self, world: World) -> None:
        container = world.container()
        await (await container.messaging.topics()).ensure()
        topic = world.settings.gateway.topic
        for provider in (
            container.messaging.error_producer,
            container.messaging.control_producer,
        ):
            assert await (await provider()).send_and_wait(topic("ws.error"), {"any": "event"}) is True
        await (await container.messaging.codec()).prepare()
        ticker = Ticker(
            exchange="upbit",
            region="korea",
            symbol="BTC-KRW",
            exchange_symbol="KRW-BTC",
            exchange_ts_ms=None,
            received_ts_us=1,
            session_id=2,
            sequence=3,
            price=4.0,
        )
        realtime = await container.messaging.realtime_producer()
        assert await realtime.send_and_wait(topic("realtime.ticker"), ticker, "upbit|BTC-KRW") is True
        batch = {
            "range_start_ts_kst": 0,
            "range_end_ts_kst": 60_000,
            "bucket_size_sec": 60,
            "items": [],
            "version": 1,
        }
        metrics = await container.messaging.metrics_producer()
        assert await metrics.send_counting_batch("korea", "upbit", "ticker", batch) is True
        await close_container(container)
