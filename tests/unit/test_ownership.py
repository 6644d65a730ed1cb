"""The orchestrator owns streams as the group says, and lets go of them when it has stood still or lost them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from application.orchestrator import StreamOrchestrator
from application.outcomes import OutcomeWriter
from application.reporting import ErrorReporter
from application.stream import StreamParts
from core.errors import ErrorCode, ExchangeError
from core.exchanges.table import PROFILES
from core.identity import ConnectionScopeDomain
from core.liveness import LivenessSettings
from core.streams import SubscribeFact, Subscription

SCOPE = ConnectionScopeDomain("upbit", "korea", "ticker")
SESSION_S = 10.0


class Clock:
    now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def epoch_us(self) -> int:
        return 1_700_000_000_000_000 + int(self.now_s * 1e6)

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


class Connector:
    """Is asked, and never gets through."""

    async def connect(self, url: str, handler: Any, *, max_frame_bytes: int) -> Any:
        await asyncio.Event().wait()


class Sink:
    def publish(self, record: Any, on_delivery: Any = None) -> None:
        raise AssertionError("no frame ever comes")


class Writer:
    """Takes everything."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    async def write(self, facts: Any, events: Any, consumed: Any = ()) -> None:
        self.events += events


class Bench:
    """An orchestrator that owns partition 0 with one stream."""

    def __init__(self) -> None:
        self.clock, self.writer = Clock(), Writer()
        self.outcomes = OutcomeWriter(self.writer, self.clock, lambda: iter([0.1] * 100))
        parts = StreamParts(
            connector=Connector(),
            sink=Sink(),
            reporter=ErrorReporter({}, self.clock),
            clock=self.clock,
            new_session_id=lambda: 7,
            backoff=lambda: iter([0.1] * 100),
            liveness=LivenessSettings(),
            hold_max_s=5.0,
            url_of=lambda profile: profile.url,
            instance="one",
        )
        self.orchestrator = StreamOrchestrator(
            writer=self.writer,
            outcomes=self.outcomes,
            parts=parts,
            profiles=PROFILES,
            clock=self.clock,
            session_timeout_s=SESSION_S,
        )
        self.read_partition()

    def read_partition(self) -> None:
        self.orchestrator.assigned(0)
        self.tell_facts()
        self.orchestrator.caught_up(0)

    def tell_facts(self) -> None:
        fact = SubscribeFact(SCOPE.with_symbol("BTC-KRW"), Subscription("BTC-KRW", "t1", "c1"))
        self.orchestrator.fact(0, 3, fact)

    def pass_s(self, seconds: float, *, standing: bool = False) -> None:
        """Time goes by, with a tick every 0.2 s unless the process stands still."""
        end_s = self.clock.now_s + seconds
        while not standing and self.clock.now_s < end_s - 0.2:
            self.clock.now_s += 0.2
            self.orchestrator.tick()
        self.clock.now_s = end_s
        self.orchestrator.tick()

    @property
    def running(self) -> list[str]:
        return list(self.orchestrator.streams)


@pytest.fixture
async def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_a_process_that_stood_still_closes_and_resumes_when_the_group_says_nothing(bench: Bench) -> None:
    bench.pass_s(5)
    assert bench.running == [SCOPE.key]
    bench.pass_s(9, standing=True)
    assert bench.running == []
    assert not bench.orchestrator.may_publish(bench.clock.epoch_us())
    bench.pass_s(9)
    assert bench.running == []
    bench.pass_s(2)
    assert bench.running == [SCOPE.key]
    assert bench.orchestrator.may_publish(bench.clock.epoch_us())


async def test_a_frame_finds_the_standstill_before_the_tick_does(bench: Bench) -> None:
    bench.pass_s(1)
    bench.clock.now_s += 30
    assert not bench.orchestrator.may_publish(bench.clock.epoch_us())
    assert bench.running == []


async def test_once_the_group_has_decided_nothing_is_in_doubt_any_more(bench: Bench) -> None:
    bench.pass_s(30, standing=True)
    await bench.orchestrator.lost([0], brokers_answer=True)
    assert bench.running == []
    bench.read_partition()
    assert bench.running == [SCOPE.key]


async def test_a_short_standstill_changes_nothing(bench: Bench) -> None:
    stream = bench.orchestrator.streams[SCOPE.key]
    bench.pass_s(6, standing=True)
    assert bench.orchestrator.streams[SCOPE.key] is stream


async def test_cut_off_from_all_brokers_streams_go_on_until_the_group_answers(bench: Bench) -> None:
    stream = bench.orchestrator.streams[SCOPE.key]
    await bench.orchestrator.lost([0], brokers_answer=False)
    assert bench.orchestrator.streams[SCOPE.key] is stream
    bench.orchestrator.assigned(0)
    await bench.orchestrator.group_answers([0])
    bench.tell_facts()
    bench.orchestrator.caught_up(0)
    assert bench.orchestrator.streams[SCOPE.key] is stream
    await bench.orchestrator.lost([0], brokers_answer=False)
    await bench.orchestrator.group_answers([])
    assert bench.running == []


async def test_a_refusal_that_comes_while_the_partition_is_read_anew_is_not_lost(bench: Bench) -> None:
    await bench.orchestrator.lost([0], brokers_answer=False)
    bench.orchestrator.assigned(0)
    refusal = ExchangeError("no such symbol", code=ErrorCode.UNKNOWN_SYMBOL)
    bench.orchestrator.on_refused(SCOPE, ["BTC-KRW"], refusal)
    bench.tell_facts()
    bench.orchestrator.caught_up(0)
    assert bench.running == []
    writing = asyncio.create_task(bench.outcomes.run())
    assert await bench.outcomes.drained(5)
    assert [event.value["error"]["error_code"] for event in bench.writer.events] == ["unknown_symbol"]
    writing.cancel()
