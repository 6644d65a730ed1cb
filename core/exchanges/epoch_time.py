"""Times that frames carry as numbers of milliseconds or of microseconds, as epoch milliseconds."""

from typing import Annotated, Final

from msgspec import Meta

from core.errors import PayloadError

_MS_END: Final = 10_000_000_000_000
_US_BEGIN: Final = 1_000_000_000_000_000

EpochMsOrUs = Annotated[int, Meta(ge=1_000_000_000_000, lt=10_000_000_000_000_000)]
"""Epoch milliseconds, or microseconds, between 2001 and 2286; what lies between the two is neither."""


def to_epoch_ms(time: int | None) -> int | None:
    """The time in epoch milliseconds, rounded down; None for none.

    Raises ``PayloadError`` for a number that is neither milliseconds nor microseconds of this age.
    """
    if time is None or time < _MS_END:
        return time
    if time < _US_BEGIN:
        raise PayloadError(f"the time {time} is neither in milliseconds nor in microseconds")
    return time // 1000
