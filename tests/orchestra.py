"""Orchestrators on a log in memory, a fake exchange and a clock that is moved by hand."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from application.orchestrator import StreamOrchestrator
from application.outcomes import OutcomeWriter
from application.ports import Event, Position
from application.reporting import ErrorReporter
from application.stream import StreamParts
from core.command_rules import connect_facts, disconnect_facts
from core.errors import QueueFullError
from core.exchanges.base import BookSettings, ExchangeProfile
from core.exchanges.table import PROFILES
from core.identity import ConnectionScopeDomain, RequestType
from core.liveness import LivenessSettings
from core.partitioning import partition_of
from core.records import Record
from core.session_id import SessionIds
from core.streams import Ending, Fact, StreamContextDomain, fact_from_message, fact_to_message
from infra.cache.local_connect_budgets import LocalConnectBudgets
from infra.manual_clock import ManualClock, settled
from infra.rest.fake_book_snapshots import FakeBookSnapshots
from infra.websocket.fake import FakeConnection, FakeConnector

SCOPE = ConnectionScopeDomain("upbit", "korea", "ticker")
PARTITIONS = 3
HOME = partition_of(SCOPE.key, PARTITIONS)


class FakeUpbit:
    """Answers each new code with one ticker, unless it is unlisted or ``silent``; ``emit`` sends more."""

    def __init__(self, clock: ManualClock) -> None:
        self.connector = FakeConnector(clock.epoch_us, self._on_send)
        self.unlisted: set[str] = set()
        self.silent = False
        self.requests: list[list[str]] = []
        self._codes: dict[FakeConnection, list[str]] = {}

    @property
    def open(self) -> list[FakeConnection]:
        """The connections that are open."""
        return [c for c in self.connector.connections if c.open]

    def codes(self, connection: FakeConnection) -> list[str]:
        """What is subscribed on a connection."""
        return self._codes.get(connection, [])

    def emit(self, code: str) -> None:
        """One ticker to every connection that asked for it."""
        for connection in self.open:
            if code in self.codes(connection) and code not in self.unlisted:
                connection.receive(self.frame(code))

    @staticmethod
    def frame(code: str) -> str:
        """A ticker as Upbit writes it, as short as it may be."""
        return json.dumps({"type": "ticker", "code": code, "trade_price": 1.5, "stream_type": "REALTIME"})

    def answer(self) -> None:
        """One ticker for all that is subscribed."""
        for connection in self.open:
            for code in self.codes(connection):
                if code not in self.unlisted:
                    connection.receive(self.frame(code))

    def _on_send(self, connection: FakeConnection, message: str | bytes) -> None:
        if message == "PING":
            connection.receive('{"status":"UP"}')
            return
        parts = json.loads(message)
        codes = next(part["codes"] for part in parts if "codes" in part)
        self.requests.append(codes)
        before, self._codes[connection] = self.codes(connection), codes
        if not self.silent:
            for code in codes:
                if code not in before and code not in self.unlisted:
                    asyncio.get_running_loop().call_soon(connection.receive, self.frame(code))


class DesiredLog:
    """``ws.streams`` and the event topics; an ``AtomicWriter`` that never fails.

    While it is ``late``, owners hear of nothing until ``tell``.
    """

    def __init__(self) -> None:
        self.partitions: dict[int, list[Fact]] = {p: [] for p in range(PARTITIONS)}
        self.events: list[Event] = []
        self.owners: dict[int, StreamOrchestrator] = {}
        self.late = False
        self._untold: dict[int, list[tuple[int, Fact]]] = {}

    async def write(
        self, facts: Sequence[Fact], events: Sequence[Event], _consumed: Sequence[Position] = ()
    ) -> None:
        self.events += events
        for fact in facts:
            key, value, headers = fact_to_message(fact)
            read = fact_from_message(key, value, headers)
            assert read is not None
            partition = partition_of(read.scope.stream.key, PARTITIONS)
            self.partitions[partition].append(read)
            if partition in self.owners:
                self._untold.setdefault(partition, []).append((len(self.partitions[partition]) - 1, read))
        if not self.late:
            self.tell()

    def tell(self) -> None:
        """Hand the owners what they have not been told yet, in one batch a partition."""
        untold, self._untold = self._untold, {}
        for partition, batch in untold.items():
            if partition in self.owners:
                self.owners[partition].facts(partition, batch)

    def give(self, partition: int, owner: StreamOrchestrator) -> None:
        """Assign a partition: all its facts are told, then those that come."""
        self._untold.pop(partition, None)
        owner.assigned(partition)
        for offset, fact in enumerate(self.partitions[partition]):
            owner.fact(partition, offset, fact)
        self.owners[partition] = owner
        owner.caught_up(partition)

    async def take(self, partition: int) -> None:
        """Revoke it in order: facts that come while that lasts are the next owner's."""
        owner = self.owners[partition]
        await owner.revoked([partition])
        self.owners.pop(partition, None)
        self._untold.pop(partition, None)


class Sink:
    """Takes every record unless it is ``full``, and says it is delivered."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.full = False

    def publish(self, record: Record, on_delivery: Any = None) -> None:
        if self.full:
            raise QueueFullError("full")
        self.records.append(record)
        if on_delivery is not None:
            on_delivery(None, _Delivered())


class _Delivered:
    def latency(self) -> float:
        return 0.001


class Recorder:
    """An event producer that keeps what it gets."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send_and_wait(self, _topic: str, value: Any, _key: Any = None) -> bool:
        self.sent.append(value)
        return True


class Instance:
    """One gateway's orchestrator with its outcome writer."""

    def __init__(self, name: str, orchestra: "Orchestra") -> None:
        clock = orchestra.clock
        ids = SessionIds(name)
        self.sink = Sink()
        self.reports = Recorder()
        self.reporter = ErrorReporter({"ws.error": self.reports, "ws.dlq": self.reports}, clock)

        def backoff() -> Iterator[float]:
            return itertools.repeat(1.0)

        self.outcomes = OutcomeWriter(orchestra.log, clock, backoff)
        self.orchestrator = StreamOrchestrator(
            writer=orchestra.log,
            outcomes=self.outcomes,
            parts=StreamParts(
                connector=orchestra.upbit.connector,
                sink=self.sink,
                reporter=self.reporter,
                clock=clock,
                new_session_id=lambda: ids.next(clock.epoch_us()),
                backoff=backoff,
                liveness=LivenessSettings(probe_after_s=10, stale_after_s=20),
                hold_max_s=5.0,
                url_of=_url_of,
                budgets=LocalConnectBudgets(monotonic_s=clock.monotonic_s),
                snapshots=FakeBookSnapshots(),
                books=BookSettings(),
                instance=name,
            ),
            profiles=PROFILES,
            clock=clock,
            session_timeout_s=10.0,
        )
        self.tasks = [
            asyncio.create_task(work) for work in (self.outcomes.run(), self.reporter.run(), self._tick(clock))
        ]

    async def _tick(self, clock: ManualClock) -> None:
        while True:
            self.orchestrator.tick()
            await clock.sleep(0.2)


def _url_of(profile: ExchangeProfile, _request_type: RequestType) -> str:
    return profile.url


class Orchestra:
    """``async with Orchestra() as o``; commands are written as a command consumer writes them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.upbit = FakeUpbit(self.clock)
        self.log = DesiredLog()
        self.instances: list[Instance] = []
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> "Orchestra":
        return self

    async def __aexit__(self, *_: object) -> None:
        for instance in self.instances:
            await instance.orchestrator.close()
            for task in instance.tasks:
                task.cancel()
            await asyncio.gather(*instance.tasks, return_exceptions=True)

    def instance(self, *, owns: Iterable[int] = ()) -> Instance:
        """One more gateway."""
        instance = Instance(f"i{len(self.instances)}", self)
        self.instances.append(instance)
        for partition in owns:
            self.log.give(partition, instance.orchestrator)
        return instance

    async def connect(self, *symbols: str, **more: Any) -> str:
        """Returns the command's correlation id."""
        name = f"connect-{next(self._numbers)}"
        context = StreamContextDomain(SCOPE, symbols, correlation_id=name, **more)
        await self.log.write(connect_facts(context, ticket_id=name, now_ms=0), [])
        await settled()
        return name

    async def disconnect(self, *symbols: str) -> str:
        """Without symbols: the stream."""
        name = f"{'disconnect' if symbols else 'stop'}-{next(self._numbers)}"
        await self.log.write(disconnect_facts(SCOPE, symbols or None, Ending(name, name)), [])
        await settled()
        return name

    def outcomes(self, correlation_id: str | None = None) -> Counter[tuple[str | None, str | None, str]]:
        """How often each (command, symbol, outcome) was said; the code in the place of a refusal's action."""
        found: Counter[tuple[str | None, str | None, str]] = Counter()
        for event in self.log.events:
            value = event.value
            name = value["meta"]["correlation_id"]
            if correlation_id not in (None, name):
                continue
            if value["action"] == "error":
                symbol = (value["meta"]["raw_context"] or {}).get("symbol")
                found[name, symbol, value["error"]["error_code"]] += 1
            else:
                found[name, value["symbol"], value["action"]] += 1
        return found
