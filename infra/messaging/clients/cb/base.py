"""The circuit breakers under the names others rely on."""

from infra.messaging.clients.cb.consumer import CircuitBreakerConsumer
from infra.messaging.clients.cb.producer import CircuitBreakerProducer

__all__ = ["CircuitBreakerConsumer", "CircuitBreakerProducer"]
