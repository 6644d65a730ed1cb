"""A client of a Confluent-compatible Schema Registry (its REST API, version 7)."""

from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import msgspec
import orjson

from core.errors import RegistryError, SchemaNotFoundError
from infra.messaging.avro.registry_http import RegistryHttp
from infra.settings import RegistrySettings, load_settings

Version = int | Literal["latest"]
_T = TypeVar("_T")


class RegisteredSchema(msgspec.Struct, frozen=True):
    """One version of a subject; ``schema`` is the schema's JSON text."""

    subject: str
    version: int
    id: int
    schema: str


class CompatibilityAnswer(msgspec.Struct, frozen=True):
    """Whether a schema may follow; ``messages`` are the registry's reasons when not."""

    is_compatible: bool
    messages: tuple[str, ...] = ()


class SchemaRegistryClient:
    """Registers and looks up schemas.

    Without ``settings`` it reads those of the gateway (``SCHEMA_REGISTRY_…``). Nothing is opened before the
    first call; no call blocks the event loop. What an id stands for, and the id of a registered schema, do not
    change while a registry keeps its storage, so both are kept, until an answer says otherwise. Every method
    raises ``core.errors.RegistryUnavailableError`` when no URL answers in time, ``SchemaNotFoundError`` for
    what does not exist, ``SchemaIncompatibleError`` when a compatibility rule refuses, and ``RegistryError``
    for any other refusal.
    """

    def __init__(self, settings: RegistrySettings | None = None) -> None:
        self._http = RegistryHttp(settings if settings is not None else load_settings().registry)
        self._schema_of_id: dict[int, str] = {}
        self._id_of_schema: dict[tuple[str, str], int] = {}

    @property
    def url(self) -> str:
        """Where the registry is, without secrets."""
        return self._http.url

    async def close(self) -> None:
        """Close the connections; safe to call twice."""
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def register(self, subject: str, schema: str | dict[str, Any]) -> int:
        """Register ``schema`` under ``subject`` (again: no effect) and return its id."""
        text = _text(schema)
        known = self._id_of_schema.get((subject, text))
        if known is not None:
            return known
        answer = await self._http.request("POST", _versions(subject), body={"schema": text})
        schema_id = _field(answer, "id", int, self.url)
        self._remember(subject, text, schema_id)
        return schema_id

    async def schema_by_id(self, schema_id: int, *, again: bool = False) -> str:
        """The JSON text of the schema with this id; ``again`` asks also where it is known."""
        text = None if again else self._schema_of_id.get(schema_id)
        if text is None:
            answer = await self._http.request("GET", f"/schemas/ids/{schema_id}")
            if isinstance(answer, dict) and answer.get("schemaType", "AVRO") != "AVRO":
                raise RegistryError(f"schema id {schema_id} is {answer['schemaType']}, not Avro")
            text = self._schema_of_id[schema_id] = _field(answer, "schema", str, self.url)
        return text

    async def schema_of(self, subject: str, version: Version = "latest") -> RegisteredSchema:
        """One version of ``subject``."""
        answer = await self._http.request("GET", f"{_versions(subject)}/{version}")
        return self._registered(answer)

    async def find(self, subject: str, schema: str | dict[str, Any]) -> RegisteredSchema:
        """The version under which exactly this schema is registered; ``SchemaNotFoundError`` when it is not.

        Always asks the registry.
        """
        text = _text(schema)
        try:
            answer = await self._http.request("POST", f"/subjects/{_quoted(subject)}", body={"schema": text})
        except SchemaNotFoundError:
            self._id_of_schema.pop((subject, text), None)
            raise
        found = self._registered(answer)
        self._remember(subject, text, found.id)
        return found

    async def subjects(self) -> list[str]:
        """All subjects that are not deleted."""
        return _list(await self._http.request("GET", "/subjects"), str, self.url)

    async def versions(self, subject: str) -> list[int]:
        """The versions of ``subject`` that are not deleted."""
        return _list(await self._http.request("GET", _versions(subject)), int, self.url)

    async def delete_subject(self, subject: str) -> list[int]:
        """Delete a subject softly and return its versions; ids keep answering."""
        self._forget(subject)
        answer = await self._http.request("DELETE", f"/subjects/{_quoted(subject)}")
        return _list(answer, int, self.url)

    async def delete_version(self, subject: str, version: Version) -> int:
        """Delete one version softly and return its number."""
        self._forget(subject)
        answer = await self._http.request("DELETE", f"{_versions(subject)}/{version}")
        if not isinstance(answer, int):
            raise RegistryError(f"{self.url} does not answer like a schema registry: {answer!r:.100}")
        return answer

    async def compatibility(self, subject: str | None = None) -> str | None:
        """The level of ``subject`` (None: it has none of its own), or the global one."""
        try:
            answer = await self._http.request("GET", _config(subject))
        except SchemaNotFoundError:
            if subject is None:
                raise
            return None
        return _field(answer, "compatibilityLevel", str, self.url)

    async def set_compatibility(self, level: str, subject: str | None = None) -> None:
        """Set the level of ``subject``, or the global one."""
        await self._http.request("PUT", _config(subject), body={"compatibility": level})

    async def test_compatibility(
        self, subject: str, schema: str | dict[str, Any], version: Version = "latest"
    ) -> CompatibilityAnswer:
        """Whether ``schema`` may follow a version of ``subject`` under its level; registers nothing."""
        answer = await self._http.request(
            "POST",
            f"/compatibility{_versions(subject)}/{version}",
            body={"schema": _text(schema)},
            query={"verbose": "true"},
        )
        messages = answer.get("messages") if isinstance(answer, dict) else None
        return CompatibilityAnswer(
            _field(answer, "is_compatible", bool, self.url), tuple(str(message) for message in messages or ())
        )

    def _registered(self, answer: Any) -> RegisteredSchema:
        try:
            found = msgspec.convert(answer, RegisteredSchema)
        except msgspec.ValidationError as exc:
            raise RegistryError(f"{self.url} does not answer like a schema registry: {exc}") from exc
        self._schema_of_id[found.id] = found.schema
        return found

    def _remember(self, subject: str, text: str, schema_id: int) -> None:
        self._id_of_schema[subject, text] = schema_id
        self._schema_of_id[schema_id] = text

    def _forget(self, subject: str) -> None:
        for key in [key for key in self._id_of_schema if key[0] == subject]:
            del self._id_of_schema[key]


def _text(schema: str | dict[str, Any]) -> str:
    return schema if isinstance(schema, str) else orjson.dumps(schema).decode()


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _versions(subject: str) -> str:
    return f"/subjects/{_quoted(subject)}/versions"


def _config(subject: str | None) -> str:
    return "/config" if subject is None else f"/config/{_quoted(subject)}"


def _field(answer: Any, name: str, kind: type[_T], url: str) -> _T:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, kind):
        raise RegistryError(
            f"{url} does not answer like a schema registry: no {name} in {answer!r:.100}; check the URL's path"
        )
    return value


def _list(answer: Any, kind: type[_T], url: str) -> list[_T]:
    if not isinstance(answer, list) or not all(isinstance(item, kind) for item in answer):
        raise RegistryError(f"{url} does not answer like a schema registry: {answer!r:.100}")
    return answer
