"""A whole stream against the simulated Binance: books by REST, a lost frame, refusals and clean closes."""

import asyncio
from collections import defaultdict

import pytest

from core.records import BookKind, OrderBook
from infra.simulator.server import ExchangeSimulator
from infra.simulator.venue import Limits
from tests.running_stream import World, running
from tests.waiting import until

SYMBOLS = ["BTC-USDT", "ETH-USDT"]


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
        running(simulator, SYMBOLS, every_s=1.0) as (world, _),
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
        running(simulator, SYMBOLS) as (world, _),
    ):
        await until(lambda: all(world.books(s) and world.books(s)[-1].valid for s in SYMBOLS))
        seen = defaultdict(int, {s: len(world.books(s)) for s in SYMBOLS})
        lost = []

        def lose(frame: str | bytes) -> str | bytes | None:
            if lost or "btcusdt@depth" not in str(frame):
                return frame
            lost.append(frame)
            return None

        world.connector.meddle = lose
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
        running(simulator, [*SYMBOLS, "NONE-USDT"]) as (world, _),
    ):
        await until(lambda: world.refused)
        assert world.refused == ["NONE-USDT"]


async def test_refusals_at_the_handshake_are_told_once_and_not_hammered() -> None:
    limits = Limits(max_connects=(1, 3600.0))
    async with (
        ExchangeSimulator("binance", symbols=SYMBOLS, rate=50, limits=limits) as simulator,
        running(simulator, SYMBOLS, "ticker") as (world, _),
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
        running(simulator, SYMBOLS, "ticker") as (world, stream),
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
