"""What the JSON and the Avro consumer share: batches of decoded messages, committed when the caller says so."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Self

import msgspec
import structlog
from confluent_kafka import Message

from core.errors import PayloadError, RegistryError
from infra.messaging.clients.kafka_consumer import KafkaConsumer
from infra.messaging.clients.link_state import Repeats
from infra.settings import Settings, load_settings

_REGISTRY_RETRY_S: Final = 1.0


class ReceivedMessage(msgspec.Struct, frozen=True):
    """One message. ``value`` is decoded (None for a tombstone); what cannot be decoded comes with ``error``,
    ``value`` None and the bytes in ``raw``, so that one bad message stops nobody."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: Any
    raw: bytes | None
    headers: dict[str, bytes | None]
    timestamp_ms: int
    error: PayloadError | None = None


class ValueConsumer:
    """A consumer of decoded values; ``decode(topic, data)`` is what subclasses give.

    ``topics`` and ``group_id`` are full names. ``settings`` default to the environment's, read at the start.
    A group without a committed offset begins at the beginning, or with ``from_beginning`` False at the end.
    """

    def __init__(
        self,
        topics: str | Sequence[str] = (),
        *,
        group_id: str = "streamgateway",
        settings: Settings | None = None,
        from_beginning: bool = True,
        max_batch: int = 500,
        name: str = "consumer",
    ) -> None:
        self._settings = settings
        self._group_id = group_id
        self._from_beginning = from_beginning
        self._repeats = Repeats()
        self.core = KafkaConsumer(
            [topics] if isinstance(topics, str) else topics, self._config, name=name, max_batch=max_batch
        )

    async def start(self) -> None:
        """Join the group; a second call does nothing. Does not wait for a broker."""
        await self.core.start()

    async def stop(self) -> None:
        """Leave the group; iteration ends. Commits nothing."""
        await self.core.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def decode(self, topic: str, data: bytes) -> Any:
        """The value in ``data``; raises ``PayloadError``."""
        raise NotImplementedError

    async def batches(self) -> AsyncIterator[list[ReceivedMessage]]:
        """Decoded messages in the order of their partitions, until ``stop``."""
        async for batch in self.core.batches():
            yield [await self._received(message) for message in batch]

    async def __aiter__(self) -> AsyncIterator[ReceivedMessage]:
        """One message at a time; ``commit`` then covers the batch it came in, so prefer ``batches``."""
        async for batch in self.batches():
            for message in batch:
                yield message

    async def commit(self) -> None:
        """Commit every batch given out so far; raises ``DeliveryError`` when the broker does not take it."""
        await self.core.commit()

    def pause(self) -> None:
        """Stop fetching, stay in the group."""
        self.core.pause()

    def resume(self) -> None:
        """Go on fetching."""
        self.core.resume()

    async def _received(self, message: Message) -> ReceivedMessage:
        raw, topic = message.value(), message.topic() or ""
        value, error = None, None
        if raw is not None:
            try:
                value = await self._decoded(topic, raw)
            except PayloadError as exc:
                error = exc
        headers: Any = message.headers() or ()
        return ReceivedMessage(
            topic=topic,
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            key=message.key(),
            value=value,
            raw=raw,
            headers=dict(headers),
            timestamp_ms=message.timestamp()[1],
            error=error,
        )

    async def _decoded(self, topic: str, data: bytes) -> Any:
        """Decode, waiting while the registry cannot be asked: skipping the message would lose it."""
        while True:
            try:
                return await self.decode(topic, data)
            except RegistryError as exc:
                held = self._repeats.due("registry", time.monotonic())
                if held is not None:
                    structlog.get_logger().warning("schema_not_available", topic=topic, reason=exc.message)
                await asyncio.sleep(_REGISTRY_RETRY_S)

    def _config(self) -> dict[str, Any]:
        kafka = (self._settings or load_settings()).kafka
        config: dict[str, Any] = {
            **kafka.client_config(),
            "group.id": self._group_id,
            "group.protocol": kafka.group_protocol,
            "auto.offset.reset": "earliest" if self._from_beginning else "latest",
        }
        if kafka.group_protocol == "classic":
            config["session.timeout.ms"] = kafka.session_timeout_ms
        return config
