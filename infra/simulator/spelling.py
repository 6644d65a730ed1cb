"""How pairs are quoted and taken apart, for exchanges without a rule of their own that would matter here."""

import math
from typing import Final

from core.identity import Symbol
from infra.simulator.market import PriceGrid

_QUOTES: Final = (
    "FDUSD",
    "USDT",
    "USDC",
    "TUSD",
    "USDD",
    "BTC",
    "ETH",
    "EUR",
    "TRY",
    "BRL",
    "USD",
    "DAI",
    "HTX",
    "HT",
)


def five_digit_grid(price: float) -> PriceGrid:
    """Hundredths or finer, down to 1e-8; a tick moves the fifth digit, so that the walk can be seen."""
    digits = min(4 - math.floor(math.log10(price)), 8)
    decimals = max(2, digits)
    return PriceGrid(decimals, 10 ** (decimals - digits))


def joined_pair(joined: str) -> Symbol:
    """``BTCUSDT`` taken apart, in any case; ``ValueError`` when its quote asset is not known."""
    upper = joined.upper()
    quote = next((q for q in _QUOTES if upper.endswith(q) and len(upper) > len(q)), "")
    return Symbol(upper.removesuffix(quote), quote)
