"""Session ids: unique over all instances, and in the order of time, within one long.

41 bits of milliseconds since 2020-01-01 UTC (to 2089), 14 bits of the instance, 8 bits of a counter.
"""

from hashlib import blake2b
from typing import Final

_EPOCH_2020_MS: Final = 1_577_836_800_000
_INSTANCE_BITS: Final = 14
_COUNTER_BITS: Final = 8


class SessionIds:
    """Gives out ids for one instance; two instances differ by the hash of their names."""

    def __init__(self, instance_id: str) -> None:
        digest = blake2b(instance_id.encode(), digest_size=4).digest()
        self._instance = int.from_bytes(digest) & ((1 << _INSTANCE_BITS) - 1)
        self._last_ms = 0
        self._counter = 0

    def next(self, epoch_us: int) -> int:
        """A new id at ``epoch_us``; more than 256 in a millisecond borrow from the next one."""
        now_ms = max(epoch_us // 1000 - _EPOCH_2020_MS, self._last_ms)
        self._counter = 0 if now_ms > self._last_ms else self._counter + 1
        if self._counter >> _COUNTER_BITS:
            now_ms, self._counter = now_ms + 1, 0
        self._last_ms = now_ms
        return (((now_ms << _INSTANCE_BITS) | self._instance) << _COUNTER_BITS) | self._counter


def started_ms(session_id: int) -> int:
    """When the session began, epoch milliseconds."""
    return (session_id >> (_INSTANCE_BITS + _COUNTER_BITS)) + _EPOCH_2020_MS
