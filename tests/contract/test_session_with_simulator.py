"""The session against the simulated exchanges over loopback: what they sent is what it makes of it."""

import asyncio
from time import monotonic, time_ns
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from core.exchanges.base import Confirmed
from core.exchanges.notices import SnapshotWanted
from core.exchanges.table import PROFILES
from core.exchanges.upbit import Upbit
from core.identity import Exchange, RequestType
from core.records import Record
from core.session import StreamSession
from infra.simulator.log import FrameLogEntry
from infra.simulator.server import ExchangeSimulator

SYMBOLS = {
    Exchange.UPBIT: ["BTC-KRW", "ETH-KRW", "XRP-KRW"],
    Exchange.BINANCE: ["BTC-USDT", "ETH-USDT", "1INCH-USDT"],
}


class Client:
    """The plainest shell around a session: one socket, one loop."""

    def __init__(self, session: StreamSession, socket: ClientConnection) -> None:
        self.session, self.socket = session, socket
        self.records: list[Record] = []
        self.notices: list[Any] = []

    async def act(self) -> None:
        for message in self.session.take_outbox():
            await self.socket.send(message)
        self.notices += self.session.take_notices()

    async def read(self, within_s: float = 5.0) -> None:
        async with asyncio.timeout(within_s):
            frame = await self.socket.recv()
        self.records += self.session.receive(frame, time_ns() // 1000)
        self.session.on_time(monotonic())
        await self.act()

    async def drain(self) -> None:
        """Read until nothing has come for a while; the simulator is paused."""
        try:
            while True:
                await self.read(within_s=0.3)
        except TimeoutError:
            return


@pytest.mark.parametrize("request_type", list(RequestType))
@pytest.mark.parametrize(
    ("exchange", "wire_format"),
    [(Exchange.UPBIT, "DEFAULT"), (Exchange.UPBIT, "SIMPLE"), (Exchange.BINANCE, None)],
)
async def test_what_was_sent_is_what_became_records(
    exchange: Exchange, wire_format: Any, request_type: RequestType
) -> None:
    profile = Upbit(wire_format) if wire_format else PROFILES[exchange]
    first, second, third = (profile.parse_symbol(symbol) for symbol in SYMBOLS[exchange])
    log: list[FrameLogEntry] = []
    simulator = ExchangeSimulator(exchange, log=log.append, rate=400.0, seed=3, symbols=SYMBOLS[exchange])
    session = StreamSession(profile, request_type, 1, now_s=monotonic())
    async with simulator, connect(simulator.url) as socket:
        client = Client(session, socket)
        session.subscribe([first, second], monotonic())
        await client.act()
        while len(client.records) < 60:
            await client.read()
        session.subscribe([third], monotonic())
        await client.act()
        while len({record.symbol for record in client.records}) < 3:
            await client.read()
        session.unsubscribe([str(second)], monotonic())
        await client.act()
        end = len(client.records) + 60
        while len(client.records) < end:
            await client.read()
        simulator.pause()
        await client.drain()
    assert session.parse_failed == 0
    confirmed = [notice for notice in client.notices if isinstance(notice, Confirmed)]
    assert {symbol for notice in confirmed for symbol in notice.symbols} == set(SYMBOLS[exchange])
    # Binance's books want a snapshot by REST, which nobody serves here.
    others = {type(notice) for notice in client.notices} - {Confirmed}
    assert others <= ({SnapshotWanted} if request_type is RequestType.ORDERBOOK else set())
    for symbol in SYMBOLS[exchange]:
        records = [record for record in client.records if record.symbol == symbol]
        assert [record.sequence for record in records] == list(range(1, len(records) + 1))
        made = [record.exchange_ts_ms for record in records]
        sent = [entry.exchange_ts_ms for entry in log if entry.symbol == symbol]
        if symbol != str(second) and request_type is not RequestType.TRADE:
            assert made == sent
        # What was under way when the unsubscription went out is passed over.
        # Upbit sends the last trade again with every request; it is one record all the same.
        assert list(dict.fromkeys(made)) == list(dict.fromkeys(sent))[: len(set(made))]
    passed_over = sum(session.ignored.values())
    assert len(client.records) + passed_over == len(log)
    assert session.frames == len(log) + session.controls
