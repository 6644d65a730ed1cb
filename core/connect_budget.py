"""How many connections may be opened to an exchange in a while, and when the next one may be."""

from bisect import insort
from collections import deque


class ConnectBudget:
    """A sliding window of at most ``max_connects`` in ``window_s``. Times in seconds of a monotonic clock."""

    def __init__(self, max_connects: int, window_s: float) -> None:
        self._max_connects = max_connects
        self._window_s = window_s
        self._at_s: deque[float] = deque()

    def reserve(self, now_s: float, least_s: float = 0.0) -> float:
        """Take one connect; returns the seconds to wait before it may be made (0: now).

        ``least_s``: it is made no earlier than in so many seconds, for a reason of the caller's.
        """
        wait_s = max(self.wait_s(now_s), least_s)
        insort(self._at_s, now_s + wait_s)
        return wait_s

    def wait_s(self, now_s: float) -> float:
        """What ``reserve`` would answer, with nothing taken."""
        while self._at_s and now_s - self._at_s[0] >= self._window_s:
            self._at_s.popleft()
        if len(self._at_s) < self._max_connects:
            return 0.0
        return max(0.0, self._at_s[-self._max_connects] + self._window_s - now_s)

    def hold_off(self, now_s: float, seconds: float) -> None:
        """Let no connect be made for ``seconds``, as an exchange demands that has refused one."""
        full_s = now_s + seconds - self._window_s
        self._at_s = deque(sorted([*self._at_s, *[full_s] * self._max_connects]))
