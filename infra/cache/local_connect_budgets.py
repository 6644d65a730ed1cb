"""The ``ConnectBudgets`` port of a process that shares with nobody; also the fake of tests."""

import time
from collections.abc import Callable

from core.connect_budget import ConnectBudget


class LocalConnectBudgets:
    """Sliding windows in memory, by exchange."""

    def __init__(self, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._budgets: dict[str, ConnectBudget] = {}

    async def reserve(self, exchange: str, max_connects: int, window_s: float) -> float:
        """Take one connect; the seconds to wait before it is made."""
        return self.budget(exchange, max_connects, window_s).reserve(self._monotonic_s())

    async def hold_off(self, exchange: str, max_connects: int, window_s: float, seconds: float) -> None:
        """No connect for ``seconds``."""
        self.budget(exchange, max_connects, window_s).hold_off(self._monotonic_s(), seconds)

    def budget(self, exchange: str, max_connects: int, window_s: float) -> ConnectBudget:
        """The window of one exchange."""
        return self._budgets.setdefault(exchange, ConnectBudget(max_connects, window_s))
