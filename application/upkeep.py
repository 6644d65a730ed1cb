"""What has to be done from time to time: the orchestrator's tick, minute metrics, specs for look-up."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog

from application.orchestrator import StreamOrchestrator
from application.ports import Clock, ConnectionSpecStore, EventProducer
from application.stream import Stream
from core.identity import ConnectionScopeDomain

_log = structlog.get_logger("upkeep")

METRICS_TOPIC: Final = "ws.metrics"
_TICK_S: Final = 0.2
_METRICS_S: Final = 1.0
_SPEC_S: Final = 15.0


class Upkeep:
    """Runs beside the streams until cancelled; ``finish`` sends the last metrics."""

    def __init__(
        self,
        orchestrator: StreamOrchestrator,
        metrics: EventProducer,
        specs: ConnectionSpecStore,
        clock: Clock,
        *,
        prefix: str = "",
    ) -> None:
        self._orchestrator = orchestrator
        self._metrics = metrics
        self._specs = specs
        self._clock = clock
        self._topic = prefix + METRICS_TOPIC
        self._known_specs: set[str] = set()
        self._ended: list[Stream] = []
        self._sending = asyncio.Lock()
        """What is taken for one event must be settled before more is taken, or it would be counted twice."""

    async def tick_forever(self) -> None:
        """The orchestrator's tick; by itself, so that nothing that waits can hold it up."""
        while True:
            self._orchestrator.tick()
            await self._clock.sleep(_TICK_S)

    async def metrics_forever(self) -> None:
        """One ``metrics_event`` a minute and stream, as soon as the minute is over."""
        while True:
            await self._clock.sleep(_METRICS_S)
            for stream in list(self._orchestrator.streams.values()):
                stream.accounting.minutes.roll(self._clock.epoch_us())
                await self._send(stream)
            await self._send_last()

    async def specs_forever(self) -> None:
        """Connection specs, renewed well before their time to live ends."""
        while True:
            await self.publish_specs()
            await self._clock.sleep(_SPEC_S if not self._changing() else 1.0)

    async def publish_specs(self) -> None:
        """Write the state of every stream, and forget those that are gone."""
        current: dict[str, Stream] = dict(self._orchestrator.streams)
        for stream in current.values():
            await self._specs.set_connection_spec(stream.scope, stream.spec())
        for key in self._known_specs - current.keys():
            await self._specs.remove_connection_spec(ConnectionScopeDomain.parse(key))
        self._known_specs = set(current)

    async def finish(self) -> None:
        """Send what every stream has counted so far, running minute included."""
        for stream in list(self._orchestrator.streams.values()):
            await self._send(stream, last=True)
        await self._send_last()
        for key in self._known_specs:
            await self._specs.remove_connection_spec(ConnectionScopeDomain.parse(key))

    def _changing(self) -> bool:
        return self._known_specs != set(self._orchestrator.streams)

    async def _send_last(self) -> None:
        """The last report of every stream that ended; one that Kafka does not take now is tried again."""
        self._ended += self._orchestrator.take_ended()
        for stream in list(self._ended):
            if await self._send(stream, last=True) and stream in self._ended:
                self._ended.remove(stream)

    async def _send(self, stream: Stream, *, last: bool = False) -> bool:
        """Report what is due; True when nothing is left."""
        async with self._sending:
            return await self._send_taken(stream, last=last)

    async def _send_taken(self, stream: Stream, *, last: bool) -> bool:
        accounting = stream.accounting
        event = accounting.take_event(current=last)
        if event is None:
            return True
        scope = stream.scope
        message: Mapping[str, Any] = {
            "region": scope.region,
            "exchange": scope.exchange,
            "request_type": scope.request_type,
            **event,
        }
        try:
            delivered = await self._metrics.send_and_wait(self._topic, message, scope.key)
        except Exception as exc:  # noqa: BLE001 - a user's own producer may raise anything
            _log.error("metrics not sent", scope=scope.key, reason=str(exc))
            return False
        if delivered:
            accounting.event_delivered()
        return delivered
