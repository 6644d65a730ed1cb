"""HTTP to a Schema Registry: several URLs, time limit, bounded retries, one translation of what fails."""

import asyncio
import random
import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx2
import orjson

from core.backoff import full_jitter
from core.errors import (
    RegistryError,
    RegistryUnavailableError,
    SchemaIncompatibleError,
    SchemaNotFoundError,
    SettingsError,
)
from core.events import without_secrets
from infra.settings import RegistrySettings

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"

_MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
_TRANSIENT_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class RegistryEndpoint:
    """One URL of a registry: ``url`` without user information, ``authorization`` the header or None.

    A loopback address is reached without a proxy, whatever the environment says.
    """

    __slots__ = ("authorization", "is_loopback", "url")

    def __init__(self, url: str, settings: RegistrySettings) -> None:
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError as exc:
            raise SettingsError(f"SCHEMA_REGISTRY_URL: {without_secrets(url)!r} is not a URL") from exc
        if parts.scheme not in ("http", "https") or not host:
            raise SettingsError(
                f"SCHEMA_REGISTRY_URL: {without_secrets(url)!r} is not http(s)://host[:port][/path]"
            )
        self.is_loopback = host in ("localhost", "127.0.0.1", "::1")
        netloc = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))
        self.authorization = _authorization(settings, parts.username, parts.password)


def _authorization(settings: RegistrySettings, user: str | None, password: str | None) -> str | None:
    if settings.bearer_token is not None:
        return f"Bearer {settings.bearer_token.get_secret_value()}"
    pair: str | None = None
    if settings.basic_auth is not None:
        pair = settings.basic_auth.get_secret_value()
        if ":" not in pair:
            raise SettingsError("SCHEMA_REGISTRY_BASIC_AUTH is not user:password")
    elif user is not None:
        pair = f"{unquote(user)}:{unquote(password or '')}"
    return None if pair is None else "Basic " + b64encode(pair.encode()).decode()


class RegistryHttp:
    """Sends one request to the first of the URLs that answers, beginning with the one that answered last.

    Each attempt has ``settings.timeout_s``; all URLs are tried ``rounds`` times, with a jittered wait
    between rounds, so a call ends after at most ``rounds x URLs x timeout_s`` and the waits. The client with
    its TLS context is built in a thread, because reading certificates takes tens of milliseconds.
    """

    def __init__(self, settings: RegistrySettings, *, rounds: int = 2) -> None:
        urls = [url.strip() for url in settings.url.split(",") if url.strip()]
        if not urls:
            raise SettingsError("SCHEMA_REGISTRY_URL names no URL")
        self.endpoints = tuple(RegistryEndpoint(url, settings) for url in urls)
        self._next = self.endpoints
        """As they are tried: one that hangs costs its time limit once, not with every request."""
        self._ca = settings.ssl_ca_location
        self._timeout_s = settings.timeout_s
        self._rounds = rounds
        self._client: httpx2.AsyncClient | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    @property
    def url(self) -> str:
        """The URLs as a person may see them."""
        return ", ".join(endpoint.url for endpoint in self.endpoints)

    async def request(
        self, method: str, path: str, *, body: Any = None, query: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON of the answer to ``method path``.

        Raises ``SchemaNotFoundError`` (404), ``SchemaIncompatibleError`` (409), ``RegistryUnavailableError``
        (not reached, not in time, or out of order) and ``RegistryError`` for every other refusal.
        """
        client = await self._open()
        content = None if body is None else orjson.dumps(body)
        waits = full_jitter(random.uniform, first_s=0.2, max_s=2.0)
        failures: list[str] = []
        for round_ in range(self._rounds):
            if round_:
                await asyncio.sleep(next(waits))
            failures.clear()
            for endpoint in self._next:
                headers = {"Accept": f"{MEDIA_TYPE}, application/json", "Content-Type": MEDIA_TYPE}
                if endpoint.authorization is not None:
                    headers["Authorization"] = endpoint.authorization
                try:
                    async with asyncio.timeout(self._timeout_s):
                        request = client.build_request(
                            method,
                            endpoint.url + path,
                            content=content,
                            params=dict(query) if query else None,
                            headers=headers,
                        )
                        response = await _bounded(client, request)
                except TimeoutError:
                    failures.append(f"{endpoint.url} did not answer within {self._timeout_s:g} s")
                    continue
                except httpx2.HTTPError as exc:
                    reason = without_secrets(str(exc)) or type(exc).__name__
                    failures.append(f"{endpoint.url} cannot be reached ({reason})")
                    continue
                if response.status_code in _TRANSIENT_STATUS:
                    failures.append(f"{endpoint.url} answered {response.status_code} {_message(response)}")
                    continue
                at = self.endpoints.index(endpoint)
                self._next = self.endpoints[at:] + self.endpoints[:at]
                return _result(endpoint.url, method, path, response)
        raise RegistryUnavailableError("the schema registry is not available: " + "; ".join(failures))

    async def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._closed = True
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _open(self) -> httpx2.AsyncClient:
        async with self._opening:
            if self._closed:
                raise RegistryError("the schema registry client is closed")
            if self._client is None:
                self._client = await asyncio.to_thread(self._build)
            return self._client

    def _build(self) -> httpx2.AsyncClient:
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except (OSError, ssl.SSLError) as exc:
            raise SettingsError(
                f"SCHEMA_REGISTRY_SSL_CA_LOCATION {self._ca!r} cannot be read as certificates: {exc}"
            ) from exc
        is_local = all(endpoint.is_loopback for endpoint in self.endpoints)
        return httpx2.AsyncClient(verify=context, timeout=self._timeout_s, trust_env=not is_local)


async def _bounded(client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
    """The whole answer; raises ``RegistryError`` for one that is longer than any registry's."""
    response = await client.send(request, stream=True)
    try:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _MAX_ANSWER_BYTES:
                raise RegistryError(
                    f"{request.url} does not answer like a schema registry: more than "
                    f"{_MAX_ANSWER_BYTES:,} bytes; check the URL"
                )
    finally:
        await response.aclose()
    headers = {"content-type": response.headers.get("content-type", "something")}
    if "location" in response.headers:
        headers["location"] = response.headers["location"]
    return httpx2.Response(response.status_code, headers=headers, content=bytes(body), request=request)


def _result(url: str, method: str, path: str, response: httpx2.Response) -> Any:
    status = response.status_code
    if 200 <= status < 300:
        if not response.content:
            return None
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError as exc:
            raise RegistryError(
                f"{url} does not answer like a schema registry: {method} {path} gave "
                f"{response.headers.get('content-type', 'something')} that is not JSON; check the URL's path"
            ) from exc
    message = _message(response)
    if 300 <= status < 400:
        target = without_secrets(response.headers.get("location", "nowhere"))
        raise RegistryError(
            f"{url} redirects to {target[:200]}: no redirect is followed, since credentials would go along; "
            "set SCHEMA_REGISTRY_URL to the registry itself"
        )
    if status == 404:
        if _json(response).get("error_code") is None:
            raise RegistryError(f"{url} is not a schema registry: nothing at {path}; check the URL's path")
        raise SchemaNotFoundError(f"{url} has nothing at {path}: {message}")
    if status == 409:
        raise SchemaIncompatibleError(f"{url} refuses the schema as incompatible: {message}")
    if status in (401, 403):
        raise RegistryError(
            f"{url} refuses the credentials ({status}): {message}; check SCHEMA_REGISTRY_BASIC_AUTH or "
            "SCHEMA_REGISTRY_BEARER_TOKEN"
        )
    raise RegistryError(f"{url} refuses {method} {path} ({status}): {message}")


def _json(response: httpx2.Response) -> dict[str, Any]:
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _message(response: httpx2.Response) -> str:
    """What the registry says, without secrets and at most 2000 characters."""
    text = _json(response).get("message")
    return without_secrets(str(text or response.reason_phrase or "no reason given"))[:2000]
