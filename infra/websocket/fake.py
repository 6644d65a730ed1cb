"""The ``Connector`` port without a network: a test, or a user's own, is the exchange."""

import asyncio
from collections.abc import Callable

from application.ports import ConnectionEnd, FrameHandler
from core.errors import ConnectFailedError


class FakeConnection:
    """One open connection. ``sent`` is what the client sent; ``receive`` is what the exchange sends.

    While reading is paused frames wait, in order. ``on_send(connection, message)`` may answer.
    """

    def __init__(
        self,
        url: str,
        handler: FrameHandler,
        max_frame_bytes: int,
        now_us: Callable[[], int],
        on_send: "Callable[[FakeConnection, str | bytes], None] | None" = None,
    ) -> None:
        self.url = url
        self.sent: list[str | bytes] = []
        self.paused = False
        self._handler = handler
        self._max_frame_bytes = max_frame_bytes
        self._now_us = now_us
        self._on_send = on_send
        self._waiting: list[bytes] = []
        self._end: asyncio.Future[ConnectionEnd] = asyncio.get_running_loop().create_future()

    # -- the exchange's side -----------------------------------------------------------------------

    def receive(self, frame: str | bytes) -> None:
        """The exchange sends one message; one that is too large ends the connection with code 1009."""
        data = frame.encode() if isinstance(frame, str) else frame
        if self._end.done():
            return
        if len(data) > self._max_frame_bytes:
            self.end(1009, "frame too large")
        elif self.paused:
            self._waiting.append(data)
        else:
            self._handler.on_frame(data, self._now_us())

    def end(self, code: int = 1006, reason: str = "") -> None:
        """The connection ends."""
        if not self._end.done():
            self._end.set_result(ConnectionEnd(code, reason or ("lost" if code == 1006 else "")))

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return not self._end.done()

    # -- the port ----------------------------------------------------------------------------------

    def send(self, message: str | bytes) -> None:
        """See the port."""
        if self._end.done():
            return
        self.sent.append(message)
        if self._on_send is not None:
            self._on_send(self, message)

    def pause_reading(self) -> None:
        """See the port."""
        self.paused = True

    def resume_reading(self) -> None:
        """See the port; what waited is delivered in the next turn of the loop."""
        self.paused = False
        asyncio.get_running_loop().call_soon(self._deliver)

    async def closed(self) -> ConnectionEnd:
        """See the port."""
        return await asyncio.shield(self._end)

    async def close(self) -> None:
        """See the port."""
        self.end(1000)

    def _deliver(self) -> None:
        while self._waiting and not self.paused and not self._end.done():
            self._handler.on_frame(self._waiting.pop(0), self._now_us())


class FakeConnector:
    """Opens fake connections; ``connections`` are all of them, the latest last.

    While ``refusing`` is set, connecting fails with that text, or that error. ``now_us`` dates the frames.
    """

    def __init__(
        self,
        now_us: Callable[[], int],
        on_send: Callable[[FakeConnection, str | bytes], None] | None = None,
    ) -> None:
        self.connections: list[FakeConnection] = []
        self.attempts = 0
        self.refusing: str | ConnectFailedError | None = None
        self._now_us = now_us
        self._on_send = on_send

    async def connect(self, url: str, handler: FrameHandler, *, max_frame_bytes: int) -> FakeConnection:
        """See the port."""
        self.attempts += 1
        await asyncio.sleep(0)
        if isinstance(self.refusing, ConnectFailedError):
            raise self.refusing
        if self.refusing is not None:
            raise ConnectFailedError(f"cannot connect to {url}: {self.refusing}")
        connection = FakeConnection(url, handler, max_frame_bytes, self._now_us, self._on_send)
        self.connections.append(connection)
        return connection
