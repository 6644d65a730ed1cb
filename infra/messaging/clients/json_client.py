"""Producer and consumer of JSON messages (orjson)."""

from typing import Any

import msgspec
import orjson
from pydantic import BaseModel

from core.errors import PayloadError
from core.records import Level, OrderBook, json_form
from infra.messaging.clients.value_consumer import ValueConsumer
from infra.messaging.clients.value_producer import ValueProducer
from infra.settings import Settings


def _plain(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, OrderBook | Level):
        return json_form(value)
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def json_bytes(value: Any) -> bytes | None:
    """``value`` as UTF-8 JSON: what orjson takes, pydantic models, msgspec structs.

    bytes are taken as they are (already encoded), None is a tombstone. Raises ``PayloadError``.
    """
    if value is None or isinstance(value, bytes):
        return value
    try:
        return orjson.dumps(value, default=_plain)
    except orjson.JSONEncodeError as exc:
        raise PayloadError(f"the value cannot be written as JSON: {exc.__cause__ or exc}") from exc


class AsyncProducerWrapper(ValueProducer):
    """Sends JSON; ``async with`` or ``start`` and ``stop``."""

    async def encode(self, topic: str, value: Any) -> bytes | None:
        """UTF-8 JSON; see ``json_bytes``."""
        return json_bytes(value)


class JsonProducerWrapper(AsyncProducerWrapper):
    """The same under the name that pairs with ``AvroProducerWrapper``."""


class AsyncConsumerWrapper(ValueConsumer):
    """Reads JSON in batches; see ``ValueConsumer``."""

    async def decode(self, topic: str, data: bytes) -> Any:
        """What the JSON says; raises ``PayloadError``."""
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as exc:
            raise PayloadError(f"{topic}: not JSON: {exc}") from exc


def create_producer(settings: Settings | None = None) -> AsyncProducerWrapper:
    """A JSON producer with the gateway's settings, not started yet."""
    return AsyncProducerWrapper(settings=settings)
