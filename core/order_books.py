"""An order book of bounded depth: levels by price, the best first.

A level is stored as the very object that came in the frame, so that keeping a book makes no object a level,
and a level that knows its own text (``TextLevel``) still has it when a checksum is computed.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Final

from core.errors import PayloadError
from core.exchanges.values import MAX_PRICE, MAX_QUANTITY
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
    """One side: a level per price.

    It holds up to ``capacity`` levels and then loses the worst. What was lost is unknown until it changes.

    The prices are kept in order as long as the best are asked for every few changes, as for a checksum. In
    between a level costs half as much: there is no order then, or a heap once levels have to be lost.

    ``texts``: what a dialect made of the best levels for a checksum; None once one of them has changed.
    """

    __slots__ = ("_best_last", "_edge", "_levels", "_prices", "_unasked", "_worst", "capacity", "texts")

    def __init__(self, *, best_last: bool, capacity: int) -> None:
        self._best_last = best_last
        self._levels: dict[float, Level] = {}
        # Upwards; None while they are not kept in order.
        self._prices: list[float] | None = []
        # How many changes came since the best were asked for.
        self._unasked = 0
        # Each price that is held, and some that were: the worst on top, so those of asks are below 0.
        self._worst: list[float] | None = None
        self.capacity = capacity
        self.texts: list[bytes] | None = None
        # The price from which on a change is one of ``texts``; None: every change is.
        self._edge: float | None = None

    def __len__(self) -> int:
        return len(self._levels)

    def replace(self, levels: Iterable[Level]) -> None:
        """Hold exactly these; those of quantity 0 are none."""
        self._levels = {level.price: level for level in levels if level.quantity}
        self.texts = None
        self._in_order()
        if len(self._levels) > self.capacity:
            self._trim()

    def apply(self, levels: Sequence[Level]) -> None:
        """Set each level to its quantity; 0 removes it, also one that is not there."""
        known = self._levels
        if self.texts is not None:
            self._forget(levels)
        if self._prices is not None:
            self._apply_in_order(levels, self._prices)
        elif self._worst is not None:
            self._apply_on_heap(levels, self._worst)
        else:
            for level in levels:
                if level.quantity:
                    known[level.price] = level
                else:
                    known.pop(level.price, None)
        if len(known) > self.capacity:
            self._trim()

    def best(self, count: int) -> list[Level]:
        """The ``count`` best levels, the best first."""
        prices = self._prices
        if prices is None:
            prices = self._in_order()
        self._unasked = 0
        best = prices[: -count - 1 : -1] if self._best_last else prices[:count]
        return list(map(self._levels.__getitem__, best))

    def remember(self, texts: list[bytes], best: Sequence[Level], count: int) -> None:
        """Keep what was made of ``best``, the ``count`` best levels or all there are, as ``texts``."""
        self.texts = texts
        self._edge = best[-1].price if len(best) == count else None

    def _forget(self, levels: Sequence[Level]) -> None:
        edge = self._edge
        for level in levels:
            if edge is None or (level.price >= edge if self._best_last else level.price <= edge):
                self.texts = None
                return

    def _apply_in_order(self, levels: Sequence[Level], prices: list[float]) -> None:
        known = self._levels
        for level in levels:
            price = level.price
            if price in known:
                if level.quantity:
                    known[price] = level
                else:
                    del known[price]
                    del prices[bisect_left(prices, price)]
            elif level.quantity:
                insort(prices, price)
                known[price] = level
        self._unasked += len(levels)
        if self._unasked > len(prices) // _CHANGES_A_SORT:
            self._prices = None

    def _apply_on_heap(self, levels: Sequence[Level], worst: list[float]) -> None:
        known, best_last = self._levels, self._best_last
        for level in levels:
            price = level.price
            if not level.quantity:
                known.pop(price, None)
                continue
            if price not in known:
                heappush(worst, price if best_last else -price)
            known[price] = level
        if len(worst) > 2 * self.capacity:
            self._worst = None  # mostly such as are not held any more

    def _in_order(self) -> list[float]:
        self._prices = prices = sorted(self._levels)
        self._worst = None
        self._unasked = 0
        return prices

    def _trim(self) -> None:
        known, prices, worst = self._levels, self._prices, self._worst
        over = len(known) - self.capacity
        if prices is not None:
            lost = slice(None, over) if self._best_last else slice(self.capacity, None)
            for price in prices[lost]:
                del known[price]
            del prices[lost]
            return
        if worst is None:
            self._worst = worst = list(known) if self._best_last else [-price for price in known]
            heapify(worst)
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
