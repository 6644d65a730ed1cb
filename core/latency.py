"""Latencies as a histogram of fixed size, with quantiles true to about 5 %."""

from math import exp, log
from typing import Final

_PER_E: Final = 20
"""Buckets per factor e: neighbours differ by 5.1 %."""
_BUCKETS: Final = 400
"""Up to e^20 us, five and a half days."""


class LatencyHistogram:
    """Counts microseconds from 1 up; what is below counts as 1, what is above as the largest."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.total = 0

    def add(self, latency_us: float) -> None:
        """Count one latency."""
        index = int(log(latency_us) * _PER_E) if latency_us > 1 else 0
        self._counts[index if index < _BUCKETS else _BUCKETS - 1] += 1
        self.total += 1

    def quantile_us(self, q: float) -> int | None:
        """The latency below which the share ``q`` (0 to 1) of all lies; None when nothing was counted."""
        if not self.total:
            return None
        rank = q * self.total
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if count and seen >= rank:
                return round(exp((index + 0.5) / _PER_E))
        return None

    def merge(self, other: "LatencyHistogram") -> None:
        """Add another's counts to this one."""
        self._counts = [a + b for a, b in zip(self._counts, other._counts, strict=True)]
        self.total += other.total
