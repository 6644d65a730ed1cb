"""Where a fault test plays: one prefix on a cluster, simulated exchanges, gateways, and the auditor's eyes."""

import asyncio
import contextlib
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson
from confluent_kafka import Producer

from core.audit_report import AuditReport
from core.source_log import SentFrame, SourceLog
from infra.messaging.audit.topic_auditor import TopicAuditor
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroDeserializer
from infra.messaging.topic_reader import TopicReader
from infra.services.kafka import KafkaBroker
from infra.services.redis import RedisServer
from infra.services.registry import SchemaRegistry
from infra.settings import GatewaySettings, KafkaSettings, RegistrySettings, Settings
from infra.simulator.server import ExchangeSimulator
from tests.faults.gateway_process import GatewayProcess

OUTCOMES = ("ws.connect_success", "ws.disconnect_success", "ws.error")


class Field:
    """Everything one test has; what it started is gone when the block ends.

    ``settings`` are by their environment names and go to every gateway.
    """

    def __init__(
        self,
        folder: Path,
        prefix: str,
        kafka: KafkaBroker,
        registry: SchemaRegistry,
        redis: RedisServer,
        **settings: object,
    ) -> None:
        self.folder = folder
        self.prefix = prefix
        self.kafka = kafka
        self.environment = {
            **kafka.environment(),
            **registry.environment(),
            **redis.environment(),
            "GATEWAY_PREFIX": prefix,
            **{name: str(value) for name, value in settings.items()},
        }
        self.settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap_servers),
            registry=RegistrySettings(url=registry.url, timeout_s=20),
            gateway=GatewaySettings(prefix=prefix),
        )
        self.sims: dict[str, ExchangeSimulator] = {}
        self._frames: list[Any] = []
        self._gateways: list[GatewayProcess] = []
        self._auditor: TopicAuditor | None = None
        self._producer: Producer | None = None

    # -- life ------------------------------------------------------------------------------------------

    async def __aenter__(self) -> "Field":
        return self

    async def __aexit__(self, *_: object) -> None:
        for gateway in self._gateways:
            gateway.end()
        for sim in self.sims.values():
            await sim.stop()
        if self._auditor is not None and self._auditor.running:
            with contextlib.suppress(Exception):
                await asyncio.to_thread(self._auditor.stop, 1.0)

    async def simulate(self, exchange: str, **options: Any) -> ExchangeSimulator:
        """A simulated exchange that every gateway started from here on is pointed at."""
        sim = ExchangeSimulator(exchange, **{"seed": 7, "log": self._frames.append, **options})
        await sim.start()
        self.sims[exchange] = sim
        urls = {name: sim.url for name, sim in self.sims.items()}
        self.environment["GATEWAY_EXCHANGE_URLS"] = orjson.dumps(urls).decode()
        return sim

    def gateway(
        self, name: str = "one", command: Sequence[str] | None = None, **settings: object
    ) -> GatewayProcess:
        """A gateway that is not started yet."""
        environment = self.environment | {k: str(v) for k, v in settings.items()}
        unique = f"{self.prefix}{name}"
        more = {} if command is None else {"command": command}
        gateway = GatewayProcess(unique, self.folder, environment, **more)
        self._gateways.append(gateway)
        return gateway

    # -- commands --------------------------------------------------------------------------------------

    def connect(self, scope: str, symbols: Iterable[str], **connection: Any) -> str:
        """Publish a connect command to ``exchange|request_type``, with overrides of the connection if any.

        Returns its correlation id.
        """
        more = {"connection": connection} if connection else {}
        return self._command("ws.command", "connect_and_subscribe", scope, symbols=list(symbols), **more)

    def disconnect(self, scope: str, symbols: Iterable[str] | None = None) -> str:
        """Publish a disconnect command."""
        more = {} if symbols is None else {"symbols": list(symbols)}
        return self._command("ws.disconnection", "disconnect", scope, **more)

    def _command(self, topic: str, action: str, scope: str, **more: Any) -> str:
        exchange, request_type = scope.split("|")
        correlation_id = uuid.uuid4().hex
        self.publish(
            topic,
            {
                "type": "status",
                "action": action,
                "target": {"exchange": exchange, "request_type": request_type},
                "correlation_id": correlation_id,
                **more,
            },
            key=scope,
        )
        return correlation_id

    def publish(self, topic: str, value: object, key: str | None = None) -> None:
        """One JSON message, acknowledged."""
        if self._producer is None:
            self._producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers, "log_level": 2})
        self._producer.produce(self.prefix + topic, orjson.dumps(value), key)
        assert self._producer.flush(20) == 0

    # -- topics ----------------------------------------------------------------------------------------

    async def messages(self, *topics: str) -> list[Any]:
        """All that stands committed in some topics now (confluent-kafka's ``Message``)."""
        return await asyncio.to_thread(self._messages, topics)

    def _messages(self, topics: Sequence[str]) -> list[Any]:
        names = [self.prefix + topic for topic in topics]
        reader = TopicReader(self.settings.kafka, names, from_beginning=True, patience_s=20)
        try:
            reader.open(20)
            ends, found = reader.ends(), []
            deadline_s = time.monotonic() + 20
            while not reader.reached(ends):
                found += reader.read(500, 0.1)
                assert time.monotonic() < deadline_s, "topics could not be read to their ends"
            return found
        finally:
            reader.close()

    async def events(self, *topics: str) -> list[dict[str, Any]]:
        """All events of some topics, decoded, each with its ``topic``."""
        return [
            {**orjson.loads(m.value()), "topic": m.topic().removeprefix(self.prefix)}
            for m in await self.messages(*topics)
        ]

    async def outcomes(self) -> Counter[tuple[str, str | None, str]]:
        """How often each (correlation id, symbol, topic) stands on the outcome topics."""
        return Counter(
            (e["meta"].get("correlation_id"), _symbol(e), e["topic"]) for e in await self.events(*OUTCOMES)
        )

    async def errors(self, code: str | None = None) -> list[dict[str, Any]]:
        """What stands on ``ws.error``, all or of one code."""
        return [e for e in await self.events("ws.error") if code in (None, e["error"]["error_code"])]

    async def metrics(self) -> list[dict[str, Any]]:
        """Every ``metrics_event``, decoded."""
        messages = await self.messages("ws.metrics")
        async with SchemaRegistryClient(self.settings.registry) as client:
            deserializer = AvroDeserializer(client)
            return [await deserializer.deserialize_async(m.value()) for m in messages]

    # -- the proof -------------------------------------------------------------------------------------

    def audit(self) -> TopicAuditor:
        """Begin to read along."""
        self._auditor = TopicAuditor(self.settings, keep_exchange_times=True)
        self._auditor.start(20)
        return self._auditor

    @property
    def auditor(self) -> TopicAuditor:
        """The auditor, once ``audit`` was called."""
        assert self._auditor is not None, "audit() comes first"
        return self._auditor

    async def proof(self) -> AuditReport:
        """Read everything to its end and report, also against the simulators' logs."""
        await asyncio.to_thread(self.auditor.stop, 60.0)
        source = SourceLog(SentFrame(**_as_sent(frame)) for frame in self._frames)
        return await asyncio.to_thread(self.auditor.report, source)

    async def settled_sessions(self, for_s: float = 3.0) -> dict[tuple[str, str], list[int]]:
        """The sessions that carry each symbol over a window that begins now."""
        from_us = time.time_ns() // 1000
        await asyncio.sleep(for_s)
        to_us = time.time_ns() // 1000
        await until(lambda: self.auditor.idle_s < 1.0, 10)
        await asyncio.sleep(1.0)  # what was received in the window reaches the auditor
        return self.auditor.live_sessions(from_us, to_us)

    async def flowing(self, records: int = 50, within_s: float = 20.0) -> None:
        """Wait until so many further records have arrived."""
        target = self.auditor.records + records
        await until(lambda: self.auditor.records >= target, within_s)


def say(figures: str) -> None:
    """One line of what was measured; ``pytest -s`` shows it."""
    sys.stderr.write(f"\n{figures}\n")


async def until(condition: Callable[[], Any], within_s: float = 20.0, what: str = "it") -> float:
    """Wait for a condition (a plain or an async callable); returns after how many seconds."""
    began_s = time.monotonic()
    while True:
        answer = condition()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return time.monotonic() - began_s
        assert time.monotonic() - began_s < within_s, f"{what} did not come true within {within_s} s"
        await asyncio.sleep(0.1)


def faults_of(report: AuditReport) -> dict[str, object]:
    """What of a report is a fault, or prevents the proof; empty when there is none."""
    totals = report.totals
    found: dict[str, object] = {
        "lost": totals.lost,
        "doubled": totals.doubled,
        "out_of_order": totals.out_of_order,
        "scattered": totals.scattered,
        "undecodable": report.undecodable,
        "deleted": report.deleted,
        "mismatches": report.mismatches[:5],
        "open_tails": totals.tails.get("open", 0),
    }
    if report.source is not None:
        found["source"] = [t for t in report.source.tracks if t.lost or t.invented][:5]
    return {name: value for name, value in found.items() if value}


def _symbol(event: dict[str, Any]) -> str | None:
    if "symbol" in event:
        return event["symbol"]
    return (event["meta"].get("raw_context") or {}).get("symbol")


def _as_sent(frame: Any) -> dict[str, Any]:
    fields = msgspec.structs.asdict(frame)
    return fields | {"request_type": fields["request_type"] or None}
