"""An order book told by a snapshot and then by its changes, to a bounded depth."""

from collections.abc import Iterable
from typing import NamedTuple

from infra.simulator.market import PairMarket

Levels = tuple[tuple[int, int], ...]
"""Price and quantity units of one side, the best first; quantity 0 removes a level."""


class BookStep(NamedTuple):
    """The book after a step to the chain's depth, and what changed in it since the step before."""

    bids: Levels
    asks: Levels
    changed_bids: Levels
    changed_asks: Levels


class BookChain:
    """What one stream of changes has told of a market's book.

    A level that leaves the depth is told as removed, one that moves up into it as new.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}

    def step(self, market: PairMarket) -> BookStep:
        """Tell the book as it is now; orders come and go until something has changed within the depth."""
        while True:
            bids, asks = _sides(market, self._depth)
            changed_bids, changed_asks = _changes(self._bids, bids), _changes(self._asks, asks)
            if changed_bids or changed_asks:
                break
            market.churn()
        self._bids, self._asks = bids, asks
        return BookStep(
            tuple(bids.items()),
            tuple(asks.items()),
            tuple(sorted(changed_bids, reverse=True)),
            tuple(sorted(changed_asks)),
        )


def _sides(market: PairMarket, depth: int) -> tuple[dict[int, int], dict[int, int]]:
    tick = market.grid.tick_units
    bids = {market.bid - i * tick: quantity for i, quantity in enumerate(market.bid_quantities[:depth])}
    asks = {market.ask + i * tick: quantity for i, quantity in enumerate(market.ask_quantities[:depth])}
    return bids, asks


def _changes(before: dict[int, int], now: dict[int, int]) -> list[tuple[int, int]]:
    gone: Iterable[tuple[int, int]] = ((price, 0) for price in before.keys() - now.keys())
    return [*gone, *((price, quantity) for price, quantity in now.items() if before.get(price) != quantity)]
