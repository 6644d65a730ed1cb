"""The connection port on its fake, and on the websockets library against a server."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from core.errors import ConnectFailedError
from infra.websocket.connector import WebsocketsConnector
from infra.websocket.fake import FakeConnection, FakeConnector
from tests.contract.connection_suite import Client, ConnectionSuite
from tests.waiting import until


class FakeVenue:
    """The fake is its own exchange."""

    url = "ws://exchange"
    nowhere = "ws://nowhere"

    def __init__(self) -> None:
        self.received: list[str] = []
        self.connector = _OneAddress(lambda: time.time_ns() // 1000, self._on_send)

    def _on_send(self, _connection: FakeConnection, message: str | bytes) -> None:
        self.received.append(str(message))

    async def send(self, message: str | bytes) -> None:
        self.connector.connections[-1].receive(message)

    async def close(self, code: int, reason: str) -> None:
        self.connector.connections[-1].end(code, reason)

    def refuse(self, status: int, retry_after_s: int) -> None:
        message = f"cannot connect to {self.url}: refused with HTTP {status}"
        self.connector.refusal = ConnectFailedError(message, status=status, retry_after_s=float(retry_after_s))


class _OneAddress(FakeConnector):
    refusal: ConnectFailedError | None = None

    async def connect(self, url: str, handler: Client, *, max_frame_bytes: int) -> FakeConnection:
        self.refusing = "there is nobody" if url == FakeVenue.nowhere else self.refusal
        return await super().connect(url, handler, max_frame_bytes=max_frame_bytes)


class TestFake(ConnectionSuite):
    @pytest.fixture
    async def venue(self) -> FakeVenue:
        return FakeVenue()


class ServerVenue:
    """A WebSocket server on the loopback interface."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.connector = WebsocketsConnector(open_timeout_s=5.0)
        self._client: ServerConnection | None = None
        self._refusal: tuple[int, dict[str, str]] | None = None
        self.asked = 0
        self._server: Server | None = None
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            self.nowhere = f"ws://127.0.0.1:{held.getsockname()[1]}"

    async def start(self) -> None:
        self._server = await serve(self._serve, "127.0.0.1", 0, process_request=self._answer)
        self.url = f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def send(self, message: str | bytes) -> None:
        await until(lambda: self._client is not None)
        assert self._client is not None
        await self._client.send(message)

    async def send_in_parts(self, parts: list[str]) -> None:
        await until(lambda: self._client is not None)
        assert self._client is not None
        await self._client.send(parts)

    async def close(self, code: int, reason: str) -> None:
        await until(lambda: self._client is not None)
        assert self._client is not None
        await self._client.close(code, reason)

    def refuse(self, status: int, retry_after_s: int) -> None:
        self._refusal = (status, {"Retry-After": str(retry_after_s)})

    def redirect(self, status: int, location: str) -> None:
        self._refusal = (status, {"Location": location})

    def _answer(self, client: ServerConnection, _request: Request) -> Response | None:
        self.asked += 1
        if self._refusal is None:
            return None
        status, headers = self._refusal
        response = client.respond(HTTPStatus(status), "")
        response.headers.update(headers)
        return response

    async def _serve(self, client: ServerConnection) -> None:
        self._client = client
        async for message in client:
            self.received.append(str(message))


class TestWebsockets(ConnectionSuite):
    @pytest.fixture
    async def venue(self) -> AsyncIterator[ServerVenue]:
        venue = ServerVenue()
        await venue.start()
        yield venue
        await venue.stop()

    async def test_a_message_in_parts_comes_whole(self, venue: ServerVenue) -> None:
        client = Client()
        connection = await venue.connector.connect(venue.url, client, max_frame_bytes=1 << 20)
        await venue.send_in_parts(["a", "b" * 1000, "c"])
        await venue.send("next")
        await until(lambda: len(client.frames) == 2)
        assert client.frames == [b"a" + b"b" * 1000 + b"c", b"next"]
        await connection.close()

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_a_redirect_is_not_followed_and_says_what_to_do(
        self, venue: ServerVenue, status: int
    ) -> None:
        inner = ServerVenue()
        await inner.start()
        where = inner.url.removeprefix("ws://")
        for location in (f"ws://me:hunter2@{where}/admin?token=hunter2", f"//{where}/admin"):
            venue.redirect(status, location)
            with pytest.raises(ConnectFailedError) as caught:
                await venue.connector.connect(venue.url, Client(), max_frame_bytes=1000)
            assert caught.value.status == status
            assert (
                f"cannot connect to {venue.url}: HTTP {status} redirects to {where}, " in caught.value.message
            )
            assert "GATEWAY_EXCHANGE_URLS" in caught.value.message
            assert "hunter2" not in caught.value.message
        assert (venue.asked, inner.asked) == (2, 0)
        await inner.stop()

    @pytest.mark.parametrize("location", ["ws://[", "ws://host:port/", "/elsewhere", "", "x" * 5000])
    async def test_a_redirect_to_what_is_no_address(self, venue: ServerVenue, location: str) -> None:
        venue.redirect(302, location)
        with pytest.raises(ConnectFailedError, match="HTTP 302") as caught:
            await venue.connector.connect(venue.url, Client(), max_frame_bytes=1000)
        assert venue.asked == 1
        assert len(caught.value.message) < 500

    async def test_a_server_that_never_answers_the_handshake(self) -> None:
        async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.read()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(ConnectFailedError, match="cannot connect"):
            await WebsocketsConnector(open_timeout_s=0.2).connect(url, Client(), max_frame_bytes=1000)
        server.close()

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ws://", "nonsense", "ws://no such host/"])
    async def test_an_address_that_is_none(self, url: str) -> None:
        with pytest.raises(ConnectFailedError, match="cannot connect"):
            await WebsocketsConnector(open_timeout_s=2).connect(url, Client(), max_frame_bytes=1000)
