"""Broken frames from whole ones, the same again for the same seed."""

import random

_NUMBERS = [b"1", b'"2.5"', b"1793604674428", b"-1", b"0", b"-0.0", b"1e999", b"1e308", b"9" * 20, b"9" * 400]
_TEXTS = [b'""', b'"nan"', b'"inf"', b'"\\ud800"', b'"KRW-BTC"', b'"BTCUSDT"']
_NAMES = [b'"type"', b'"ty"', b'"e"', b'"data"', b'"error"', b'"result"', b'"id"']
_OTHERS = [b"null", b"true", b"[]", b"{}", b"\xff", b"\x00", b"[" * 2000, b'{"a":' * 2000]
_PIECES = _NUMBERS + _TEXTS + _NAMES + _OTHERS


def mutated(frame: bytes, others: list[bytes], source: random.Random) -> bytes:
    """One to four changes: a prefix, a flipped bit, a span lost, doubled or replaced, part of another frame."""
    data = bytearray(frame)
    for _ in range(source.choice((1, 1, 1, 2, 4))):
        if not data:
            break
        at = source.randrange(len(data))
        until = min(len(data), at + source.choice((1, 1, 2, 4, 8, 32, 256)))
        match source.randrange(12):
            case 0:
                del data[at:]
            case 1:
                data[at] ^= 1 << source.randrange(8)
            case 2:
                del data[at:until]
            case 3:
                data[at:at] = data[at:until]
            case 4:
                data[at:until] = source.choice(_PIECES)
            case 5:
                other = source.choice(others)
                start = source.randrange(len(other))
                data[at:until] = other[start : start + source.randint(1, 64)]
            case _:
                # A value between a colon and the next comma or bracket.
                colon = data.find(b":", at)
                end = min(
                    (end for end in (data.find(b",", colon), data.find(b"}", colon)) if end > 0), default=-1
                )
                if 0 <= colon < end:
                    data[colon + 1 : end] = source.choice(_PIECES)
    return bytes(data)
