"""The clock of this machine."""

import asyncio
import time


class SystemClock:
    """The ``Clock`` port on the operating system's clocks."""

    def monotonic_s(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def epoch_us(self) -> int:
        """Microseconds since the epoch."""
        return time.time_ns() // 1000

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
