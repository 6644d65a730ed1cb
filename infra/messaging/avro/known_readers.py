"""Readers by schema id, fetched once each, and again where an id may stand for another schema by now."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import structlog

from core.errors import PayloadError, RegistryError
from infra.messaging.avro.codec.json_text import from_json_text, json_text_paths
from infra.messaging.avro.codec.reader import Read, compile_reader
from infra.messaging.avro.schema_registry import SchemaRegistryClient

_log = structlog.get_logger("schemas")

_MAX_REMEMBERED = 1024


class _Known(msgspec.Struct, frozen=True):
    """What an id stands for: the registry's text and its reader; ``before`` reads what it stood for earlier."""

    text: str
    read: Read
    before: Read | None = None


class KnownReaders:
    """Reads framed bytes by the id in them; see ``AvroDeserializer`` for what is kept, and how long.

    ``wanted`` is the parsed schema that values are resolved to, None for the one they were written with.
    """

    def __init__(
        self,
        registry: SchemaRegistryClient,
        wanted: Any,
        *,
        negative_ttl_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._wanted = wanted
        self._negative_ttl_s = negative_ttl_s
        self._clock = clock
        self._known: dict[int, _Known] = {}
        self._failed: dict[int, tuple[float, RegistryError]] = {}
        self._asked_again: dict[int, float] = {}
        self._fetching = asyncio.Lock()

    def knows(self, schema_id: int) -> bool:
        """Whether ``read`` may be called."""
        return schema_id in self._known

    def meaning(self, schema_id: int) -> str:
        """The text of the schema that a known id stands for."""
        return self._known[schema_id].text

    def read(self, schema_id: int, data: bytes) -> Any:
        """The value, by what the id stands for or else by what it stood for before; ``PayloadError``."""
        known = self._known[schema_id]
        try:
            return known.read(data)
        except PayloadError as exc:
            if known.before is None:
                raise
            try:
                return known.before(data)
            except PayloadError:
                raise exc from None

    async def fetch(self, schema_id: int) -> None:
        """Get to know one id; raises what the registry client raises."""
        async with self._fetching:
            if schema_id in self._known:
                return
            failed = self._failed.get(schema_id)
            if failed is not None and self._clock() < failed[0]:
                raise type(failed[1])(failed[1].message, detail=failed[1].detail)
            try:
                text = await self._registry.schema_by_id(schema_id)
                self._known[schema_id] = _Known(text, self._reader_of(text))
            except RegistryError as exc:
                if len(self._failed) >= _MAX_REMEMBERED:
                    self._failed.clear()
                self._failed[schema_id] = (self._clock() + self._negative_ttl_s, exc)
                raise
            self._failed.pop(schema_id, None)

    async def has_changed(self, schema_id: int, since: str) -> bool:
        """Whether the id stands for something else than ``since``; asks the registry, but not all the time.

        A registry that cannot be asked has changed nothing.
        """
        async with self._fetching:
            known = self._known[schema_id]
            if known.text != since:
                return True
            if self._clock() < self._asked_again.get(schema_id, 0.0):
                return False
            try:
                text = await self._registry.schema_by_id(schema_id, again=True)
                if text == since:
                    return False
                self._known[schema_id] = _Known(text, self._reader_of(text), before=known.read)
            except RegistryError:
                return False
            finally:
                self._asked_again[schema_id] = self._clock() + self._negative_ttl_s
            _log.warning("a schema id stands for another schema now", schema_id=schema_id)
            return True

    def _reader_of(self, text: str) -> Read:
        try:
            written = orjson.loads(text)
        except orjson.JSONDecodeError as exc:
            raise RegistryError(f"the registry's schema is not JSON: {exc}") from exc
        read = compile_reader(written, self._wanted)
        paths = json_text_paths(written if self._wanted is None else self._wanted)
        if not paths:
            return read
        return lambda data: from_json_text(read(data), paths)
