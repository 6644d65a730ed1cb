"""Recorded frames, read from a file and played again at their own pace or another.

The file's format: one JSON object a line, in the order of receipt. ``t`` is the time of receipt in seconds,
``conn`` the recording connection, and the frame is either ``frame`` (a text frame) or ``b64`` (base64 of a
binary frame), with ``enc``: ``utf-8`` for JSON in a binary frame, ``gzip`` for a compressed one. Frames go
out as they came in.
"""

import base64
import binascii
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec


class RecordedFrame(NamedTuple):
    """One frame: when it came, relative to the first, what is on the wire, and what that says."""

    after_s: float
    payload: bytes
    binary: bool
    content: bytes
    """``payload`` decompressed; the same bytes where it is not compressed."""


class _Line(msgspec.Struct):
    t: float
    conn: str = ""
    frame: str | None = None
    b64: str | None = None
    enc: str = "utf-8"


def read_recording(path: Path) -> list[RecordedFrame]:
    """All frames of a file, in order.

    Raises ``ValueError`` naming file and line for a line that is not a recorded frame or a file without any,
    and ``OSError`` when the file cannot be read.
    """
    frames = list(_frames(path))
    if not frames:
        raise ValueError(f"{path} holds no frame")
    return frames


def _frames(path: Path) -> Iterator[RecordedFrame]:
    decoder, first_t = msgspec.json.Decoder(_Line), None
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                line = decoder.decode(text)
                payload, binary, content = _payload(line)
            except (ValueError, OSError, EOFError, zlib.error, binascii.Error) as exc:
                raise ValueError(f"{path}, line {number}: {exc}") from exc
            first_t = line.t if first_t is None else first_t
            yield RecordedFrame(max(line.t - first_t, 0.0), payload, binary, content)


def _payload(line: _Line) -> tuple[bytes, bool, bytes]:
    if line.frame is not None:
        return line.frame.encode(), False, line.frame.encode()
    if line.b64 is None:
        raise ValueError("neither frame nor b64")
    payload = base64.b64decode(line.b64, validate=True)
    if line.enc == "gzip":
        return payload, True, gzip.decompress(payload)
    if line.enc == "utf-8":
        return payload, True, payload
    raise ValueError(f"enc {line.enc!r} is neither utf-8 nor gzip")
