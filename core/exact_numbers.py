"""Prices and quantities exactly as the exchange wrote them, beside the doubles.

An exact number is a ``Decimal`` made from the frame's own text and never a float on its way; records carry it
where it fits the schemas' decimal(38,18), and None where it does not (it is never rounded).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from core.records import OrderBook, Record, Ticker

PRECISION: Final = 38
SCALE: Final = 18


class ExactNumbers(msgspec.Struct, frozen=True):
    """What one ticker or trade of a frame says; ``quantity`` is None for a ticker."""

    price: Decimal
    quantity: Decimal | None = None


def fitting(number: Decimal | None) -> Decimal | None:
    """The number when decimal(38,18) holds it: at most 20 digits before the point and 18 after it."""
    if number is None or not number.is_finite():
        return None
    if not number:
        return Decimal(0)
    _sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int), "a finite number has an exponent"
    beyond = -SCALE - exponent  # digits further behind the point than the scale
    if number.adjusted() >= PRECISION - SCALE or (beyond > 0 and any(digits[-beyond:])):
        return None
    return number


def with_exact(records: Sequence[Record], numbers: Sequence[ExactNumbers]) -> Sequence[Record]:
    """The records with their exact numbers, given in the records' order; as they are when the counts differ."""
    if len(records) != len(numbers):
        return records
    return [_filled(record, number) for record, number in zip(records, numbers, strict=True)]


def _filled(record: Record, number: ExactNumbers) -> Record:
    if isinstance(record, OrderBook):
        return record
    price = fitting(number.price)
    if isinstance(record, Ticker):
        return msgspec.structs.replace(record, price_exact=price)
    return msgspec.structs.replace(record, price_exact=price, quantity_exact=fitting(number.quantity))
