"""Follows ``ws.streams``: who is assigned a partition reads it from its start, and then owns its streams.

No offset is committed; every assignment begins at the beginning. The end of a partition is told by
librdkafka's ``_PARTITION_EOF`` event. Assignment is incremental (cooperative): what stays is not touched.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from core.command_rules import check_fact
from core.exchanges.table import PROFILES
from core.partitioning import partition_of
from core.streams import Fact, fact_from_message, scope_of_key
from infra.messaging.connect.consumer_thread import ConsumerThread
from infra.messaging.topics import STREAMS, Topics
from infra.settings import Settings

_log = structlog.get_logger("desired_state")

_CHUNK: Final = 500
"""So many facts are handled at a time before others have their turn in the event loop."""


class Owner(Protocol):
    """Who runs the streams of the partitions that are assigned."""

    def assigned(self, partition: int) -> None:
        """A partition is ours; its facts follow."""
        ...

    def facts(self, partition: int, batch: Sequence[tuple[int, Fact]]) -> None:
        """The next facts, as (offset, fact)."""
        ...

    def caught_up(self, partition: int) -> None:
        """All that was there has been told."""
        ...

    async def revoked(self, partitions: Iterable[int]) -> None:
        """Others will own these; return once their streams are closed."""
        ...

    async def lost(self, partitions: Iterable[int], *, brokers_answer: bool) -> None:
        """Ownership ended without a hand-over."""
        ...

    async def group_answers(self, assigned: Iterable[int]) -> None:
        """The group has spoken again."""
        ...


class DesiredStateConsumer:
    """One member of the group ``gateway-streams``; ``topics`` knows the topic's partition count."""

    def __init__(self, settings: Settings, owner: Owner, topics: Topics) -> None:
        self._topic = settings.gateway.topic(STREAMS)
        self._allowed_hosts = tuple(settings.gateway.url_allow_list)
        self._owner = owner
        self._topics = topics
        self._assigned: set[int] = set()
        self._thread = ConsumerThread(
            self._config(settings),
            [self._topic],
            self._handle,
            name="gateway-streams",
            max_batch=2_000,
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def start(self) -> None:
        """Join the group; to be called in the event loop."""
        self._thread.start()

    async def stop(self) -> None:
        """Close the streams of our partitions and leave the group."""
        await self._thread.stop()

    async def ended(self) -> None:
        """Wait for the end; raises what ended it."""
        await self._thread.ended()

    def _config(self, settings: Settings) -> Mapping[str, Any]:
        config: dict[str, Any] = {
            **settings.kafka.client_config(),
            "group.id": settings.gateway.topic("gateway-streams"),
            "group.protocol": settings.kafka.group_protocol,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 50,
            "topic.metadata.refresh.interval.ms": 5_000,
        }
        if settings.kafka.group_protocol == "classic":
            config["session.timeout.ms"] = settings.kafka.session_timeout_ms
            config["heartbeat.interval.ms"] = max(300, settings.kafka.session_timeout_ms // 4)
            config["partition.assignment.strategy"] = "cooperative-sticky"
        return config

    # -- in the polling thread ---------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        fresh = [p.partition for p in partitions]
        self._assigned.update(fresh)
        self._thread.in_loop(self._begin(fresh))
        consumer.incremental_assign(
            [TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions]
        )

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = [p.partition for p in partitions]
        self._assigned.difference_update(gone)
        self._thread.in_loop(self._owner.revoked(gone))
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = [p.partition for p in partitions]
        self._assigned.difference_update(gone)
        answer = self._thread.brokers_answer()
        _log.warning("partitions lost", partitions=sorted(gone), brokers_answer=answer)
        self._thread.in_loop(self._owner.lost(gone, brokers_answer=answer))
        consumer.incremental_unassign(partitions)

    # -- in the event loop -------------------------------------------------------------------------

    async def _begin(self, partitions: Sequence[int]) -> None:
        _log.info("partitions assigned", partitions=sorted(partitions))
        for partition in partitions:
            self._owner.assigned(partition)
        await self._owner.group_answers(self._assigned)

    async def _handle(self, batch: Sequence[Message]) -> None:
        for start in range(0, len(batch), _CHUNK):
            self._tell(batch[start : start + _CHUNK])
            await asyncio.sleep(0)

    def _tell(self, messages: Sequence[Message]) -> None:
        """Hand over what can be read, partition by partition, each in its order."""
        facts: dict[int, list[tuple[int, Fact]]] = {}
        for message in messages:
            partition = message.partition() or 0
            error = message.error()
            if error is None:
                fact = self._read(message, partition)
                if fact is not None:
                    facts.setdefault(partition, []).append((message.offset() or 0, fact))
            elif error.code() == KafkaError._PARTITION_EOF:
                self._owner.facts(partition, facts.pop(partition, []))
                self._owner.caught_up(partition)
        for partition, batch in facts.items():
            self._owner.facts(partition, batch)

    def _read(self, message: Message, partition: int) -> Fact | None:
        """One fact; one that cannot be read or does not belong is reported and passed over."""
        key: Any = message.key()
        value: Any = message.value()
        try:
            text = (key or b"").decode()
            headers = {k: (v or b"").decode() for k, v in _headers(message)}
            fact = fact_from_message(text, value, headers)
            if fact is None:
                return None
            check_fact(fact, PROFILES, self._allowed_hosts)
            belongs = partition_of(scope_of_key(text).key, self._topics.streams_partitions)
            if belongs != partition:
                raise ValueError(f"it stands in partition {partition} and belongs into {belongs}")
        except Exception as exc:  # noqa: BLE001 - anyone may write there; nothing that is written ends the reading
            _log.error(
                "fact ignored",
                key=repr(key)[:200],
                partition=partition,
                offset=message.offset(),
                reason=str(exc) or type(exc).__name__,
            )
            return None
        return fact


def _headers(message: Message) -> list[tuple[str, Any]]:
    headers = message.headers() or []
    return list(headers.items()) if isinstance(headers, dict) else list(headers)
