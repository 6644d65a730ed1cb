"""How pairs are quoted and taken apart, for exchanges without a rule of their own that would matter here."""

import math
from datetime import UTC, datetime
from functools import lru_cache
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


@lru_cache(maxsize=32_768)  # most levels of a book are printed again and again
def shortest_number(units: int, decimals: int) -> str:
    """``units`` of ``10 ** -decimals`` as JavaScript prints it: no zeros at the end, an exponent below 1e-6."""
    if units == 0:
        return "0"
    sign = "-" if units < 0 else ""
    digits = str(abs(units)).rstrip("0")
    point = len(str(abs(units))) - decimals  # digits before the decimal point
    if point >= len(digits):
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    if point > 0:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if point > -6:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{'.'.join(filter(None, (digits[0], digits[1:])))}e{point - 1}"


def joined_pair(joined: str) -> Symbol:
    """``BTCUSDT`` taken apart, in any case; ``ValueError`` when its quote asset is not known."""
    upper = joined.upper()
    quote = next((q for q in _QUOTES if upper.endswith(q) and len(upper) > len(q)), "")
    return Symbol(upper.removesuffix(quote), quote)


def iso_time(time_ms: int) -> str:
    """Epoch milliseconds as ``2026-11-23T11:33:02.123000Z`` (RFC 3339)."""
    whole_s, ms = divmod(time_ms, 1000)
    return f"{datetime.fromtimestamp(whole_s, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}000Z"


def iso_time_ms(text: str) -> int:
    """Epoch milliseconds of such a time, whatever its precision; ``ValueError`` for any other text."""
    moment = datetime.fromisoformat(text)
    return int(moment.replace(microsecond=0).timestamp()) * 1000 + moment.microsecond // 1000
