"""The ``BookSnapshots`` port over HTTP, no faster than each exchange allows this process."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

import httpx2

from core.connect_budget import ConnectBudget
from core.connect_refusals import read_retry_after, wait_after_refusal
from core.errors import ConnectFailedError

MAX_WAIT_S: Final = 60.0
"""A request whose turn is later than this is given up at once; the session asks again."""
MAX_BODY_BYTES: Final = 8 * 1024 * 1024
_EXPLAINED: Final = frozenset({HTTPStatus.OK, HTTPStatus.BAD_REQUEST})


class RestAddress:
    """Where an exchange's REST listens, and how many requests it takes in how many seconds."""

    __slots__ = ("budget", "refusals", "url")

    def __init__(self, url: str, limit: tuple[int, float]) -> None:
        self.url = url.rstrip("/")
        self.budget = ConnectBudget(*limit)
        self.refusals = 0


class RestBookSnapshots:
    """Fetches order books; one client for all exchanges, opened with the first request."""

    def __init__(
        self,
        addresses: Mapping[str, RestAddress],
        *,
        timeout_s: float = 10.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._addresses = addresses
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._client: httpx2.AsyncClient | None = None

    async def fetch(self, exchange: str, path: str) -> bytes:
        """The body at ``path``; raises ``ConnectFailedError`` with the status, if there was one.

        After a refusal (429, 418, 403) all requests to that exchange wait, as long as it asks.
        """
        address = self._addresses.get(exchange)
        if address is None:
            raise ConnectFailedError(f"no REST address of {exchange} is known; set GATEWAY_EXCHANGE_REST_URLS")
        wait_s = address.budget.wait_s(time.monotonic())
        if wait_s > MAX_WAIT_S:
            raise ConnectFailedError(f"{exchange} takes no request for {wait_s:.0f} s", retry_after_s=wait_s)
        address.budget.reserve(time.monotonic())
        if wait_s > 0:
            await self._sleep(wait_s)
        url = address.url + path
        try:
            status, retry_after, body = await self._get(url)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as exc:
            raise ConnectFailedError(f"cannot fetch {url}: {str(exc) or type(exc).__name__}") from exc
        if status in _EXPLAINED:
            address.refusals = 0
            return body
        asked_s = read_retry_after(retry_after, time.time())
        hold_s = wait_after_refusal(status, asked_s, address.refusals)
        if hold_s is not None:
            address.refusals += 1
            address.budget.hold_off(time.monotonic(), hold_s)
        raise ConnectFailedError(f"{url} answered HTTP {status}", status=status, retry_after_s=asked_s)

    async def close(self) -> None:
        """Close the pool; safe to call twice."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _get(self, url: str) -> tuple[int, str | None, bytes]:
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=self._timeout_s, follow_redirects=False)
        body = bytearray()
        async with asyncio.timeout(self._timeout_s), self._client.stream("GET", url) as response:
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_BODY_BYTES:
                    raise ConnectFailedError(f"{url} answered with more than {MAX_BODY_BYTES} bytes")
        return response.status_code, response.headers.get("retry-after"), bytes(body)
