"""An order book of bounded depth: levels by price, the best first.

A level is stored as the very object that came in the frame, so that keeping a book makes no object a level,
and a level that knows its own text (``TextLevel``) still has it when a checksum is computed.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Final

from core.errors import PayloadError
from core.exchanges.values import MAX_LEVEL_CHARS, MAX_PRICE, MAX_QUANTITY
from core.records import Level

_CHANGES_A_SORT: Final = 4
"""Prices are left out of order once the best were not asked for while a fourth of them changed: keeping them in
order has cost as much by then as sorting them anew."""


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

        Raises ``PayloadError`` for what is no number, out of range, or too long to be kept.
        """
        try:
            price, quantity = float(price_text), abs(float(quantity_text))
        except ValueError as exc:
            raise PayloadError(f"{price_text[:32]!r}, {quantity_text[:32]!r} is no level") from exc
        # Also false for what is no number at all ("nan").
        if not (0 < price <= MAX_PRICE and quantity <= MAX_QUANTITY):
            raise PayloadError(f"{price_text[:32]!r}, {quantity_text[:32]!r} is out of range for a level")
        if len(price_text) + len(quantity_text) > MAX_LEVEL_CHARS:
            raise PayloadError(f"{price_text[:32]!r}, {quantity_text[:32]!r} is too long for a level")
        return cls(price, quantity, price_text, quantity_text)


class BookSide:
    """One side: a level per price.

    It holds up to ``capacity`` levels and then loses the worst. What was lost is unknown until it changes.

    The levels are kept in order, the best last, as long as the best are asked for every few changes, as for a
    checksum: they are a slice then, and little has to be moved for what changes near them. In between a level
    costs half as much: there is no order then, or a heap once levels have to be lost.

    ``texts``: what a dialect made of the best levels for a checksum; None once one of them has changed.
    """

    __slots__ = (
        "_by_price", "_edge", "_keys", "_levels", "_sign", "_unasked", "_worst", "capacity", "texts",
    )  # fmt: skip

    def __init__(self, *, best_last: bool, capacity: int) -> None:
        """``best_last``: by their prices upwards the best is the last, as of bids."""
        # A level's key is its price, below 0 on the side where low prices are good.
        self._sign = 1.0 if best_last else -1.0
        # In order: keys upwards, and their levels. Otherwise ``_keys`` is None, and the levels are by price.
        self._keys: list[float] | None = []
        self._levels: list[Level] = []
        self._by_price: dict[float, Level] = {}
        # How many changes came since the best were asked for.
        self._unasked = 0
        # The key of each level that is held, and some that were, with the worst on top.
        self._worst: list[float] | None = None
        self.capacity = capacity
        self.texts: list[bytes] | None = None
        # The key from which on a change is one of ``texts``; None: every change is.
        self._edge: float | None = None

    def __len__(self) -> int:
        return len(self._by_price) if self._keys is None else len(self._keys)

    def replace(self, levels: Iterable[Level]) -> None:
        """Hold exactly these; those of quantity 0 are none."""
        self.texts = None
        self._by_price = {level.price: level for level in levels if level.quantity}
        self._lose_worst(self._in_order())

    def apply(self, levels: Sequence[Level]) -> None:
        """Set each level to its quantity; 0 removes it, also one that is not there."""
        if self.texts is not None:
            self._forget(levels)
        if self._keys is not None:
            self._apply_in_order(levels, self._keys)
        elif self._worst is not None:
            self._apply_on_heap(levels, self._worst)
        else:
            self._apply_by_price(levels)

    def best(self, count: int) -> list[Level]:
        """The ``count`` best levels, the best first."""
        if self._keys is None:
            self._in_order()
        self._unasked = 0
        return self._levels[: -count - 1 : -1]

    def remember(self, texts: list[bytes], best: Sequence[Level], count: int) -> None:
        """Keep what was made of ``best``, the ``count`` best levels or all there are, as ``texts``."""
        self.texts = texts
        self._edge = self._sign * best[-1].price if len(best) == count else None

    def _forget(self, levels: Sequence[Level]) -> None:
        edge, sign = self._edge, self._sign
        for level in levels:
            if edge is None or sign * level.price >= edge:
                self.texts = None
                return

    def _apply_in_order(self, levels: Sequence[Level], keys: list[float]) -> None:
        held, sign = self._levels, self._sign
        for level in levels:
            key = sign * level.price
            place = bisect_left(keys, key)
            if place < len(keys) and keys[place] == key:
                if level.quantity:
                    held[place] = level
                else:
                    del keys[place], held[place]
            elif level.quantity:
                keys.insert(place, key)
                held.insert(place, level)
        if len(keys) > self.capacity:
            self._lose_worst(keys)
        if self.texts is None:
            self._unasked += len(levels)
            if self._unasked > len(keys) // _CHANGES_A_SORT:
                self._by_price = {level.price: level for level in held}
                self._keys, self._levels = None, []

    def _apply_by_price(self, levels: Sequence[Level]) -> None:
        known = self._by_price
        for level in levels:
            if level.quantity:
                known[level.price] = level
            else:
                known.pop(level.price, None)
        if len(known) > self.capacity:
            sign = self._sign
            self._worst = worst = [sign * price for price in known]
            heapify(worst)
            self._lose_from_heap(worst)

    def _apply_on_heap(self, levels: Sequence[Level], worst: list[float]) -> None:
        known, sign = self._by_price, self._sign
        for level in levels:
            price = level.price
            if not level.quantity:
                known.pop(price, None)
                continue
            if price not in known:
                heappush(worst, sign * price)
            known[price] = level
        if len(known) > self.capacity:
            self._lose_from_heap(worst)
        if len(worst) > 2 * self.capacity:
            self._worst = None  # mostly such as are not held any more

    def _in_order(self) -> list[float]:
        sign, known = self._sign, self._by_price
        self._keys = keys = sorted([sign * price for price in known])
        self._levels = [known[sign * key] for key in keys]
        self._by_price = {}
        self._worst = None
        self._unasked = 0
        return keys

    def _lose_worst(self, keys: list[float]) -> None:
        over = len(keys) - self.capacity
        if over > 0:
            del keys[:over], self._levels[:over]

    def _lose_from_heap(self, worst: list[float]) -> None:
        known = self._by_price
        while len(known) > self.capacity:
            known.pop(abs(heappop(worst)), None)


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
        self.bids = BookSide(best_last=True, capacity=capacity)
        self.asks = BookSide(best_last=False, capacity=capacity)

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
