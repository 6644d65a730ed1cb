"""The running gateway: starts its parts in order, waits for those that are away, drains at the end."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from application.stream import Stream
from core.backoff import full_jitter
from core.errors import GatewayError
from infra.container import close_container
from infra.http.health_app import health_app
from infra.local_http import LocalHttpServer
from infra.messaging.clients.kafka_producer import KafkaProducer
from infra.messaging.connect.awaited_sink import AwaitedSink
from infra.settings import Settings
from infra.telemetry.stream_collector import StreamCollector

_log = structlog.get_logger("gateway")


class Gateway:
    """One instance, made of a container's parts.

    ``start`` returns once it is ready to take commands; Kafka and the registry are waited for, with backoff
    and one log line a try; Redis is not. ``stop`` drains within ``drain_timeout_s`` and says what was left.
    """

    def __init__(self, container: Any) -> None:
        self._container = container
        self._settings: Settings = container.settings()
        self._parts: dict[str, str] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._http: LocalHttpServer | None = None
        self._consumers: list[Any] = []
        self._orchestrator: Any = None
        self._redis: Any = None
        self._data: Any = None
        self._sink: Any = None
        self._registry_watch: Any = None
        self._started = False

    # -- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bring everything up; raises ``SettingsError`` and the like for what waiting does not mend."""
        settings, container = self._settings, self._container
        self._parts = dict.fromkeys(("kafka", "registry", "producers", "streams"), "starting")
        await self._start_http()
        self._redis = await container.cache.manager()
        topics = await container.messaging.topics()
        await self._until_it_works("kafka", settings.kafka.bootstrap_servers, topics.ensure)
        codec = await container.messaging.codec()
        await self._until_it_works("registry", settings.registry.url, codec.prepare)
        serializer = await container.messaging.metrics_serializer()
        await self._until_it_works("registry", settings.registry.url, serializer.prepare)

        self._orchestrator = await container.application.orchestrator()
        await self._warm()
        await self._start_streams()
        self._started = True
        _log.info("gateway started", instance=container.instance(), kafka=settings.kafka.bootstrap_servers)

    async def ready(self, timeout_s: float = 30.0) -> None:
        """Wait until the group has assigned partitions and they are read to their ends."""
        async with asyncio.timeout(timeout_s):
            while not (self._orchestrator and self._orchestrator.partitions and self._orchestrator.ready):
                await asyncio.sleep(0.02)

    async def run(self, stopping: asyncio.Event) -> None:
        """Stay until ``stopping`` is set or a part fails for good; then drain. Raises what failed."""
        watched = [asyncio.create_task(stopping.wait(), name="stop signal"), *self._tasks]
        done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        watched[0].cancel()
        await self.stop()
        for task in done - {watched[0]}:
            if not task.cancelled() and task.exception() is not None:
                raise GatewayError(f"{task.get_name()} failed: {task.exception()}") from task.exception()

    async def stop(self) -> None:
        """Sockets closed, queues drained within the deadline, positions committed, clients closed."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._settings.gateway.drain_timeout_s
        if self._started:
            self._started = False
            await self._drain(deadline_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await close_container(self._container)
        if self._http is not None:
            await self._http.stop()
            self._http = None
        _log.info("gateway stopped")

    # -- looking in --------------------------------------------------------------------------------

    @property
    def parts(self) -> dict[str, str]:
        """The state of each part, as ``/readyz`` tells."""
        parts = dict(self._parts)
        orchestrator = self._orchestrator
        if orchestrator is not None and self._started:
            caught_up = orchestrator.partitions and orchestrator.ready
            parts["streams"] = "ready" if caught_up else "waiting for the consumer group"
        if self._started and self.breaker_state not in ("closed", "–"):
            parts["producers"] = f"not ready: the circuit breaker is {self.breaker_state}"
        if self._registry_watch is not None and self._registry_watch.problem is not None:
            parts["registry"] = f"not ready: {self._registry_watch.problem.message}"
        if self._redis is not None:
            parts["redis"] = "optional, ready" if self._redis.available else "optional, away"
        return parts

    @property
    def url(self) -> str | None:
        """Where the health endpoints listen; None when they are switched off."""
        return self._http.url if self._http else None

    @property
    def breaker_state(self) -> str:
        """The state of the breaker around the data producer."""
        return str(getattr(self._data, "state", "–"))

    def streams(self) -> list[dict[str, Any]]:
        """Every running stream with its figures."""
        if self._orchestrator is None:
            return []
        return [_describe(stream) for stream in self._orchestrator.streams.values()]

    # -- inside ------------------------------------------------------------------------------------

    async def _start_http(self) -> None:
        gateway = self._settings.gateway
        metrics = CollectorRegistry()
        metrics.register(StreamCollector(self.streams))
        app = health_app(lambda: self.parts, self.streams, metrics)
        self._http = LocalHttpServer(app, host=gateway.http_host, port=gateway.http_port)
        try:
            await self._http.start()
        except OSError as exc:
            self._http = None
            raise GatewayError(
                f"no health endpoint on {gateway.http_host}:{gateway.http_port}: {exc.strerror}; "
                "set GATEWAY_HTTP_PORT to a free port, or 0 for any"
            ) from exc

    async def _until_it_works(self, part: str, address: str, work: Callable[[], Awaitable[Any]]) -> None:
        """Try for as long as the failure may pass; say which address is tried."""
        _log.info("connecting", part=part, address=address)
        waits = full_jitter(random.uniform, first_s=0.5, max_s=10.0)
        while True:
            try:
                await work()
            except GatewayError as exc:
                if not exc.retriable:
                    raise
                wait_s = next(waits)
                self._parts[part] = f"not ready: {exc.message}"
                _log.warning(
                    "waiting", part=part, address=address, reason=exc.message, again_in_s=round(wait_s, 1)
                )
                await asyncio.sleep(wait_s)
            else:
                self._parts[part] = "ready"
                return

    async def _warm(self) -> None:
        """Pay for metadata, connections and producer ids before the first record."""
        settings = self._settings
        data = self._data = await self._container.messaging.data_producer()
        self._sink = await self._container.messaging.record_sink()
        names = [settings.gateway.topic(f"realtime.{kind}") for kind in ("ticker", "trade", "orderbook")]
        core = getattr(data, "inner", None)
        if isinstance(core, KafkaProducer) and not await core.warm(names):
            _log.warning("producer not warm: the first records may wait half a second")
        self._parts["producers"] = "ready"

    async def _start_streams(self) -> None:
        container = self._container
        reporter = await container.application.reporter()
        outcomes = await container.application.outcomes()
        upkeep = await container.application.upkeep()
        backpressure = await container.application.backpressure()
        self._registry_watch = await container.application.registry_watch()
        for name, work in (
            ("error reporter", reporter.run()),
            ("outcome writer", outcomes.run()),
            ("backpressure", backpressure.run()),
            ("upkeep", upkeep.tick_forever()),
            ("metrics", upkeep.metrics_forever()),
            ("connection specs", upkeep.specs_forever()),
            ("registry watch", self._registry_watch.run()),
        ):
            self._tasks.append(asyncio.create_task(work, name=name))
        desired_state = await container.control.desired_state_consumer()
        desired_state.start()
        self._tasks.append(asyncio.create_task(desired_state.ended(), name="desired-state consumer"))
        self._consumers = [desired_state]
        for provider in (container.control.command_consumer, container.control.disconnection_consumer):
            consumer = await provider()
            self._consumers.append(consumer)
            self._tasks.append(asyncio.create_task(consumer.run(), name=type(consumer).__name__))

    async def _drain(self, deadline_s: float) -> None:
        """From the sockets towards Kafka, each step within what is left of the time."""
        container = self._container
        loop = asyncio.get_running_loop()

        async def step(name: str, work: Awaitable[Any], share: float = 1.0) -> None:
            left_s = max(0.2, (deadline_s - loop.time()) * share)
            try:
                await asyncio.wait_for(work, left_s)
            except TimeoutError:
                _log.error("not drained in time", step=name, after_s=round(left_s, 1))
            except Exception as exc:  # noqa: BLE001 - the steps after it have to be gone all the same
                _log.error("not drained", step=name, reason=f"{type(exc).__name__}: {exc}")

        desired_state, *control = self._consumers
        await step("control consumers", asyncio.gather(*(c.stop() for c in control)), 0.4)
        await step("streams", self._orchestrator.close(), 0.5)
        await step("group", desired_state.stop(), 0.5)
        inner = getattr(self._data, "inner", None)
        for part in (self._sink, inner):
            if isinstance(part, AwaitedSink | KafkaProducer):
                await step("records", part.flush(max(0.2, deadline_s - loop.time() - 0.5)), 0.9)
        upkeep = await container.application.upkeep()
        await step("metrics", upkeep.finish(), 0.6)
        outcomes = await container.application.outcomes()
        reporter = await container.application.reporter()
        await step("outcomes", outcomes.drained(max(0.2, deadline_s - loop.time())))
        await step("errors", reporter.drained(max(0.2, deadline_s - loop.time())))
        # What they still hold has had its time; the lifecycle would wait for it once more.
        control_producer = await container.messaging.control_producer()
        control_core = getattr(getattr(control_producer, "inner", None), "core", None)
        for client in (inner, control_core):
            if isinstance(client, KafkaProducer):
                await client.stop(max(0.2, deadline_s - loop.time()))


def _describe(stream: Stream) -> dict[str, Any]:
    spec = stream.spec()
    accounting = stream.accounting
    scope = stream.scope
    return {
        "scope": scope.key,
        "exchange": scope.exchange,
        "region": scope.region,
        "request_type": scope.request_type,
        "symbols": list(spec.symbols),
        "status": str(spec.status),
        "url": spec.url,
        "instance": spec.instance,
        **accounting.totals(),
        "latency_us": {"0.5": accounting.quantile_us(0.5), "0.99": accounting.quantile_us(0.99)},
    }
