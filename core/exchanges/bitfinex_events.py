"""What Bitfinex says beside data: answers, errors, announcements. What each means stands in ``bitfinex``."""

from typing import Final

import msgspec
from msgspec import field

from core.errors import ErrorCode
from core.exchanges.notices import Complaint, Refused
from core.exchanges.symbol_track import SymbolTrack

SERVER_RESTARTS: Final = 20051
MAINTENANCE_BEGINS: Final = 20060
MAINTENANCE_ENDED: Final = 20061
_UNKNOWN_PAIR, _ALREADY_SUBSCRIBED, _TOO_MANY_CHANNELS = 10001, 10301, 10305
_AS_WANTED: Final = frozenset({_ALREADY_SUBSCRIBED, 10400, 10401})
"""Errors that leave things as they were to become: subscribed already, not subscribed any more."""


class Event(msgspec.Struct, frozen=True):
    event: str
    channel: str | None = None
    channel_id: int | None = field(name="chanId", default=None)
    symbol: str | None = None
    pair: str | None = None
    prec: str | None = None
    freq: str | None = None
    len: str | int | None = None
    code: int | str | None = None
    msg: str | None = None
    flags: int | None = None
    version: int | str | None = None

    @property
    def exchange_symbol(self) -> str:
        """What it concerns, in the exchange's spelling; some name the pair alone, without its ``t``."""
        return self.symbol or f"t{self.pair or ''}"

    @property
    def number(self) -> int | None:
        """Its code, which has also been seen as text."""
        try:
            return None if self.code is None else int(self.code)
        except ValueError:
            return None

    @property
    def text(self) -> str:
        """Code and message, for people."""
        return f"Bitfinex: {self.code}: {(self.msg or '')[:256]}"


EVENT = msgspec.json.Decoder(Event, strict=False)


def judged(error: Event, track: SymbolTrack | None) -> Complaint | Refused | None:
    """What an error means for the pair that it names, if that has a track; any other concerns the connection.
    None: nothing is wrong."""
    code, text = error.number, (error.msg or "").lower()
    if code in _AS_WANTED:
        return None
    if code == _TOO_MANY_CHANNELS or "rate" in text:
        return Complaint(ErrorCode.RATE_LIMITED, error.text)
    if track is None or not track.active:
        return Complaint(ErrorCode.SUBSCRIBE_REJECTED, error.text)
    unknown = code == _UNKNOWN_PAIR or "symbol" in text or "pair" in text
    refusal = ErrorCode.UNKNOWN_SYMBOL if unknown else ErrorCode.SUBSCRIBE_REJECTED
    return Refused((track.symbol,), refusal, error.text)
