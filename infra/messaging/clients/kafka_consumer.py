"""The Kafka consumer core on confluent-kafka: a polling thread that hands batches to the event loop.

Every call on the client is made in that thread, commits too: from 2.16 on confluent-kafka lets one thread at a
time into a consumer, and a call from elsewhere waits without end beside a thread that polls.

The thread goes on polling while nobody takes batches (its partitions are paused then), so a slow reader stays
in its group. What was read for a partition that has been revoked since is not given out any more.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from core.errors import DeliveryError
from infra.messaging.clients.link_state import LinkState, Repeats

_POLL_S: Final = 0.05
_PATIENCE_S: Final = 1.0
_LAST_COMMIT_S: Final = 3.0
_BATCHES_AHEAD: Final = 2

_Place = tuple[str, int]
_Batch = list[tuple[int, Message]]

_log = structlog.get_logger()


class KafkaConsumer:
    """One librdkafka consumer in a group, without automatic commits.

    ``config`` is librdkafka's, or gives it at the start. ``batches()`` may be iterated by one reader.
    """

    def __init__(
        self,
        topics: Sequence[str],
        config: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        *,
        name: str = "consumer",
        max_batch: int = 500,
    ) -> None:
        self.name = name
        self._topics = list(topics)
        self._configured = config
        self._max_batch = max_batch
        self._client: Consumer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._queue: asyncio.Queue[_Batch | None] = asyncio.Queue()
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        self._owned: dict[_Place, int] = {}
        self._assignments = 0
        self._given_out: dict[_Place, int] = {}
        self._wanted: deque[tuple[list[TopicPartition], asyncio.Future[None]]] = deque()
        self._commits: deque[asyncio.Future[None]] = deque()
        self._stopping = False
        self._held = False
        self._repeats = Repeats()

    async def start(self) -> None:
        """Join the group; a second call does nothing. Does not wait for a broker."""
        if self._client is not None:
            return
        self._loop = asyncio.get_running_loop()
        configured = self._configured
        config = dict(configured() if callable(configured) else configured)
        try:
            client = Consumer(
                {
                    **config,
                    **LinkState(self.name).config(),
                    "enable.auto.commit": False,
                    "on_commit": self._on_commit,
                }
            )
            client.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke)
        except (KafkaException, ValueError) as exc:
            raise DeliveryError(f"the consumer {self.name} cannot be set up: {exc}") from exc
        self._client = client
        self._queue, self._room = asyncio.Queue(), threading.Semaphore(_BATCHES_AHEAD)
        self._stopping = self._held = False
        self._thread = threading.Thread(target=self._run, args=(client,), name=f"{self.name}-poll", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Leave the group; ``batches`` ends. Nothing is committed by this. A second call does nothing."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping = True
        await asyncio.to_thread(thread.join)
        self._client = None
        self._queue.put_nowait(None)
        for future in (*self._commits, *(future for _, future in self._wanted)):
            if not future.done():
                future.set_exception(DeliveryError(f"{self.name}: stopped before the offsets were committed"))
        self._commits.clear()
        self._wanted.clear()

    async def batches(self) -> AsyncIterator[list[Message]]:
        """Messages in the order of their partitions, until ``stop``; at most ``max_batch`` at a time."""
        while (batch := await self._queue.get()) is not None:
            self._room.release()
            messages: list[Message] = []
            for number, message in batch:
                place = _place_of(message)
                if self._owned.get(place) == number:
                    messages.append(message)
                    self._given_out[place] = (message.offset() or 0) + 1
            if messages:
                yield messages

    async def commit(self) -> None:
        """Commit what was given out so far of the partitions still owned; raises ``DeliveryError``."""
        client = self._client
        offsets = [
            TopicPartition(topic, partition, offset)
            for (topic, partition), offset in self._given_out.items()
            if (topic, partition) in self._owned
        ]
        if client is None or not offsets:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wanted.append((offsets, future))
        await future

    def pause(self) -> None:
        """Stop fetching within a tenth of a second, without leaving the group."""
        self._held = True

    def resume(self) -> None:
        """Go on fetching."""
        self._held = False

    @property
    def assignment(self) -> list[tuple[str, int]]:
        """Topic and partition of what this member owns now."""
        return sorted(self._owned)

    # -- the polling thread ----------------------------------------------------------------------------

    def _run(self, client: Consumer) -> None:
        paused = False
        batch: _Batch = []
        full_since_s: float | None = None
        while not self._stopping:
            self._commit_what_is_wanted(client)
            late = full_since_s is not None and time.monotonic() - full_since_s > _PATIENCE_S
            if (self._held or late) != paused:
                paused = not paused
                places = client.assignment()
                (client.pause if paused else client.resume)(places)
            elif paused:
                client.pause(client.assignment())  # also what was assigned meanwhile
            if full_since_s is None or paused:
                batch += self._read(client)
            if not batch:
                full_since_s = None
            elif self._room.acquire(timeout=0 if paused else _POLL_S):
                full_since_s = None
                ready, batch = batch, []
                if not self._into_loop(ready):
                    break
            elif full_since_s is None:
                full_since_s = time.monotonic()
        self._commit_what_is_wanted(client)
        deadline_s = time.monotonic() + _LAST_COMMIT_S
        while self._commits and time.monotonic() < deadline_s:
            client.poll(_POLL_S)
        client.close()

    def _read(self, client: Consumer) -> _Batch:
        try:
            first = client.poll(_POLL_S)
            if first is None:
                return []
            found = [first, *client.consume(self._max_batch - 1, 0)] if self._max_batch > 1 else [first]
        except KafkaException as exc:
            self._complain(exc.args[0])
            return []
        batch: _Batch = []
        for message in found:
            error = message.error()
            if error is None:
                batch.append((self._owned.get(_place_of(message), -1), message))
            elif error.code() != KafkaError._PARTITION_EOF:
                self._complain(error)
        return batch

    def _complain(self, error: KafkaError) -> None:
        held = self._repeats.due(error.name(), time.monotonic())
        if held is not None:
            _log.warning("kafka_consumer_error", client=self.name, reason=error.str(), held_back=held)

    def _commit_what_is_wanted(self, client: Consumer) -> None:
        while self._wanted:
            offsets, future = self._wanted.popleft()
            self._commits.append(future)
            try:
                client.commit(offsets=offsets, asynchronous=True)
            except KafkaException as exc:
                self._on_commit(exc.args[0], ())

    def _on_commit(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        """The broker's answer, in the polling thread; answers come in the order of the requests."""
        failed = error or next((place.error for place in places if place.error is not None), None)
        assert self._loop is not None, "the thread starts after the loop is known"
        with contextlib.suppress(RuntimeError):  # the loop was closed without stop()
            self._loop.call_soon_threadsafe(self._committed, failed)

    def _committed(self, error: KafkaError | None) -> None:
        future = self._commits.popleft()
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            text = f"{self.name}: the offsets were not committed: {error.str()}"
            future.set_exception(DeliveryError(text))

    def _on_assign(self, _client: Consumer, places: Sequence[TopicPartition]) -> None:
        self._assignments += 1
        for place in places:
            self._owned[place.topic, place.partition] = self._assignments

    def _on_revoke(self, _client: Consumer, places: Sequence[TopicPartition]) -> None:
        for place in places:
            self._owned.pop((place.topic, place.partition), None)

    def _into_loop(self, batch: _Batch) -> bool:
        assert self._loop is not None, "the thread starts after the loop is known"
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, batch)
        except RuntimeError:  # the loop was closed without stop()
            return False
        return True


def _place_of(message: Message) -> _Place:
    """Where a received message came from; its topic and partition are always set."""
    return message.topic() or "", message.partition() or 0
