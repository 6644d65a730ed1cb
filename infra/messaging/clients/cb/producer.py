"""A circuit breaker around a producer, which is a producer again."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, Self

import structlog

from application.ports import BreakerStateStore
from core.breaker import BreakerState
from core.errors import DeliveryError, ErrorCode, PayloadError, ProducerNotStartedError, QueueFullError
from core.records import Record
from infra.messaging.clients.cb.config import CircuitBreakerConfig
from infra.messaging.clients.cb.guard import BreakerGuard, call_if_there
from infra.messaging.clients.cb.health import DeliveryHealth
from infra.messaging.clients.delivery_book import DeliveryFigures, OnDelivery
from infra.messaging.clients.kafka_producer import KafkaProducer

Figures = Callable[[], DeliveryFigures | None]


class Awaited(Protocol):
    """All that a producer needs to have to stand behind a breaker."""

    async def send_and_wait(self, topic: str, value: Any, key: Any = None) -> bool:
        """See ``application.ports.EventProducer``."""
        ...


class CircuitBreakerProducer:
    """A producer around a producer that stops calling it while it cannot deliver.

    ``producer`` needs ``send_and_wait`` alone. What else it has is used: ``send``, ``produce``, ``publish``,
    ``start`` and ``stop``, and an account (``figures()``, or a ``core`` that has one), which is looked at every
    tick once this is started: that is how an outage is found which gives no delivery failure for minutes.
    ``store`` shares the state under ``cb:{name}``; a shared state is a hint and never stops this producer.
    """

    def __init__(
        self,
        producer: Awaited | Any,
        *,
        name: str = "producer",
        config: CircuitBreakerConfig | None = None,
        store: BreakerStateStore | None = None,
        instance: str | None = None,
        figures: Figures | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config or CircuitBreakerConfig()
        self.guard = BreakerGuard(name, self.config, store=store, instance=instance, clock=clock)
        self._inner: Any = producer
        self._figures = figures or _figures_of(producer)
        self._health = DeliveryHealth(self.config)
        self._watch: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The breaker's name, as in ``cb:{name}``."""
        return self.guard.name

    @property
    def state(self) -> BreakerState:
        """CLOSED, OPEN or HALF_OPEN."""
        return self.guard.state

    @property
    def refused(self) -> int:
        """How many calls and records were refused because the breaker was open."""
        return self.guard.refused

    @property
    def inner(self) -> Any:
        """The producer this stands around."""
        return self._inner

    # -- life ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the inner producer where it can be started, and watch it; a second call does nothing."""
        await call_if_there(self._inner, "start", "start_producer")
        await self.guard.start()
        if self._watch is None and self._figures is not None:
            self._watch = asyncio.create_task(self._watch_for_ever(), name=f"watch-{self.name}")

    async def stop(self) -> None:
        """Stop watching, then the inner producer; a second call does nothing."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        await self.guard.stop()
        await call_if_there(self._inner, "stop", "stop_producer")

    start_producer = start
    stop_producer = stop

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    # -- awaited ---------------------------------------------------------------------------------------

    async def send_and_wait(self, topic: str, value: Any, key: Any = None, **more: Any) -> bool:
        """The inner producer's answer; False, without asking it, while the breaker is open."""
        generation = self.guard.admit()
        if generation is None:
            return False
        return await self._outcome(generation, self._inner.send_and_wait(topic, value, key, **more))

    async def produce_sending(self, message: Any, topic: str, key: Any = None) -> bool:
        """``send_and_wait`` under the name of the business producers."""
        return await self.send_and_wait(topic, message, key)

    async def send(self, topic: str, value: Any, key: Any = None, **more: Any) -> bool:
        """True once acknowledged; raises ``CircuitOpenError`` while open, ``DeliveryError`` otherwise."""
        generation = self.guard.admit()
        if generation is None:
            raise self.guard.refusal()
        send = getattr(self._inner, "send", None)
        call = self._inner.send_and_wait if send is None else send
        if not await self._outcome(generation, call(topic, value, key, **more)):
            raise DeliveryError(f"{topic}: not delivered")
        return True

    async def _outcome(self, generation: int, call: Awaitable[Any]) -> bool:
        """Await ``call`` and settle it; a caller's mistake says nothing about the broker."""
        try:
            answer = await call
        except (PayloadError, ProducerNotStartedError, asyncio.CancelledError):
            self.guard.abandon(generation)
            raise
        except Exception as exc:
            if isinstance(exc, DeliveryError) and exc.code == ErrorCode.TOO_LARGE:
                self.guard.abandon(generation)
            else:
                self.guard.settle(generation, str(exc) or type(exc).__name__)
            raise
        self.guard.settle(generation, "not delivered" if answer is False else None)
        return bool(answer)

    # -- hot path --------------------------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | str | None = None,
        timestamp_ms: int = 0,
        on_delivery: OnDelivery | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        partition: int = -1,
    ) -> None:
        """The inner producer's ``produce``; raises ``CircuitOpenError`` while open."""
        guard = self.guard
        if not guard.closed:
            on_delivery = self._trial(on_delivery)
        try:
            self._inner.produce(topic, value, key, timestamp_ms, on_delivery, headers, partition)
        except QueueFullError as exc:
            guard.trip(exc.message)
            raise
        except BaseException:
            self._give_back(on_delivery)
            raise

    def publish(self, record: Record, on_delivery: OnDelivery | None = None) -> None:
        """The inner producer's ``publish``; raises ``CircuitOpenError`` while open."""
        guard = self.guard
        if not guard.closed:
            on_delivery = self._trial(on_delivery)
        try:
            self._inner.publish(record, on_delivery)
        except QueueFullError as exc:
            guard.trip(exc.message)
            raise
        except BaseException:
            self._give_back(on_delivery)
            raise

    def _trial(self, on_delivery: OnDelivery | None) -> OnDelivery:
        """Take one of the trial calls, whose delivery report is its outcome; raises when there is none."""
        generation = self.guard.admit()
        if generation is None:
            raise self.guard.refusal()
        return _Trial(self, generation, on_delivery)

    def _give_back(self, on_delivery: OnDelivery | None) -> None:
        if isinstance(on_delivery, _Trial):
            self.guard.abandon(on_delivery.generation)

    # -- the tick --------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look at the inner producer's account once; called every ``tick_s`` while started."""
        figures = self._figures() if self._figures is not None else None
        if figures is None:
            return
        guard, breaker, now_s = self.guard, self.guard.breaker, self.guard.clock()
        finding = self._health.look(figures, now_s)
        if finding.outage is not None:
            breaker.trip(now_s, finding.outage)
        elif finding.delivered:
            breaker.delivery_seen(now_s)
        elif finding.brokers_returned:
            breaker.delivery_seen(now_s, "a broker answers again")
        elif breaker.state is BreakerState.CLOSED:
            for _ in range(min(finding.failed, self.config.failure_threshold)):
                breaker.failed(now_s, "delivery failed")
        guard.note()

    async def _watch_for_ever(self) -> None:
        while True:
            try:
                self.tick()
            except Exception:  # noqa: BLE001 - the watch must outlive what one look runs into
                structlog.get_logger().exception("breaker_tick_failed", breaker=self.name)
            await asyncio.sleep(self.config.tick_s)


class _Trial:
    """The delivery callback of a trial record: its report, in the polling thread, settles the trial."""

    def __init__(self, owner: CircuitBreakerProducer, generation: int, on_delivery: OnDelivery | None) -> None:
        self.generation = generation
        self._owner = owner
        self._on_delivery = on_delivery
        self._loop = asyncio.get_running_loop()

    def __call__(self, error: Any, message: Any) -> None:
        if self._on_delivery is not None:
            self._on_delivery(error, message)
        reason = None if error is None else str(error)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._owner.guard.settle, self.generation, reason)


def _figures_of(producer: Any) -> Figures | None:
    """The account of a producer that has one: its own, or that of the Kafka client inside it."""
    own: Figures | None = getattr(producer, "figures", None)
    if own is not None:
        return own
    if not hasattr(producer, "core"):
        return None

    def of_core() -> DeliveryFigures | None:
        core: KafkaProducer | None = producer.core
        return None if core is None else core.figures()

    return of_core
