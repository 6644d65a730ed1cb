"""Silent channels on a connection that lives: heartbeats go on, data does not.

Two ways to know. ``ChannelPulse`` learns how often data comes over all channels of a connection together; no
single quiet symbol can raise an alarm. ``ChannelBeats`` relies on exchanges that send a heartbeat on each
channel, and tells which one is silent. Times in seconds of any monotonic clock.
"""

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from core.exchanges.symbol_track import SymbolTrack

_LOOK_EVERY_S = 1.0
_FLOOR_S = 60.0
_TIMES_USUAL = 30.0
_TIMES_LONGEST = 4.0
_LEARNED = 30
_STOOD_STILL_S = 5.0
_MISSED_BEATS = 3.0


class ChannelPulse:
    """Learns over one connection's life, sessions and all, how long it goes without data.

    An alarm needs a silence of ``_TIMES_USUAL`` times the usual interval (a chance of 1e-13 where data comes
    at random), of ``_TIMES_LONGEST`` times the longest one yet, and of ``_FLOOR_S``; and ``_LEARNED``
    intervals to know what is usual. Each alarm doubles the floor until data has come steadily again, so that
    a market that has simply gone to sleep costs ever fewer reconnects.
    """

    def __init__(self) -> None:
        self._intervals = 0
        self._usual_s = 0.0
        self._longest_s = 0.0
        self._floor_s = _FLOOR_S
        self._since_alarm = 0
        self._count: int | None = None
        self._data_s = 0.0
        self._checked_s = 0.0

    @property
    def alarm_after_s(self) -> float:
        """The silence that is an alarm now; infinite until enough is learned."""
        if self._intervals < _LEARNED:
            return inf
        return max(self._floor_s, _TIMES_USUAL * self._usual_s, _TIMES_LONGEST * self._longest_s)

    def begin(self, now_s: float) -> None:
        """A new session: what is learned stays, silence is counted from here."""
        self._count = None
        self._data_s = self._checked_s = now_s

    def due(self, now_s: float) -> bool:
        """Whether ``check`` is worth calling: once a second."""
        return now_s - self._checked_s >= _LOOK_EVERY_S

    def check(self, now_s: float, records: int, *, watched: bool) -> float | None:
        """Note how many records there have been in the session; the length of a silence that is too long.

        Nothing is concluded from time in which nobody looked, nor while not ``watched``.
        """
        stood_s, self._checked_s = now_s - self._checked_s, now_s
        if stood_s > _STOOD_STILL_S:
            self._data_s += stood_s
        if not watched:
            self._data_s = now_s
            self._count = records
            return None
        if self._count is None or records > self._count:
            if self._count is not None:
                self._learn(max(now_s - self._data_s, 0.0))
            self._count = records
            self._data_s = now_s
            return None
        silent_s = now_s - self._data_s
        if silent_s < self.alarm_after_s:
            return None
        self._floor_s *= 2
        self._since_alarm = 0
        self._data_s = now_s
        return silent_s

    def _learn(self, interval_s: float) -> None:
        self._intervals += 1
        self._usual_s += (interval_s - self._usual_s) / min(self._intervals, 100)
        self._longest_s = max(self._longest_s, interval_s)
        self._since_alarm += 1
        if self._since_alarm >= 10 * _LEARNED:
            self._floor_s = _FLOOR_S


class Beats(NamedTuple):
    """What a look at the channels found: ``fell_silent`` is new, ``renew`` is to be subscribed anew (again)."""

    fell_silent: list[SymbolTrack]
    renew: list[SymbolTrack]
    recovered: list[SymbolTrack]


class ChannelBeats:
    """Watches each symbol's channel by the heartbeats that the exchange sends on it."""

    def __init__(self, every_s: float | None) -> None:
        """``every_s``: how often the exchange sends them at the least; None: it does not, none is watched."""
        self._every_s = every_s
        self._due_s = -inf
        self._seen: dict[str, tuple[int, float]] = {}
        self._silent: dict[str, None] = {}

    @property
    def silent_after_s(self) -> float:
        """The silence of a channel that is an alarm."""
        return inf if self._every_s is None else _MISSED_BEATS * self._every_s

    def due(self, now_s: float) -> bool:
        """Whether ``check`` is worth calling."""
        return self._every_s is not None and now_s >= self._due_s

    def check(self, now_s: float, tracks: Iterable[SymbolTrack]) -> Beats:
        """Which channels are silent for too long, and which came back."""
        found = Beats([], [], [])
        if self._every_s is None:
            return found
        stood_s = now_s - self._due_s if self._due_s > 0 else 0.0
        self._due_s = now_s + self._every_s / 3
        for track in tracks:
            name, count = track.exchange_symbol, track.sequence + track.beats
            if not (track.active and track.confirmed):
                self._seen.pop(name, None)
                self._silent.pop(name, None)
                continue
            seen, since_s = self._seen.get(name, (-1, now_s))
            if count != seen:
                self._seen[name] = (count, now_s)
                if self._silent.pop(name, 0) is None:
                    found.recovered.append(track)
                continue
            if stood_s > _STOOD_STILL_S:
                since_s += stood_s
                self._seen[name] = (seen, since_s)
            if now_s - since_s >= self.silent_after_s:
                self._seen[name] = (seen, now_s)
                if name not in self._silent:
                    self._silent[name] = None
                    found.fell_silent.append(track)
                found.renew.append(track)
        return found
