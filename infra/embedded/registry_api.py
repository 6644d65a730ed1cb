"""The REST API of a Schema Registry over a ``RegistryStore`` (Confluent's, version 7, as clients use it)."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.embedded.registry_store import RegistryRefusal, RegistryStore

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_MAX_BODY_BYTES = 4 * 1024 * 1024

Endpoint = Callable[[Request], Awaitable[Response]]


def registry_app(store: RegistryStore) -> Starlette:
    """The ASGI application."""
    api = _Api(store)
    subject, version = "/subjects/{subject}", "/subjects/{subject}/versions/{version}"
    one = "/schemas/ids/{schema_id}"
    table: list[tuple[str, str, Endpoint]] = [
        ("GET", "/", api.root),
        ("GET", "/schemas/types", api.types),
        ("GET", one, api.schema),
        ("GET", f"{one}/schema", api.schema_text),
        ("GET", f"{one}/versions", api.schema_versions),
        ("GET", f"{one}/subjects", api.schema_subjects),
        ("GET", "/subjects", api.subjects),
        ("POST", subject, api.find),
        ("DELETE", subject, api.delete_subject),
        ("GET", f"{subject}/versions", api.versions),
        ("POST", f"{subject}/versions", api.register),
        ("GET", version, api.version),
        ("GET", f"{version}/schema", api.version_text),
        ("GET", f"{version}/referencedby", api.referenced_by),
        ("DELETE", version, api.delete_version),
        ("POST", f"/compatibility{version}", api.test),
        ("POST", f"/compatibility{subject}/versions", api.test),
        ("GET", "/config", api.config),
        ("PUT", "/config", api.set_config),
        ("DELETE", "/config", api.delete_config),
        ("GET", "/config/{subject}", api.config),
        ("PUT", "/config/{subject}", api.set_config),
        ("DELETE", "/config/{subject}", api.delete_config),
        ("GET", "/mode", api.mode),
        ("PUT", "/mode", api.set_mode),
        ("GET", "/mode/{subject}", api.mode),
        ("PUT", "/mode/{subject}", api.set_mode),
    ]
    routes = [Route(path, endpoint, methods=[method]) for method, path, endpoint in table]
    return Starlette(
        routes=routes,
        exception_handlers={RegistryRefusal: _refused, HTTPException: _http_error},
    )


async def _refused(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RegistryRefusal), "registered for these alone"
    status = exc.code if exc.code < 1000 else exc.code // 100
    return _json({"error_code": exc.code, "message": exc.message}, status)


async def _http_error(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException), "registered for these alone"
    return _json(
        {"error_code": exc.status_code, "message": f"HTTP {exc.status_code} {exc.detail}"}, exc.status_code
    )


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type=MEDIA_TYPE)


async def _body(request: Request, name: str) -> str:
    """The text under ``name`` in a JSON body."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _MAX_BODY_BYTES:
            raise RegistryRefusal(413, f"the body is larger than {_MAX_BODY_BYTES} bytes")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise RegistryRefusal(400, f"the body is not JSON: {exc}") from exc
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str) or not value:
        raise RegistryRefusal(42201, f"the body has no text {name!r}")
    if name == "schema":
        kind = body.get("schemaType") or "AVRO"
        if kind != "AVRO" or body.get("references"):
            raise RegistryRefusal(42201, "this registry takes Avro schemas without references alone")
    return value


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() == "true"


def _subject(request: Request) -> str | None:
    subject: str | None = request.path_params.get("subject")
    return subject


class _Api:
    """One method an endpoint."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store

    async def root(self, _request: Request) -> Response:
        return _json({})

    async def types(self, _request: Request) -> Response:
        return _json(["AVRO"])

    # -- schemas ---------------------------------------------------------------------------------------

    def _id(self, request: Request) -> int:
        text: str = request.path_params["schema_id"]
        if not text.isdecimal():
            raise RegistryRefusal(404, "HTTP 404 Not Found")
        return int(text)

    async def schema(self, request: Request) -> Response:
        return _json({"schema": self._store.schema_of_id(self._id(request))})

    async def schema_text(self, request: Request) -> Response:
        return Response(self._store.schema_of_id(self._id(request)), media_type=MEDIA_TYPE)

    async def schema_versions(self, request: Request) -> Response:
        uses = self._store.uses_of_id(self._id(request), deleted=_flag(request, "deleted"))
        return _json([{"subject": subject, "version": version} for subject, version in uses])

    async def schema_subjects(self, request: Request) -> Response:
        uses = self._store.uses_of_id(self._id(request), deleted=_flag(request, "deleted"))
        return _json(sorted({subject for subject, _version in uses}))

    # -- subjects --------------------------------------------------------------------------------------

    async def subjects(self, request: Request) -> Response:
        prefix = request.query_params.get("subjectPrefix", "")
        return _json(self._store.subjects(deleted=_flag(request, "deleted"), prefix=prefix))

    async def versions(self, request: Request) -> Response:
        return _json(self._store.versions(request.path_params["subject"], deleted=_flag(request, "deleted")))

    async def register(self, request: Request) -> Response:
        schema_id = self._store.register(request.path_params["subject"], await _body(request, "schema"))
        return _json({"id": schema_id})

    async def find(self, request: Request) -> Response:
        subject = request.path_params["subject"]
        text = await _body(request, "schema")
        stored = self._store.find(subject, text, deleted=_flag(request, "deleted"))
        return _json(self._shown(subject, stored.version, stored.id))

    async def version(self, request: Request) -> Response:
        subject = request.path_params["subject"]
        stored = self._store.version(subject, request.path_params["version"], deleted=_flag(request, "deleted"))
        return _json(self._shown(subject, stored.version, stored.id))

    async def version_text(self, request: Request) -> Response:
        stored = self._store.version(request.path_params["subject"], request.path_params["version"])
        return Response(self._store.schema_of_id(stored.id), media_type=MEDIA_TYPE)

    async def referenced_by(self, request: Request) -> Response:
        self._store.version(request.path_params["subject"], request.path_params["version"])
        return _json([])

    async def delete_subject(self, request: Request) -> Response:
        permanent = _flag(request, "permanent")
        return _json(self._store.delete_subject(request.path_params["subject"], permanent=permanent))

    async def delete_version(self, request: Request) -> Response:
        subject, version = request.path_params["subject"], request.path_params["version"]
        return _json(self._store.delete_version(subject, version, permanent=_flag(request, "permanent")))

    def _shown(self, subject: str, version: int, schema_id: int) -> dict[str, Any]:
        text = self._store.schema_of_id(schema_id)
        return {"subject": subject, "version": version, "id": schema_id, "schema": text}

    # -- compatibility, mode ---------------------------------------------------------------------------

    async def test(self, request: Request) -> Response:
        version: str | None = request.path_params.get("version")
        text = await _body(request, "schema")
        reasons = self._store.incompatibilities(request.path_params["subject"], text, version)
        answer: dict[str, Any] = {"is_compatible": not reasons}
        if _flag(request, "verbose"):
            answer["messages"] = reasons
        return _json(answer)

    async def config(self, request: Request) -> Response:
        subject = _subject(request)
        level = self._store.level(subject)
        if level is None and subject is not None:
            if not _flag(request, "defaultToGlobal"):
                raise RegistryRefusal(
                    40408, f"Subject '{subject}' does not have subject-level compatibility configured"
                )
            level = self._store.effective_level(subject)
        return _json({"compatibilityLevel": level})

    async def set_config(self, request: Request) -> Response:
        level = (await _body(request, "compatibility")).upper()
        self._store.set_level(_subject(request), level)
        return _json({"compatibility": level})

    async def delete_config(self, request: Request) -> Response:
        return _json({"compatibilityLevel": self._store.delete_level(_subject(request))})

    async def mode(self, request: Request) -> Response:
        return _json({"mode": self._store.mode(_subject(request))})

    async def set_mode(self, request: Request) -> Response:
        mode = (await _body(request, "mode")).upper()
        self._store.set_mode(_subject(request), mode)
        return _json({"mode": mode})
