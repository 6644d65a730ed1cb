"""The outcomes of commands: each once per symbol, with the fact that says it was given."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

import structlog

from application.ports import AtomicWriter, Clock, Event
from core.errors import ExchangeError, GatewayError
from core.events import error_event, success_event, target_of, ticket_id_of
from core.identity import ConnectionScopeDomain
from core.streams import Fact, Outcome, OutcomeFact

_log = structlog.get_logger("outcomes")

_TOPIC: Final = {
    "connect_success": "ws.connect_success",
    "disconnect_success": "ws.disconnect_success",
}
_MAX_BATCH: Final = 500
_MAX_REMEMBERED: Final = 20_000


class OutcomeWriter:
    """Collects outcomes without waiting and writes them in batches: event and fact together.

    An outcome given once is not taken again: after an outage of Kafka the orchestrator reads the log anew while
    what it gave before may still wait here, unwritten.
    """

    def __init__(self, writer: AtomicWriter, clock: Clock, backoff: Callable[[], Iterator[float]]) -> None:
        self._writer = writer
        self._clock = clock
        self._backoff = backoff
        self._waiting: list[tuple[Event | None, Fact]] = []
        self._given: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def succeeded(
        self,
        action: Literal["connect_success", "disconnect_success"],
        scope: ConnectionScopeDomain,
        *,
        offset: int,
        correlation_id: str | None,
    ) -> None:
        """The good outcome of the command whose fact stands at ``offset``."""
        event = success_event(
            action,
            scope,
            ticket_id=ticket_id_of("ws.streams", 0, offset, action, scope.key),
            now_us=self._clock.epoch_us(),
            correlation_id=correlation_id,
        )
        self._add(Event(_TOPIC[action], scope.key, event), OutcomeFact(scope, Outcome(offset)))

    def settled(self, scope: ConnectionScopeDomain, offset: int) -> None:
        """A command whose outcomes were given symbol by symbol: only the fact."""
        self._add(None, OutcomeFact(scope, Outcome(offset)))

    def refused(
        self,
        scope: ConnectionScopeDomain,
        error: ExchangeError | GatewayError,
        *,
        offset: int,
        settled: int,
        correlation_id: str | None,
        withdrawn: bool = True,
    ) -> None:
        """The bad outcome of a connect command; ``withdrawn`` also ends the symbol."""
        _log.warning("symbol refused", scope=scope.key, code=str(error.code), message=error.message)
        event = error_event(
            error,
            ticket_id=ticket_id_of("ws.streams", 0, offset, "error", scope.key),
            now_us=self._clock.epoch_us(),
            target=target_of(scope),
            correlation_id=correlation_id,
            observed_key=scope.key,
            raw_context={"symbol": scope.symbol} if scope.symbol else None,
        )
        fact = OutcomeFact(scope, Outcome(settled, withdrawn, error.message if withdrawn else None))
        self._add(Event("ws.error", scope.stream.key, event), fact)

    async def run(self) -> None:
        """Write what is collected, until cancelled; what Kafka does not take now is tried again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waits = self._backoff()
            while self._waiting:
                batch = self._waiting[:_MAX_BATCH]
                try:
                    await self._writer.write(
                        [fact for _, fact in batch], [event for event, _ in batch if event]
                    )
                except GatewayError as exc:
                    _log.warning("outcomes wait for Kafka", waiting=len(self._waiting), reason=exc.message)
                    await self._clock.sleep(next(waits))
                    continue
                written = set(map(id, batch))
                self._waiting = [entry for entry in self._waiting if id(entry) not in written]
            self._idle.set()

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what waits for the scopes with these keys: another instance gives their outcomes now."""
        gone = set(keys)
        for event, fact in self._waiting:
            if event is not None and fact.scope.stream.key in gone:
                self._given.pop(event.value["ticket_id"], None)
        self._waiting = [entry for entry in self._waiting if entry[1].scope.stream.key not in gone]

    async def drained(self, timeout_s: float) -> bool:
        """Wait until nothing is collected; False when that takes longer."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def _add(self, event: Event | None, fact: Fact) -> None:
        if event is not None:
            ticket_id = event.value["ticket_id"]
            if ticket_id in self._given:
                return
            self._given[ticket_id] = None
            if len(self._given) > _MAX_REMEMBERED:
                del self._given[next(iter(self._given))]
        self._waiting.append((event, fact))
        self._idle.clear()
        self._wake.set()
