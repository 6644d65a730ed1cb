"""A proxy before a schema registry that misbehaves as told, and a probe of how long a loop stood still."""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from urllib.parse import urlsplit


class RegistryProxy:
    """Hands requests on to ``upstream``; ``mode`` says what becomes of them.

    pass, slow (each answer ``delay_s`` late), hang (never an answer), drip (a byte of the answer now and then,
    without end), flood (an answer without end), cut (closes in the middle), or an answer of its own: set
    ``answer`` with mode ``answer``. ``requests`` counts what came in.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self.mode = "pass"
        self.delay_s = 0.3
        self.answer = b""
        self.requests: list[str] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None, "started"
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self._upstream.path}"

    def answers(self, status: str, body: bytes = b"", headers: str = "") -> None:
        """From now on every request is answered so."""
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
        self.mode, self.answer = "answer", head.encode() + body

    async def __aenter__(self) -> "RegistryProxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None, "started"
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "in a task"
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._one(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.requests.append(lines[0].rpartition(" ")[0])
        length = next((int(line[15:]) for line in lines if line.lower().startswith("content-length:")), 0)
        body = await reader.readexactly(length)
        match self.mode:
            case "hang":
                await asyncio.sleep(3600)
            case "drip":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.05)
            case "flood":
                writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                while True:
                    writer.write(b"[" * 65536)
                    await writer.drain()
            case "answer":
                writer.write(self.answer)
            case mode:
                if mode == "slow":
                    await asyncio.sleep(self.delay_s)
                answer = await self._handed_on(lines, body)
                writer.write(answer[: len(answer) // 2] if mode == "cut" else answer)
        await writer.drain()

    async def _handed_on(self, lines: list[str], body: bytes) -> bytes:
        kept = [line for line in lines if line and not line.lower().startswith("connection:")]
        head = "\r\n".join([*kept, "Connection: close", "", ""])
        reader, writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        try:
            writer.write(head.encode("latin-1") + body)
            return await reader.read(-1)
        finally:
            writer.close()


class LoopLag:
    """``worst_s``: the longest time for which the loop served nobody."""

    worst_s = 0.0


class _Sleeper(threading.Thread):
    """Sleeps for 5 ms again and again, and notes how late it woke up."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self._woke: deque[tuple[float, float]] = deque(maxlen=400)

    def run(self) -> None:
        while not self.stopping.is_set():
            before = time.perf_counter()
            time.sleep(0.005)
            now = time.perf_counter()
            self._woke.append((now, now - before - 0.005))

    def late_since(self, since_s: float) -> float:
        return max((late for woke_s, late in list(self._woke) if woke_s >= since_s), default=0.0)


@contextlib.asynccontextmanager
async def loop_lag() -> AsyncIterator[LoopLag]:
    """Watch the running loop by a timer of 5 ms.

    A thread that does nothing but sleep tells how late the machine itself is; that is not the loop's lag.
    """
    lag = LoopLag()
    machine = _Sleeper()
    machine.start()

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            late_s = time.perf_counter() - before - 0.005
            lag.worst_s = max(lag.worst_s, late_s - machine.late_since(before))

    task = asyncio.create_task(watch())
    try:
        yield lag
    finally:
        task.cancel()
        machine.stopping.set()
