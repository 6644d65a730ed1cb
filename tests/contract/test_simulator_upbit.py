"""The simulated Upbit, seen from a client's side over loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from infra.simulator.log import FrameLogEntry
from infra.simulator.server import ExchangeSimulator

TICKER_FIELDS = {
    "type", "code", "opening_price", "high_price", "low_price", "trade_price", "prev_closing_price", "change",
    "change_price", "signed_change_price", "change_rate", "signed_change_rate", "trade_volume",
    "acc_trade_volume", "acc_trade_volume_24h", "acc_trade_price", "acc_trade_price_24h", "trade_date",
    "trade_time", "trade_timestamp", "ask_bid", "acc_ask_volume", "acc_bid_volume", "highest_52_week_price",
    "highest_52_week_date", "lowest_52_week_price", "lowest_52_week_date", "market_state",
    "is_trading_suspended", "delisting_date", "market_warning", "timestamp", "stream_type",
}  # fmt: skip
TRADE_FIELDS = {
    "type", "code", "trade_price", "trade_volume", "ask_bid", "prev_closing_price", "change", "change_price",
    "trade_date", "trade_time", "trade_timestamp", "timestamp", "sequential_id", "best_ask_price",
    "best_ask_size", "best_bid_price", "best_bid_size", "stream_type",
}  # fmt: skip
BOOK_FIELDS = {
    "type", "code", "total_ask_size", "total_bid_size", "orderbook_units", "timestamp", "level", "stream_type",
}  # fmt: skip


class Exchange:
    """A simulator with its log in memory."""

    def __init__(self, **options: Any) -> None:
        self.log: list[FrameLogEntry] = []
        options = {"rate": 200.0, "seed": 7, "symbols": ["BTC-KRW", "ETH-KRW", "XRP-KRW"], **options}
        self.sim = ExchangeSimulator("upbit", log=self.log.append, **options)


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    running = Exchange()
    async with running.sim:
        yield running


def request(*types: dict[str, Any], fmt: str | None = None) -> str:
    parts: list[dict[str, Any]] = [{"ticket": "test"}, *types]
    return json.dumps(parts if fmt is None else [*parts, {"format": fmt}])


async def receive(client: ClientConnection, within_s: float = 5.0) -> Any:
    async with asyncio.timeout(within_s):
        return json.loads(await client.recv())


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - counters of the simulator, which has no event for each
            await asyncio.sleep(0.01)


async def test_a_ticker_comes_as_snapshot_then_updates_in_binary_frames(exchange: Exchange) -> None:
    async with connect(exchange.sim.url) as client:
        await client.send(request({"type": "ticker", "codes": ["KRW-BTC", "KRW-ETH"]}))
        first = await client.recv()
        assert isinstance(first, bytes)
        frames = [json.loads(first), *[await receive(client) for _ in range(29)]]
    assert [(f["code"], f["stream_type"]) for f in frames[:2]] == [
        ("KRW-BTC", "SNAPSHOT"),
        ("KRW-ETH", "SNAPSHOT"),
    ]
    assert {f["stream_type"] for f in frames[2:]} == {"REALTIME"}
    for frame in frames:
        assert set(frame) == TICKER_FIELDS
        assert frame["low_price"] <= frame["trade_price"] <= frame["high_price"]
        assert frame["signed_change_price"] == frame["trade_price"] - frame["prev_closing_price"]
        assert abs(frame["acc_ask_volume"] + frame["acc_bid_volume"] - frame["acc_trade_volume"]) < 1e-6
    for code in ("KRW-BTC", "KRW-ETH"):
        times = [f["timestamp"] for f in frames if f["code"] == code]
        assert times == sorted(set(times))
        assert len(times) >= 10


async def test_the_log_is_what_the_client_received(exchange: Exchange) -> None:
    received = []
    async with connect(exchange.sim.url) as client:
        types = ({"type": kind, "codes": ["KRW-BTC", "KRW-XRP"]} for kind in ("ticker", "trade", "orderbook"))
        await client.send(request(*types))
        await until(lambda: exchange.sim.stats.frames_sent >= 150)
        exchange.sim.pause()
        while len(received) < exchange.sim.stats.frames_sent:
            received.append(await receive(client))
        with pytest.raises(TimeoutError):
            await receive(client, 0.1)
    logged = [(e.request_type, e.exchange_symbol, e.exchange_ts_ms, e.kind.upper()) for e in exchange.log]
    assert logged == [
        (f["type"], f["code"], f["trade_timestamp" if f["type"] == "trade" else "timestamp"], f["stream_type"])
        for f in received
    ]
    assert {e.symbol for e in exchange.log} == {"BTC-KRW", "XRP-KRW"}
    updates = [(e.request_type, e.symbol, e.exchange_ts_ms) for e in exchange.log if e.kind == "realtime"]
    assert len(updates) == len(set(updates))
