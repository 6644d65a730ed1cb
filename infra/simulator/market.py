"""A market that never existed: a seeded random walk of a price, its trades and its order book.

Prices and quantities are integers (price: multiples of ``10 ** -decimals``; quantity: multiples of 1e-8), so
that every frame can print them exactly, and no venue's frames show the dust of binary fractions.
"""

from functools import lru_cache
from random import Random
from typing import Final, Literal, NamedTuple

import msgspec

from core.identity import Symbol

QUANTITY_SCALE: Final = 10**8
LEVELS: Final = 30
"""Price levels on each side of a book, one tick apart."""

USD_PRICES: Final[dict[str, float]] = {
    "BTC": 91_250.0, "ETH": 3_120.0, "XRP": 2.21, "SOL": 141.5, "DOGE": 0.1523, "ADA": 0.4712, "TRX": 0.2781,
    "LINK": 13.42, "AVAX": 14.21, "DOT": 2.41, "BCH": 541.0, "LTC": 86.3, "ETC": 14.05, "XLM": 0.2513,
    "HBAR": 0.1442, "SUI": 1.532, "APT": 2.41, "NEAR": 1.913, "ATOM": 2.53, "ALGO": 0.1421, "AAVE": 172.4,
    "UNI": 6.12, "FIL": 1.62, "ARB": 0.2114, "OP": 0.3125, "SAND": 0.1573, "MANA": 0.1691, "AXS": 0.931,
    "STX": 0.3112, "SEI": 0.1382, "WAVES": 0.7312, "XTZ": 0.512, "BNB": 871.0, "TON": 1.571, "INJ": 5.91,
}  # fmt: skip
"""Where the walks of well-known assets start, in USD; plausible, not current."""

QUOTES_PER_USD: Final[dict[str, float]] = {
    "USD": 1.0, "USDT": 1.0, "USDC": 1.0, "FDUSD": 1.0, "KRW": 1_465.0, "EUR": 0.864, "TRY": 42.4, "BRL": 5.38,
    "BTC": 1 / 91_250.0, "ETH": 1 / 3_120.0, "BNB": 1 / 871.0,
}  # fmt: skip

Side = Literal["bid", "ask"]


class PriceGrid(msgspec.Struct, frozen=True):
    """How a venue quotes a pair: decimals of its prices, and the tick in units of the last decimal."""

    decimals: int
    tick_units: int


class LevelChange(NamedTuple):
    """One level of the book: its new absolute quantity, 0 when it is gone."""

    side: Side
    price_units: int
    quantity_units: int


def start_price(symbol: Symbol, seed: int) -> float:
    """A plausible first price in the quote asset; an asset not in the table gets one drawn from the seed."""
    usd = USD_PRICES.get(symbol.base)
    if usd is None:
        usd = 10 ** Random(f"{seed}|{symbol}|price").uniform(-1, 2)
    return usd * QUOTES_PER_USD.get(symbol.quote, 1.0)


@lru_cache(maxsize=32_768)  # most levels of a book are printed again and again
def decimal_text(units: int, decimals: int) -> str:
    """``units`` of ``10 ** -decimals`` as a plain JSON number, never in exponent notation."""
    if decimals == 0:
        return f"{units}.0"
    whole, fraction = divmod(abs(units), 10**decimals)
    return f"{'-' if units < 0 else ''}{whole}.{fraction:0{decimals}d}"


class PairMarket:
    """One pair's state. ``trade`` and ``churn`` advance it; everything else reads it.

    The book is a ladder of ``LEVELS`` contiguous ticks on either side of the spread, so bids and asks never
    cross; each change to it takes one update id.
    """

    def __init__(self, symbol: Symbol, price: float, grid: PriceGrid, seed: int) -> None:
        self.symbol = symbol
        self.grid = grid
        self.rng = Random(f"{seed}|{symbol}")
        tick = grid.tick_units
        ticks = max(round(price * 10**grid.decimals / tick), 10 * LEVELS)
        self.bid = ticks * tick
        self.ask = self.bid + tick
        self._floor, self._ceiling = int(ticks * 0.8) * tick, int(ticks * 1.25) * tick
        self._typical = max(int(2_000.0 / max(price_in_usd(symbol, price), 1e-9) * QUANTITY_SCALE), 100)
        self.bid_quantities = [self._quantity() for _ in range(LEVELS)]
        self.ask_quantities = [self._quantity() for _ in range(LEVELS)]
        self.last = self.open = self.high = self.low = self.previous_close = self.bid
        self.last_quantity = self._quantity()
        self.taker: Side = "bid"
        self.bid_volume = self._quantity() * 40_000
        self.ask_volume = self._quantity() * 40_000
        self.turnover = float(self.bid_volume + self.ask_volume) * self.last
        """Sum of price units times quantity units."""
        self.first_trade_id = self.rng.randrange(10_000_000, 90_000_000)
        self.trade_id = self.first_trade_id + self.rng.randrange(80_000, 400_000)
        self.update_id = self.rng.randrange(1_000_000_000, 9_000_000_000)
        self._seen_trades: dict[str, int] = {}

    @property
    def volume(self) -> int:
        """Traded quantity so far, in units of 1e-8."""
        return self.bid_volume + self.ask_volume

    def trade(self, *, numbered: bool = True) -> list[LevelChange]:
        """One trade at the touch, after the price moved by some ticks; returns what changed in the book.

        ``numbered`` off: one that only a ticker tells of, where the ids of told trades have no gaps.
        """
        rng = self.rng
        steps = rng.choice((-2, -1, -1, 0, 0, 0, 0, 1, 1, 2))
        if not self._floor <= self.bid + steps * self.grid.tick_units <= self._ceiling:
            steps = -steps
        changes = self._shift(steps)
        self.taker = "bid" if rng.random() < 0.5 else "ask"
        self.last = self.ask if self.taker == "bid" else self.bid
        self.last_quantity = self._quantity()
        if self.taker == "bid":
            self.bid_volume += self.last_quantity
        else:
            self.ask_volume += self.last_quantity
        self.turnover += float(self.last) * self.last_quantity
        self.high, self.low = max(self.high, self.last), min(self.low, self.last)
        self.trade_id += numbered
        return changes

    def take_unseen_trade(self, channel: str) -> bool:
        """Whether there was a trade that this channel has not reported yet; it counts as reported now."""
        unseen = self._seen_trades.get(channel, self.trade_id) < self.trade_id
        self._seen_trades[channel] = self.trade_id
        return unseen

    def churn(self) -> list[LevelChange]:
        """Orders come and go: one to three levels near the touch change, now and then the touch itself."""
        rng = self.rng
        changes = self._shift(rng.choice((-1, 0, 0, 0, 0, 0, 1)))
        for _ in range(rng.randint(1, 3)):
            level, quantity = min(int(rng.expovariate(0.2)), LEVELS - 1), self._quantity()
            if rng.random() < 0.5:
                self.bid_quantities[level] = quantity
                changes.append(LevelChange("bid", self.bid - level * self.grid.tick_units, quantity))
            else:
                self.ask_quantities[level] = quantity
                changes.append(LevelChange("ask", self.ask + level * self.grid.tick_units, quantity))
            self.update_id += 1
        return changes

    def _quantity(self) -> int:
        return max(int(self._typical * self.rng.lognormvariate(0.0, 0.8)), 1)

    def _shift(self, steps: int) -> list[LevelChange]:
        """Move the touch by whole ticks; levels that cross it or fall off the ladder's end are removed."""
        tick, changes = self.grid.tick_units, list[LevelChange]()
        for _ in range(abs(steps)):
            if not self._floor <= self.bid + (tick if steps > 0 else -tick) <= self._ceiling:
                break
            fresh, far = self._quantity(), self._quantity()
            if steps > 0:
                self.ask_quantities.pop(0)
                self.bid_quantities.pop()
                changes.append(LevelChange("ask", self.ask, 0))
                changes.append(LevelChange("bid", self.bid - (LEVELS - 1) * tick, 0))
                self.bid, self.ask = self.bid + tick, self.ask + tick
                self.bid_quantities.insert(0, fresh)
                self.ask_quantities.append(far)
                changes.append(LevelChange("bid", self.bid, fresh))
                changes.append(LevelChange("ask", self.ask + (LEVELS - 1) * tick, far))
            else:
                self.bid_quantities.pop(0)
                self.ask_quantities.pop()
                changes.append(LevelChange("bid", self.bid, 0))
                changes.append(LevelChange("ask", self.ask + (LEVELS - 1) * tick, 0))
                self.bid, self.ask = self.bid - tick, self.ask - tick
                self.ask_quantities.insert(0, fresh)
                self.bid_quantities.append(far)
                changes.append(LevelChange("ask", self.ask, fresh))
                changes.append(LevelChange("bid", self.bid - (LEVELS - 1) * tick, far))
            self.update_id += 4
        return changes


def price_in_usd(symbol: Symbol, price: float) -> float:
    """A price in the quote asset, as USD."""
    return price / QUOTES_PER_USD.get(symbol.quote, 1.0)
