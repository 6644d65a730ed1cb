"""A JSON producer for events: their correlation id also goes into a header, to filter by."""

from collections.abc import Mapping
from typing import Any

from infra.messaging.clients.json_client import JsonProducerWrapper

CORRELATION_ID = "correlation_id"


def event_headers(event: object) -> dict[str, str | bytes]:
    """The headers of one event: its correlation id, where it has one."""
    meta = event.get("meta") if isinstance(event, Mapping) else None
    correlation_id = meta.get(CORRELATION_ID) if isinstance(meta, Mapping) else None
    return {CORRELATION_ID: correlation_id} if isinstance(correlation_id, str) else {}


class EventProducerWrapper(JsonProducerWrapper):
    """Sends events as JSON, with ``event_headers``."""

    async def send(
        self,
        topic: str,
        value: Any,
        key: Any = None,
        *,
        headers: Mapping[str, str | bytes] | None = None,
        timestamp_ms: int = 0,
        partition: int = -1,
    ) -> bool:
        """See ``ValueProducer.send``."""
        return await super().send(
            topic,
            value,
            key,
            headers={**event_headers(value), **(headers or {})},
            timestamp_ms=timestamp_ms,
            partition=partition,
        )
