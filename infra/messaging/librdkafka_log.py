"""librdkafka's own log lines, below the level a user sees: it repeats itself at every attempt to connect."""

from typing import Any

import structlog


class LibrdkafkaLog:
    """What confluent-kafka takes as ``logger``; ``client`` names whose lines they are."""

    def __init__(self, client: str) -> None:
        self._log = structlog.get_logger("librdkafka")
        self._client = client

    def log(self, _level: int, message: str, *args: Any) -> None:
        """The one method confluent-kafka calls."""
        self._log.debug("librdkafka", client=self._client, text=message % args if args else message)
