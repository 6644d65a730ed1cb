"""The ranges a number in a frame must lie in; msgspec checks them while it decodes.

Everything outside is an error of the frame, never a record: a price of zero or below, a quantity below zero,
what is not finite (``1e999``, ``"nan"``), a time that is not in epoch milliseconds of this age. The upper
bounds are far above anything traded (whole units, any currency) and keep nonsense out of a double.
"""

from typing import Annotated, Final

from msgspec import Meta

MAX_PRICE: Final = 1e15
MAX_QUANTITY: Final = 1e21
MAX_LEVEL_CHARS: Final = 128
"""The most that the texts of a level's price and quantity may have together, where a book keeps them for a
checksum: within the ranges a double holds all that a number says in half of it."""

Price = Annotated[float, Meta(gt=0, le=MAX_PRICE)]
"""A price in units of the quote currency."""

PriceOrZero = Annotated[float, Meta(ge=0, le=MAX_PRICE)]
"""A price where the exchange writes 0 for "there is none": a record has None then."""

Quantity = Annotated[float, Meta(ge=0, le=MAX_QUANTITY)]
"""An amount of the base or the quote currency, also summed over a day."""

TradedQuantity = Annotated[float, Meta(gt=0, le=MAX_QUANTITY)]
"""The amount of one trade."""

Rate = Annotated[float, Meta(ge=-1, le=1e9)]
"""A change as a fraction of the former price: 0.01 is one per cent."""

EpochMs = Annotated[int, Meta(ge=1_000_000_000_000, lt=10_000_000_000_000)]
"""Epoch milliseconds between 2001 and 2286."""

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""An identifier or counter that fits a long."""
