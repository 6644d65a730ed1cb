"""An order book of bounded depth: levels by price, the best first.

A level is stored as the very object that came in the frame, so that keeping a book makes no object a level,
and a level that knows its own text (``TextLevel``) still has it when a checksum is computed.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from core.errors import PayloadError
from core.exchanges.values import MAX_PRICE, MAX_QUANTITY
from core.records import Level

_BEST: Final = 25
"""As many levels a side as a checksum covers at the most."""


class TextLevel(Level, frozen=True, gc=False):
    """A level that keeps its numbers as the frame wrote them: checksums are made of that text.

    ``price_text`` and ``quantity_text`` are exactly what stood in the frame (a sign included, where the
    exchange signs quantities); ``price`` and ``quantity`` are their values, the quantity without sign.
    """

    price_text: str
    quantity_text: str

    @classmethod
    def parse(cls, price_text: str, quantity_text: str) -> "TextLevel":
        """A level from its text, a quantity's sign put aside; the ranges are those of frames.

        Raises ``PayloadError`` for what is no number, and for what is out of range.
        """
        try:
            price, quantity = float(price_text), abs(float(quantity_text))
        except ValueError as exc:
            raise PayloadError(f"{price_text[:32]!r}, {quantity_text[:32]!r} is no level") from exc
        # Also false for what is no number at all ("nan").
        if not (0 < price <= MAX_PRICE and quantity <= MAX_QUANTITY):
            raise PayloadError(f"{price_text[:32]!r}, {quantity_text[:32]!r} is out of range for a level")
        return cls(price, quantity, price_text, quantity_text)


class BookSide:
    """One side: the levels, the best last, beside what they are sorted by.

    It holds up to ``capacity`` levels and then loses the worst. What was lost is unknown until it changes.
    Most changes are near the best price, so little has to be moved for them at the end of the lists, and the
    best levels are a slice. ``texts``: what a dialect made of the best 25 levels or fewer for a checksum; None
    once one of them has changed.
    """

    __slots__ = ("_keys", "_levels", "_sign", "capacity", "texts")

    def __init__(self, *, highest_is_best: bool, capacity: int) -> None:
        self._sign = 1.0 if highest_is_best else -1.0
        self._keys: list[float] = []
        self._levels: list[Level] = []
        self.capacity = capacity
        self.texts: list[bytes] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def replace(self, levels: Iterable[Level]) -> None:
        """Hold exactly these; those of quantity 0 are none."""
        sign = self._sign
        by_key = {sign * level.price: level for level in levels if level.quantity}
        self._keys = sorted(by_key)
        self._levels = [by_key[key] for key in self._keys]
        self.texts = None
        self._trim()

    def apply(self, levels: Iterable[Level]) -> None:
        """Set each level to its quantity; 0 removes it, also one that is not there."""
        keys, held, sign = self._keys, self._levels, self._sign
        size = len(keys)
        for level in levels:
            key = sign * level.price
            place = bisect_left(keys, key)
            if place >= size - _BEST:
                self.texts = None
            if place < size and keys[place] == key:
                if level.quantity:
                    held[place] = level
                else:
                    del keys[place], held[place]
                    size -= 1
            elif level.quantity:
                keys.insert(place, key)
                held.insert(place, level)
                size += 1
        if size > self.capacity:
            self._trim()

    def best(self, count: int) -> list[Level]:
        """The ``count`` best levels, the best first."""
        return self._levels[: -count - 1 : -1]

    def _trim(self) -> None:
        over = len(self._keys) - self.capacity
        if over > 0:
            del self._keys[:over], self._levels[:over]


class Book:
    """Both sides of one symbol's book.

    ``depth`` levels a side are what others see of it. Unless ``exact``, twice as many are held: when the best
    ones are used up, known ones move up. ``exact`` holds no more than ``depth``, as exchanges want it whose
    checksum or removals count on a book cut at the subscribed depth.
    """

    __slots__ = ("asks", "bids", "depth")

    def __init__(self, depth: int, *, exact: bool = False) -> None:
        capacity = depth if exact else 2 * depth
        self.depth = depth
        self.bids = BookSide(highest_is_best=True, capacity=capacity)
        self.asks = BookSide(highest_is_best=False, capacity=capacity)

    def replace(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Become this book."""
        self.bids.replace(bids)
        self.asks.replace(asks)

    def apply(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Take over changed levels; quantity 0 removes one."""
        if bids:
            self.bids.apply(bids)
        if asks:
            self.asks.apply(asks)
