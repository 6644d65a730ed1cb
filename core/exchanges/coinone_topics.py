"""Which of Coinone's topics do not exist, though its error names none.

A wrong topic is acknowledged as any other, and its error follows within milliseconds (measured; the
documentation shows the error alone). So a subscription is confirmed by its data, or by the answer to a ping
sent after its acknowledgement. An error that comes while one topic waits for this is that topic's. Otherwise
those that it can mean are asked for again one at a time, after the answers to the former requests are through;
subscribing twice brings nothing twice. What is refused then has failed twice alone, so that a late error of
another topic refuses nobody.
"""

from collections.abc import Callable, Sequence

from core.exchanges.symbol_track import SymbolTrack

_STRIKES = 2
_UNANSWERED = 2
_MAX_TRIALS = 3
"""How often a topic is asked for alone; if that neither brings data nor refuses it, it counts as running."""


class OpenTopics:
    """The topics of one connection that have not brought data yet."""

    def __init__(self, ask: Callable[[SymbolTrack], None], ping: Callable[[], None]) -> None:
        """``ask`` sends one subscription at once, ``ping`` a ping."""
        self._ask = ask
        self._send_ping = ping
        self.open: dict[str, SymbolTrack] = {}
        """All without data, by the exchange's symbol."""
        self._unanswered: dict[str, SymbolTrack] = {}
        self._acknowledged: dict[str, SymbolTrack] = {}
        self._covered: dict[str, SymbolTrack] = {}  # acknowledged before the ping under way was sent
        self._queue: dict[str, SymbolTrack] = {}  # to be asked for one at a time
        self._trials: dict[str, int] = {}
        self._suspect: SymbolTrack | None = None
        self._suspect_acknowledged = False
        self._strikes = 0
        self._silences = 0
        self._pinging = False
        self._rounds = 0  # pings to be answered before anything is asked for again
        self._others = False  # an acknowledgement of another than the suspect came since it was asked for

    def asked(self, tracks: Sequence[SymbolTrack]) -> Sequence[SymbolTrack]:
        """These are to be subscribed; returns those to ask for now."""
        one_by_one = bool(self._rounds or self._suspect is not None or self._queue)
        for track in tracks:
            self.open[track.exchange_symbol] = track
            (self._queue if one_by_one else self._unanswered)[track.exchange_symbol] = track
        return () if one_by_one else tracks

    def settled(self, track: SymbolTrack) -> None:
        """The symbol's data came, or it is not wanted any more."""
        if self.open.pop(track.exchange_symbol, None) is None:
            return
        self._trials.pop(track.exchange_symbol, None)
        for waiting in (self._unanswered, self._acknowledged, self._covered, self._queue):
            waiting.pop(track.exchange_symbol, None)
        if self._suspect is track:
            self._suspect = None
            if not self._pinging:
                self._next()

    def acknowledged(self, track: SymbolTrack) -> None:
        """``SUBSCRIBED`` came for the topic."""
        if self._suspect is track:
            self._suspect_acknowledged = True
            self._ping()
        elif self._rounds or self._suspect is not None:
            self._others = True
        elif track.exchange_symbol in self._unanswered:
            self._acknowledged[track.exchange_symbol] = track
            self._ping()

    def refused(self) -> SymbolTrack | None:
        """The error for a wrong topic came: the one it is for certain, None while that is open."""
        if self._rounds:
            return None
        if self._suspect is not None:
            return self._strike(self._suspect)
        if len(self._unanswered) == 1:
            (track,) = self._unanswered.values()
            self.settled(track)
            return track
        # Without any, it came late for one that was confirmed for want of an error.
        self._queue.update(self._unanswered or self.open)
        self._unanswered = {}
        self._drain()
        return None

    def answered(self) -> list[SymbolTrack]:
        """``PONG`` came; returns what it confirms."""
        self._pinging = False
        if self._rounds:
            self._rounds = max(self._rounds - 1, int(self._others))
            self._others = False
            if self._rounds:
                self._ping()
            else:
                self._next()
            return []
        if self._suspect is not None:
            return self._suspect_answered(self._suspect)
        confirmed, self._covered = list(self._covered.values()), {}
        for track in confirmed:
            self._unanswered.pop(track.exchange_symbol, None)
        if self._acknowledged:
            self._ping()
        else:
            self._next()
        return confirmed

    def _strike(self, suspect: SymbolTrack) -> SymbolTrack | None:
        if self._others:
            self._suspect = None
            self._queue[suspect.exchange_symbol] = suspect
            self._drain()
            return None
        self._strikes += 1
        if self._strikes < _STRIKES:
            self._suspect_acknowledged = False
            self._ask(suspect)
            return None
        self.settled(suspect)
        return suspect

    def _suspect_answered(self, suspect: SymbolTrack) -> list[SymbolTrack]:
        if not self._suspect_acknowledged:
            self._silences += 1
            if self._silences >= _UNANSWERED:
                self._next()
            return []
        self._next()
        return [suspect]

    def _drain(self) -> None:
        self._acknowledged, self._covered = {}, {}
        self._others = False
        self._rounds = 2 if self._pinging else 1
        self._ping()

    def _ping(self) -> None:
        if not self._pinging:
            self._pinging = True
            self._covered, self._acknowledged = self._acknowledged, {}
            self._send_ping()

    def _next(self) -> None:
        self._suspect = None
        while self._queue:
            name = next(iter(self._queue))
            track = self._queue.pop(name)
            self._trials[name] = self._trials.get(name, 0) + 1
            if self._trials[name] > _MAX_TRIALS:
                self.open.pop(name, None)
            elif track.active and name in self.open:
                self._suspect, self._suspect_acknowledged = track, False
                self._strikes = self._silences = 0
                self._others = False
                self._ask(track)
                return
