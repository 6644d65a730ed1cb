"""Errors, outcomes and metrics on their way to Kafka: in order, once, and kept while it is away."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from application.outcomes import OutcomeWriter
from application.ports import Event, Position
from application.reporting import ErrorReporter
from application.upkeep import Upkeep
from core.errors import ConnectFailedError, DeliveryError, PayloadError
from core.identity import ConnectionScopeDomain
from core.streams import Fact, OutcomeFact
from infra.manual_clock import ManualClock, settled
from tests.orchestra import HOME, SCOPE, Orchestra

BTC = SCOPE.with_symbol("BTC-KRW")


class Kafka:
    """A producer, and a writer, that fail as told: False, an error to raise, or True for the rest."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[Any] = []
        self.facts: list[Fact] = []

    async def send_and_wait(self, _topic: str, value: Any, _key: Any = None) -> bool:
        if not self._works():
            return False
        self.sent.append(value)
        return True

    async def write(
        self, facts: Sequence[Fact], events: Sequence[Event], _consumed: Sequence[Position] = ()
    ) -> None:
        if not self._works():
            raise DeliveryError("away")
        self.facts += facts
        self.sent += [event.value for event in events]

    def _works(self) -> bool:
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def tasks() -> AsyncIterator[list[asyncio.Task[Any]]]:
    running: list[asyncio.Task[Any]] = []
    yield running
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def messages(kafka: Kafka) -> list[str]:
    return [value["error"]["error_message"]["message"] for value in kafka.sent]


async def test_problems_are_sent_in_order_once_kafka_takes_them(clock: ManualClock, tasks: list[Any]) -> None:
    kafka = Kafka(False, DeliveryError("away"), False)
    reporter = ErrorReporter({"ws.error": kafka}, clock)
    tasks.append(asyncio.create_task(reporter.run()))
    for number in range(5):
        reporter.report(ConnectFailedError(f"problem {number}"), BTC)
    await settled()
    assert kafka.sent == []
    await clock.advance(60)
    assert messages(kafka) == [f"problem {number}" for number in range(5)]
    assert (reporter.reported, reporter.dropped) == (5, 0)
    assert await reporter.drained(1)
    assert kafka.sent[0]["target"] == {"exchange": "upbit", "region": "korea", "request_type": "ticker"}


@pytest.mark.parametrize("mistake", [PayloadError("cannot be written"), RuntimeError("a double's own")])
async def test_an_event_that_can_never_be_sent_holds_up_none(
    clock: ManualClock, tasks: list[Any], mistake: Exception
) -> None:
    kafka = Kafka(mistake)
    reporter = ErrorReporter({"ws.error": kafka}, clock)
    tasks.append(asyncio.create_task(reporter.run()))
    reporter.report(ConnectFailedError("first"))
    reporter.report(ConnectFailedError("second"))
    await clock.advance(1)
    assert messages(kafka) == ["second"]


async def test_too_many_that_wait_are_counted(clock: ManualClock) -> None:
    reporter = ErrorReporter({"ws.error": Kafka()}, clock, max_waiting=3)
    for _ in range(5):
        reporter.report(ConnectFailedError("x"))
    assert reporter.dropped == 2


async def test_one_stream_does_not_take_the_room_of_the_others(clock: ManualClock, tasks: list[Any]) -> None:
    kafka = Kafka(False)
    reporter = ErrorReporter({"ws.error": kafka}, clock, max_waiting=100, max_waiting_of_one=10)
    tasks.append(asyncio.create_task(reporter.run()))
    for number in range(500):
        reporter.report(ConnectFailedError(f"flood {number}"), BTC)
    other = ConnectionScopeDomain("bybit", "asia", "orderbook")
    reporter.report(ConnectFailedError("one problem"), other)
    assert reporter.dropped == 490
    await clock.advance(5)
    assert messages(kafka) == [*(f"flood {number}" for number in range(10)), "one problem"]
    reporter.report(ConnectFailedError("there is room again"), BTC)
    await clock.advance(1)
    assert messages(kafka)[-1] == "there is room again"
    assert reporter.dropped == 490


async def test_secrets_are_in_no_event(clock: ManualClock, tasks: list[Any]) -> None:
    kafka = Kafka()
    reporter = ErrorReporter({"ws.error": kafka, "ws.dlq": kafka}, clock)
    tasks.append(asyncio.create_task(reporter.run()))
    url = "wss://me:hunter2@host/x?token=hunter2"
    reporter.report(
        ConnectFailedError(f"cannot connect to {url}"), BTC, context={"password": "hunter2", "u": url}
    )
    reporter.dead_letter(f"from {url}", b"frame", BTC, source="upbit")
    await clock.advance(1)
    assert len(kafka.sent) == 2
    assert "hunter2" not in str(kafka.sent)


async def test_outcomes_are_written_with_their_facts_once(clock: ManualClock, tasks: list[Any]) -> None:
    kafka = Kafka(False, DeliveryError("away"))
    outcomes = OutcomeWriter(kafka, clock, lambda: itertools.repeat(1.0))
    tasks.append(asyncio.create_task(outcomes.run()))
    for offset in range(700):
        outcomes.succeeded("connect_success", BTC, offset=offset, correlation_id=str(offset))
    outcomes.settled(SCOPE, 7)
    await settled()
    assert not kafka.sent
    await clock.advance(5)
    assert [event["meta"]["correlation_id"] for event in kafka.sent] == [str(n) for n in range(700)]
    assert len({event["ticket_id"] for event in kafka.sent}) == 700
    assert [f.outcome.offset for f in kafka.facts if isinstance(f, OutcomeFact)] == [*range(700), 7]
    assert await outcomes.drained(1)


class Specs:
    """A store of connection specs."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def set_connection_spec(self, scope: ConnectionScopeDomain, spec: Any) -> bool:
        self.kept[scope.key] = spec
        return True

    async def remove_connection_spec(self, scope: ConnectionScopeDomain) -> bool:
        self.kept.pop(scope.key, None)
        return True


def counted(kafka: Kafka) -> int:
    return sum(item["total"] for event in kafka.sent for item in event["batch"]["items"])


async def test_metrics_count_each_record_once_whatever_happens_to_their_events(tasks: list[Any]) -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        kafka, specs = Kafka(False, RuntimeError("away"), False), Specs()
        upkeep = Upkeep(one.orchestrator, kafka, specs, o.clock)
        tasks += [asyncio.create_task(work) for work in (upkeep.metrics_forever(), upkeep.specs_forever())]
        await o.connect("BTC-KRW", "ETH-KRW")
        for _ in range(30):
            o.upbit.answer()
            await o.clock.advance(9)
        assert specs.kept[SCOPE.key].status == "connected"
        await o.disconnect("ETH-KRW")
        o.upbit.answer()
        await o.disconnect()
        await o.clock.advance(16)
        assert specs.kept == {}
        await upkeep.finish()
    assert counted(kafka) == len(one.sink.records) > 60
    by_symbol: dict[str, int] = {}
    for event in kafka.sent:
        assert event["delivered"] >= 0
        for item in event["batch"]["items"]:
            for name, count in item["details"].items():
                by_symbol[name] = by_symbol.get(name, 0) + count
    for symbol in ("BTC-KRW", "ETH-KRW"):
        assert by_symbol[f"{symbol}_COUNT"] == sum(r.symbol == symbol for r in one.sink.records)
    assert sum(event["delivered"] for event in kafka.sent) == len(one.sink.records)
    assert sum(event["frames"] for event in kafka.sent) == len(one.sink.records)


async def test_the_last_metrics_do_not_repeat_those_under_way(tasks: list[Any]) -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        release = asyncio.Event()

        class Slow(Kafka):
            async def send_and_wait(self, topic: str, value: Any, key: Any = None) -> bool:
                await release.wait()
                return await super().send_and_wait(topic, value, key)

        kafka = Slow()
        upkeep = Upkeep(one.orchestrator, kafka, Specs(), o.clock)
        tasks.append(asyncio.create_task(upkeep.metrics_forever()))
        await o.connect("BTC-KRW")
        await o.clock.advance(70)
        o.upbit.answer()
        finishing = asyncio.create_task(upkeep.finish())
        await settled()
        release.set()
        await finishing
        await settled()
    assert counted(kafka) == len(one.sink.records)
