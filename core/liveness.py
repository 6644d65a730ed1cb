"""When a silent connection is asked, and when it is given up. Times in seconds of any monotonic clock."""

from enum import Enum, auto
from math import inf

import msgspec


class LivenessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``probe_after_s`` of silence: ask. ``stale_after_s`` of silence: give up.

    Raises ``ValueError`` unless 0 < ``probe_after_s`` < ``stale_after_s``.
    """

    probe_after_s: float = 10.0
    stale_after_s: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.probe_after_s < self.stale_after_s:
            raise ValueError(
                f"probe_after_s ({self.probe_after_s:g}) must be above 0 and below "
                f"stale_after_s ({self.stale_after_s:g})"
            )


class Pulse(Enum):
    """What silence calls for."""

    FINE = auto()
    PROBE = auto()
    STALE = auto()


class Liveness:
    """Watches one connection: any frame counts as life, so a quiet symbol raises no alarm.

    Nobody is given up who was not asked: the answer has ``stale_after_s - probe_after_s`` from the probe on.
    So a process that stood still itself asks first, when it wakes.
    """

    def __init__(self, settings: LivenessSettings, now_s: float) -> None:
        self._settings = settings
        self.heard_s = now_s
        self._probed_s: float | None = None
        self._given_up = False

    def heard(self, now_s: float) -> None:
        """A frame came in."""
        self.heard_s = now_s
        self._probed_s = None
        self._given_up = False

    def check(self, now_s: float) -> Pulse:
        """What is due now; PROBE and STALE are answered once per silence."""
        if now_s < self.due_s():
            return Pulse.FINE
        if self._probed_s is None:
            self._probed_s = now_s
            return Pulse.PROBE
        self._given_up = True
        return Pulse.STALE

    def due_s(self) -> float:
        """The time at which ``check`` is next worth calling; infinite once given up."""
        if self._given_up:
            return inf
        if self._probed_s is None:
            return self.heard_s + self._settings.probe_after_s
        return self._probed_s + self._settings.stale_after_s - self._settings.probe_after_s
