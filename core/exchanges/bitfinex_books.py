"""The levels of Bitfinex's books, with the text of which their checksum is made."""

import zlib
from typing import cast

from core.errors import PayloadError
from core.exchanges.bitfinex_frames import Entry, EntryText
from core.exchanges.values import MAX_LEVEL_CHARS, MAX_PRICE, MAX_QUANTITY
from core.order_books import Book, BookSide
from core.records import Level

CHECKSUM_LEVELS = 25
"""How many levels a side the checksum covers."""


class BookLevel(Level, frozen=True, gc=False):
    """A level with its part of the checksum, ``price:amount`` as the frame wrote them. Books of Bitfinex hold
    nothing else."""

    pair: bytes


def level_of(entry: Entry, frame: bytes) -> Level:
    """The level of a frame ``[number,[price,count,amount],…]``, which was read as this entry; raises
    ``PayloadError`` for one whose text is too long to be kept."""
    # What was read so has no other comma before the amount's end.
    parts = frame.split(b",", 4)
    pair = parts[1].strip(b' ["') + b":" + parts[3].strip(b' ]"')
    if len(pair) > MAX_LEVEL_CHARS:
        raise _too_long(pair)
    # Without orders the amount only tells the side.
    return BookLevel(entry.price, abs(entry.amount) if entry.count else 0.0, pair)


def sides_of(entries: list[EntryText]) -> tuple[list[Level], list[Level]]:
    """Bids and asks, in the order of the entries; raises ``PayloadError`` for an entry that is none, out of
    range or too long to be kept."""
    bids: list[Level] = []
    asks: list[Level] = []
    for entry in entries:
        price_text, amount_text = (bytes(raw).strip(b'"') for raw in (entry.price, entry.amount))
        try:
            price, amount = float(price_text), float(amount_text)
        except ValueError as exc:
            raise PayloadError(f"{price_text[:32]!r}, {amount_text[:32]!r} is no level") from exc
        # Also false for what is no number at all ("nan").
        if not (0 < price <= MAX_PRICE and -MAX_QUANTITY <= amount <= MAX_QUANTITY):
            raise PayloadError(f"{price_text[:32]!r}, {amount_text[:32]!r} is out of range for a level")
        pair = price_text + b":" + amount_text
        if len(pair) > MAX_LEVEL_CHARS:
            raise _too_long(pair)
        quantity = abs(amount) if entry.count else 0.0
        level = BookLevel(price, quantity, pair)
        (asks if amount < 0 else bids).append(level)
    return bids, asks


def _too_long(pair: bytes) -> PayloadError:
    return PayloadError(f"{pair[:64]!r}, of {len(pair)} bytes, is too long for a level")


def checksum_of(book: Book) -> int:
    """CRC32, signed, over both sides in turn."""
    bids, asks = _pairs_of(book.bids), _pairs_of(book.asks)
    both = min(len(bids), len(asks))
    pairs = [b""] * (2 * both)
    pairs[::2], pairs[1::2] = bids[:both], asks[:both]
    pairs += bids[both:] or asks[both:]
    crc = zlib.crc32(b":".join(pairs))
    return crc - 2**32 if crc >= 2**31 else crc


def _pairs_of(side: BookSide) -> list[bytes]:
    """The side's part of the checksum."""
    texts = side.texts
    if texts is None:
        best = cast(list[BookLevel], side.best(CHECKSUM_LEVELS))
        texts = [level.pair for level in best]
        side.remember(texts, best, CHECKSUM_LEVELS)
    return texts
