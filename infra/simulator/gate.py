"""Who may come in, and how often somebody may speak."""

from collections import deque
from http import HTTPStatus


class ConnectGate:
    """Decides about opening handshakes: refused on demand (503), or too many in the window (429)."""

    def __init__(self, max_connects: tuple[int, float] | None) -> None:
        self.refusing = False
        self._limits = (max_connects,) if max_connects else ()
        self._connects_s: deque[float] = deque()

    def admit(self, now_s: float) -> HTTPStatus | None:
        """None: come in. Otherwise the HTTP status of the refusal."""
        if self.refusing:
            return HTTPStatus.SERVICE_UNAVAILABLE
        if too_many(self._connects_s, self._limits, now_s):
            return HTTPStatus.TOO_MANY_REQUESTS
        return None


def too_many(past_s: deque[float], limits: tuple[tuple[int, float], ...], now_s: float) -> bool:
    """Note one more event at ``now_s``; whether that breaks one of the limits (count, window in seconds)."""
    if not limits:
        return False
    past_s.append(now_s)
    while past_s[0] <= now_s - max(window_s for _, window_s in limits):
        past_s.popleft()
    return any(sum(at_s > now_s - window_s for at_s in past_s) > count for count, window_s in limits)
