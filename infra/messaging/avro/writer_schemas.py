"""The schemas messages were written with, fetched by the id in their first bytes, once each; for threads."""

import asyncio
import json
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from core.errors import PayloadError, SchemaNotFoundError
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.settings import RegistrySettings

_UNKNOWN_TTL_S: Final = 5.0


class WriterSchemas:
    """Id to Avro schema, for a thread without an event loop; one thread only.

    What the registry does not know is remembered too, for five seconds: a registry that lost its storage has
    no id until the schemas are registered again.
    """

    def __init__(self, settings: RegistrySettings, clock: Callable[[], float] = monotonic) -> None:
        self._settings = settings
        self._client: SchemaRegistryClient | None = None
        self._runner = asyncio.Runner()
        self._known: dict[int, Any] = {}
        self._unknown: dict[int, float] = {}
        self._clock = clock

    def get(self, schema_id: int) -> Any:
        """The schema as parsed JSON.

        Raises ``PayloadError`` for an id the registry does not know, ``RegistryUnavailableError`` when it
        cannot be asked, ``RegistryError`` for any other refusal.
        """
        if schema_id in self._known:
            return self._known[schema_id]
        unknown = f"schema id {schema_id} is not in the registry"
        if self._clock() < self._unknown.get(schema_id, 0.0):
            raise PayloadError(unknown)
        try:
            text = self._runner.run(self._fetch(schema_id))
        except SchemaNotFoundError as exc:
            self._unknown[schema_id] = self._clock() + _UNKNOWN_TTL_S
            raise PayloadError(unknown) from exc
        schema = self._known[schema_id] = json.loads(text)
        return schema

    def close(self) -> None:
        """Close the connections and the loop; from the thread that used it."""
        if self._client is not None:
            self._runner.run(self._client.close())
        self._runner.close()

    async def _fetch(self, schema_id: int) -> str:
        if self._client is None:
            self._client = SchemaRegistryClient(self._settings)
        return await self._client.schema_by_id(schema_id)
