"""The Kafka producer core on confluent-kafka: one polling thread, delivery reports handled in batches.

``produce`` is the synchronous hot path; ``send`` awaits the broker's delivery report. Both are to be called
from the thread of the event loop that started the producer.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from core.errors import DeliveryError, ErrorCode, ProducerNotStartedError, QueueFullError
from infra.messaging.clients.delivery_book import DeliveryBook, DeliveryFigures, OnDelivery, Receipt
from infra.messaging.clients.link_state import LinkState

ANY_PARTITION: Final = -1
_POLL_S: Final = 0.1
_ROOM_S: Final = 0.02

_log = structlog.get_logger()

_Settled = tuple["asyncio.Future[Any]", KafkaError | None, Any]


class KafkaProducer:
    """One librdkafka producer, its polling thread and its account.

    ``config`` is librdkafka's configuration (``producer_profiles``), or gives it when the producer starts;
    ``name`` appears in logs. Start and stop may be called twice. After ``stop`` the account stays readable and
    ``start`` opens a fresh client.
    """

    def __init__(
        self, config: Mapping[str, Any] | Callable[[], Mapping[str, Any]], *, name: str = "producer"
    ) -> None:
        self.name = name
        self._configured = config
        self._config: dict[str, Any] = {}
        self._client: Producer | None = None
        self._book = DeliveryBook()
        self._link = LinkState(name)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._settled: list[_Settled] = []
        self._idle: list[asyncio.Future[None]] = []

    # -- life ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the client and its polling thread; does not wait for a broker."""
        if self._client is not None:
            return
        self._loop = asyncio.get_running_loop()
        configured = self._configured
        self._config = dict(configured() if callable(configured) else configured)
        self._book = DeliveryBook()
        self._link = LinkState(self.name)
        try:
            self._client = Producer({**self._config, **self._link.config()})
        except (KafkaException, ValueError) as exc:
            raise DeliveryError(f"the producer {self.name} cannot be set up: {exc}") from exc
        self._stopping = False
        self._thread = threading.Thread(
            target=self._poll, args=(self._client, self._book), name=f"{self.name}-poll", daemon=True
        )
        self._thread.start()

    async def stop(self, timeout_s: float = 10.0) -> int:
        """Wait at most ``timeout_s`` for what is in flight, give up the rest, close.

        Returns how many records were given up; each had its delivery report with an error.
        """
        client, thread = self._client, self._thread
        if client is None or thread is None:
            return 0
        left = await self.flush(timeout_s)
        self._client = None
        if left:
            client.purge(in_queue=True, in_flight=True, blocking=False)
            await self._wait_idle(2.0)
            _log.error("producer_gave_up_records", client=self.name, records=left)
        self._stopping = True
        del client
        await asyncio.to_thread(thread.join)
        self._thread = None
        return left

    @property
    def started(self) -> bool:
        """Whether records are taken."""
        return self._client is not None

    async def warm(self, topics: Sequence[str], timeout_s: float = 10.0) -> bool:
        """Pay now what the first record would wait for; True when all of it is there.

        That is: metadata of ``topics``, a connection to every leader, and the producer id of the idempotent
        producer (which librdkafka otherwise asks for in steps of 500 ms). Nothing is written to any topic.
        """
        client = self._started()
        deadline_s = time.monotonic() + timeout_s
        leaders: set[int] = set()
        for topic in topics:
            left_s = max(0.1, deadline_s - time.monotonic())
            try:
                metadata = await asyncio.to_thread(client.list_topics, topic, left_s)
            except KafkaException:
                return False
            leaders |= {p.leader for p in metadata.topics[topic].partitions.values() if p.leader >= 0}
        while not (self._link.idempotence_ready and leaders <= self._link.brokers_up):
            if time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(_ROOM_S)
        return True

    # -- records ---------------------------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | str | None = None,
        timestamp_ms: int = 0,
        on_delivery: OnDelivery | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        partition: int = ANY_PARTITION,
    ) -> None:
        """Hand one record over without waiting; ``timestamp_ms`` 0 is now.

        ``on_delivery(error, message)`` is called once from the polling thread; pass the same callable for
        many records rather than a closure each. Raises ``QueueFullError`` (not taken, try later),
        ``DeliveryError`` (never going to be taken: too large, fatal), ``ProducerNotStartedError``.
        """
        client = self._client
        if client is None:
            raise self._not_started()
        receipt = self._book.receipt(on_delivery, time.monotonic())
        self._hand_over(client, receipt, topic, value, key, timestamp_ms, headers, partition)

    async def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | str | None = None,
        *,
        timestamp_ms: int = 0,
        headers: Mapping[str, str | bytes] | None = None,
        partition: int = ANY_PARTITION,
        timeout_s: float | None = None,
    ) -> Any:
        """Hand one record over and wait for the broker's report; returns confluent-kafka's ``Message``.

        A full queue is waited for. Raises ``DeliveryError`` when the broker did not take it, or did not say
        so within ``timeout_s`` (None: librdkafka's own delivery time-out decides; after a time-out of ours
        the record may still arrive).
        """
        self._started()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        wait_room_s = time.monotonic() + (timeout_s or self._config.get("message.timeout.ms", 0) / 1000 or 30.0)

        def settle(error: Any, message: Any) -> None:
            self._settled.append((future, error, message))

        while True:
            client = self._started()
            receipt = self._book.single_receipt(settle, time.monotonic())
            try:
                self._hand_over(client, receipt, topic, value, key, timestamp_ms, headers, partition)
            except QueueFullError:
                if time.monotonic() > wait_room_s:
                    raise
                await asyncio.sleep(_ROOM_S)
            else:
                break
        if deadline_s is None:
            return await future
        try:
            async with asyncio.timeout(deadline_s - time.monotonic()):
                return await future
        except TimeoutError:
            raise DeliveryError(f"no answer from the broker for {topic} within {timeout_s:g} s") from None

    async def flush(self, timeout_s: float) -> int:
        """Wait, without blocking the loop, until nothing is in flight; returns how many still are."""
        self._started()
        return await self._wait_idle(timeout_s)

    # -- account ---------------------------------------------------------------------------------------

    def oldest_unacknowledged_age_s(self, now_s: float | None = None) -> float:
        """How long the oldest record in flight has waited (0 without one); exact to about 20 ms."""
        since_s = self._book.oldest_since_s()
        return 0.0 if since_s is None else (time.monotonic() if now_s is None else now_s) - since_s

    @property
    def all_brokers_down(self) -> bool:
        """librdkafka finds no broker at all."""
        return self._link.all_brokers_down

    @property
    def fatal(self) -> str | None:
        """Why this client can never produce again, if so."""
        return self._link.fatal

    def figures(self, now_s: float | None = None) -> DeliveryFigures:
        """The account now; ``now_s`` is monotonic."""
        book = self._book
        since_s = book.oldest_since_s()
        now_s = time.monotonic() if now_s is None else now_s
        delivered, failed, produced = book.delivered, book.failed, book.produced
        return DeliveryFigures(
            produced=produced,
            delivered=delivered,
            failed=failed,
            in_flight=produced - delivered - failed,
            produced_bytes=book.produced_bytes,
            oldest_unacknowledged_age_s=0.0 if since_s is None else max(0.0, now_s - since_s),
            oldest_since_s=since_s,
            all_brokers_down=self._link.all_brokers_down,
            refused=book.refused,
            queue_max_messages=int(self._config.get("queue.buffering.max.messages", 100_000)),
            failed_awaited=book.failed_awaited,
        )

    # -- inside ----------------------------------------------------------------------------------------

    def _hand_over(
        self,
        client: Producer,
        receipt: Receipt,
        topic: str,
        value: bytes | None,
        key: bytes | str | None,
        timestamp_ms: int,
        headers: Mapping[str, str | bytes] | None,
        partition: int,
    ) -> None:
        book = self._book
        receipt.opened += 1
        book.produced += 1
        try:
            if headers:
                client.produce(
                    topic, value, key, partition, receipt, timestamp=timestamp_ms, headers=dict(headers)
                )
            else:
                client.produce(topic, value, key, partition, receipt, timestamp=timestamp_ms)
        except BufferError:
            book.withdraw(receipt)
            book.refused += 1
            raise QueueFullError(f"the local queue of {self.name} is full") from None
        except KafkaException as exc:
            book.withdraw(receipt)
            error = exc.args[0]
            code = ErrorCode.TOO_LARGE if error.code() == KafkaError.MSG_SIZE_TOO_LARGE else None
            raise DeliveryError(f"{topic}: {error.str()}", code=code) from exc
        except BaseException:
            book.withdraw(receipt)
            raise
        if value is not None:
            book.produced_bytes += len(value)

    def _started(self) -> Producer:
        if self._client is None:
            raise self._not_started()
        return self._client

    def _not_started(self) -> ProducerNotStartedError:
        return ProducerNotStartedError(f"the producer {self.name} is not started: await start() first")

    async def _wait_idle(self, timeout_s: float) -> int:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(future)
        try:
            if self._book.in_flight:
                await asyncio.wait({future}, timeout=timeout_s)
        finally:
            self._idle.remove(future)
        return self._book.in_flight

    def _poll(self, client: Producer, book: DeliveryBook) -> None:
        """The polling thread: serve callbacks, then cross into the loop once for the whole batch."""
        delivered = 0
        while not self._stopping:
            try:
                client.poll(_POLL_S)
            except Exception:  # noqa: BLE001 - one bad callback must not end the thread all others depend on
                _log.exception("producer_poll_raised", client=self.name)
            if book.delivered != delivered:
                delivered = book.delivered
                self._link.delivered()
            if self._settled or (self._idle and not book.in_flight):
                batch, self._settled = self._settled, []
                self._into_loop(batch)

    def _into_loop(self, batch: list[_Settled]) -> None:
        assert self._loop is not None, "the thread starts after the loop is known"
        try:
            self._loop.call_soon_threadsafe(self._resolve, batch)
        except RuntimeError:  # the loop was closed without stop(): nobody waits any more
            self._stopping = True

    def _resolve(self, batch: list[_Settled]) -> None:
        for future, error, message in batch:
            if future.done():
                continue
            if error is None:
                future.set_result(message)
            else:
                future.set_exception(_delivery_error(error, message))
        if not self._book.in_flight:
            for idle in self._idle:
                if not idle.done():
                    idle.set_result(None)


def _delivery_error(error: KafkaError, message: Any) -> DeliveryError:
    code = ErrorCode.TOO_LARGE if error.code() == KafkaError.MSG_SIZE_TOO_LARGE else None
    return DeliveryError(f"{message.topic()}: {error.str()}", detail=error.name(), code=code)
