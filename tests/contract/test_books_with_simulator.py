"""Order books over a real socket: like the exchange's own, lost frames noticed, one symbol repaired alone."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from core.errors import ErrorCode
from core.exchanges.base import SymbolBroken, SymbolWhole
from core.exchanges.table import profile_of
from core.identity import RequestType, Symbol
from core.records import BookKind, OrderBook
from core.session import StreamSession
from tests.simulated_exchange import SYMBOLS, SimulatedExchange

EXCHANGES = ["bybit", "okx", "huobi", "kraken"]
CHECKSUM_ALONE = {"kraken"}
"""No sequence: a gap shows in the checksum of the best levels, once it has reached those."""
WITHIN_S = 10.0


class Client:
    """A session on a socket, with what it said; ``lose`` drops frames before the session sees them."""

    def __init__(self, exchange_name: str, request_type: RequestType, socket: ClientConnection) -> None:
        self.session = StreamSession(profile_of(exchange_name), request_type, 1, now_s=time.monotonic())
        self.socket = socket
        self.records: list[Any] = []
        self.notices: list[Any] = []
        self.lose: Callable[[str | bytes], bool] = lambda _: False

    async def drive_until(self, done: Callable[[], bool]) -> None:
        """Send, receive and let time pass until ``done``; fails after ``WITHIN_S``."""
        deadline_s = time.monotonic() + WITHIN_S
        while not done():
            assert time.monotonic() < deadline_s, (self.records[-3:], self.notices)
            for message in self.session.take_outbox():
                await self.socket.send(message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    frame = await self.socket.recv()
                    if not self.lose(frame):
                        self.records += self.session.receive(frame, time.time_ns() // 1000)
            self.session.on_time(time.monotonic(), time.time_ns() // 1000)
            self.records += self.session.take_records()
            self.notices += self.session.take_notices()

    def valid(self, symbol: str) -> bool:
        """Whether the symbol's last record is valid."""
        last = next((r for r in reversed(self.records) if r.symbol == symbol), None)
        return last is not None and last.valid


def rebuilt(records: Sequence[OrderBook]) -> tuple[dict[float, float], dict[float, float]]:
    """A reader's book: from the last snapshot on, valid records only."""
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    for record in records:
        if not record.valid:
            continue
        if record.kind is BookKind.SNAPSHOT:
            bids, asks = {}, {}
        for side, levels in ((bids, record.bids), (asks, record.asks)):
            for level in levels:
                if level.quantity:
                    side[level.price] = level.quantity
                else:
                    side.pop(level.price, None)
    return bids, asks


def offered(exchange: SimulatedExchange, symbol: str) -> tuple[dict[float, float], dict[float, float]]:
    """The simulated market's own book."""
    venue = exchange.sim.venue
    market = venue.markets[venue.spell(Symbol.parse(symbol))]
    scale, tick = 10**market.grid.decimals, market.grid.tick_units
    bids = {(market.bid - i * tick) / scale: q / 1e8 for i, q in enumerate(market.bid_quantities)}
    asks = {(market.ask + i * tick) / scale: q / 1e8 for i, q in enumerate(market.ask_quantities)}
    return bids, asks


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

        def lose_a_change(frame: str | bytes) -> bool:
            trial = exchange.sim.venue.identify(frame if isinstance(frame, bytes) else frame.encode())
            if len(lost) < losses and trial is not None and trial.symbol == symbols[0]:
                lost.append(trial.symbol)
                return True
            return False

        client.lose = lose_a_change
        before = len(client.records)
        await client.drive_until(lambda: any(isinstance(n, SymbolWhole) for n in client.notices))
        code = ErrorCode.SEQUENCE_GAP if losses == 1 else ErrorCode.CHECKSUM_MISMATCH
        broken = [n for n in client.notices if isinstance(n, SymbolBroken)]
        assert [(n.symbol, n.code) for n in broken] == [(symbols[0], code)]
        await client.drive_until(lambda: all(client.valid(symbol) for symbol in symbols))
        assert {r.symbol for r in client.records[before:] if not r.valid} == {symbols[0]}
        exchange.sim.pause()

        def of(symbol: str) -> list[OrderBook]:
            return [record for record in client.records if record.symbol == symbol]

        await client.drive_until(lambda: all(rebuilt(of(s)) == offered(exchange, s) for s in symbols))
        for symbol in symbols:
            assert [record.sequence for record in of(symbol)] == list(range(1, len(of(symbol)) + 1))
        assert client.session.parse_failed == 0
