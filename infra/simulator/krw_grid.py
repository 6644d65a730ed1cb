"""Prices in KRW markets: ticks by price, and the built-in pairs.

The Korean houses' tables of price units differ in a few steps and change now and then; one plausible table
stands for Bithumb's, Coinone's and Korbit's. Upbit's own is in ``upbit.py``.
"""

import math
from typing import Final

from infra.simulator.market import PriceGrid

_TICKS: Final = (
    (1_000_000, 1_000.0), (500_000, 500.0), (100_000, 100.0), (50_000, 50.0), (10_000, 10.0), (5_000, 5.0),
    (1_000, 1.0), (100, 0.1), (10, 0.01), (1, 0.001), (0, 0.0001),
)  # fmt: skip
"""(from this price on, tick) in KRW."""

KRW_PAIRS: Final = tuple(
    f"{base}-KRW"
    for base in (
        "BTC", "ETH", "XRP", "SOL", "DOGE", "ADA", "TRX", "LINK", "AVAX", "DOT", "BCH", "ETC", "XLM", "HBAR",
        "SUI", "APT", "NEAR", "ATOM", "ALGO", "AAVE", "UNI", "ARB", "SAND", "MANA", "STX", "SEI", "XTZ", "TON",
        "OP", "INJ", "1INCH", "T",
    )
)  # fmt: skip


def krw_grid(price: float) -> PriceGrid:
    """How a KRW market at that price is quoted; below a thousandth of a won in finer steps of the same kind."""
    tick = next(tick for floor, tick in _TICKS if price >= floor)
    while price < 1000 * tick and tick < 1:
        tick /= 10
    decimals = max(0, -math.floor(math.log10(tick) + 1e-9))
    return PriceGrid(decimals, round(tick * 10**decimals))


def plain_number(units: int, decimals: int) -> str:
    """``units`` of ``10 ** -decimals`` without trailing zeros and without a point where none is needed."""
    whole, fraction = divmod(abs(units), 10**decimals)
    sign, text = "-" if units < 0 else "", f"{fraction:0{decimals}d}".rstrip("0") if decimals else ""
    return f"{sign}{whole}.{text}" if text else f"{sign}{whole}"
