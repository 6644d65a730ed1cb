"""Compressed frames within their bound."""

import gzip
import zlib

import pytest

from core.errors import ErrorCode, PayloadError
from core.exchanges.inflate import inflate

DATA = b'{"ch":"market.btcusdt.trade.detail"}' * 10


def test_gzip_zlib_and_bare_deflate() -> None:
    assert inflate(gzip.compress(DATA, mtime=0), len(DATA)) == DATA
    assert inflate(zlib.compress(DATA), 10_000) == DATA
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert inflate(bare.compress(DATA) + bare.flush(), 10_000, raw=True) == DATA


def test_a_bomb_stops_at_the_bound() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(PayloadError, match="more than 1000 bytes") as caught:
        inflate(bomb, 1000)
    assert caught.value.code is ErrorCode.FRAME_TOO_LARGE


@pytest.mark.parametrize("size", [1, 1000, 100_000, 4_000_000])
def test_the_bound_holds_to_the_byte_whatever_the_frame_s_size(size: int) -> None:
    """Zeros, of which deflate makes the least, in frames on both sides of those that need no watching."""
    frame = gzip.compress(bytes(size), mtime=0)
    assert inflate(frame, size) == bytes(size)
    assert inflate(frame, 1032 * len(frame)) == bytes(size)
    with pytest.raises(PayloadError, match="more than") as caught:
        inflate(frame, size - 1)
    assert caught.value.code is ErrorCode.FRAME_TOO_LARGE


def test_what_follows_the_compressed_data_is_passed_over() -> None:
    for max_bytes in (len(DATA), 1_000_000):
        assert inflate(gzip.compress(DATA, mtime=0) + b"more", max_bytes) == DATA


@pytest.mark.parametrize("max_bytes", [10_000, 1_000_000])
@pytest.mark.parametrize("broken", [b"", b"\x1f\x8b", gzip.compress(DATA, mtime=0)[:-3], b"plain", "text"])
def test_what_is_not_whole_is_an_error_of_the_frame(broken: str | bytes, max_bytes: int) -> None:
    with pytest.raises(PayloadError):
        inflate(broken, max_bytes)
