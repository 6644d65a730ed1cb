"""One stream on a fake exchange and a clock that is moved by hand."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from application.ports import BookSnapshots, ConnectBudgets
from application.reporting import ErrorReporter
from application.stream import Stream, StreamParts
from core.exchanges.base import BookSettings
from core.exchanges.table import profile_of
from core.identity import ConnectionScopeDomain
from core.liveness import LivenessSettings
from infra.cache.local_connect_budgets import LocalConnectBudgets
from infra.manual_clock import ManualClock
from infra.rest.fake_book_snapshots import FakeBookSnapshots
from infra.websocket.fake import FakeConnection, FakeConnector
from tests.orchestra import Recorder, Sink


class HandRunStream:
    """A stream with what came out of it. Silence is no fault of this exchange, however long it lasts."""

    def __init__(
        self,
        key: str,
        clock: ManualClock,
        *,
        fake: FakeConnector | None = None,
        budgets: ConnectBudgets | None = None,
        snapshots: BookSnapshots | None = None,
        books: BookSettings | None = None,
    ) -> None:
        exchange, region, request_type = key.split("|")
        self.clock = clock
        self.fake = fake or FakeConnector(clock.epoch_us)
        self.sink = Sink()
        self.reports = Recorder()
        self.reporter = ErrorReporter({"ws.error": self.reports, "ws.dlq": self.reports}, clock)
        self.refused: list[str] = []
        self.stream = Stream(
            ConnectionScopeDomain(exchange, region, request_type),
            profile_of(exchange),
            StreamParts(
                connector=self.fake,
                sink=self.sink,
                reporter=self.reporter,
                clock=clock,
                new_session_id=itertools.count(1).__next__,
                backoff=lambda: itertools.repeat(1.0),
                liveness=LivenessSettings(probe_after_s=10_000, stale_after_s=20_000),
                hold_max_s=5.0,
                url_of=lambda profile, _request_type: profile.url,
                budgets=budgets or LocalConnectBudgets(monotonic_s=clock.monotonic_s),
                snapshots=snapshots or FakeBookSnapshots(),
                books=books or BookSettings(),
                instance="test",
            ),
            self,
        )

    @property
    def connection(self) -> FakeConnection:
        """The connection opened last."""
        return self.fake.connections[-1]

    def told(self) -> list[tuple[str, str, str]]:
        """Key, code and message of each ``ws.error``, in order."""
        errors = [event for event in self.reports.sent if event["action"] == "error"]
        return [
            (e["meta"]["observed_key"], e["error"]["error_code"], e["error"]["error_message"]["message"])
            for e in errors
        ]

    def on_confirmed(self, *_: Any) -> None:
        """See ``StreamOwner``."""

    def on_refused(self, _scope: ConnectionScopeDomain, symbols: Any, _error: Any) -> None:
        """See ``StreamOwner``."""
        self.refused += symbols

    def may_publish(self, _received_us: int) -> bool:
        """See ``StreamOwner``."""
        return True


@asynccontextmanager
async def hand_run(key: str, *symbols: str, clock: ManualClock, **more: Any) -> AsyncIterator[HandRunStream]:
    """A stream that runs ``symbols``; it is closed when the block ends."""
    world = HandRunStream(key, clock, **more)
    reporting = asyncio.create_task(world.reporter.run())
    world.stream.run(symbols, None, {})
    await clock.advance(0)
    try:
        yield world
    finally:
        world.stream.cut()
        await world.stream.closed()
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)
