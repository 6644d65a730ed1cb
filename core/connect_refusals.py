"""How long an exchange is left alone that refuses connections at the opening handshake.

429 is too many requests (RFC 6585); 418 is Binance's word for an address banned for going on after 429; 403
and 451 are refusals of the address or its country, which do not go away by asking.
"""

from email.utils import parsedate_to_datetime
from typing import Final

_FIRST_WAIT_S: Final = {429: 60.0, 418: 120.0, 403: 300.0, 451: 300.0}
_MAX_WAIT_S: Final = 3600.0
_MAX_RETRY_AFTER_S: Final = 3 * 86_400.0
"""Binance bans for up to three days, with 418 and 429; a longer wish is not believed."""
_BANS: Final = (418, 429)
_MAX_RETRY_AFTER_ELSE_S: Final = 600.0
"""Who refuses for another reason (503: a maintenance, a proxy) may be whole long before it said."""


def wait_after_refusal(status: int | None, retry_after_s: float | None, refusals: int) -> float | None:
    """Seconds to wait after the HTTP ``status`` of a refusal; None when it asks for no wait of its own.

    ``retry_after_s`` is the exchange's own word and is kept to, for days where it bans an address and for
    minutes otherwise; without it ``refusals`` in a row before this one double the wait up to an hour.
    """
    if retry_after_s is not None:
        most_s = _MAX_RETRY_AFTER_S if status in _BANS else _MAX_RETRY_AFTER_ELSE_S
        return min(max(retry_after_s, 1.0), most_s)
    first_s = _FIRST_WAIT_S.get(status or 0)
    return None if first_s is None else min(first_s * 2.0 ** min(refusals, 10), _MAX_WAIT_S)


def read_retry_after(text: str | None, now_epoch_s: float) -> float | None:
    """Seconds, from a ``Retry-After`` header: a number or an HTTP date (RFC 9110, 10.2.3); None for neither."""
    if text is None:
        return None
    try:
        if text.strip().isdecimal():
            seconds = float(text)
        else:
            seconds = parsedate_to_datetime(text).timestamp() - now_epoch_s
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)
