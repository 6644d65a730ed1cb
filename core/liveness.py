"""When a silent connection is asked, and when it is given up. Times in seconds of any monotonic clock."""

from enum import Enum, auto

import msgspec


class LivenessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``probe_after_s`` of silence: ask. ``stale_after_s`` of silence: give up."""

    probe_after_s: float = 10.0
    stale_after_s: float = 20.0


class Pulse(Enum):
    """What silence calls for."""

    FINE = auto()
    PROBE = auto()
    STALE = auto()


class Liveness:
    """Watches one connection: any frame counts as life, so a quiet symbol raises no alarm."""

    def __init__(self, settings: LivenessSettings, now_s: float) -> None:
        self._settings = settings
        self.heard_s = now_s
        self._probed = False

    def heard(self, now_s: float) -> None:
        """A frame came in."""
        self.heard_s = now_s
        self._probed = False

    def check(self, now_s: float) -> Pulse:
        """What is due now; PROBE is answered once per silence."""
        silence_s = now_s - self.heard_s
        if silence_s >= self._settings.stale_after_s:
            return Pulse.STALE
        if silence_s >= self._settings.probe_after_s and not self._probed:
            self._probed = True
            return Pulse.PROBE
        return Pulse.FINE

    def due_s(self) -> float:
        """The time at which ``check`` is next worth calling."""
        wait_s = self._settings.stale_after_s if self._probed else self._settings.probe_after_s
        return self.heard_s + wait_s
