"""When a queue counts as too full, and when as relieved again: two marks, so that it does not flutter."""

from enum import Enum, auto


class Change(Enum):
    """What a new size means."""

    NONE = auto()
    ACTIVATED = auto()
    DEACTIVATED = auto()


class Watermarks:
    """``high`` and ``low`` are sizes in messages; backpressure is active from high up to low again."""

    def __init__(self, capacity: int, *, high_share: float = 0.8, low_share: float = 0.4) -> None:
        self.capacity = capacity
        self.high = int(capacity * high_share)
        self.low = int(capacity * low_share)
        self.active = False

    def update(self, size: int) -> Change:
        """Take in a size."""
        if not self.active and size >= self.high:
            self.active = True
            return Change.ACTIVATED
        if self.active and size <= self.low:
            self.active = False
            return Change.DEACTIVATED
        return Change.NONE
