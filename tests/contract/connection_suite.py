"""What holds of every ``Connector``: a subclass gives ``venue``, an exchange that it can connect to."""

import asyncio
from typing import Protocol

import pytest

from application.ports import ConnectionEnd, Connector
from core.errors import ConnectFailedError
from tests.waiting import until


class Venue(Protocol):
    """The other side of the connection."""

    connector: Connector
    url: str
    nowhere: str
    received: list[str]

    async def send(self, message: str | bytes) -> None:
        """One message to the client."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """End the connection in order."""
        ...

    def refuse(self, status: int, retry_after_s: int) -> None:
        """From here on answer every handshake so."""
        ...


class Client:
    """A frame handler that keeps what came."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.times_us: list[int] = []

    def on_frame(self, frame: str | bytes, received_us: int) -> None:
        self.frames.append(frame.encode() if isinstance(frame, str) else frame)
        self.times_us.append(received_us)


class ConnectionSuite:
    """Order, limits, pausing, ends."""

    async def test_frames_come_whole_and_in_order_and_messages_go_out(self, venue: Venue) -> None:
        client = Client()
        connection = await venue.connector.connect(venue.url, client, max_frame_bytes=1 << 20)
        connection.send("first")
        connection.send("second")
        await until(lambda: venue.received == ["first", "second"])
        sent = [f"{number}: {'x' * number * 37} ☃" for number in range(100)]
        for text in sent:
            await venue.send(text)
        await venue.send(b"\x00binary")
        await until(lambda: len(client.frames) == 101)
        assert client.frames == [*(text.encode() for text in sent), b"\x00binary"]
        assert client.times_us == sorted(client.times_us)
        assert all(1_600_000_000_000_000 < time_us < 4_000_000_000_000_000 for time_us in client.times_us)
        await connection.close()
        await connection.close()
        assert (await connection.closed()).code == 1000

    async def test_the_exchanges_close_is_told_with_code_and_reason(self, venue: Venue) -> None:
        connection = await venue.connector.connect(venue.url, Client(), max_frame_bytes=1 << 20)
        await venue.close(1001, "going away")
        async with asyncio.timeout(5):
            assert await connection.closed() == ConnectionEnd(1001, "going away")
        connection.send("dropped, not raised")
        await connection.close()

    async def test_a_frame_over_the_limit_ends_the_connection(self, venue: Venue) -> None:
        client = Client()
        connection = await venue.connector.connect(venue.url, client, max_frame_bytes=1000)
        await venue.send("x" * 1000)
        await until(lambda: client.frames)
        await venue.send("x" * 1001)
        async with asyncio.timeout(5):
            assert (await connection.closed()).code == 1009
        assert len(client.frames) == 1

    async def test_what_comes_while_reading_is_paused_waits(self, venue: Venue) -> None:
        client = Client()
        connection = await venue.connector.connect(venue.url, client, max_frame_bytes=1 << 20)
        await venue.send("before")
        await until(lambda: client.frames)
        connection.pause_reading()
        for number in range(20):
            await venue.send(str(number))
        await asyncio.sleep(0.1)  # time in which nothing may come
        assert client.frames == [b"before"]
        connection.resume_reading()
        await until(lambda: len(client.frames) == 21)
        assert client.frames[1:] == [str(number).encode() for number in range(20)]
        await connection.close()

    async def test_nobody_there_is_an_error_with_a_reason(self, venue: Venue) -> None:
        with pytest.raises(ConnectFailedError, match=r"cannot connect to ws") as caught:
            await venue.connector.connect(venue.nowhere, Client(), max_frame_bytes=1000)
        assert caught.value.retriable
        assert len(caught.value.message) > len(f"cannot connect to {venue.nowhere}: ")

    async def test_a_refusal_is_an_error_with_its_status_and_the_exchanges_wish(self, venue: Venue) -> None:
        venue.refuse(429, 30)
        with pytest.raises(ConnectFailedError, match=f"cannot connect to {venue.url}: .*429") as caught:
            await venue.connector.connect(venue.url, Client(), max_frame_bytes=1000)
        assert (caught.value.status, caught.value.retry_after_s) == (429, 30.0)
