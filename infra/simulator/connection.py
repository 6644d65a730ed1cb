"""One client's connection to a simulated exchange: what is written to it, held back from it, or withheld."""

import asyncio
from collections import deque
from collections.abc import Callable

from websockets.asyncio.server import Server, ServerConnection
from websockets.frames import CTRL_OPCODES, Frame, Opcode
from websockets.protocol import Event, State
from websockets.server import ServerProtocol

from infra.simulator.log import FrameLogEntry
from infra.simulator.venue import Conversation

FrameBatch = list[tuple[bytes, bool, tuple[FrameLogEntry, ...]]]
"""Payload, whether it goes as a binary frame, and what the log shall say of it: nothing of what is no data."""


class ExchangeConnection(ServerConnection):
    """The library's connection with hooks: control frames are seen, room in the write buffer is announced, and
    a frozen one neither reads nor writes, so that not even a pong comes."""

    def __init__(self, protocol: ServerProtocol, server: Server, **options: object) -> None:
        super().__init__(protocol, server, **options)  # type: ignore[arg-type]  # handed through from serve()
        self.on_control: Callable[[], None] | None = None
        self.on_room: Callable[[], None] | None = None
        self.frozen = False

    def process_event(self, event: Event) -> None:
        """Tell of pings and pongs."""
        if self.on_control is not None and isinstance(event, Frame) and event.opcode in CTRL_OPCODES:
            self.on_control()
        super().process_event(event)

    def resume_writing(self) -> None:
        """The socket took enough: what was held back may follow."""
        super().resume_writing()
        if self.on_room is not None:
            self.on_room()

    def send_data(self) -> None:
        """Write what the protocol has ready, unless frozen."""
        if not self.frozen:
            super().send_data()

    def freeze(self) -> None:
        """From now on this end is as good as unplugged."""
        self.frozen = True
        self.transport.pause_reading()
        if self.keepalive_task is not None:  # it would miss the pongs, and end the connection over it
            self.keepalive_task.cancel()

    def thaw(self) -> None:
        """Plugged in again: what the client sent meanwhile is read, and answered."""
        if self.frozen:
            self.frozen = False
            self.transport.resume_reading()
            self.start_keepalive()
            super().send_data()


class Link:
    """A connection, its conversation, and the frames on their way to it.

    Data frames go straight to the transport, several in one write. While the transport is full they wait
    here, in order, up to ``max_backlog_bytes``; beyond that the client is too slow and the link wants to be
    closed (``overflowed``).
    """

    def __init__(
        self,
        number: int,
        socket: ExchangeConnection,
        conversation: Conversation,
        *,
        max_backlog_bytes: int,
        on_written: Callable[["Link", tuple[FrameLogEntry, ...]], None],
        now_s: float,
    ) -> None:
        self.number = number
        self.socket = socket
        self.conversation = conversation
        self.opened_s = self.active_s = now_s
        self.data_written = 0
        """Data frames written, rubbish not counted."""
        self.rubbish_given = 0
        self.trades_told: dict[str, int] = {}
        """Number of the last trade of each symbol that was written."""
        self.overflowed = False
        self.closing = False
        self.muted = False
        """Whether what waits keeps waiting, as during a stall."""
        self.gone = asyncio.Event()
        self.held: list[str | bytes] = []
        """Messages that came during a stall; they are answered after it."""
        self.incoming_s: deque[float] = deque()
        self.replay: asyncio.Task[None] | None = None
        self.waiting: deque[tuple[bytes, bool, tuple[FrameLogEntry, ...]]] = deque()
        self.waiting_bytes = 0
        self._max_backlog_bytes = max_backlog_bytes
        self._on_written = on_written
        self._room = asyncio.Event()
        socket.on_room = self._write_waiting

    @property
    def open(self) -> bool:
        """Whether frames can still be sent."""
        return self.socket.state is State.OPEN

    def send(self, batch: FrameBatch) -> None:
        """Write data frames, or hold them back until there is room; nothing reaches a frozen connection."""
        if not self.open or self.socket.frozen or self.overflowed:
            return
        if self.waiting or self.socket.paused:
            self.waiting.extend(batch)
            self.waiting_bytes += sum(len(payload) for payload, _, _ in batch)
            self.overflowed = self.waiting_bytes > self._max_backlog_bytes
        else:
            self._write(batch)

    def answer(self, text: str | bytes) -> None:
        """Send a frame that is no market data, at once: a text frame, or a binary one of bytes."""
        if self.open and not self.socket.frozen:
            if isinstance(text, str):
                self.socket.protocol.send_text(text.encode())
            else:
                self.socket.protocol.send_binary(text)
            self.socket.send_data()

    async def close(self, code: int, reason: str) -> None:
        """The closing handshake; waits for the client's side of it, for a bounded time."""
        await self.socket.close(code, reason)

    def unmute(self) -> None:
        """Go on with what waits."""
        self.muted = False
        if not self.socket.frozen:
            self._write_waiting()

    async def wait_for_room(self) -> None:
        """Until nothing waits for the client to read."""
        while self.waiting:
            self._room.clear()
            await self._room.wait()

    def drop(self) -> None:
        """Cut the TCP connection without a word."""
        self.socket.transport.abort()

    def _write_waiting(self) -> None:
        while self.waiting and not self.socket.paused and self.open and not self.muted:
            batch = [self.waiting.popleft() for _ in range(min(len(self.waiting), 64))]
            self.waiting_bytes -= sum(len(payload) for payload, _, _ in batch)
            self._write(batch)
        if not self.waiting:
            self._room.set()

    def _write(self, batch: FrameBatch) -> None:
        socket = self.socket
        if socket.protocol.extensions:  # compressed: each connection has its own compression context
            for payload, binary, _ in batch:
                (socket.protocol.send_binary if binary else socket.protocol.send_text)(payload)
            socket.send_data()
        else:
            socket.transport.write(b"".join(wire_frame(payload, binary) for payload, binary, _ in batch))
        for _, _, entries in batch:
            if entries:
                self.data_written += entries[0].kind != "rubbish"
                self._on_written(self, entries)


def wire_frame(payload: bytes, binary: bool) -> bytes:
    """An unmasked, unfragmented WebSocket frame as a server sends it (RFC 6455, 5.2)."""
    first = 0x80 | (Opcode.BINARY if binary else Opcode.TEXT)
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload
