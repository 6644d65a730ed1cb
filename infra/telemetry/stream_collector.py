"""The streams' figures for Prometheus, read when they are asked for."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_LABELS = ("exchange", "region", "request_type")
_COUNTERS = {
    "frames": "WebSocket messages received",
    "parse_failed": "frames that could not be read",
    "ignored": "frames recognised and not wanted",
    "bytes_received": "bytes of frames received",
    "produced": "records handed to the producer",
    "delivered": "records acknowledged by Kafka",
    "delivery_failed": "records Kafka did not take",
    "shed": "records given up",
    "problems_held_back": "problems told in a summary instead of one by one",
}


class StreamCollector(Collector):
    """``streams()`` gives each stream as the dict that ``/streams`` shows."""

    def __init__(self, streams: Callable[[], Iterable[dict[str, Any]]]) -> None:
        self._streams = streams

    def collect(self) -> Iterator[Metric]:
        """All families with one sample a stream."""
        counters = {
            name: CounterMetricFamily(f"gateway_{name}", text, labels=_LABELS)
            for name, text in _COUNTERS.items()
        }
        symbols = GaugeMetricFamily("gateway_symbols", "symbols of the stream", labels=_LABELS)
        latency = GaugeMetricFamily(
            "gateway_latency_microseconds",
            "frame received to broker acknowledgement",
            labels=(*_LABELS, "quantile"),
        )
        for stream in self._streams():
            labels = [stream[label] for label in _LABELS]
            for name, family in counters.items():
                family.add_metric(labels, stream[name])
            symbols.add_metric(labels, len(stream["symbols"]))
            for quantile in ("0.5", "0.99"):
                value = stream["latency_us"][quantile]
                if value is not None:
                    latency.add_metric([*labels, quantile], value)
        yield from counters.values()
        yield symbols
        yield latency
