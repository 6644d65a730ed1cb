"""A session on a socket that keeps order books, and what such books are compared with."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection

from core.exchanges.table import profile_of
from core.identity import RequestType, Symbol
from core.records import BookKind, OrderBook
from core.session import StreamSession
from tests.simulated_exchange import SimulatedExchange

WITHIN_S = 10.0


class Client:
    """A session on a socket, with what it said.

    ``meddle`` stands on the way in: it hands on a frame, another in its place, or None, which loses it.
    """

    def __init__(self, exchange_name: str, request_type: RequestType, socket: ClientConnection) -> None:
        self.session = StreamSession(profile_of(exchange_name), request_type, 1, now_s=time.monotonic())
        self.socket = socket
        self.records: list[Any] = []
        self.notices: list[Any] = []
        self.meddle: Callable[[str | bytes], str | bytes | None] = lambda frame: frame

    async def drive_until(self, done: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Send, receive and let time pass until ``done``; fails after ``within_s``."""
        deadline_s = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < deadline_s, (self.records[-3:], self.notices)
            for message in self.session.take_outbox():
                await self.socket.send(message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    frame = self.meddle(await self.socket.recv())
                    if frame is not None:
                        self.records += self.session.receive(frame, time.time_ns() // 1000)
            self.session.on_time(time.monotonic(), time.time_ns() // 1000)
            self.records += self.session.take_records()
            self.notices += self.session.take_notices()

    def of(self, symbol: str) -> list[Any]:
        """The records of one symbol."""
        return [record for record in self.records if record.symbol == symbol]

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
