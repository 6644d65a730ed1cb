"""Settings of the circuit breakers around producers and consumers."""

import msgspec

from core.breaker import BreakerLimits
from infra.settings import BreakerSettings


class CircuitBreakerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """When a breaker opens and closes, what counts as an outage, and how often that is looked at.

    Seconds, and counts of calls. ``brokers_down_s``: how long librdkafka must find no broker at all, so that a
    single reconnect does not open it. ``standstill_s``: how long the oldest record must have been the oldest,
    so that a backlog that drains does not open it. ``sync_s``: how often the shared state is read.
    """

    failure_threshold: int = 5
    open_s: float = 60.0
    half_open_max_calls: int = 3
    success_threshold: int = 2
    max_unacknowledged_age_s: float = 5.0
    brokers_down_s: float = 1.0
    standstill_s: float = 1.0
    tick_s: float = 0.2
    sync_s: float = 2.0

    @classmethod
    def from_settings(cls, settings: BreakerSettings) -> "CircuitBreakerConfig":
        """What ``GATEWAY_BREAKER_…`` says."""
        return cls(
            failure_threshold=settings.failure_threshold,
            open_s=settings.open_s,
            half_open_max_calls=settings.half_open_max_calls,
            success_threshold=settings.success_threshold,
            max_unacknowledged_age_s=settings.max_unacknowledged_age_s,
        )

    @property
    def limits(self) -> BreakerLimits:
        """The part that the state machine knows."""
        return BreakerLimits(
            failure_threshold=self.failure_threshold,
            open_s=self.open_s,
            half_open_max_calls=self.half_open_max_calls,
            success_threshold=self.success_threshold,
        )
