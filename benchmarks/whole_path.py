"""The whole path over loopback: from WebSocket frames through ``gateway run`` to a real Kafka's answers.

    make bench            under four minutes
    make bench-memory     the same, with ten minutes at 5,000 records/s for the memory

Started here: a real broker, registry and Redis (``infra.services``), the gateway in a process of its own as
``gateway run`` composes it, a process that feeds it, and the plain alternatives, each in a process of its own
over the same kind of feed and the same broker. They share the machine's cores, so wall-clock rates say what the
machine reached, and CPU time of the measured process (all threads, user and system) is what to compare:
records per core = records delivered / CPU seconds. Rounds of gateway and alternatives alternate; medians.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from benchmarks.feeder import Feeder, Shares
from benchmarks.gateway_process import GatewayProcess
from benchmarks.market_frames import SYMBOLS
from benchmarks.measured_process import CpuTime, MeasuredProcess
from benchmarks.plain_path import WAYS, PlainProcess
from infra.services.errors import ServiceError
from infra.services.folders import cache_folder
from infra.services.stack import make_stack

RATE_PER_S = 5_000
TICKERS: Shares = {"ticker": 1}
_IDLE_S = 4.0
_WARM_S = 10.0
MIX: Shares = {"ticker": 5, "trade": 3, "orderbook": 2}


class Round(msgspec.Struct, frozen=True):
    """One measured stretch of time."""

    records: int
    seconds: float
    cpu: CpuTime

    @property
    def per_s(self) -> float:
        """Records/s reached."""
        return self.records / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds per record, all threads."""
        return self.cpu.total_s / self.records * 1e6


class Row(msgspec.Struct):
    """One line of the table; CPU in microseconds per record, latencies in milliseconds."""

    name: str
    records_per_s_and_core: float
    cpu_us: float
    loop_us: float
    librdkafka_us: float
    other_us: float
    records_per_s: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    ratio: float | None = None
    """Of records per core to the gateway's with tickers as fast as they are read."""


class Memory(msgspec.Struct):
    """Resident memory of the gateway's process in MB."""

    idle_mb: float
    idle_cpu_percent: float
    """Of one core, with no stream running."""
    minutes: float
    after_mb: float


class Result(msgspec.Struct):
    """What a run found."""

    rows: list[Row]
    memory: Memory
    deflate: bool


def row_of(name: str, rounds: Sequence[Round]) -> Row:
    """The round with the median CPU time per record, so that its parts add up; the median rate."""
    middle = sorted(rounds, key=lambda one: one.cpu_us)[len(rounds) // 2]
    return Row(
        name=name,
        records_per_s_and_core=1e6 / middle.cpu_us,
        cpu_us=middle.cpu_us,
        loop_us=middle.cpu.loop_s / middle.records * 1e6,
        librdkafka_us=middle.cpu.librdkafka_s / middle.records * 1e6,
        other_us=middle.cpu.other_s / middle.records * 1e6,
        records_per_s=statistics.median(one.per_s for one in rounds),
    )


def measure(
    feeder: Feeder,
    process: MeasuredProcess,
    delivered: Callable[[], int],
    *,
    shares: Shares,
    rate_per_s: float | None,
    seconds: float,
) -> Round:
    """Feed for ``seconds``, wait until all of it is delivered, and count; ends the program if some is not."""
    records, cpu, start_s = delivered(), process.cpu(), time.perf_counter()
    feeder.go(shares, rate_per_s)
    time.sleep(seconds)
    sent = feeder.halt()
    deadline_s = time.perf_counter() + 30
    while delivered() < sent:
        if time.perf_counter() > deadline_s:
            raise SystemExit(
                f"{sent} frames were sent, {delivered()} delivered: the figures would mean nothing"
            )
        time.sleep(0.02)
    return Round(delivered() - records, time.perf_counter() - start_s, process.cpu().since(cpu))


class Bench:
    """The parts of one run, started in order and stopped at the end."""

    def __init__(self, options: argparse.Namespace, folder: Path, environment: dict[str, str]) -> None:
        self._options = options
        self._environment = environment
        self._feeder = Feeder(deflate=options.deflate)
        self._gateway = GatewayProcess(
            environment, self._feeder.url, folder / "gateway.log", profile_path=options.profile
        )

    def run(self) -> Result:
        """All figures."""
        options, gateway = self._options, self._gateway
        gateway.wait_ready()
        time.sleep(2)  # what starting leaves behind
        idle_cpu, idle_start_s = gateway.measured.cpu(), time.perf_counter()
        time.sleep(_IDLE_S)
        idle_percent = (
            gateway.measured.cpu().since(idle_cpu).total_s / (time.perf_counter() - idle_start_s) * 100
        )
        idle_mb = gateway.measured.rss_mb()
        # Another stream first: a broker that has just started answers slowly, which is not what is asked here.
        _say("the gateway is ready; warming the broker")
        gateway.connect("trade", SYMBOLS)
        self._round({"trade": 1}, RATE_PER_S, _WARM_S)
        _say(f"{options.minutes:g} min at {RATE_PER_S} records/s")
        gateway.connect("ticker", SYMBOLS)
        paced = row_of(
            f"gateway, ticker, {RATE_PER_S}/s", [self._round(TICKERS, RATE_PER_S, options.minutes * 60)]
        )
        latency_us = gateway.stream("ticker")["latency_us"]
        paced.p50_ms, paced.p99_ms = latency_us["0.5"] / 1e3, latency_us["0.99"] / 1e3
        memory = Memory(idle_mb, idle_percent, options.minutes, gateway.measured.rss_mb())

        flood: list[Round] = []
        plain: dict[str, list[Round]] = {way: [] for way in (() if options.gateway_only else WAYS)}
        for number in range(options.rounds):
            _say(f"round {number + 1} of {options.rounds}: {options.seconds:g} s each, as fast as it reads")
            flood.append(self._round(TICKERS, None, options.seconds))
            for way, rounds in plain.items():
                rounds.append(self._plain_round(way))
        gateway.connect("orderbook", SYMBOLS)
        mix = [self._round(MIX, None, options.seconds) for _ in range(options.rounds)]

        best = row_of("gateway, ticker, as fast as read", flood)
        rows = [best, row_of("gateway, ticker 5 : trade 3 : order book 2", mix), paced]
        rows += [row_of(f"plain, {way}", rounds) for way, rounds in plain.items()]
        for row in rows:
            row.ratio = row.records_per_s_and_core / best.records_per_s_and_core
        return Result(rows, memory, options.deflate)

    def _round(self, shares: Shares, rate_per_s: float | None, seconds: float) -> Round:
        gateway = self._gateway
        return measure(
            self._feeder,
            gateway.measured,
            lambda: gateway.total("delivered"),
            shares=shares,
            rate_per_s=rate_per_s,
            seconds=seconds,
        )

    def _plain_round(self, way: str) -> Round:
        """A fresh process a round: what has piled up before it shall not run beside the next measurement."""
        feeder = Feeder(deflate=self._options.deflate)
        process = PlainProcess(way, self._environment["KAFKA_BOOTSTRAP_SERVERS"], feeder.url)
        try:
            deadline_s = time.perf_counter() + 30
            while process.delivered < len(SYMBOLS) // 2:
                if time.perf_counter() > deadline_s:
                    raise SystemExit(f"plain, {way}: nothing is delivered")
                time.sleep(0.02)
            feeder.go(TICKERS)
            time.sleep(1)
            records, cpu, start_s = process.delivered, process.measured.cpu(), time.perf_counter()
            time.sleep(self._options.seconds)
            records, cpu = process.delivered - records, process.measured.cpu().since(cpu)
            return Round(records, time.perf_counter() - start_s, cpu)
        finally:
            process.stop()
            feeder.end()

    def stop(self) -> None:
        """End every process, the gateway by SIGTERM."""
        self._gateway.stop()
        self._feeder.end()


def table(result: Result) -> str:
    """The result as text."""
    lines = [
        f"{'':44} {'records/s':>10} {'CPU us':>9} {'of these':>27} {'records/s':>10}",
        f"{'':44} {'per core':>10} {'a record':>9} {'loop':>8} {'librdkafka':>11} {'rest':>6} {'reached':>10}"
        f" {'p50 ms':>6} {'p99 ms':>6} {'ratio':>6}",
    ]
    for row in result.rows:
        p50, p99 = (f"{ms:.1f}" if ms is not None else "" for ms in (row.p50_ms, row.p99_ms))
        lines.append(
            f"{row.name:44} {row.records_per_s_and_core:10,.0f} {row.cpu_us:9.1f} {row.loop_us:8.1f} "
            f"{row.librdkafka_us:11.1f} {row.other_us:6.1f} {row.records_per_s:10,.0f} {p50:>6} {p99:>6} "
            f"{row.ratio or 0:6.2f}"
        )
    memory = result.memory
    lines.append(
        f"memory of the gateway's process (RSS): idle {memory.idle_mb:.0f} MB "
        f"(and {memory.idle_cpu_percent:.1f} % of a core), "
        f"after {memory.minutes:g} min at {RATE_PER_S} records/s {memory.after_mb:.0f} MB"
    )
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round")
    parser.add_argument(
        "--minutes", type=float, default=0.75, help=f"at {RATE_PER_S} records/s, before memory is read"
    )
    parser.add_argument("--deflate", action="store_true", help="the feed is compressed (permessage-deflate)")
    parser.add_argument("--gateway-only", action="store_true", help="leave the plain alternatives out")
    parser.add_argument("--profile", type=Path, help="run the gateway's loop under cProfile and write it here")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        stack = make_stack(cache_dir=cache_folder(), data_dir=Path(folder) / "services", say=_say)
        try:
            with stack:
                bench = Bench(options, Path(folder), stack.environment())
                try:
                    result = bench.run()
                finally:
                    bench.stop()
        except ServiceError as exc:
            raise SystemExit(f"the services cannot be started: {exc.message}") from exc
    text = msgspec.json.encode(result).decode() if options.json else table(result)
    sys.stdout.write(text + "\n")
    return 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
