"""An order book of bounded depth: levels by price, the best first.

A level is stored as the very object that came in the frame, so that keeping a book makes no object a level,
and a level that knows its own text (``TextLevel``) still has it when a checksum is computed.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

from core.errors import PayloadError
from core.exchanges.values import MAX_PRICE, MAX_QUANTITY
from core.records import Level


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
    """One side: a level per price, and the prices sorted upwards.

    It holds up to ``capacity`` levels and then loses the worst. What was lost is unknown until it changes.
    """

    __slots__ = ("_best_last", "_levels", "_prices", "capacity")

    def __init__(self, *, best_last: bool, capacity: int) -> None:
        self._best_last = best_last
        self._levels: dict[float, Level] = {}
        self._prices: list[float] = []
        self.capacity = capacity

    def __len__(self) -> int:
        return len(self._prices)

    def replace(self, levels: Iterable[Level]) -> None:
        """Hold exactly these; those of quantity 0 are none."""
        self._levels = {level.price: level for level in levels if level.quantity}
        self._prices = sorted(self._levels)
        self._trim()

    def apply(self, levels: Iterable[Level]) -> None:
        """Set each level to its quantity; 0 removes it, also one that is not there."""
        known, prices = self._levels, self._prices
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
        if len(prices) > self.capacity:
            self._trim()

    def best(self, count: int) -> list[Level]:
        """The ``count`` best levels, the best first."""
        best = self._prices[: -count - 1 : -1] if self._best_last else self._prices[:count]
        return list(map(self._levels.__getitem__, best))

    def _trim(self) -> None:
        prices, over = self._prices, len(self._prices) - self.capacity
        if over > 0:
            worst = slice(None, over) if self._best_last else slice(self.capacity, None)
            for price in prices[worst]:
                del self._levels[price]
            del prices[worst]


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
