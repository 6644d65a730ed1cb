"""The live view of the demo: a row a stream."""

import time
from typing import Any

from rich.box import HEAVY_HEAD
from rich.table import Table

from infra.gateway import Gateway


class StreamView:
    """Rates are over the time since the last look."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._last: dict[str, int] = {}
        self._last_s = time.monotonic()
        self._rates: dict[str, float] = {}

    def table(self, width: int = 120) -> Table:
        """All streams as they are now, for a terminal of ``width`` columns."""
        breaker = self._gateway.breaker_state
        wide = width >= 100
        title = "streams" if wide else f"streams (breaker {breaker})"
        table = Table(title=title, title_justify="left", box=None if not wide else HEAVY_HEAD)
        table.add_column("stream", no_wrap=True)
        latencies = ("p50 ms", "p99 ms") if wide else ("p99 ms",)
        for name in ("symbols", "records/s", "records", "delivered", "errors", *latencies):
            table.add_column(name, justify="right", no_wrap=True)
        if wide:
            table.add_column("breaker")
        streams = self._look()
        for stream in streams:
            errors = stream["parse_failed"] + stream["delivery_failed"] + stream["shed"]
            table.add_row(
                f"{stream['exchange']} {stream['request_type']}",
                str(len(stream["symbols"])),
                f"{self._rates.get(stream['scope'], 0.0):,.0f}",
                f"{stream['produced']:,}",
                f"{stream['delivered']:,}",
                str(errors),
                *((_ms(stream["latency_us"]["0.5"]),) if wide else ()),
                _ms(stream["latency_us"]["0.99"]),
                *((breaker,) if wide else ()),
            )
        return table

    def line(self) -> str:
        """The sum of all streams in one line, for where there is no terminal."""
        streams = self._look()
        totals = {
            name: sum(stream[name] for stream in streams)
            for name in ("produced", "delivered", "parse_failed", "delivery_failed", "shed")
        }
        errors = totals["parse_failed"] + totals["delivery_failed"] + totals["shed"]
        worst = max((s["latency_us"]["0.99"] or 0 for s in streams), default=0)
        return (
            f"{len(streams)} streams  {sum(self._rates.values()):,.0f} records/s  "
            f"{totals['produced']:,} records  {totals['delivered']:,} delivered  {errors} errors  "
            f"p99 {_ms(worst)} ms  breaker {self._gateway.breaker_state}"
        )

    def _look(self) -> list[dict[str, Any]]:
        streams = sorted(self._gateway.streams(), key=lambda s: s["scope"])
        now_s = time.monotonic()
        passed_s = now_s - self._last_s
        if passed_s > 0.05:
            for stream in streams:
                key, produced = stream["scope"], stream["produced"]
                self._rates[key] = (produced - self._last.get(key, produced)) / passed_s
                self._last[key] = produced
            self._last_s = now_s
        return streams


def _ms(microseconds: int | None) -> str:
    return "–" if not microseconds else f"{microseconds / 1000:.1f}"
