"""The ``Clock`` port for tests: time stands until it is moved."""

import asyncio
import heapq
from itertools import count


class ManualClock:
    """``advance`` moves both times and wakes, in their order, those whose sleep is over.

    ``start_us``: where the epoch time begins; the monotonic one begins at 1000 s.
    """

    def __init__(self, start_us: int = 1_700_000_000_000_000) -> None:
        self._elapsed_s = 0.0
        self._start_us = start_us
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def monotonic_s(self) -> float:
        """See the port."""
        return 1000.0 + self._elapsed_s

    def epoch_us(self) -> int:
        """See the port."""
        return self._start_us + round(self._elapsed_s * 1_000_000)

    async def sleep(self, seconds: float) -> None:
        """See the port: until ``advance`` has moved time so far."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_s + seconds, next(self._numbers), future))
        await future

    def jump(self, seconds: float) -> None:
        """Move on while nothing runs, as when the process stands still."""
        self._elapsed_s += seconds

    async def advance(self, seconds: float) -> None:
        """Move on, letting everything run that becomes due on the way, and what follows from it."""
        until_s = self._elapsed_s + seconds
        await settled()
        while self._sleepers and self._sleepers[0][0] <= until_s:
            at_s, _, future = heapq.heappop(self._sleepers)
            if future.done():
                continue
            self._elapsed_s = max(self._elapsed_s, at_s)
            future.set_result(None)
            await settled()
        self._elapsed_s = until_s
        await settled()


async def settled(turns: int = 20) -> None:
    """Let tasks that are ready run, and those they wake."""
    for _ in range(turns):
        await asyncio.sleep(0)
