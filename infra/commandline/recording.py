"""Recorded frames from a file, as they came in.

One JSON object a line, the file plain or gzip: ``t`` the receipt in epoch seconds, ``conn`` the recording
connection, and the frame as ``frame`` (text) or ``b64`` (binary; ``enc`` says what is in it, ``utf-8`` or
``gzip``).
"""

import base64
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Final, Literal, NamedTuple, cast

import msgspec

_GZIP = b"\x1f\x8b"
_MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""Several times the largest frame that an exchange may send; a packed file can hold a line of any size."""
_LAST_S: Final = 253_402_300_799
"""The end of the year 9999, up to which a calendar can say a time."""


class Recorded(NamedTuple):
    """One frame, the connection it came on, and when, in epoch microseconds."""

    connection: str
    frame: str | bytes
    received_us: int


class _Line(msgspec.Struct):
    t: Annotated[float, msgspec.Meta(ge=0, le=_LAST_S)]
    conn: str | int = ""
    frame: str | None = None
    b64: str | None = None
    enc: Literal["utf-8", "gzip"] = "utf-8"


_LINE = msgspec.json.Decoder(_Line)


def read_recording(path: Path) -> Iterator[Recorded]:
    """Every frame, in order; raises ``ValueError`` naming the line that is none, ``OSError`` for the file."""
    with _open(path) as lines:
        number = 0
        try:
            while text := lines.readline(_MAX_LINE_BYTES + 1):
                number += 1
                if len(text) > _MAX_LINE_BYTES:
                    raise ValueError(f"it is longer than {_MAX_LINE_BYTES} bytes")
                if not text.strip():
                    continue
                line = _LINE.decode(text)
                if line.frame is not None:
                    frame: str | bytes = line.frame
                elif line.b64 is not None:
                    frame = base64.b64decode(line.b64, validate=True)
                else:
                    raise ValueError("neither frame nor b64")
                yield Recorded(str(line.conn), frame, round(line.t * 1e6))
        except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
            raise ValueError(f"{path}, after line {number}: {exc}") from exc
        except (ValueError, RecursionError) as exc:
            raise ValueError(f"{path}, line {number}: {exc}") from exc


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return cast(IO[bytes], gzip.open(path, "rb")) if packed else path.open("rb")
