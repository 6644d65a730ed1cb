"""The hot path over a producer that has only ``send_and_wait``, such as a double in a test."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog

from application.ports import EventProducer
from core.errors import DeliveryError, QueueFullError
from core.records import OrderBook, Record, Ticker, Trade, json_form
from infra.messaging.clients.delivery_book import OnDelivery

_log = structlog.get_logger("awaited_sink")

TOPIC_OF: Final[dict[type, str]] = {
    Ticker: "realtime.ticker",
    Trade: "realtime.trade",
    OrderBook: "realtime.orderbook",
}
"""The topic (without prefix) of each record."""


class Report:
    """What a delivery report offers to those who ask how long a record took."""

    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s

    def latency(self) -> float:
        """Seconds from handing over to the answer, as confluent-kafka's ``Message`` has it."""
        return self._latency_s


class AwaitedSink:
    """``application.ports.RecordSink``: records wait in order, one at a time is sent and waited for.

    ``encode`` makes a producer's value of a record (default: its fields as a dict, levels too). What is
    answered with False, or raises, is reported to ``on_delivery`` as not delivered and not tried again.
    ``max_waiting`` records wait at most; more raise ``QueueFullError``.
    """

    def __init__(
        self,
        producer: EventProducer,
        topic: Callable[[str], str],
        *,
        encode: Callable[[Record], Any] = json_form,
        max_waiting: int = 10_000,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._encode = encode
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[Record, OnDelivery | None, float]] = deque()
        self._sender: asyncio.Task[None] | None = None

    def publish(self, record: Record, on_delivery: OnDelivery | None = None) -> None:
        """Queue one record; raises ``QueueFullError`` when too many wait."""
        if len(self._waiting) >= self._max_waiting:
            raise QueueFullError(f"{self._max_waiting} records wait for the producer already")
        self._waiting.append((record, on_delivery, time.monotonic()))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.get_running_loop().create_task(self._send_all(), name="awaited sink")

    async def flush(self, timeout_s: float) -> int:
        """Wait until all is answered; returns how many records still wait then."""
        if self._sender is not None:
            await asyncio.wait([self._sender], timeout=timeout_s)
        return len(self._waiting)

    async def stop(self) -> None:
        """Send no more; what still waits is reported as not delivered."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        while self._waiting:
            _, on_delivery, since_s = self._waiting.popleft()
            _tell(on_delivery, DeliveryError("the sink was stopped"), since_s)

    async def _send_all(self) -> None:
        while self._waiting:
            record, on_delivery, since_s = self._waiting[0]
            error = await self._send(record)
            self._waiting.popleft()
            _tell(on_delivery, error, since_s)

    async def _send(self, record: Record) -> DeliveryError | None:
        topic = self._topic(TOPIC_OF[type(record)])
        key = f"{record.exchange}|{record.symbol}"
        try:
            delivered = await self._producer.send_and_wait(topic, self._encode(record), key)
        except Exception as exc:  # noqa: BLE001 - another's producer may raise anything; the others go on
            _log.error("record not delivered", topic=topic, reason=f"{type(exc).__name__}: {exc}")
            return DeliveryError(f"{topic}: {exc}")
        return None if delivered else DeliveryError(f"{topic}: not delivered")


def _tell(on_delivery: OnDelivery | None, error: DeliveryError | None, since_s: float) -> None:
    if on_delivery is not None:
        on_delivery(error, Report(time.monotonic() - since_s))
