"""Both sides of each protocol, written independently from the same documentation, meet over a real socket."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from core.exchanges.base import Refused
from core.exchanges.table import PROFILES, profile_of
from core.identity import RequestType, Symbol
from core.records import Record
from core.session import StreamSession
from infra.simulator.faults import RUBBISH_KINDS, FaultPlan
from infra.simulator.venues import VENUES
from tests.simulated_exchange import SYMBOLS, SimulatedExchange
from tests.waiting import until

EXCHANGES = sorted(name for name in VENUES if name in PROFILES)
WITHIN_S = 20.0


class Client:
    """A session on an open connection, served as the shell serves it."""

    def __init__(self, session: StreamSession, connection: ClientConnection) -> None:
        self.session = session
        self.records: list[Record] = []
        self.notices: list[Any] = []
        self._connection = connection

    async def serve(self, done: Callable[[], bool]) -> None:
        """Send, receive and keep the time until ``done``."""
        async with asyncio.timeout(WITHIN_S):
            while not done():
                for message in self.session.take_outbox():
                    await self._connection.send(message)
                try:
                    async with asyncio.timeout(0.05):
                        frame = await self._connection.recv()
                except TimeoutError:
                    pass
                else:
                    self.records += self.session.receive(frame, time.time_ns() // 1000)
                self.session.on_time(time.monotonic())
                self.notices += self.session.take_notices()

    @property
    def confirmed(self) -> bool:
        """Whether every symbol that is still wanted was confirmed."""
        return all(track.confirmed for track in self.session.tracks if track.active)


def url_of(exchange: SimulatedExchange, request_type: RequestType) -> str:
    return profile_of(exchange.sim.venue.exchange).url_for(request_type, exchange.sim.url)


def session_of(exchange_name: str, request_type: RequestType, *more: str) -> StreamSession:
    session = StreamSession(profile_of(exchange_name), request_type, 1, now_s=time.monotonic())
    session.subscribe([Symbol.parse(text) for text in [*SYMBOLS[exchange_name], *more]], time.monotonic())
    return session


@pytest.mark.parametrize("exchange_name", EXCHANGES)
@pytest.mark.parametrize("request_type", list(RequestType))
async def test_every_frame_becomes_the_record_that_the_log_announces(
    exchange_name: str, request_type: RequestType
) -> None:
    session = session_of(exchange_name, request_type)
    async with (
        SimulatedExchange(exchange_name, rate=500) as exchange,
        connect(url_of(exchange, request_type), max_queue=None) as connection,
    ):
        client, log = Client(session, connection), exchange.log
        await client.serve(lambda: client.confirmed and len(log) >= 200)
        exchange.sim.pause()
        await client.serve(lambda: len(client.records) + sum(session.ignored.values()) >= len(log))
    assert session.parse_failed == 0
    told = [e for e in log if e.kind != "repeat"]
    assert sum(session.ignored.values()) == len(log) - len(told)
    assert [(r.symbol, r.exchange_symbol, r.exchange_ts_ms) for r in client.records] == [
        (e.symbol, e.exchange_symbol, e.exchange_ts_ms) for e in told
    ]
    assert {e.request_type for e in exchange.log} == {request_type}


@pytest.mark.parametrize("exchange_name", EXCHANGES)
@pytest.mark.parametrize("request_type", list(RequestType))
async def test_rubbish_of_no_kind_becomes_a_record(exchange_name: str, request_type: RequestType) -> None:
    session = session_of(exchange_name, request_type)
    async with (
        SimulatedExchange(exchange_name, rate=500, huge_bytes=100_000) as exchange,
        connect(url_of(exchange, request_type), max_queue=None) as connection,
    ):
        client, log, stats = Client(session, connection), exchange.log, exchange.sim.stats
        await client.serve(lambda: client.confirmed and len(log) >= 100)
        exchange.sim.pause()
        await client.serve(lambda: len(client.records) + sum(session.ignored.values()) >= len(log))
        records = len(client.records)
        for kind in sorted(RUBBISH_KINDS, key=lambda kind: kind == "invalid_utf8"):
            frames, failed = session.frames, session.parse_failed
            assert exchange.sim.send_rubbish(1, kind) == 1
            if kind == "invalid_utf8" and not exchange.sim.venue.binary:
                with pytest.raises(ConnectionClosed) as closed:
                    await client.serve(lambda frames=frames: session.frames > frames)
                assert closed.value.sent is not None
                assert closed.value.sent.code == 1007
            else:
                await client.serve(lambda frames=frames: session.frames > frames)
                unreadable = kind not in ("unknown_type", "huge")
                assert session.parse_failed >= failed + unreadable, kind
        assert len(client.records) == records
        assert stats.rubbish_sent == len(RUBBISH_KINDS)


@pytest.mark.parametrize("exchange_name", EXCHANGES)
async def test_an_exchange_with_planned_rubbish_goes_on_and_all_of_it_is_found(exchange_name: str) -> None:
    session = session_of(exchange_name, RequestType.TRADE)
    async with (
        SimulatedExchange(exchange_name, rate=500, faults=FaultPlan(rubbish_every=10)) as exchange,
        connect(url_of(exchange, RequestType.TRADE), max_queue=None) as connection,
    ):
        client, log, stats = Client(session, connection), exchange.log, exchange.sim.stats
        await client.serve(lambda: stats.rubbish_sent >= 8)
        exchange.sim.pause()
        told = [entry for entry in log if entry.kind not in ("repeat", "rubbish")]
        await client.serve(lambda: len(client.records) >= len(told))
    assert session.parse_failed >= 6
    assert len(client.records) == len(told)


NOT_TOLD = {"upbit", "binance", "bithumb"}
"""They answer an unknown symbol with silence."""


@pytest.mark.parametrize("exchange_name", [name for name in EXCHANGES if name not in NOT_TOLD])
async def test_an_unknown_symbol_is_refused_alone(exchange_name: str) -> None:
    unknown = f"NOTHING-{SYMBOLS[exchange_name][0].partition('-')[2]}"
    session = session_of(exchange_name, RequestType.TICKER, unknown)
    async with (
        SimulatedExchange(exchange_name, rate=100) as exchange,
        connect(url_of(exchange, RequestType.TICKER), max_queue=None) as connection,
    ):
        client = Client(session, connection)
        await client.serve(lambda: unknown not in session.active_symbols and client.confirmed)
    assert session.active_symbols == SYMBOLS[exchange_name]
    refused = [notice for notice in client.notices if isinstance(notice, Refused)]
    assert [notice.symbols for notice in refused] == [(unknown,)]


@pytest.mark.parametrize("exchange_name", ["upbit", "binance"])
async def test_a_probe_is_answered_and_a_removed_symbol_ends(exchange_name: str) -> None:
    session = StreamSession(profile_of(exchange_name), RequestType.TICKER, 1, now_s=time.monotonic())
    async with (
        SimulatedExchange(exchange_name, rate=0) as exchange,
        connect(exchange.sim.url, max_queue=None) as client,
    ):
        session.subscribe([Symbol.parse(text) for text in SYMBOLS[exchange_name]], time.monotonic())
        session.unsubscribe(SYMBOLS[exchange_name][:1], time.monotonic())
        probe = profile_of(exchange_name).dialect(RequestType.TICKER, 2).probe()
        assert probe is not None
        messages = [*session.take_outbox(), probe]
        for message in messages:
            await client.send(message)
        # Upbit answers the probe alone, Binance every message; either way the last answer means all were taken.
        answers = 1 if exchange_name == "upbit" else len(messages)
        while session.controls < answers:
            session.receive(await client.recv(), 1)
        exchange.sim.set_rate(500)
        before = len(exchange.log)
        await until(lambda: len(exchange.log) >= before + 50)
    assert {e.symbol for e in exchange.log[before:]} == set(SYMBOLS[exchange_name][1:])
