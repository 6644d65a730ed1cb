"""What a producer's account says about the broker: the outage that gives no delivery failure for minutes.

librdkafka holds records while no broker answers and reports nothing until they time out, which data records
never do. So the account is looked at every tick.
"""

import msgspec

from infra.messaging.clients.cb.config import CircuitBreakerConfig
from infra.messaging.clients.delivery_book import DeliveryFigures


class Finding(msgspec.Struct, frozen=True):
    """What changed since the last look; ``outage`` is the reason to open, or None.

    ``failed`` leaves out what somebody awaited: whoever awaits tells the breaker.
    """

    outage: str | None
    delivered: int
    failed: int
    brokers_returned: bool


class DeliveryHealth:
    """Compares a producer's account with what it was; the time comes in as an argument (monotonic seconds)."""

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self._config = config
        self._produced = 0
        self._delivered = 0
        self._failed = 0
        self._refused = 0
        self._down_since_s: float | None = None
        self._oldest_since_s: float | None = None
        self._oldest_found_s = 0.0

    def look(self, figures: DeliveryFigures, now_s: float) -> Finding:
        """One tick."""
        failed = figures.failed - figures.failed_awaited
        if figures.produced < self._produced:
            self._delivered = self._failed = self._refused = 0  # the client was opened afresh
        was_down = self._down_since_s is not None
        if not figures.all_brokers_down:
            self._down_since_s = None
        elif self._down_since_s is None:
            self._down_since_s = now_s
        if figures.oldest_since_s != self._oldest_since_s:
            self._oldest_since_s, self._oldest_found_s = figures.oldest_since_s, now_s
        finding = Finding(
            outage=self._outage(figures, now_s),
            delivered=figures.delivered - self._delivered,
            failed=failed - self._failed,
            brokers_returned=was_down and not figures.all_brokers_down,
        )
        self._produced, self._delivered, self._failed = figures.produced, figures.delivered, failed
        self._refused = figures.refused
        return finding

    def _outage(self, figures: DeliveryFigures, now_s: float) -> str | None:
        config = self._config
        if self._down_since_s is not None and now_s - self._down_since_s >= config.brokers_down_s:
            return "no broker can be reached"
        if figures.refused > self._refused or (
            figures.queue_max_messages and figures.in_flight >= figures.queue_max_messages
        ):
            return f"the local queue is full ({figures.in_flight} records)"
        age_s = figures.oldest_unacknowledged_age_s
        if age_s >= config.max_unacknowledged_age_s and now_s - self._oldest_found_s >= config.standstill_s:
            return f"the oldest record has waited {age_s:.1f} s for the broker"
        return None
