"""What a row of ``benchmarks.session`` is made of, and books that move as an exchange's do."""

import heapq
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from core.records import Level, Record, Side, StreamType
from tests.frames import frame

NOW_US: Final = 1_793_604_700_000_000
SIDES: Final = {
    "BID": Side.BUY, "buy": Side.BUY, "Buy": Side.BUY, "ASK": Side.SELL, "sell": Side.SELL, "Sell": Side.SELL,
}  # fmt: skip
STREAM_TYPES: Final = {"SNAPSHOT": StreamType.SNAPSHOT, "REALTIME": StreamType.REALTIME}


class Case(NamedTuple):
    """One row.

    ``name``: the request type, with a dot and a variant where the exchange has several framings. ``symbol``:
    as the gateway spells it. ``frames``: so many of them, each with new numbers where sessions look at those.
    ``plain``: the same records (sequence and validity aside) by orjson and dicts, as cheap as that can be.
    ``before``: what the exchange sends first, not timed; ``rest``: the whole book where REST has it.
    """

    exchange: str
    name: str
    symbol: str
    frames: Callable[[int], list[bytes]]
    plain: Callable[[bytes], Sequence[Record]]
    before: Sequence[bytes] = ()
    rest: bytes | None = None

    def __str__(self) -> str:
        return f"{self.exchange} {self.name}"

    @property
    def kind(self) -> str:
        """The request type."""
        return self.name.partition(".")[0]


def documented(exchange: str, name: str) -> Callable[[int], list[bytes]]:
    """The documented example, as it comes in real time."""
    text = frame(exchange, name).replace(b"SNAPSHOT", b"REALTIME").replace(b'"snapshot":true,', b"")
    return lambda count: [text] * count


def numbered(text: str, first: int = 1) -> Callable[[int], list[bytes]]:
    """The frame with ``SEQ`` counting on."""
    return lambda count: [text.replace("SEQ", str(number)).encode() for number in range(first, first + count)]


def levels(pairs: Sequence[Any]) -> list[Level]:
    """Levels of price and quantity in text, whatever follows them."""
    return [Level(float(pair[0]), float(pair[1])) for pair in pairs]


Quote = tuple[str, str]
"""A level in text, price and quantity; "0" where it was removed."""


class MovingBook:
    """More than ``depth`` levels a side, changing at random, mostly near the best prices; each time alike."""

    def __init__(self, best_bid: float, tick: float, depth: int) -> None:
        self._random = random.Random(1)
        self._places = 2 if tick < 1 else 0
        self._steps = 3 * depth
        self._tick = tick
        self._first = {-1: best_bid, 1: best_bid + tick}
        self._held = {side: {step: self._quantity() for step in range(self._steps)} for side in (-1, 1)}
        for _ in range(100):
            self.change(10)  # as many come as go from here on

    def best(self, count: int) -> tuple[list[Quote], list[Quote]]:
        """Bids and asks, the best first."""
        bids, asks = (
            [(self._price(side, step), held[step]) for step in heapq.nsmallest(count, held)]
            for side, held in self._held.items()
        )
        return bids, asks

    def change(self, count: int) -> tuple[list[Quote], list[Quote]]:
        """Change ``count`` levels of each side; returns what changed."""
        bids, asks = (self._changed(side, count) for side in (-1, 1))
        return bids, asks

    def _changed(self, side: int, count: int) -> list[Quote]:
        held, steps = self._held[side], set[int]()
        while len(steps) < count:
            steps.add(int(self._random.expovariate(0.05)) % self._steps)
        for step in steps:
            if self._random.random() < 0.3 and step in held:
                del held[step]
            else:
                held[step] = self._quantity()
        return [(self._price(side, step), held.get(step, "0")) for step in sorted(steps)]

    def _price(self, side: int, step: int) -> str:
        return f"{self._first[side] + side * step * self._tick:.{self._places}f}"

    def _quantity(self) -> str:
        return f"{self._random.uniform(0.0001, 9.0):.8f}"
