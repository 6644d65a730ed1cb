"""A breaker with its name, its log lines and its shared state; what producers and consumers have in common."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog

from application.ports import BreakerStateStore
from core.breaker import BreakerState, CircuitBreaker
from core.errors import CircuitOpenError
from infra.messaging.clients.cb.config import CircuitBreakerConfig
from infra.settings import default_instance_id


class BreakerGuard:
    """Runs one ``CircuitBreaker`` on the clock, says each change once, and shares it under ``cb:{name}``.

    ``closed`` is the one attribute a hot path looks at. To be used from the event loop's thread only.
    ``store`` is optional, and its absence or failure changes nothing here.
    """

    def __init__(
        self,
        name: str,
        config: CircuitBreakerConfig,
        *,
        store: BreakerStateStore | None = None,
        instance: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.config = config
        self.breaker = CircuitBreaker(config.limits)
        self.closed = True
        self.refused = 0
        """Calls and records refused while open, in all."""
        self.clock = clock
        self._store = store
        self._instance = instance or default_instance_id()
        self._noted = 0
        self._refused_before = 0
        self._saved = 0
        self._saved_s = float("-inf")
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> BreakerState:
        """CLOSED, OPEN or HALF_OPEN."""
        return self.breaker.state

    def admit(self) -> int | None:
        """The generation a call begins in, or None: it is refused and counted."""
        if self.closed:
            return self.breaker.generation
        allowed = self.breaker.allow(self.clock())
        self.note()
        if allowed:
            return self.breaker.generation
        self.refused += 1
        return None

    def refusal(self) -> CircuitOpenError:
        """The error a refused call raises."""
        return CircuitOpenError(f"the circuit breaker {self.name} is open: {self.breaker.reason}")

    def settle(self, generation: int, error: str | None) -> None:
        """The outcome of a call that began in ``generation``; ``error`` None: it succeeded."""
        breaker, now_s = self.breaker, self.clock()
        if generation != breaker.generation:
            if error is None:
                breaker.delivery_seen(now_s)
        elif error is None:
            breaker.succeeded(now_s)
        else:
            breaker.failed(now_s, error)
        self.note()

    def abandon(self, generation: int) -> None:
        """A call ended without an outcome."""
        if generation == self.breaker.generation:
            self.breaker.abandoned()

    def trip(self, reason: str) -> None:
        """Open at once."""
        self.breaker.trip(self.clock(), reason)
        self.note()

    def note(self) -> None:
        """Say and remember a change of state, if there was one."""
        breaker = self.breaker
        if breaker.generation == self._noted:
            return
        self._noted = breaker.generation
        self.closed = breaker.state is BreakerState.CLOSED
        log = structlog.get_logger().bind(breaker=self.name, reason=breaker.reason)
        match breaker.state:
            case BreakerState.OPEN:
                log.error("circuit_opened")
            case BreakerState.HALF_OPEN:
                log.info("circuit_half_open", refused=self.refused - self._refused_before)
            case BreakerState.CLOSED:
                log.info("circuit_closed", refused=self.refused - self._refused_before)
                self._refused_before = self.refused

    # -- shared state ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to share the state; a second call does nothing."""
        if self._store is not None and self._task is None:
            self._task = asyncio.create_task(self._share(self._store), name=f"breaker-{self.name}")

    async def stop(self) -> None:
        """Stop sharing; a second call does nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _share(self, store: BreakerStateStore) -> None:
        silent = False
        while True:
            try:
                await self.exchange(store)
                silent = False
            except Exception as exc:  # noqa: BLE001 - the store is not vital; the breaker works without it
                if not silent:
                    structlog.get_logger().warning(
                        "breaker_state_not_shared", breaker=self.name, reason=str(exc)
                    )
                silent = True
            await asyncio.sleep(self.config.sync_s)

    async def exchange(self, store: BreakerStateStore) -> None:
        """One round: publish a change; without one read what others published, and renew what is not CLOSED.

        A change is written before anything is read, so that what others wrote before it cannot undo it; a
        renewal is rare and never written over what another instance wrote.
        """
        generation = self.breaker.generation
        if generation != self._saved:
            if await self._publish(store):
                self._saved = generation
            return
        remote = await store.load(self.name)
        if remote is not None and remote.get("instance") == self._instance:
            remote = None
        self.breaker.merge(remote, self.clock())
        self.note()
        renewal_due = self.clock() - self._saved_s >= self.config.open_s / 3
        if remote is None and renewal_due and not self.closed and self.breaker.generation == generation:
            await self._publish(store)

    async def _publish(self, store: BreakerStateStore) -> bool:
        self._saved_s = self.clock()
        state = {**self.breaker.snapshot(self.clock()), "instance": self._instance}
        return await store.save(self.name, state, ttl_s=self.config.open_s)


async def call_if_there(target: Any, *names: str) -> None:
    """Await the first of the methods ``names`` that ``target`` has, if any."""
    for name in names:
        method = getattr(target, name, None)
        if method is not None:
            await method()
            return
