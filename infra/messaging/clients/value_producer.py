"""What JSON and Avro producers share: encode a value, hand it over, answer from the broker's report."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import structlog

from core.errors import DeliveryError, PayloadError, ProducerNotStartedError, RegistryError
from infra.messaging.clients.kafka_producer import ANY_PARTITION, KafkaProducer
from infra.messaging.clients.link_state import Repeats
from infra.messaging.clients.producer_profiles import control_producer_config
from infra.settings import KafkaSettings, Settings, load_settings

Profile = Callable[[KafkaSettings], dict[str, Any]]


def key_bytes(key: Any) -> bytes | None:
    """A message key as bytes; raises ``PayloadError`` for anything but str, bytes and None."""
    if key is None or isinstance(key, bytes):
        return key
    if isinstance(key, str):
        return key.encode()
    raise PayloadError(f"a key is str, bytes or None, not {type(key).__name__}")


class ValueProducer:
    """A producer of encoded values; ``encode(topic, value)`` is what subclasses give.

    ``settings`` (default: those of the environment, read at ``start``), ``profile`` of librdkafka settings
    (default: the control producer's), ``name`` for logs. ``core`` may be given to share one Kafka client; it
    is then started and stopped by whoever made it.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        profile: Profile = control_producer_config,
        name: str = "control",
        core: KafkaProducer | None = None,
    ) -> None:
        self.undelivered = 0
        """How often ``send_and_wait`` answered False."""
        self._settings = settings
        self._profile = profile
        self._shared = core is not None
        self.core = core or KafkaProducer(self._config, name=name)
        self._timeout_s = 30.0
        self._stop_timeout_s = 8.0
        self._repeats = Repeats()

    async def start(self) -> None:
        """Read the settings and open the client; a second call does nothing. Does not wait for a broker."""
        if not self._shared:
            await self.core.start()

    async def stop(self) -> None:
        """Deliver what is in flight within the drain time-out, then close; a second call does nothing."""
        if not self._shared:
            await self.core.stop(self._stop_timeout_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def encode(self, topic: str, value: Any) -> bytes | None:
        """The bytes for ``topic``; None (a tombstone) stays None. Raises ``PayloadError``,
        ``RegistryError``."""
        raise NotImplementedError

    async def send(
        self,
        topic: str,
        value: Any,
        key: Any = None,
        *,
        headers: Mapping[str, str | bytes] | None = None,
        timestamp_ms: int = 0,
        partition: int = ANY_PARTITION,
    ) -> bool:
        """True once the broker acknowledged. Raises ``DeliveryError`` when it was not delivered,
        ``PayloadError`` for a value that cannot be encoded, ``ProducerNotStartedError``."""
        if not self.core.started:
            raise ProducerNotStartedError(f"{type(self).__name__} is not started: await start() first")
        await self.core.send(
            topic,
            await self._encoded(topic, value),
            key_bytes(key),
            headers=headers,
            timestamp_ms=timestamp_ms,
            partition=partition,
            timeout_s=self._timeout_s,
        )
        return True

    async def send_and_wait(
        self,
        topic: str,
        value: Any,
        key: Any = None,
        *,
        headers: Mapping[str, str | bytes] | None = None,
        timestamp_ms: int = 0,
        partition: int = ANY_PARTITION,
    ) -> bool:
        """True once the broker acknowledged; False when it was not delivered (logged and counted).

        Raises only for a caller's mistake: ``PayloadError``, ``ProducerNotStartedError``.
        """
        try:
            return await self.send(
                topic, value, key, headers=headers, timestamp_ms=timestamp_ms, partition=partition
            )
        except ProducerNotStartedError:
            raise
        except DeliveryError as exc:
            self.undelivered += 1
            held = self._repeats.due(topic, time.monotonic())
            if held is not None:
                structlog.get_logger().log(
                    logging.ERROR,
                    "message_not_delivered",
                    client=self.core.name,
                    topic=topic,
                    code=str(exc.code),
                    reason=exc.message,
                    undelivered=self.undelivered,
                    held_back=held,
                )
            return False

    async def _encoded(self, topic: str, value: Any) -> bytes | None:
        try:
            return await self.encode(topic, value)
        except RegistryError as exc:
            raise DeliveryError(
                f"{topic}: {exc.message}", detail=exc.detail, code=exc.code, domain=exc.domain
            ) from exc

    def _config(self) -> dict[str, Any]:
        settings = self._settings or load_settings()
        config = self._profile(settings.kafka)
        # librdkafka reports a timed-out message itself; ours is the net below it, and the only
        # limit of a profile that never gives up.
        librdkafka_s = config.get("message.timeout.ms", 0) / 1000
        self._timeout_s = (librdkafka_s + 5.0) if librdkafka_s else settings.kafka.delivery_timeout_ms / 1000
        self._stop_timeout_s = settings.gateway.drain_timeout_s
        return config
