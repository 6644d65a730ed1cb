"""Avro's int and long: zigzag, then base 128, least significant group first, high bit for "more follows".

(Apache Avro 1.12 specification, Binary Encoding.) Two tables of 14 bits each and a cache for what stands above
28 bits make this a few look-ups: times and ids that grow share their high bits.
"""

from typing import Final

LONG_MIN: Final = -(2**63)
LONG_MAX: Final = 2**63 - 1
INT_MIN: Final = -(2**31)
INT_MAX: Final = 2**31 - 1

_HIGH_CACHE_SIZE = 4096


def _varint(value: int) -> bytes:
    """Base 128 of a number that is not negative."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


FINAL: Final[tuple[bytes, ...]] = tuple(_varint(z) for z in range(1 << 14))
"""``FINAL[z]``: the last one or two bytes of a number."""

MORE: Final[tuple[bytes, ...]] = tuple(bytes((z & 0x7F | 0x80, z >> 7 | 0x80)) for z in range(1 << 14))
"""``MORE[z]``: 14 bits with more to follow."""


EVEN: Final[tuple[bytes, ...]] = MORE[::2]
"""``EVEN[n]``: the first 14 bits of a zigzag whose number has the lowest 13 bits ``n``, with more to follow."""


class HighBits(dict[int, bytes]):
    """``HIGH[z >> 28]``: what stands above 28 bits, encoded; ``OverflowError`` beyond 64 bits in all.

    Holds at most 4096 entries and starts anew then, so values without locality cost time, never memory.
    """

    def __missing__(self, high: int) -> bytes:
        if not 0 <= high < 1 << 36:
            raise OverflowError("beyond 64 bits")
        if len(self) >= _HIGH_CACHE_SIZE:
            self.clear()
        encoded = self[high] = _varint(high)
        return encoded


HIGH: Final = HighBits()


def encode_long(value: int) -> bytes:
    """An int of at most 64 bits; raises ``OverflowError`` beyond.

    ``value >> 63`` is 0 or -1 within 64 bits; outside, the zigzag number exceeds 64 bits and ``HIGH`` refuses.
    """
    zigzag = value << 1 ^ value >> 63
    if zigzag < 16384:
        return FINAL[zigzag]
    high = zigzag >> 28
    if high:
        return MORE[zigzag & 16383] + MORE[zigzag >> 14 & 16383] + HIGH[high]
    return MORE[zigzag & 16383] + FINAL[zigzag >> 14]
