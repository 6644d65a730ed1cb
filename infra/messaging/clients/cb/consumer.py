"""A circuit breaker around a consumer and the handler of its batches."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol, Self

import structlog

from application.ports import BreakerStateStore
from core.breaker import BreakerState
from core.errors import DeliveryError
from infra.messaging.clients.cb.config import CircuitBreakerConfig
from infra.messaging.clients.cb.guard import BreakerGuard, call_if_there


class Batched(Protocol):
    """What a consumer needs to have to stand behind a breaker (``AsyncConsumerWrapper``)."""

    def batches(self) -> AsyncIterator[Sequence[Any]]:
        """Messages in the order of their partitions."""
        ...

    async def commit(self) -> None:
        """Commit the offsets of every batch given out so far."""
        ...


Handler = Callable[[Sequence[Any]], Awaitable[None]]


class CircuitBreakerConsumer:
    """A consumer whose handler may fail: while the breaker is open no batch is tried and none is lost.

    A batch is committed once ``handler`` returned; when it raised, the same batch is tried again, and after
    ``failure_threshold`` failures in a row only after ``open_s``. The consumer behind it stays in its group
    meanwhile (``AsyncConsumerWrapper`` goes on polling while nobody takes its batches).
    """

    def __init__(
        self,
        consumer: Batched | Any,
        *,
        name: str = "consumer",
        config: CircuitBreakerConfig | None = None,
        store: BreakerStateStore | None = None,
        instance: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config or CircuitBreakerConfig()
        self.guard = BreakerGuard(name, self.config, store=store, instance=instance, clock=clock)
        self.failures = 0
        """How often the handler raised."""
        self._inner: Any = consumer

    @property
    def state(self) -> BreakerState:
        """CLOSED, OPEN or HALF_OPEN."""
        return self.guard.state

    async def start(self) -> None:
        """Start the inner consumer where it can be started; a second call does nothing."""
        await call_if_there(self._inner, "start")
        await self.guard.start()

    async def stop(self) -> None:
        """Stop the inner consumer where it can be stopped; a second call does nothing."""
        await self.guard.stop()
        await call_if_there(self._inner, "stop")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def run(self, handler: Handler) -> None:
        """Hand every batch to ``handler`` until the consumer ends; commits each that it took."""
        async for batch in self._inner.batches():
            while not await self._tried(handler, batch):
                await asyncio.sleep(self.config.tick_s)
            try:
                await self._inner.commit()
            except DeliveryError as exc:  # the offsets go with the next batch, or the batch comes again
                structlog.get_logger().warning(
                    "offsets_not_committed", breaker=self.guard.name, reason=exc.message
                )

    async def _tried(self, handler: Handler, batch: Sequence[Any]) -> bool:
        generation = self.guard.admit()
        if generation is None:
            return False
        try:
            await handler(batch)
        except asyncio.CancelledError:
            self.guard.abandon(generation)
            raise
        except Exception as exc:  # noqa: BLE001 - whatever a handler raises, its batch is tried again
            self.failures += 1
            self.guard.settle(generation, f"{type(exc).__name__}: {exc}")
            return False
        self.guard.settle(generation, None)
        return True
