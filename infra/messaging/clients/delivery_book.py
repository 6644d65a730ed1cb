"""Accounting of what a producer handed over: counts, and the age of the oldest unacknowledged record.

Two threads write here, each its own numbers: the caller's (the event loop) opens, the polling thread
settles. Nothing is locked; what is read from elsewhere may be one record behind.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

OnDelivery = Callable[[Any, Any], None]
"""``(error, message)``: ``error`` is None when the broker acknowledged (``KafkaError`` otherwise)."""

RECEIPT_WINDOW_S: Final = 0.02
"""Records handed over within this time share a receipt; the age is exact to this much."""


class DeliveryFigures(msgspec.Struct, frozen=True):
    """A producer's account at one moment. ``produced = delivered + failed + in_flight``."""

    produced: int
    delivered: int
    failed: int
    in_flight: int
    produced_bytes: int
    oldest_unacknowledged_age_s: float
    oldest_since_s: float | None
    """Monotonic time at which the oldest unacknowledged record was handed over; None: there is none."""
    all_brokers_down: bool
    refused: int = 0
    """Not taken because the local queue was full; not part of ``produced``."""
    queue_max_messages: int = 0
    failed_awaited: int = 0
    """Of ``failed``, those whose caller awaited the report."""


class Receipt:
    """The delivery callback that records of one window share; calling it settles one of them."""

    __slots__ = ("_book", "awaited", "closed", "on_delivery", "opened", "opened_s", "settled")

    def __init__(self, book: "DeliveryBook", on_delivery: OnDelivery | None, opened_s: float) -> None:
        self._book = book
        self.on_delivery = on_delivery
        self.opened_s = opened_s
        self.opened = 0
        self.settled = 0
        self.closed = False
        self.awaited = False

    def __call__(self, error: Any, message: Any) -> None:
        """One delivery report, in the polling thread."""
        book = self._book
        self.settled += 1
        if error is None:
            book.delivered += 1
        else:
            book.failed += 1
            book.failed_awaited += self.awaited
        if self.on_delivery is not None:
            try:
                self.on_delivery(error, message)
            except Exception:  # noqa: BLE001 - a caller's mistake must not cost other records their report
                structlog.get_logger().exception("delivery_callback_raised")
        if self.closed and self.settled == self.opened:
            book.outstanding.pop(self, None)


class DeliveryBook:
    """The account of one producer."""

    def __init__(self) -> None:
        self.produced = 0
        self.produced_bytes = 0
        self.refused = 0
        self.delivered = 0
        self.failed = 0
        self.failed_awaited = 0
        self.outstanding: OrderedDict[Receipt, None] = OrderedDict()
        self._current: dict[OnDelivery | None, Receipt] = {}
        self._window_s = float("-inf")

    @property
    def in_flight(self) -> int:
        """Records handed over whose fate is not known yet."""
        return self.produced - self.delivered - self.failed

    def receipt(self, on_delivery: OnDelivery | None, now_s: float) -> Receipt:
        """The receipt for a record handed over at ``now_s``; callers with one callback share it."""
        if now_s - self._window_s > RECEIPT_WINDOW_S:
            self._turn(now_s)
        receipt = self._current.get(on_delivery)
        if receipt is None:
            receipt = self._current[on_delivery] = Receipt(self, on_delivery, now_s)
            self.outstanding[receipt] = None
        return receipt

    def single_receipt(self, on_delivery: OnDelivery, now_s: float) -> Receipt:
        """A receipt for one record alone, for a caller who awaits it."""
        receipt = Receipt(self, on_delivery, now_s)
        receipt.closed = receipt.awaited = True
        self.outstanding[receipt] = None
        return receipt

    def withdraw(self, receipt: Receipt) -> None:
        """The record was not taken after all."""
        receipt.opened -= 1
        self.produced -= 1
        if receipt.closed and receipt.settled == receipt.opened:
            self.outstanding.pop(receipt, None)

    def oldest_since_s(self) -> float | None:
        """When the oldest unacknowledged record was handed over (monotonic); None: all are settled."""
        while True:
            try:
                for receipt in self.outstanding:
                    if receipt.settled < receipt.opened:
                        return receipt.opened_s
            except RuntimeError:  # the polling thread removed one meanwhile
                continue
            return None

    def _turn(self, now_s: float) -> None:
        """Close the window: its receipts leave the book with their last report."""
        for receipt in self._current.values():
            receipt.closed = True
            if receipt.settled == receipt.opened:
                self.outstanding.pop(receipt, None)
        self._current.clear()
        self._window_s = now_s
