"""How many updates are due: a steady rate by counting, without a clock of its own."""

_CATCH_UP_S = 1.0
"""After a standstill of the process, at most this much is made up for; the rest is not sent in one burst."""


class Pace:
    """``rate`` per second from ``start`` on; ``due(now_s)`` says how many to send now."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._since_s: float | None = None
        self._given = 0

    def restart(self) -> None:
        """Forget the past: nothing is owed for the time that went by."""
        self._since_s = None

    def set_rate(self, rate: float) -> None:
        """Another rate from now on."""
        self.rate = rate
        self.restart()

    def due(self, now_s: float) -> int:
        """How many are due by ``now_s`` (seconds of a monotonic clock) beyond those given out before."""
        if self._since_s is None:
            self._since_s, self._given = now_s, 0
        owed = int((now_s - self._since_s) * self.rate) - self._given
        bound = max(int(self.rate * _CATCH_UP_S), 1)
        if owed > bound:
            self._since_s, self._given = now_s, 0
            return bound
        self._given += owed
        return owed

    def wait_s(self, now_s: float, smallest_s: float, largest_s: float) -> float:
        """How long until the next one is due, within the given bounds."""
        if self.rate <= 0 or self._since_s is None:
            return largest_s
        next_s = self._since_s + (self._given + 1) / self.rate
        return min(max(next_s - now_s, smallest_s), largest_s)
