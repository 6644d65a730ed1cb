"""Avro's decimal: the number times ten to the scale, as two's complement bytes, most significant first.

(Apache Avro 1.12 specification, Logical Types, Decimal.) Nothing is rounded: a number that does not fit is
refused.
"""

from collections.abc import Callable
from decimal import Context, Decimal, Inexact

from infra.messaging.avro.codec.varint import encode_long


def decimal_writer(precision: int, scale: int) -> Callable[[Decimal], bytes]:
    """A function from a ``Decimal`` to its Avro binary, length first; its ``ValueError`` says what is wrong."""
    limit = 10**precision
    context = Context(prec=precision + 2, traps=[Inexact])

    def write(value: Decimal) -> bytes:
        if not value.is_finite():
            raise ValueError(f"{value} is no number")
        if value and value.adjusted() >= precision - scale:
            raise ValueError(f"more than {precision - scale} digits before the point")
        try:
            number = int(context.scaleb(value, scale).to_integral_exact(context=context))
        except ArithmeticError as exc:
            raise ValueError(f"more than {scale} digits after the point") from exc
        if not -limit < number < limit:
            raise ValueError(f"more than {precision} digits in all")
        raw = number.to_bytes((abs(number).bit_length() + 8) // 8, "big", signed=True)
        return encode_long(len(raw)) + raw

    return write


def decimal_reader(precision: int, scale: int) -> Callable[[bytes], Decimal]:
    """A function from the bytes, without their length, to the ``Decimal``; raises ``ValueError``."""
    limit = 10**precision
    context = Context(prec=precision)

    def read(raw: bytes) -> Decimal:
        number = int.from_bytes(raw, "big", signed=True)
        if not raw or not -limit < number < limit:
            raise ValueError(f"{len(raw)} bytes are no decimal of {precision} digits")
        return context.scaleb(Decimal(number), -scale)

    return read
