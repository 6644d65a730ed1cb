"""The circuit breaker as a pure state machine; times in seconds of any monotonic clock.

::

    CLOSED ──failure_threshold failures in a row, or trip()──▶ OPEN
    OPEN ──open_s passed, or evidence of delivery, or another instance recovered──▶ HALF_OPEN
    HALF_OPEN ──success_threshold successes──▶ CLOSED
    HALF_OPEN ──one failure, or trip()──▶ OPEN

Another instance's state is a hint. OPEN elsewhere never stops an instance that can deliver: it only makes it
watchful, so that the first failure opens instead of the fifth. CLOSED elsewhere lets an open breaker try at
once instead of after ``open_s``.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class BreakerState(StrEnum):
    """CLOSED lets calls through, OPEN refuses them, HALF_OPEN lets a few through to find out."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a breaker opens and closes; ``half_open_max_calls`` counts trial calls at one time."""

    failure_threshold: int = 5
    open_s: float = 60.0
    half_open_max_calls: int = 3
    success_threshold: int = 2


class CircuitBreaker:
    """One breaker. Every call that ``allow`` let through ends in ``succeeded``, ``failed`` or ``abandoned``.

    ``generation`` grows by one with every change of state, so that a caller can tell a late outcome of a call
    that began in an earlier state: that one is evidence (``delivery_seen``), not the outcome of a trial.
    """

    def __init__(self, limits: BreakerLimits | None = None) -> None:
        self.limits = limits or BreakerLimits()
        self.state = BreakerState.CLOSED
        self.generation = 0
        self.reason = ""
        self.watchful = False
        self._failures = 0
        self._successes = 0
        self._trials = 0
        self._since_s = float("-inf")

    def allow(self, now_s: float) -> bool:
        """Whether a call may go through; in HALF_OPEN this takes one of the trial calls."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.OPEN:
            if now_s - self._since_s < self.limits.open_s:
                return False
            self._enter(BreakerState.HALF_OPEN, now_s, f"{self.limits.open_s:g} s have passed")
        elif self._trials and now_s - self._since_s >= self.limits.open_s:
            self._trials, self._since_s = 0, now_s  # trials whose outcome never came must not block for ever
        if self._trials >= self.limits.half_open_max_calls:
            return False
        self._trials += 1
        return True

    def succeeded(self, now_s: float) -> None:
        """A call that was let through succeeded."""
        match self.state:
            case BreakerState.CLOSED:
                self._failures = 0
            case BreakerState.OPEN:
                self.delivery_seen(now_s)
            case BreakerState.HALF_OPEN:
                self._trials = max(0, self._trials - 1)
                self._successes += 1
                if self._successes >= self.limits.success_threshold:
                    self._enter(BreakerState.CLOSED, now_s, f"{self._successes} trial calls succeeded")

    def failed(self, now_s: float, reason: str = "a call failed") -> None:
        """A call that was let through failed."""
        match self.state:
            case BreakerState.CLOSED:
                self._failures += 1
                threshold = 1 if self.watchful else self.limits.failure_threshold
                if self._failures >= threshold:
                    self._enter(BreakerState.OPEN, now_s, f"{self._failures} failures in a row: {reason}")
            case BreakerState.HALF_OPEN:
                self._enter(BreakerState.OPEN, now_s, f"a trial call failed: {reason}")
            case BreakerState.OPEN:
                pass  # a call that began before; it does not prolong the wait

    def abandoned(self) -> None:
        """A call that was let through ended without an outcome (cancelled, or a caller's mistake)."""
        self._trials = max(0, self._trials - 1)

    def trip(self, now_s: float, reason: str) -> None:
        """Open at once, whatever was counted; does nothing when open already."""
        if self.state is not BreakerState.OPEN:
            self._enter(BreakerState.OPEN, now_s, reason)

    def delivery_seen(self, now_s: float, evidence: str = "records held during the outage arrive") -> None:
        """Something was delivered that was no trial: an open breaker may try before its time."""
        if self.state is BreakerState.OPEN:
            self._enter(BreakerState.HALF_OPEN, now_s, evidence)
        elif self.state is BreakerState.CLOSED:
            self._failures = 0

    def snapshot(self, now_s: float) -> dict[str, str]:
        """The state for others to read; ``for_s`` is how long it has lasted."""
        lasted_s = max(0.0, now_s - self._since_s) if self.generation else 0.0
        return {"state": str(self.state), "reason": self.reason, "for_s": f"{lasted_s:.1f}"}

    def merge(self, remote: Mapping[str, str] | None, now_s: float) -> None:
        """Take another instance's snapshot as a hint (None: there is none). Never opens this breaker."""
        state = None if remote is None else remote.get("state")
        self.watchful = state == BreakerState.OPEN
        if state == BreakerState.CLOSED and self.state is BreakerState.OPEN:
            self._enter(BreakerState.HALF_OPEN, now_s, "another instance delivers again")

    def _enter(self, state: BreakerState, now_s: float, reason: str) -> None:
        self.state = state
        self.reason = reason
        self.generation += 1
        self._since_s = now_s
        self._failures = self._successes = self._trials = 0
