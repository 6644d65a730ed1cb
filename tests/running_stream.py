"""A whole stream of a simulated exchange, and what came out of it."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from application.ports import FrameHandler
from application.reporting import ErrorReporter
from application.stream import Stream, StreamParts
from core.backoff import full_jitter
from core.errors import ExchangeError
from core.exchanges.base import BookSettings
from core.exchanges.table import profile_of
from core.identity import ConnectionScopeDomain
from core.liveness import LivenessSettings
from core.records import OrderBook, Record
from infra.cache.local_connect_budgets import LocalConnectBudgets
from infra.clock import SystemClock
from infra.rest.book_snapshots import RestAddress, RestBookSnapshots
from infra.simulator.server import ExchangeSimulator
from infra.websocket.connector import WebsocketsConnection, WebsocketsConnector


class MeddlingConnector:
    """Connects as the gateway does. ``meddle`` stands on the way in: it hands on a frame, another in its place,
    or None, which loses it. What is sent goes out ``late_s`` later, as over a long way."""

    def __init__(self, late_s: float = 0.0) -> None:
        self._late_s = late_s
        self.meddle: Callable[[str | bytes], str | bytes | None] = lambda frame: frame

    async def connect(self, url: str, handler: FrameHandler, *, max_frame_bytes: int) -> WebsocketsConnection:
        connector = self

        class Meddled:
            def on_frame(self, frame: str | bytes, received_us: int) -> None:
                given = connector.meddle(frame)
                if given is not None:
                    handler.on_frame(given, received_us)

        connection = await WebsocketsConnector().connect(url, Meddled(), max_frame_bytes=max_frame_bytes)
        if self._late_s:
            later = partial(asyncio.get_running_loop().call_later, self._late_s, connection.send)
            connection.send = later
        return connection


class World:
    """What the stream is made of, and what came out of it."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.errors: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.connector = MeddlingConnector()

    def publish(self, record: Record, on_delivery: Any = None) -> None:
        self.records.append(record)

    async def send_and_wait(self, topic: str, value: Any, key: Any = None) -> bool:
        self.errors.append({"key": value["meta"].get("observed_key"), **value["error"]})
        return True

    def on_confirmed(self, scope: ConnectionScopeDomain, symbols: Iterable[str]) -> None: ...

    def on_refused(self, scope: ConnectionScopeDomain, symbols: Iterable[str], error: ExchangeError) -> None:
        self.refused += symbols

    def may_publish(self, received_us: int) -> bool:
        return True

    def books(self, symbol: str) -> list[OrderBook]:
        return [r for r in self.records if isinstance(r, OrderBook) and r.symbol == symbol]


@asynccontextmanager
async def running(
    simulator: ExchangeSimulator,
    symbols: Sequence[str],
    request_type: str = "orderbook",
    *,
    depth: int = 100,
    every_s: float = 0.0,
) -> AsyncIterator[tuple[World, Stream]]:
    """A stream of the simulated exchange, as a gateway runs it; it is closed when the block ends."""
    profile = profile_of(simulator.exchange)
    world = World()
    clock = SystemClock()
    reporter = ErrorReporter({"ws.error": world, "ws.dlq": world}, clock)
    rest = RestBookSnapshots({simulator.exchange: RestAddress(simulator.rest_url, (50, 1.0))})
    parts = StreamParts(
        connector=world.connector,
        sink=world,
        reporter=reporter,
        clock=clock,
        new_session_id=iter(range(1, 1000)).__next__,
        backoff=lambda: full_jitter(random.uniform, first_s=0.2, max_s=2.0),
        liveness=LivenessSettings(),
        hold_max_s=1.0,
        url_of=lambda profile, request_type: profile.url_for(request_type, simulator.url),
        instance="test",
        budgets=LocalConnectBudgets(),
        snapshots=rest,
        books=BookSettings(depth=depth, snapshot_every_s=every_s),
    )
    scope = ConnectionScopeDomain(profile.exchange.value, profile.region.value, request_type)
    stream = Stream(scope, profile, parts, world)
    reporting = asyncio.create_task(reporter.run())
    stream.run(symbols, None, {})
    try:
        yield world, stream
    finally:
        stream.cut()
        await stream.closed()
        await rest.close()
        reporting.cancel()
