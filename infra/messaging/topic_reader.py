"""Reads whole topics along, outside of any consumer group: nothing is committed, nobody is disturbed.

Topics may appear later, and partitions be added; both are picked up.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs forget to export one
    AdminClient,
    OffsetSpec,
)

from core.errors import BrokerUnavailableError
from infra.messaging.client_settings import kafka_settings_checked
from infra.settings import KafkaSettings

Place = tuple[str, int]
"""Topic and partition."""

FIRST_ANSWER_S = 3.0
"""How long someone at the shell waits for the first answer of a broker."""

_FIRST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LAST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_LOOK_S = 0.5
_ASK_AGAIN_S = 0.2
_LOOK_AGAIN_S = 5.0
_NO_LIMIT = 2**63
_STALE_LEADER = (
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
)
"""Of a broker that came back: the admin client keeps asking by what it knew of the leaders before."""
_REFUSED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
)


class TopicReader:
    """Every partition of some topics, from the first message on or from now on.

    ``on_entered(topic, partition, offset)`` is told where the reading of a partition begins,
    ``on_deleted(topic, partition, first, last)`` which offsets were deleted before they could be read.
    ``patience_s``: how long no broker may answer before ``read`` raises (None: for ever). One thread only.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Iterable[str],
        *,
        from_beginning: bool,
        patience_s: float | None = None,
        on_entered: Callable[[str, int, int], None] | None = None,
        on_deleted: Callable[[str, int, int, int], None] | None = None,
    ) -> None:
        self._servers = settings.bootstrap_servers
        self._wanted = list(topics)
        self._from_beginning = from_beginning
        self._patience_s = patience_s
        self._on_entered = on_entered
        self._on_deleted = on_deleted
        self._next: dict[Place, int] = {}
        self._limits: dict[str, dict[Place, int]] = {}
        self._looks = 0
        self._look_at_s = 0.0
        self._down_since_s: float | None = None
        self._why_down = ""
        self._admin_settings = {**settings.client_config(), "log_level": 0}
        with kafka_settings_checked():
            self._admin = AdminClient(self._admin_settings)
            self._consumer = Consumer(
                settings.client_config()
                | {
                    # librdkafka wants a group; it is never joined and nothing committed.
                    "group.id": "gateway-reader",
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "isolation.level": "read_committed",
                    "allow.auto.create.topics": False,
                    "auto.offset.reset": "error",
                    "enable.partition.eof": True,
                    "fetch.wait.max.ms": 100,
                    "queued.max.messages.kbytes": 32 * 1024,
                    "topic.metadata.refresh.interval.ms": 60_000,
                    "log_level": 2,
                    "error_cb": self._on_error,
                }
            )

    @property
    def absent(self) -> list[str]:
        """Topics that do not exist yet."""
        have = {topic for topic, _ in self._next}
        return [topic for topic in self._wanted if topic not in have]

    def open(self, timeout_s: float) -> None:
        """Find the topics; raises ``BrokerUnavailableError`` when no broker answers in time."""
        deadline_s = time.monotonic() + timeout_s
        while not self._look(max(0.1, min(2.0, deadline_s - time.monotonic()))):
            if time.monotonic() >= deadline_s:
                raise self._unavailable()

    def read(self, max_messages: int, timeout_s: float) -> list[Any]:
        """The next messages (confluent-kafka's ``Message``), none when nothing came in time."""
        now_s = time.monotonic()
        if self._down_since_s is not None and self._patience_s is not None:
            if now_s - self._down_since_s > self._patience_s:
                raise self._unavailable()
            self._look_at_s = min(self._look_at_s, now_s + 1.0)
        if now_s >= self._look_at_s:
            self._look(1.0)
        messages = []
        for message in self._consumer.consume(max_messages, timeout_s):
            error = message.error()
            if error is not None:
                self._handle(message, error)
                continue
            place = (str(message.topic()), int(message.partition() or 0))
            offset = int(message.offset() or 0)
            self._next[place] = max(self._next.get(place, 0), offset + 1)
            if offset < self._limit(place):
                messages.append(message)
            else:
                self._consumer.pause([TopicPartition(*place)])
            self._down_since_s = None
        return messages

    def limit(self, topics: Iterable[str], ends: Mapping[Place, int]) -> None:
        """Deliver of ``topics`` only what stands before ``ends``, and nothing of partitions not in it."""
        for topic in topics:
            self._limits[topic] = {place: end for place, end in ends.items() if place[0] == topic}

    def left(self, ends: Mapping[Place, int], topics: Sequence[str]) -> int:
        """How many offsets of ``topics`` are still to be read before ``ends``."""
        return sum(max(0, end - self._next.get(place, 0)) for place, end in ends.items() if place[0] in topics)

    def ends(self, timeout_s: float = 10.0) -> dict[Place, int]:
        """Where each partition ends now, also of topics that appeared just before.

        Raises ``BrokerUnavailableError``.
        """
        deadline_s = time.monotonic() + timeout_s
        while not self._look(max(0.1, min(2.0, deadline_s - time.monotonic()))):
            if time.monotonic() >= deadline_s:
                raise self._unavailable()
        while True:
            try:
                return self._offsets(list(self._next), _LAST, max(0.1, deadline_s - time.monotonic()))
            except KafkaException as exc:
                if exc.args[0].code() in _STALE_LEADER and time.monotonic() < deadline_s:
                    time.sleep(_ASK_AGAIN_S)
                    continue
                self._why_down = exc.args[0].str()
                raise self._unavailable() from exc

    def reached(self, ends: Mapping[Place, int], topics: Sequence[str] | None = None) -> bool:
        """Whether all before ``ends`` was read, in ``topics`` or in all."""
        return all(
            self._next.get(place, 0) >= end
            for place, end in ends.items()
            if topics is None or place[0] in topics
        )

    def leave(self, topic: str) -> None:
        """Read no more of ``topic``."""
        self._wanted = [name for name in self._wanted if name != topic]
        left = [place for place in self._next if place[0] == topic]
        self._consumer.incremental_unassign([TopicPartition(*place) for place in left])
        for place in left:
            del self._next[place]

    def close(self) -> None:
        """Give the connections back."""
        self._consumer.close()

    def _look(self, timeout_s: float) -> bool:
        """Take up partitions not read yet; False when no broker answered."""
        try:
            found = self._consumer.list_topics(timeout=timeout_s).topics
            fresh = [
                (topic, partition)
                for topic in self._wanted
                if topic in found and found[topic].error is None
                for partition in found[topic].partitions
                if (topic, partition) not in self._next
            ]
            # What appears while we are here is read whole: nothing in it is older than we are.
            whole = self._from_beginning or self._looks > 0
            begins = self._offsets(sorted(fresh), _FIRST if whole else _LAST, timeout_s)
            for place, offset in begins.items():
                self._consumer.incremental_assign([TopicPartition(*place, offset)])
                self._next[place] = offset
                if self._on_entered is not None:
                    self._on_entered(*place, offset)
        except KafkaException as exc:
            self._note_down(exc.args[0])
            self._look_at_s = time.monotonic() + _LOOK_S
            return False
        self._looks += 1
        self._down_since_s = None
        self._look_at_s = time.monotonic() + (_LOOK_S if self.absent else _LOOK_AGAIN_S)
        return True

    def _offsets(self, places: Sequence[Place], which: OffsetSpec, timeout_s: float) -> dict[Place, int]:
        """The first or the last offset of each, asked for all at once; raises ``KafkaException``.

        On connections of their own: on the consumer's, each question would wait behind a fetch that waits.
        """
        if not places:
            return {}
        asked = self._admin.list_offsets(
            {TopicPartition(*place): which for place in places},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=timeout_s,
        )
        found = {(part.topic, part.partition): future for part, future in asked.items()}
        try:
            return {place: found[place].result().offset for place in places}
        except KafkaException as exc:
            if exc.args[0].code() in _STALE_LEADER:
                self._admin = AdminClient(self._admin_settings)
            raise

    def _limit(self, place: Place) -> int:
        limits = self._limits.get(place[0])
        return _NO_LIMIT if limits is None else limits.get(place, 0)

    def _handle(self, message: Any, error: KafkaError) -> None:
        place = (message.topic(), message.partition())
        match error.code():
            case KafkaError._PARTITION_EOF:
                # Transaction markers take offsets and are never delivered: the end is further than the last.
                self._next[place] = max(self._next.get(place, 0), message.offset())
            case KafkaError._AUTO_OFFSET_RESET | KafkaError.OFFSET_OUT_OF_RANGE:
                self._start_over(place)
            case code if code in _REFUSED or error.fatal():
                raise BrokerUnavailableError(f"{self._servers}: {error.str()}")
            case _:
                self._note_down(error)

    def _start_over(self, place: Place) -> None:
        """The offset to be read next is gone: go on at the first that is there."""
        try:
            low, _ = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=2.0)
        except KafkaException as exc:
            self._note_down(exc.args[0])
            low = self._next[place]
        last = min(low, self._limit(place)) - 1
        if last >= self._next[place] and self._on_deleted is not None:
            self._on_deleted(*place, self._next[place], last)
        self._next[place] = low
        self._consumer.incremental_unassign([TopicPartition(*place)])
        self._consumer.incremental_assign([TopicPartition(*place, low)])

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._note_down(error)
        elif self._down_since_s is None or not self._why_down:
            self._why_down = error.str()

    def _note_down(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT):
            self._down_since_s = self._down_since_s or time.monotonic()
        self._why_down = self._why_down or error.str()

    def _unavailable(self) -> BrokerUnavailableError:
        return BrokerUnavailableError(
            f"no Kafka broker answers at {self._servers}; start it or set KAFKA_BOOTSTRAP_SERVERS",
            detail=self._why_down or None,
        )
