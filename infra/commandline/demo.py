"""``gateway demo``: everything in one process, watched live and audited at the end."""

import asyncio
import contextlib
import os
import sys
import time
from typing import Annotated, Any

import typer
from dependency_injector import providers
from pydantic import SecretStr
from rich.console import Console
from rich.live import Live

from core.audit_report import AuditReport
from core.source_log import SentFrame, SourceLog
from infra.commandline.audit_table import render
from infra.commandline.console import complain, errors_in_one_line
from infra.commandline.demo_view import StreamView
from infra.commandline.run import run_in_loop, stop_on_signals
from infra.container import ApplicationContainer
from infra.embedded.broker import EmbeddedBroker
from infra.embedded.redis import EmbeddedRedis
from infra.embedded.registry import EmbeddedRegistry
from infra.gateway import Gateway
from infra.messaging.audit.topic_auditor import TopicAuditor
from infra.messaging.avro.schema_evolution import incompatibilities
from infra.messaging.clients.json_client import create_producer
from infra.settings import (
    BreakerSettings,
    GatewaySettings,
    KafkaSettings,
    RedisSettings,
    RegistrySettings,
    Settings,
)
from infra.simulator.server import ExchangeSimulator
from infra.telemetry.logs import set_up_logging

_SYMBOLS = {
    "upbit": ["KRW-BTC", "KRW-ETH", "KRW-XRP"],
    "binance": ["BTC-USDT", "ETH-USDT", "SOL-USDT"],
}
_REQUEST_TYPES = ("ticker", "trade", "orderbook")
_SETTLE_S = 15.0


def register(app: typer.Typer) -> None:
    """Add the sub-command."""
    app.command("demo")(demo)


def demo(
    seconds: Annotated[
        float | None, typer.Option(min=1, help="End by itself after so many seconds.", show_default=False)
    ] = None,
    rate: Annotated[
        float, typer.Option(min=1, max=20_000, help="Frames a second of each simulated exchange.")
    ] = 300.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same markets.")] = 1,
) -> None:
    """Run Kafka, registry, Redis, two simulated exchanges and the gateway in this one process.

    Ctrl-C drains, then the auditor compares what is in the topics with what the exchanges sent. Exit status
    0: every record is there once and in order. 1: one is missing, doubled or out of order.
    """
    with errors_in_one_line():
        try:
            import fakeredis  # noqa: F401 - only to say early that the extra is missing
        except ImportError:
            complain(
                "the demo needs its extra; in a checkout `make demo` installs it, elsewhere "
                "pip install 'streamgateway[demo]'"
            )
            raise typer.Exit(2) from None
        set_up_logging("error", "console")
        failed: list[bool] = []
        run_in_loop(_Demo(rate, seed, seconds).run(failed))
        if failed:
            raise typer.Exit(1)


class _Demo:
    def __init__(self, rate: float, seed: int, seconds: float | None) -> None:
        self._rate = rate
        self._seed = seed
        self._seconds = seconds
        self._console = Console() if sys.stdout.isatty() else Console(width=120)
        self._source = SourceLog()
        self._sent = 0

    async def run(self, failed: list[bool]) -> None:
        """All of it, from the first server to the verdict."""
        async with contextlib.AsyncExitStack() as stack:
            broker, registry, redis = EmbeddedBroker(), EmbeddedRegistry(incompatibilities), EmbeddedRedis()
            for part in (broker, registry, redis):
                await part.start()
                stack.push_async_callback(part.stop)
            simulators = await self._simulators(stack)
            settings = _settings(broker, registry, redis, simulators)
            gateway = Gateway(_container(settings))
            auditor = TopicAuditor(settings, keep_exchange_times=True)
            await asyncio.to_thread(auditor.start)
            stack.callback(auditor.stop)
            stopping = asyncio.Event()
            stop_on_signals(stopping)
            await gateway.start()
            await gateway.ready()
            await self._publish_commands(settings)
            self._say_where(settings)
            running = asyncio.create_task(gateway.run(asyncio.Event()), name="gateway")
            await self._watch(gateway, stopping, running)
            report = await self._finish(gateway, running, simulators, auditor)
        render(report, self._console)
        self._summarise(report)
        if not report.ok or not report.totals.records:
            failed.append(True)

    async def _simulators(self, stack: contextlib.AsyncExitStack) -> dict[str, ExchangeSimulator]:
        simulators = {}
        for number, exchange in enumerate(_SYMBOLS):
            simulator = ExchangeSimulator(
                exchange, rate=self._rate, seed=self._seed + number, log=self._log_frame
            )
            await stack.enter_async_context(simulator)
            simulators[exchange] = simulator
        return simulators

    def _log_frame(self, entry: Any) -> None:
        self._sent += 1
        self._source.add(
            SentFrame(
                connection=entry.connection,
                exchange=entry.exchange,
                request_type=entry.request_type,
                kind=entry.kind,
                symbol=entry.symbol,
                exchange_ts_ms=entry.exchange_ts_ms,
            )
        )

    async def _publish_commands(self, settings: Settings) -> None:
        """Each stream is asked for through the topic, as any user would."""
        async with create_producer(settings=settings) as producer:
            for exchange, symbols in _SYMBOLS.items():
                for request_type in _REQUEST_TYPES:
                    command = {
                        "type": "status",
                        "action": "connect_and_subscribe",
                        "target": {"exchange": exchange, "request_type": request_type},
                        "symbols": symbols,
                        "correlation_id": f"demo-{exchange}-{request_type}",
                    }
                    await producer.send("ws.command", command, f"{exchange}|{request_type}")

    def _say_where(self, settings: Settings) -> None:
        registry = settings.registry.url
        redis = settings.redis.effective_url()
        self._console.print(
            f"Kafka {settings.kafka.bootstrap_servers}   Schema Registry {registry}   Redis {redis}\n\n"
            "In a second terminal, in this folder:\n\n"
            f"  export KAFKA_BOOTSTRAP_SERVERS={settings.kafka.bootstrap_servers} "
            f"SCHEMA_REGISTRY_URL={registry} REDIS_URL={redis}\n"
            f"  {_executable()} connect upbit ticker KRW-SOL KRW-DOGE\n"
            f"  {_executable()} tail realtime.ticker --max 5\n"
            f"  {_executable()} streams\n",
            highlight=False,
            soft_wrap=True,
        )

    async def _watch(self, gateway: Gateway, stopping: asyncio.Event, running: asyncio.Task[None]) -> None:
        """Show the streams until it is time to end."""
        view = StreamView(gateway)
        end_s = None if self._seconds is None else time.monotonic() + self._seconds
        interactive = self._console.is_terminal
        live = (
            Live(view.table(self._console.width), console=self._console, auto_refresh=False)
            if interactive
            else None
        )
        with live or contextlib.nullcontext():
            while not stopping.is_set() and not running.done():
                if end_s is not None and time.monotonic() >= end_s:
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), 0.5 if interactive else 2.0)
                table = view.table(self._console.width)
                if live is not None:
                    live.update(table, refresh=True)
                else:
                    self._console.print(view.line(), highlight=False)
        if running.done():
            running.result()

    async def _finish(
        self,
        gateway: Gateway,
        running: asyncio.Task[None],
        simulators: dict[str, ExchangeSimulator],
        auditor: TopicAuditor,
    ) -> AuditReport:
        """The exchanges fall silent, all arrives, the gateway drains, the auditor reads to the end."""
        self._console.print("\nthe exchanges pause, the gateway drains …", highlight=False)
        for simulator in simulators.values():
            simulator.pause()
        deadline_s = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline_s:
            totals = gateway.streams()
            taken = sum(s["produced"] + s["shed"] + s["parse_failed"] for s in totals)
            if taken >= self._sent and all(s["produced"] == s["delivered"] for s in totals):
                break
            await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await gateway.stop()
        await asyncio.to_thread(auditor.stop)
        return auditor.report(self._source, exact=True)

    def _summarise(self, report: AuditReport) -> None:
        if not self._sent and not report.totals.records:
            self._console.print(
                "no frame was sent before the end, so there is nothing to prove: let it run for longer",
                highlight=False,
            )
            return
        verdict = "every frame is in Kafka once and in order" if report.ok else "NOT every frame is in order"
        own = report.totals.records - self._sent
        snapshots = f" ({own} of them whole order books beside the changes)" if own > 0 else ""
        self._console.print(
            f"{self._sent} frames sent by the exchanges, {report.totals.records} records in Kafka{snapshots}: "
            f"{verdict}",
            highlight=False,
        )


def _settings(
    broker: EmbeddedBroker,
    registry: EmbeddedRegistry,
    redis: EmbeddedRedis,
    simulators: dict[str, ExchangeSimulator],
) -> Settings:
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers),
        registry=RegistrySettings(url=registry.url),
        redis=RedisSettings(url=SecretStr(redis.url)),
        breaker=BreakerSettings(),
        gateway=GatewaySettings(
            exchange_urls={name: simulator.url for name, simulator in simulators.items()},
            http_port=0,
            instance_id="demo",
        ),
    )


def _container(settings: Settings) -> Any:
    container = ApplicationContainer()
    container.settings.override(providers.Object(settings))
    container.messaging.embedded.override(providers.Object(True))
    return container


def _executable() -> str:
    """How to call this program from here."""
    program = os.path.relpath(sys.argv[0]) if os.path.exists(sys.argv[0]) else "gateway"
    return program if os.sep in program else "gateway"
