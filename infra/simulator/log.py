"""The simulator's own record of what it sent: the ground truth an auditor compares with.

One entry per data frame really handed to a connection's socket, in that order; a frame that tells of several
updates, as a snapshot of the last trades does, has one for each. A frame that was still waiting for a slow
client when its connection ended was not written and is not in the log; one that was written just before a
connection was cut may nevertheless not have arrived.
"""

from pathlib import Path
from typing import IO, Literal, Protocol

import msgspec

_BUFFER_BYTES = 64 * 1024

FrameKind = Literal["snapshot", "realtime", "repeat", "other", "rubbish"]


class FrameLogEntry(msgspec.Struct, frozen=True):
    """One frame written to one connection.

    ``connection`` counts the connections of a simulated exchange from 1. ``symbol`` is canonical,
    ``exchange_ts_ms`` and ``n`` as in ``venue.FrameIdentity``: with (exchange, request_type, symbol) the time
    names the update, of which a connection may get several frames. Kind ``repeat`` is a trade that its
    connection was told of before, which is no further record: trades have ids. ``other`` is market data
    outside the three request types, as Binance's bookTicker or a kline in a recording. ``rubbish`` has no
    request type, symbol or time, and its ``n`` counts it.
    """

    connection: int
    exchange: str
    request_type: str | None
    symbol: str | None
    exchange_symbol: str | None
    exchange_ts_ms: int | None
    kind: FrameKind
    n: int


class FrameLog(Protocol):
    """Where entries go; any callable that takes one will do."""

    def __call__(self, entry: FrameLogEntry, /) -> None: ...


class FrameLogFile:
    """Entries as JSON lines in a file: buffered, written out by ``flush`` and ``close``.

    A running simulator flushes several times a second, so the file is behind the wire by less than that.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] = path.open("wb")
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()

    def __call__(self, entry: FrameLogEntry, /) -> None:
        """Append one entry."""
        self._buffer += self._encoder.encode(entry)
        self._buffer += b"\n"
        if len(self._buffer) >= _BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write out what is buffered."""
        if self._buffer:
            self._file.write(self._buffer)
            self._buffer.clear()
            self._file.flush()

    def close(self) -> None:
        """Flush and close; idempotent."""
        try:
            if not self._file.closed:
                self.flush()
        finally:
            self._file.close()


def read_frame_log(path: Path) -> list[FrameLogEntry]:
    """Read a log file back; raises ``msgspec.MsgspecError`` for a line that is not an entry."""
    decoder = msgspec.json.Decoder(FrameLogEntry)
    return [decoder.decode(line) for line in path.read_bytes().splitlines()]
