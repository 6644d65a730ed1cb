"""What confluent-kafka says of settings that it does not take, as our error."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaException

from core.errors import SettingsError


@contextmanager
def kafka_settings_checked() -> Iterator[None]:
    """Around the making of a client: ``SettingsError`` in one line where librdkafka refuses its settings."""
    try:
        yield
    except (KafkaException, ValueError, TypeError) as exc:
        said = exc.args[0].str() if isinstance(exc, KafkaException) else str(exc)
        raise SettingsError(f"Kafka settings: {' '.join(said.split())}; see the KAFKA_… variables") from exc
