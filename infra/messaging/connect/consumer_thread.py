"""A confluent-kafka consumer on a thread of its own, whose batches are handled in the event loop.

The thread polls; for each batch it crosses into the loop once and waits there for the handler, so that the
next batch is polled only when this one is done. Rebalance callbacks run in the thread, inside ``poll``.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from core.errors import DeliveryError
from infra.messaging.client_settings import kafka_settings_checked

T = TypeVar("T")
_POLL_S = 0.3
_COMMITTED_S = 10.0
_CONNECTING = frozenset({"bootstrap.servers", "client.id", "security.protocol"})

_log = structlog.get_logger("consumer")


class ConsumerThread:
    """Polls ``topics`` in a group and hands batches to ``handle``; ``stop`` leaves the group in order."""

    def __init__(
        self,
        config: Mapping[str, Any],
        topics: Sequence[str],
        handle: Callable[[Sequence[Message]], Awaitable[None]],
        *,
        name: str,
        max_batch: int = 500,
        on_assign: Callable[[Consumer, list[TopicPartition]], None] | None = None,
        on_revoke: Callable[[Consumer, list[TopicPartition]], None] | None = None,
        on_lost: Callable[[Consumer, list[TopicPartition]], None] | None = None,
        on_idle: Callable[[], None] | None = None,
    ) -> None:
        self._config = dict(config)
        self._topics = list(topics)
        self._handle = handle
        self._name = name
        self._max_batch = max_batch
        self._callbacks = {
            name: callback
            for name, callback in (
                ("on_assign", on_assign),
                ("on_revoke", on_revoke),
                ("on_lost", on_lost),
            )
            if callback is not None
        }
        self._on_idle = on_idle
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Future[None] | None = None
        self._said_down = False
        self.consumer: Consumer | None = None
        self.brokers_down = False

    def start(self) -> None:
        """Open the consumer and begin to poll; to be called in the event loop.

        Raises ``SettingsError`` where librdkafka does not take the settings; ``stop`` then waits for nothing.
        """
        self._loop = asyncio.get_running_loop()
        with kafka_settings_checked():
            consumer = Consumer({**self._config, "error_cb": self._on_error}, logger=QuietLog(self._name))
            consumer.subscribe(self._topics, **self._callbacks)
        self.consumer = consumer
        self._ended = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End the polling, give up the partitions (their callbacks run) and leave the group.

        What ended the thread before is told by ``ended``, not here. A second call does nothing.
        """
        self._stopping.set()
        if self._ended is not None:
            await asyncio.wait([self._ended])
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def ended(self) -> None:
        """Wait until the thread has ended; raises what ended it."""
        assert self._ended is not None, "start() comes first"
        await asyncio.shield(self._ended)

    def in_loop(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run a coroutine in the event loop and wait for it here; for callbacks in the polling thread."""
        assert self._loop is not None, "start() comes first"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def brokers_answer(self, timeout_s: float = 2.0) -> bool:
        """Ask the cluster for its brokers, also from inside a callback.

        With a client of its own: the consumer's own ``list_topics`` inside one of its callbacks leaves
        confluent-kafka without the state that the next callback of the same ``poll`` looks for, and it aborts
        the process (``CallState_get``, 2.16).
        """
        config = {k: v for k, v in self._config.items() if k in _CONNECTING or k.startswith(("ssl.", "sasl."))}
        client = AdminClient({**config, "log_level": 0})
        try:
            client.list_topics(timeout=timeout_s)
        except KafkaException:
            return False
        return True

    def _run(self) -> None:
        assert self.consumer is not None
        assert self._loop is not None
        assert self._ended is not None
        failure: BaseException | None = None
        try:
            while not self._stopping.is_set():
                batch = self._poll(self.consumer)
                if batch:
                    self._give(self.consumer, batch)
                elif self._on_idle is not None:
                    self._on_idle()
        except BaseException as exc:  # noqa: BLE001 - it is handed to whoever waits for the end
            failure = exc
        try:
            self.consumer.close()
        except (KafkaException, RuntimeError) as exc:
            _log.warning("consumer not closed in order", consumer=self._name, reason=str(exc))

        def settle(ended: "asyncio.Future[None]" = self._ended) -> None:
            if ended.done():
                return
            if failure is None:
                ended.set_result(None)
            else:
                ended.set_exception(failure)

        self._loop.call_soon_threadsafe(settle)

    def _poll(self, consumer: Consumer) -> list[Message]:
        """Wait for one message, then take what else is there without waiting."""
        first = consumer.poll(_POLL_S)
        if first is None:
            return []
        messages = [first, *consumer.consume(self._max_batch - 1, 0)]
        good = []
        for message in messages:
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:
                good.append(message)
                if self._said_down:
                    self._said_down = self.brokers_down = False
            elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                _log.debug("topic not there yet", consumer=self._name, reason=error.str())
            else:
                _log.warning("consumer error", consumer=self._name, reason=error.str())
        return good

    def _give(self, consumer: Consumer, batch: list[Message]) -> None:
        """Have the batch handled; where that is not to be, go back to its beginning."""
        try:
            self.in_loop(_awaiting(self._handle(batch)))
        except DeliveryError as exc:
            _log.warning("batch to be read again", consumer=self._name, reason=exc.message)
            first: dict[tuple[str, int], int] = {}
            for message in batch:
                if message.error() is None:
                    place = (message.topic() or "", message.partition() or 0)
                    first.setdefault(place, message.offset() or 0)
            for position in self._committed(consumer, first):
                try:
                    consumer.seek(position)
                except KafkaException as gone:
                    _log.info("partition is with another now", reason=str(gone))
        except CancelledError:
            self._stopping.set()

    def _committed(self, consumer: Consumer, first: Mapping[tuple[str, int], int]) -> list[TopicPartition]:
        """Where to go on: behind what is committed, since a commit whose answer was lost may have happened.

        Waits for the group's coordinator; ``first`` are the batch's first offsets, for what has no commit yet.
        """
        while not self._stopping.is_set():
            try:
                places = consumer.committed([TopicPartition(*place) for place in first], _COMMITTED_S)
            except KafkaException as exc:
                _log.warning("committed position unknown, asking again", consumer=self._name, reason=str(exc))
                self._stopping.wait(1.0)
                continue
            return [
                TopicPartition(p.topic, p.partition, max(p.offset, first[p.topic, p.partition])) for p in places
            ]
        return []

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.brokers_down = True
            if not self._said_down:
                self._said_down = True
                _log.warning("no broker answers, trying on", consumer=self._name, reason=error.str())
        elif not self._said_down:
            _log.debug("consumer notice", consumer=self._name, reason=error.str())


async def _awaiting(work: Awaitable[T]) -> T:
    return await work


class QuietLog:
    """librdkafka's own log lines, below the level a user sees."""

    def __init__(self, name: str) -> None:
        self._log = structlog.get_logger("librdkafka")
        self._name = name

    def log(self, _level: int, message: str, *args: Any) -> None:
        """The one method confluent-kafka calls."""
        self._log.debug("librdkafka", client=self._name, text=message % args if args else message)
