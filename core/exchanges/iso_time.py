"""Times that frames carry as ISO 8601 text, read by the decoder, as epoch milliseconds."""

from datetime import UTC, datetime
from typing import Annotated, Final

from msgspec import Meta

from core.errors import PayloadError

IsoTime = Annotated[datetime, Meta(tz=True)]
"""A moment with its offset from UTC (``Z`` or ``+09:00``); without one it is an error of the frame."""

_NO_TIME_YEAR: Final = 1
_FIRST_MS: Final = 1_000_000_000_000
_END_MS: Final = 10_000_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def epoch_ms(moment: datetime | None) -> int | None:
    """The moment in epoch milliseconds, rounded down; None for none.

    ``0001-01-01T00:00:00Z`` is none too: servers written in Go send it for a time that was never set.

    Raises ``PayloadError`` outside the years 2001 to 2286, as ``values.EpochMs`` does for numbers.
    """
    if moment is None:
        return None
    since = moment - _EPOCH
    ms = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    if _FIRST_MS <= ms < _END_MS:
        return ms
    if moment.year == _NO_TIME_YEAR:
        return None
    raise PayloadError(f"{moment.isoformat()} is no time of this age")
