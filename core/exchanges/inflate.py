"""Compressed frames, inflated within a bound."""

import zlib

from core.errors import ErrorCode, PayloadError

_MOST_TIMES = 1032
"""Deflate makes of a byte this many at most (zlib's technical details, "Maximum Compression Factor")."""
_AUTO_HEADER = 32 + zlib.MAX_WBITS
"""zlib's own way to say: gzip or zlib, whichever the header tells."""


def inflate(frame: str | bytes, max_bytes: int, *, raw: bool = False) -> bytes:
    """A frame of gzip or zlib (``raw``: of bare deflate), inflated to at most ``max_bytes``.

    Raises ``PayloadError``; with code ``frame_too_large`` as soon as the bound is passed, so that a small frame
    cannot fill the memory.
    """
    if isinstance(frame, str):
        raise PayloadError("a text frame is not compressed")
    if not raw and len(frame) * _MOST_TIMES <= max_bytes:
        # It cannot pass the bound, which need not be watched then: a tenth faster.
        try:
            return zlib.decompress(frame, _AUTO_HEADER)
        except zlib.error as exc:
            raise PayloadError(f"the frame cannot be inflated: {exc}") from exc
    inflater = zlib.decompressobj(-zlib.MAX_WBITS if raw else _AUTO_HEADER)
    try:
        data = inflater.decompress(frame, max_bytes + 1)
    except zlib.error as exc:
        raise PayloadError(f"the frame cannot be inflated: {exc}") from exc
    if len(data) > max_bytes:
        raise PayloadError(f"the frame inflates to more than {max_bytes} bytes", code=ErrorCode.FRAME_TOO_LARGE)
    if not raw and not inflater.eof:
        raise PayloadError("the frame cannot be inflated: it ends too early")
    return data
