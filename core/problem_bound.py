"""How many of its problems a stream tells one by one: so many of a kind in a minute, the rest as one sum.

An exchange decides how often it sends an error frame or a broken book. What it repeats must neither flood
``ws.error`` nor hold up what other streams have to tell.
"""

from collections import Counter
from typing import Any, Final

import msgspec

from core.errors import ErrorCode, ErrorDomain, GatewayError

MOST_OF_A_KIND: Final = 10
"""Of one code and symbol, or of one code without a symbol."""
MOST_OF_A_CODE: Final = 100
"""Of one code over all symbols of the stream."""
WINDOW_S: Final = 60.0


class HeldBack(msgspec.Struct):
    """The problems of one code that were not told one by one."""

    code: ErrorCode
    domain: ErrorDomain
    latest: str
    count: int = 0
    symbols: Counter[str] = msgspec.field(default_factory=Counter)

    def summary(self, key: str) -> GatewayError:
        """All of them as one problem of the stream ``key``."""
        return GatewayError(
            f"{self.count} more problems of this kind on {key} within {WINDOW_S:g} s were not told one by one; "
            f"the latest: {self.latest}",
            code=self.code,
            domain=self.domain,
        )

    def context(self) -> dict[str, Any]:
        """The figures of ``summary`` for a program: ``held_back``, and by symbol the most frequent ones."""
        return {"held_back": self.count, "held_back_by_symbol": dict(self.symbols.most_common(20))}


class ProblemBound:
    """One stream's bound. A window begins with the first problem after the last window; times are seconds of a
    monotonic clock."""

    def __init__(self) -> None:
        self._ends_s: float | None = None
        self._told: Counter[tuple[ErrorCode, str | None]] = Counter()
        self._told_of_code: Counter[ErrorCode] = Counter()
        self._held: dict[ErrorCode, HeldBack] = {}

    def hold(self, error: GatewayError, symbol: str | None, now_s: float) -> int:
        """0 when the problem is to be told; else how many of its code are held back, with this one.

        ``take`` comes first: a window that is over must not take in more.
        """
        if self._ends_s is None:
            self._ends_s = now_s + WINDOW_S
        kind = (error.code, symbol)
        if self._told[kind] < MOST_OF_A_KIND and self._told_of_code[error.code] < MOST_OF_A_CODE:
            self._told[kind] += 1
            self._told_of_code[error.code] += 1
            return 0
        held = self._held.get(error.code)
        if held is None:
            held = self._held[error.code] = HeldBack(error.code, error.domain, error.message)
        held.domain, held.latest = error.domain, error.message
        held.count += 1
        if symbol is not None:
            held.symbols[symbol] += 1
        return held.count

    def take(self, now_s: float, *, last: bool = False) -> list[HeldBack]:
        """What was held back, once the window is over; with ``last`` before that, as at the end of a stream."""
        if self._ends_s is None or (now_s < self._ends_s and not last):
            return []
        held = list(self._held.values())
        self._ends_s = None
        self._told.clear()
        self._told_of_code.clear()
        self._held.clear()
        return held
