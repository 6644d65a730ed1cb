"""Recorded frames from a file, as they came in.

One JSON object a line, the file plain or gzip: ``t`` the receipt in seconds, ``conn`` the recording connection,
and the frame as ``frame`` (text) or ``b64`` (binary; ``enc`` says what is in it, ``utf-8`` or ``gzip``).
"""

import base64
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

import msgspec

_GZIP = b"\x1f\x8b"


class Recorded(NamedTuple):
    """One frame, the connection it came on, and when, in epoch microseconds."""

    connection: str
    frame: str | bytes
    received_us: int


class _Line(msgspec.Struct):
    t: float
    conn: str | int = ""
    frame: str | None = None
    b64: str | None = None
    enc: str = "utf-8"


_LINE = msgspec.json.Decoder(_Line)


def read_recording(path: Path) -> Iterator[Recorded]:
    """Every frame, in order; raises ``ValueError`` naming the line that is none, ``OSError`` for the file."""
    with _open(path) as lines:
        number = 0
        try:
            for text in lines:
                number += 1
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
        except ValueError as exc:
            raise ValueError(f"{path}, line {number}: {exc}") from exc


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return cast(IO[bytes], gzip.open(path, "rb")) if packed else path.open("rb")
