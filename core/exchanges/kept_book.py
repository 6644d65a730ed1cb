"""The state of one kept order book: its levels, where its chain stands, and what is done about a break."""

from collections import deque
from collections.abc import Iterator
from enum import Enum, auto
from math import inf
from typing import Final

import msgspec

from core.order_books import Book
from core.records import Level, OrderBook


class Resync(Enum):
    """How an exchange gives a fresh snapshot of one symbol's book.

    ``RESUBSCRIBE``: unsubscribe and subscribe that symbol; the stream begins with a snapshot.
    ``REQUEST``: a message on the socket asks for one (``Dialect.snapshot_request``).
    ``FETCH``: REST has it (``Dialect.snapshot_path``, ``Dialect.read_snapshot``).
    """

    RESUBSCRIBE = auto()
    REQUEST = auto()
    FETCH = auto()


class BookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``depth``: levels a side that a book shows. ``snapshot_every_s``: how often a kept book is published
    whole (0: never)."""

    depth: int = 1000
    snapshot_every_s: float = 60.0


class PendingDelta(msgspec.Struct, frozen=True):
    """A delta that waits for the snapshot under it."""

    bids: list[Level]
    asks: list[Level]
    last_id: int | None
    follows: int | None


class PendingDeltas:
    """Those that wait for one snapshot, the oldest first: bounded in number and, as frames may be large, in
    their levels together.

    The oldest are lost first; a snapshot older than what is left is asked for again.
    """

    __slots__ = ("_deltas", "_levels")

    MOST: Final = 600
    """A minute at ten a second."""
    MOST_LEVELS: Final = 250_000

    def __init__(self) -> None:
        self._deltas: deque[PendingDelta] = deque()
        self._levels = 0

    def __iter__(self) -> Iterator[PendingDelta]:
        return iter(self._deltas)

    def append(self, delta: PendingDelta) -> None:
        """Put one more by."""
        self._deltas.append(delta)
        self._levels += _size(delta)
        while len(self._deltas) > self.MOST or self._levels > self.MOST_LEVELS:
            self._levels -= _size(self._deltas.popleft())

    def clear(self) -> None:
        """Nobody needs them any more."""
        self._deltas.clear()
        self._levels = 0


def _size(delta: PendingDelta) -> int:
    return len(delta.bids) + len(delta.asks)


class KeptBook:
    """One symbol's book.

    ``whole``: an unbroken chain leads from the last snapshot to here. ``joining``: the snapshot came from
    beside the stream, so the next delta may overlap it. ``broken``: an incident was told and is not over.
    ``doubted``: something was lost that may have been this book's; its next checksum, over so many levels a
    side, decides (0: nothing was).
    ``asked``: a snapshot from beside the stream is under way, deltas are put by in ``pending``. ``last_id``:
    the id that the next delta has to follow.
    """

    __slots__ = (
        "asked", "attempts", "book", "broken", "doubted", "due_s", "joining", "last_id", "pending",
        "record", "whole", "whole_since_us",
    )  # fmt: skip

    def __init__(self, book: Book) -> None:
        self.book = book
        self.whole = False
        self.joining = False
        self.broken = False
        self.doubted = 0
        self.asked = False
        self.last_id: int | None = None
        self.pending = PendingDeltas()
        self.attempts = 0
        self.due_s: float | None = None
        self.whole_since_us = -inf
        self.record: OrderBook | None = None
