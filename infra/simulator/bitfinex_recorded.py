"""Whose frames of a recording of Bitfinex are whose: they name their channel by a number alone."""

from typing import Any, Final

import msgspec

from core.identity import RequestType, Symbol
from infra.simulator.venue import FrameIdentity

_REQUEST_TYPES: Final = {
    "ticker": RequestType.TICKER,
    "trades": RequestType.TRADE,
    "book": RequestType.ORDERBOOK,
}
_CODES: Final = {"UST": "USDT", "UDC": "USDC"}
_FIRST_TIME_MS: Final = 1_000_000_000_000
"""Numbers of a connection stay below, times of TIMESTAMP do not."""


class RecordedChannels:
    """Learns the channels from ``subscribed`` as a recording is read in its order."""

    def __init__(self) -> None:
        self._channels: dict[int, tuple[RequestType, str, str]] = {}

    def identify(self, payload: bytes) -> FrameIdentity | None:
        """The identity of a data frame (``n`` is 0); None for any other, and for one that only repeats."""
        try:
            frame = msgspec.json.decode(payload)
            if isinstance(frame, dict):
                self._learn(frame)
                return None
            request_type, symbol, own = self._channels[frame[0]]
            time_ms = _time_ms(request_type, frame)
        except (ValueError, KeyError, IndexError, TypeError):
            return None
        return FrameIdentity(request_type, symbol, own, time_ms, 0)

    def _learn(self, event: dict[str, Any]) -> None:
        if event.get("event") == "info" and "version" in event:
            self._channels.clear()  # another connection begins
        elif event.get("event") == "subscribed":
            request_type = _REQUEST_TYPES[event["channel"]]
            self._channels[event["chanId"]] = (request_type, str(_pair(event["symbol"])), event["symbol"])


def _time_ms(request_type: RequestType, frame: list[Any]) -> int | None:
    """The time of a trade, or the one at the frame's end; ``ValueError`` for a frame that is no news."""
    body = frame[1]
    if body == "hb" or body == "tu":
        raise ValueError("nothing new")
    if request_type is RequestType.TRADE:
        trade = frame[2] if body == "te" else body[0]
        return int(trade[1])
    last = frame[-1]
    return last if isinstance(last, int) and last >= _FIRST_TIME_MS else None


def _pair(own: str) -> Symbol:
    """``tBTCUSD`` or ``tDOGE:USD`` taken apart."""
    base, colon, quote = own[1:].partition(":")
    if not colon:
        base, quote = own[1:4], own[4:]
    return Symbol(_CODES.get(base, base), _CODES.get(quote, quote))
