"""The connection port on its fake, and on the websockets library against a server."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

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


class _OneAddress(FakeConnector):
    async def connect(self, url: str, handler: Client, *, max_frame_bytes: int) -> FakeConnection:
        self.refusing = "there is nobody" if url == FakeVenue.nowhere else None
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
        self._server: Server | None = None
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            self.nowhere = f"ws://127.0.0.1:{held.getsockname()[1]}"

    async def start(self) -> None:
        self._server = await serve(self._serve, "127.0.0.1", 0)
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
