"""A whole stream against the simulated Binance: books by REST, a lost frame, refusals and clean closes."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from application.ports import FrameHandler
from application.reporting import ErrorReporter
from application.stream import Stream, StreamParts
from core.backoff import full_jitter
from core.errors import ExchangeError
from core.exchanges.base import BookSettings
from core.exchanges.binance import Binance
from core.identity import ConnectionScopeDomain
from core.liveness import LivenessSettings
from core.records import BookKind, OrderBook, Record
from infra.cache.local_connect_budgets import LocalConnectBudgets
from infra.clock import SystemClock
from infra.rest.book_snapshots import RestAddress, RestBookSnapshots
from infra.simulator.server import ExchangeSimulator
from infra.simulator.venue import Limits
from infra.websocket.connector import WebsocketsConnection, WebsocketsConnector
from tests.waiting import until

SYMBOLS = ["BTC-USDT", "ETH-USDT"]


class World:
    """What the stream is made of, and what came out of it."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.errors: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.lose: Callable[[bytes], bool] = lambda frame: False

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

    async def connect(self, url: str, handler: FrameHandler, *, max_frame_bytes: int) -> WebsocketsConnection:
        world = self

        class Lossy:
            def on_frame(self, frame: str | bytes, received_us: int) -> None:
                if not world.lose(frame):
                    handler.on_frame(frame, received_us)

        return await WebsocketsConnector().connect(url, Lossy(), max_frame_bytes=max_frame_bytes)

    def books(self, symbol: str) -> list[OrderBook]:
        return [r for r in self.records if isinstance(r, OrderBook) and r.symbol == symbol]


@asynccontextmanager
async def running(
    simulator: ExchangeSimulator, request_type: str = "orderbook", every_s: float = 0.0, symbols: Any = SYMBOLS
) -> AsyncIterator[tuple[World, Stream]]:
    world = World()
    clock = SystemClock()
    reporter = ErrorReporter({"ws.error": world, "ws.dlq": world}, clock)
    rest = RestBookSnapshots({"binance": RestAddress(simulator.rest_url, (50, 1.0))})
    parts = StreamParts(
        connector=world,
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
        books=BookSettings(depth=100, snapshot_every_s=every_s),
    )
    scope = ConnectionScopeDomain("binance", "asia", request_type)
    stream = Stream(scope, Binance(), parts, world)
    reporting = asyncio.create_task(reporter.run())
    stream.run(symbols, None, {})
    try:
        yield world, stream
    finally:
        stream.cut()
        await stream.closed()
        await rest.close()
        reporting.cancel()


def rebuilt(records: list[OrderBook]) -> tuple[dict[float, float], dict[float, float]]:
    """The book as a consumer has it who starts at the last snapshot and applies what is valid."""
    sides: tuple[dict[float, float], dict[float, float]] = ({}, {})
    for record in records:
        if record.kind is BookKind.SNAPSHOT:
            sides = ({}, {})
        elif not record.valid:
            continue
        for side, levels in zip(sides, (record.bids, record.asks), strict=True):
            for level in levels:
                side.pop(level.price, None)
                if level.quantity:
                    side[level.price] = level.quantity
    return sides


async def settled(world: World, simulator: ExchangeSimulator) -> None:
    simulator.pause()
    count = -1
    while count != len(world.records):
        count = len(world.records)
        await asyncio.sleep(0.3)


def check_books(world: World, simulator: ExchangeSimulator) -> None:
    for symbol in SYMBOLS:
        market = simulator.venue.markets[symbol.replace("-", "")]
        unit, tick = 10**market.grid.decimals, market.grid.tick_units
        bids, asks = rebuilt(world.books(symbol))
        assert bids == {
            (market.bid - i * tick) / unit: quantity / 1e8 for i, quantity in enumerate(market.bid_quantities)
        }
        assert asks == {
            (market.ask + i * tick) / unit: quantity / 1e8 for i, quantity in enumerate(market.ask_quantities)
        }


async def test_books_come_by_rest_and_end_as_the_exchanges_own() -> None:
    async with (
        ExchangeSimulator("binance", symbols=SYMBOLS, rate=200, seed=3) as simulator,
        running(simulator, every_s=1.0) as (world, _),
    ):
        await until(lambda: all(sum(b.valid for b in world.books(s)) > 150 for s in SYMBOLS))
        await settled(world, simulator)
        check_books(world, simulator)
        for symbol in SYMBOLS:
            books = world.books(symbol)
            assert [book.sequence for book in books] == list(range(1, len(books) + 1))
            first = next(i for i, book in enumerate(books) if book.kind is BookKind.SNAPSHOT)
            assert not any(book.valid for book in books[:first])
            assert sum(book.kind is BookKind.SNAPSHOT for book in books) >= 2
    assert world.errors == []


async def test_a_lost_frame_breaks_one_book_alone_is_told_once_and_is_repaired() -> None:
    async with (
        ExchangeSimulator("binance", symbols=SYMBOLS, rate=200, seed=4) as simulator,
        running(simulator) as (world, _),
    ):
        await until(lambda: all(world.books(s) and world.books(s)[-1].valid for s in SYMBOLS))
        seen = defaultdict(int, {s: len(world.books(s)) for s in SYMBOLS})
        lost = []

        def lose(frame: bytes) -> bool:
            if lost or b"btcusdt@depth" not in frame:
                return False
            lost.append(frame)
            return True

        world.lose = lose
        await until(lambda: lost and not world.books("BTC-USDT")[-1].valid)
        await until(lambda: world.books("BTC-USDT")[-1].valid)
        await settled(world, simulator)
        check_books(world, simulator)
        assert all(book.valid for book in world.books("ETH-USDT")[seen["ETH-USDT"] :])
        await until(lambda: world.errors)
    assert [(e["error_code"], e["key"]) for e in world.errors] == [
        ("sequence_gap", "binance|asia|orderbook|BTC-USDT")
    ]


async def test_a_symbol_that_rest_does_not_know_is_refused() -> None:
    async with (
        ExchangeSimulator("binance", symbols=SYMBOLS, rate=50, seed=5) as simulator,
        running(simulator, symbols=[*SYMBOLS, "NONE-USDT"]) as (world, _),
    ):
        await until(lambda: world.refused)
        assert world.refused == ["NONE-USDT"]


async def test_refusals_at_the_handshake_are_told_once_and_not_hammered() -> None:
    limits = Limits(max_connects=(1, 3600.0))
    async with (
        ExchangeSimulator("binance", symbols=SYMBOLS, rate=50, limits=limits) as simulator,
        running(simulator, "ticker") as (world, _),
    ):
        await until(lambda: world.records)
        await simulator.drop_connections()
        await until(lambda: world.errors)
        await until(lambda: simulator.stats.refused)
        await asyncio.sleep(3.0)
        assert simulator.stats.refused == 1
        assert [error["error_code"] for error in world.errors] == ["connect_failed"]


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_clean_close_is_a_reconnect_like_any_other_and_no_tight_loop(code: int) -> None:
    async with (
        ExchangeSimulator("binance", symbols=SYMBOLS, rate=0) as simulator,
        running(simulator, "ticker") as (world, stream),
    ):
        ends = asyncio.get_running_loop().time() + 4.0
        while asyncio.get_running_loop().time() < ends:
            await simulator.close_all(code, "maintenance")
            await asyncio.sleep(0.01)
        # Waits of at most 0.2, 0.4, 0.8, 1.6 s, each at least a tenth of that: not two dozen in 4 s.
        assert 2 <= simulator.stats.connections_total <= 24
        await until(lambda: stream.spec().connected_at_ms)
        assert len(world.errors) == 1
        assert str(code) in world.errors[0]["error_message"]["message"]
