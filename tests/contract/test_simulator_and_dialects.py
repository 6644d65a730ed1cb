"""Both sides of each protocol, written independently from the same documentation, meet over a real socket."""

import time
from typing import Any

import pytest
from websockets.asyncio.client import connect

from core.exchanges.table import profile_of
from core.identity import RequestType, Symbol
from core.session import StreamSession
from tests.simulated_exchange import SYMBOLS, SimulatedExchange
from tests.waiting import until


@pytest.mark.parametrize("exchange_name", ["upbit", "binance", "bybit", "okx", "huobi"])
@pytest.mark.parametrize("request_type", list(RequestType))
async def test_every_frame_becomes_the_record_that_the_log_announces(
    exchange_name: str, request_type: RequestType
) -> None:
    session = StreamSession(profile_of(exchange_name), request_type, 1, now_s=time.monotonic())
    records: list[Any] = []
    async with (
        SimulatedExchange(exchange_name, rate=500) as exchange,
        connect(exchange.sim.url, max_queue=None) as client,
    ):
        session.subscribe([Symbol.parse(text) for text in SYMBOLS[exchange_name]], time.monotonic())
        for message in session.take_outbox():
            await client.send(message)
        while exchange.sim.stats.frames_sent < 200:
            records += session.receive(await client.recv(), 1)
        exchange.sim.pause()
        sent = exchange.sim.stats.frames_sent
        while len(records) < sent and not session.parse_failed:
            records += session.receive(await client.recv(), 1)
    assert session.parse_failed == 0
    assert session.ignored == {}
    assert [(r.symbol, r.exchange_symbol, r.exchange_ts_ms) for r in records] == [
        (e.symbol, e.exchange_symbol, e.exchange_ts_ms) for e in exchange.log
    ]
    assert {e.request_type for e in exchange.log} == {request_type}


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
