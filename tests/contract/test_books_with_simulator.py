"""Order books over a real socket: like the exchange's own, lost frames noticed, one symbol repaired alone.

Bitfinex numbers the frames of a connection, not of a book, so what is lost there concerns all its books:
``test_simulator_bitfinex.py``.
"""

import time

import pytest
from websockets.asyncio.client import connect

from core.errors import ErrorCode
from core.exchanges.base import SymbolBroken, SymbolWhole
from core.exchanges.table import profile_of
from core.identity import RequestType, Symbol
from tests.book_client import Client, offered, rebuilt
from tests.simulated_exchange import SYMBOLS, SimulatedExchange

EXCHANGES = ["bybit", "okx", "huobi", "kraken"]
CHECKSUM_ALONE = {"kraken"}
"""No sequence: a gap shows in the checksum of the best levels, once it has reached those."""


@pytest.mark.parametrize("exchange_name", EXCHANGES)
async def test_a_lost_frame_is_noticed_and_that_symbol_alone_repaired(exchange_name: str) -> None:
    symbols = SYMBOLS[exchange_name]
    url = profile_of(exchange_name).url_for
    async with (
        SimulatedExchange(exchange_name, rate=150) as exchange,
        connect(url(RequestType.ORDERBOOK, exchange.sim.url), max_queue=None) as socket,
    ):
        client = Client(exchange_name, RequestType.ORDERBOOK, socket)
        client.session.subscribe([Symbol.parse(symbol) for symbol in symbols], time.monotonic())
        await client.drive_until(lambda: all(client.valid(symbol) for symbol in symbols))
        lost: list[str] = []
        losses = 5 if exchange_name in CHECKSUM_ALONE else 1

        def lose_a_change(frame: str | bytes) -> str | bytes | None:
            trial = exchange.sim.venue.identify(frame if isinstance(frame, bytes) else frame.encode())
            if len(lost) < losses and trial is not None and trial.symbol == symbols[0]:
                lost.append(trial.symbol)
                return None
            return frame

        client.meddle = lose_a_change
        before = len(client.records)
        await client.drive_until(lambda: any(isinstance(n, SymbolWhole) for n in client.notices))
        code = ErrorCode.SEQUENCE_GAP if losses == 1 else ErrorCode.CHECKSUM_MISMATCH
        broken = [n for n in client.notices if isinstance(n, SymbolBroken)]
        assert [(n.symbol, n.code) for n in broken] == [(symbols[0], code)]
        await client.drive_until(lambda: all(client.valid(symbol) for symbol in symbols))
        assert {r.symbol for r in client.records[before:] if not r.valid} == {symbols[0]}
        exchange.sim.pause()
        await client.drive_until(lambda: all(rebuilt(client.of(s)) == offered(exchange, s) for s in symbols))
        for symbol in symbols:
            assert [record.sequence for record in client.of(symbol)] == list(
                range(1, len(client.of(symbol)) + 1)
            )
        assert client.session.parse_failed == 0


@pytest.mark.parametrize("exchange_name", [name for name in EXCHANGES if name not in CHECKSUM_ALONE])
async def test_a_frame_that_comes_twice_breaks_no_book_and_changes_none(exchange_name: str) -> None:
    symbols = SYMBOLS[exchange_name]
    async with (
        SimulatedExchange(exchange_name, rate=150) as exchange,
        connect(
            profile_of(exchange_name).url_for(RequestType.ORDERBOOK, exchange.sim.url), max_queue=None
        ) as socket,
    ):
        client = Client(exchange_name, RequestType.ORDERBOOK, socket)
        client.session.subscribe([Symbol.parse(symbol) for symbol in symbols], time.monotonic())
        await client.drive_until(lambda: all(client.valid(symbol) for symbol in symbols))
        client.notices.clear()
        before, twice = len(client.records), []

        def hear_twice(frame: str | bytes) -> str | bytes:
            trial = exchange.sim.venue.identify(frame if isinstance(frame, bytes) else frame.encode())
            if trial is not None:
                client.records += client.session.receive(frame, time.time_ns() // 1000)
                twice.append(frame)
            return frame

        client.meddle = hear_twice
        await client.drive_until(lambda: len(twice) >= 60)
        exchange.sim.pause()
        await client.drive_until(lambda: all(rebuilt(client.of(s)) == offered(exchange, s) for s in symbols))
    assert client.notices == []
    assert all(record.valid for record in client.records[before:])
    assert len(client.records) - before >= 2 * len(twice)
