"""Subscriptions that an exchange has not answered: asked for again, or refused where silence is its refusal.

Times in seconds of any monotonic clock.
"""

from collections.abc import Container, Iterator
from typing import Final, NamedTuple

from core.exchanges.symbol_track import SymbolTrack

_ANSWER_WITHIN_S: Final = 30.0
_MAX_WAIT_S: Final = 300.0


class Silence(NamedTuple):
    """What silence calls for: ``refused`` are not listed by the exchange, ``again`` is to be asked for once
    more, ``told`` are those of them that were asked for only once so far."""

    refused: list[SymbolTrack]
    again: list[SymbolTrack]
    told: list[SymbolTrack]


class Unanswered:
    """The symbols of one session that wait for the exchange's first word.

    Only silence on a connection that lives counts. A symbol that ran before (``proven``), and one that a limit
    on requests may have swallowed, is never refused for silence: it is asked for again, with growing waits.
    """

    def __init__(self, refuses_after_s: float | None, proven: Container[str] = ()) -> None:
        """``refuses_after_s``: the silence that is the exchange's refusal; None: it refuses in words.
        ``proven``: canonical symbols; it may grow from outside."""
        self._refuses_after_s = refuses_after_s
        self._proven = proven
        self._tracks: dict[str, SymbolTrack] = {}
        self._tries: dict[str, int] = {}
        self._excused: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._tracks)

    def __iter__(self) -> Iterator[SymbolTrack]:
        return iter(self._tracks.values())

    def add(self, track: SymbolTrack) -> None:
        """The symbol is to be asked for; ``track.asked_s`` says when it was."""
        self._tracks[track.exchange_symbol] = track

    def settle(self, exchange_symbol: str) -> SymbolTrack | None:
        """The exchange's word came, or nobody waits for it any more; None for a symbol that did not wait."""
        track = self._tracks.pop(exchange_symbol, None)
        if track is not None:
            self._tries.pop(exchange_symbol, None)
            self._excused.discard(exchange_symbol)
        return track

    def excuse(self) -> None:
        """The exchange said that it takes no more requests for now: it may not have taken those under way."""
        self._excused.update(name for name, track in self._tracks.items() if track.asked_s is not None)

    def told_before(self, exchange_symbol: str) -> bool:
        """Whether the symbol's silence has been told."""
        return exchange_symbol in self._tries

    def check(self, heard_s: float) -> Silence:
        """What is due, when the connection's last frame came at ``heard_s``."""
        found = Silence([], [], [])
        for name, track in list(self._tracks.items()):
            if track.asked_s is None:
                continue
            tries = self._tries.get(name, 0)
            wait_s = min((self._refuses_after_s or _ANSWER_WITHIN_S) * 2.0**tries, _MAX_WAIT_S)
            if heard_s < track.asked_s + wait_s:
                continue
            if (
                self._refuses_after_s is not None
                and track.symbol not in self._proven
                and name not in self._excused
            ):
                self.settle(name)
                found.refused.append(track)
                continue
            self._excused.discard(name)
            self._tries[name] = tries + 1
            track.asked_s = None
            found.again.append(track)
            if not tries:
                found.told.append(track)
        return found
