"""The breaker around producers that answer as told, on a clock that is told too."""

import asyncio

import msgspec
import pytest
from structlog.testing import capture_logs

from core.breaker import BreakerState
from core.errors import CircuitOpenError, DeliveryError, PayloadError, QueueFullError
from infra.messaging.clients.cb.base import CircuitBreakerConsumer, CircuitBreakerProducer
from infra.messaging.clients.cb.config import CircuitBreakerConfig
from infra.messaging.clients.cb.health import DeliveryHealth
from infra.messaging.clients.delivery_book import DeliveryFigures
from infra.settings import BreakerSettings
from tests.waiting import until

FINE = DeliveryFigures(
    produced=0,
    delivered=0,
    failed=0,
    in_flight=0,
    produced_bytes=0,
    oldest_unacknowledged_age_s=0.0,
    oldest_since_s=None,
    all_brokers_down=False,
    queue_max_messages=1000,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class OnlySends:
    """The double of a user's test: nothing but ``send_and_wait``."""

    def __init__(self) -> None:
        self.answers: list[bool | Exception] = []
        self.sent: list[tuple] = []

    async def send_and_wait(self, topic, value, key=None):
        self.sent.append((topic, value, key))
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer


class HotDouble(OnlySends):
    """A producer with a hot path and an account."""

    def __init__(self) -> None:
        super().__init__()
        self.account = FINE
        self.full = False
        self.callbacks: list = []

    def figures(self) -> DeliveryFigures:
        return self.account

    def set(self, **changes) -> None:
        self.account = msgspec.structs.replace(self.account, **changes)

    def produce(self, topic, value, key=None, timestamp_ms=0, on_delivery=None, headers=None, partition=-1):
        if self.full:
            raise QueueFullError("the local queue of data is full")
        self.callbacks.append(on_delivery)


async def test_a_double_with_send_and_wait_alone_is_enough():
    inner = OnlySends()
    async with CircuitBreakerProducer(inner) as producer:
        assert await producer.send_and_wait("t", {"a": 1}, "k") is True
        assert await producer.send("t", {"a": 2}) is True
        inner.answers = [False]
        with pytest.raises(DeliveryError):
            await producer.send("t", {"a": 3})
    assert inner.sent == [("t", {"a": 1}, "k"), ("t", {"a": 2}, None), ("t", {"a": 3}, None)]


async def test_open_answers_false_without_asking_counted_and_said_once():
    inner, clock = OnlySends(), Clock()
    producer = CircuitBreakerProducer(inner, name="control", clock=clock)
    inner.answers = [False] * 5
    with capture_logs() as logs:
        for _ in range(10):
            assert await producer.send_and_wait("t", {}) is False
        with pytest.raises(CircuitOpenError):
            await producer.send("t", {})
    assert len(inner.sent) == 5
    assert producer.refused == 6
    assert producer.state is BreakerState.OPEN
    assert [line["event"] for line in logs] == ["circuit_opened"]
    clock.now_s += 60
    assert await producer.send_and_wait("t", {}) is True
    assert producer.state is BreakerState.HALF_OPEN
    assert await producer.send_and_wait("t", {}) is True
    assert producer.state is BreakerState.CLOSED


async def test_a_callers_mistake_says_nothing_about_the_broker():
    inner = OnlySends()
    producer = CircuitBreakerProducer(inner)
    inner.answers = [PayloadError("no")] * 9
    for _ in range(9):
        with pytest.raises(PayloadError):
            await producer.send_and_wait("t", {})
    assert producer.state is BreakerState.CLOSED


async def test_at_most_three_trials_at_a_time():
    inner, clock = OnlySends(), Clock()
    producer = CircuitBreakerProducer(inner, clock=clock)
    producer.guard.trip("for the test")
    clock.now_s += 60
    release = asyncio.Event()

    async def slow(topic, value, key=None):
        inner.sent.append((topic, value, key))
        await release.wait()
        return True

    inner.send_and_wait = slow
    calls = [asyncio.create_task(producer.send_and_wait("t", {})) for _ in range(5)]
    await until(lambda: sum(task.done() for task in calls) == 2)
    assert len(inner.sent) == 3
    release.set()
    assert sorted([await task for task in calls]) == [False, False, True, True, True]
    assert producer.state is BreakerState.CLOSED


async def test_a_full_queue_opens_the_hot_path_at_once():
    inner = HotDouble()
    producer = CircuitBreakerProducer(inner, name="data")
    producer.produce("t", b"v")
    inner.full = True
    with pytest.raises(QueueFullError):
        producer.produce("t", b"v")
    with pytest.raises(CircuitOpenError):
        producer.produce("t", b"v")
    assert producer.refused == 1


async def test_an_outage_opens_and_held_records_that_arrive_close_it():
    inner, clock = HotDouble(), Clock()
    producer = CircuitBreakerProducer(inner, clock=clock)
    reports = []
    for second in range(6):  # the broker is gone: nothing fails, the oldest record ages
        clock.now_s = 100.0 + second
        inner.set(produced=10, in_flight=10, oldest_since_s=100.0, oldest_unacknowledged_age_s=float(second))
        producer.tick()
        assert (producer.state is BreakerState.OPEN) == (second >= 5)
    with pytest.raises(CircuitOpenError):
        producer.produce("t", b"v")
    inner.set(delivered=4, in_flight=6, oldest_since_s=101.0, oldest_unacknowledged_age_s=5.0)
    producer.tick()
    assert producer.state is BreakerState.HALF_OPEN
    for _ in range(3):
        producer.produce("t", b"v", on_delivery=lambda error, message: reports.append((error, message)))
    with pytest.raises(CircuitOpenError):
        producer.produce("t", b"v")
    for callback in inner.callbacks[:2]:
        callback(None, "message")
    await until(lambda: producer.state is BreakerState.CLOSED)
    assert reports == [(None, "message")] * 2
    inner.callbacks[2](None, "message")  # a trial that reports late changes nothing
    await asyncio.sleep(0)
    assert producer.state is BreakerState.CLOSED


async def test_failures_on_the_hot_path_count_unless_others_arrive():
    inner = HotDouble()
    producer = CircuitBreakerProducer(inner)
    inner.set(produced=20, failed=9, delivered=11)
    producer.tick()
    assert producer.state is BreakerState.CLOSED
    inner.set(produced=23, failed=12, failed_awaited=3)
    producer.tick()
    assert producer.state is BreakerState.CLOSED
    inner.set(produced=30, failed=19)
    producer.tick()
    assert producer.state is BreakerState.OPEN


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"all_brokers_down": True}, "no broker"),
        ({"in_flight": 1000}, "queue is full"),
        ({"refused": 1}, "queue is full"),
        ({"oldest_since_s": 1.0, "oldest_unacknowledged_age_s": 5.0}, "waited 5.0 s"),
    ],
)
def test_what_counts_as_an_outage(changes, says):
    health = DeliveryHealth(CircuitBreakerConfig())
    assert health.look(FINE, 0.0).outage is None
    figures = msgspec.structs.replace(FINE, **changes)
    first = health.look(figures, 10.0).outage
    assert says in (first or health.look(figures, 11.0).outage)


def test_a_short_reconnect_and_a_backlog_that_drains_are_no_outage():
    health = DeliveryHealth(CircuitBreakerConfig())
    down = msgspec.structs.replace(FINE, all_brokers_down=True)
    assert health.look(down, 0.0).outage is None
    assert health.look(down, 0.9).outage is None
    assert health.look(FINE, 1.0).brokers_returned
    assert health.look(down, 1.5).outage is None
    for tick in range(20):
        drains = msgspec.structs.replace(FINE, oldest_since_s=float(tick), oldest_unacknowledged_age_s=9.0)
        assert health.look(drains, 10 + tick * 0.2).outage is None


async def test_settings_reach_the_breaker(monkeypatch):
    monkeypatch.setenv("GATEWAY_BREAKER_FAILURE_THRESHOLD", "2")
    config = CircuitBreakerConfig.from_settings(BreakerSettings())
    inner = OnlySends()
    inner.answers = [False, False]
    producer = CircuitBreakerProducer(inner, config=config)
    await producer.send_and_wait("t", {})
    assert producer.state is BreakerState.CLOSED
    await producer.send_and_wait("t", {})
    assert producer.state is BreakerState.OPEN


class Batches:
    """A consumer of given batches that notes what was committed."""

    def __init__(self, *batches) -> None:
        self._batches = batches
        self.committed = 0

    async def batches(self):
        for batch in self._batches:
            yield batch

    async def commit(self) -> None:
        self.committed += 1


async def test_a_failing_handler_gets_its_batch_again_and_loses_none():
    inner = Batches(["a"], ["b"])
    config = CircuitBreakerConfig(failure_threshold=2, open_s=0.05, success_threshold=1, tick_s=0.01)
    consumer = CircuitBreakerConsumer(inner, config=config)
    seen = []

    async def handler(batch):
        seen.append((batch, consumer.state))
        if len(seen) <= 3:
            raise OSError("database away")

    async with consumer:
        await consumer.run(handler)
    closed, half = BreakerState.CLOSED, BreakerState.HALF_OPEN
    expected = [(["a"], closed), (["a"], closed), (["a"], half), (["a"], half), (["b"], closed)]
    assert seen == expected
    assert (inner.committed, consumer.failures) == (2, 3)
