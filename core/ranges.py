"""Sets of whole numbers kept as ranges: what millions of consecutive sequences cost is one pair."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]
"""First and last, both included."""


class RangeSet:
    """A set of integers as disjoint ranges that do not touch, in ascending order."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for first, last in ranges:
            self.add_range(first, last)

    def __len__(self) -> int:
        """How many integers, not how many ranges."""
        return sum(self._ends) - sum(self._starts) + len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __iter__(self) -> Iterator[Range]:
        """The ranges, ascending."""
        return iter(zip(self._starts, self._ends, strict=True))

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number <= self._ends[at]

    @property
    def first(self) -> int | None:
        """The smallest; None when empty."""
        return self._starts[0] if self._starts else None

    @property
    def last(self) -> int | None:
        """The largest; None when empty."""
        return self._ends[-1] if self._ends else None

    def add(self, number: int) -> bool:
        """Put one in; False when it was there already. The next after the largest is the cheap case."""
        ends = self._ends
        if ends and number == ends[-1] + 1:
            ends[-1] = number
            return True
        if number in self:
            return False
        self.add_range(number, number)
        return True

    def add_range(self, first: int, last: int) -> None:
        """Put in all from ``first`` to ``last``; an empty range changes nothing."""
        if last < first:
            return
        low = bisect_left(self._ends, first - 1)
        high = bisect_right(self._starts, last + 1)
        if low < high:
            first = min(first, self._starts[low])
            last = max(last, self._ends[high - 1])
        self._starts[low:high] = [first]
        self._ends[low:high] = [last]

    def count(self, first: int, last: int) -> int:
        """How many of ``first`` to ``last`` are in the set."""
        return sum(b - a + 1 for a, b in self._within(first, last))

    def missing(self, first: int, last: int) -> "RangeSet":
        """What of ``first`` to ``last`` is not in the set."""
        out, at = RangeSet(), first
        for a, b in self._within(first, last):
            out.add_range(at, a - 1)
            at = b + 1
        out.add_range(at, last)
        return out

    def without(self, other: "RangeSet") -> "RangeSet":
        """What is in this set and not in ``other``."""
        return RangeSet(part for a, b in self for part in other.missing(a, b))

    def _within(self, first: int, last: int) -> Iterator[Range]:
        for at in range(bisect_left(self._ends, first), len(self._starts)):
            if self._starts[at] > last:
                return
            yield max(self._starts[at], first), min(self._ends[at], last)
