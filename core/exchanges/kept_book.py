"""The state of one kept order book: its levels, where its chain stands, and what is done about a break."""

from collections import deque
from enum import Enum, auto
from math import inf

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

    def __init__(self, book: Book, max_pending: int) -> None:
        self.book = book
        self.whole = False
        self.joining = False
        self.broken = False
        self.doubted = 0
        self.asked = False
        self.last_id: int | None = None
        self.pending: deque[PendingDelta] = deque(maxlen=max_pending)
        self.attempts = 0
        self.due_s: float | None = None
        self.whole_since_us = -inf
        self.record: OrderBook | None = None
