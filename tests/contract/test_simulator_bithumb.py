"""The simulated Bithumb, from a client's side over loopback."""

import json

import pytest
from websockets.asyncio.client import connect

from infra.simulator.bithumb import _SHORT, _TRADE_SHORT
from tests.simulated_exchange import SimulatedExchange, ends, receive, silent, upbit_request
from tests.waiting import until

TICKER = frozenset(
    [
        "type",
        "code",
        "opening_price",
        "high_price",
        "low_price",
        "trade_price",
        "prev_closing_price",
        "change",
        "change_price",
        "signed_change_price",
        "change_rate",
        "signed_change_rate",
        "trade_volume",
        "acc_trade_volume",
        "acc_trade_volume_24h",
        "acc_trade_price",
        "acc_trade_price_24h",
        "trade_date",
        "trade_time",
        "trade_timestamp",
        "ask_bid",
        "acc_ask_volume",
        "acc_bid_volume",
        "highest_52_week_price",
        "highest_52_week_date",
        "lowest_52_week_price",
        "lowest_52_week_date",
        "market_state",
        "is_trading_suspended",
        "delisting_date",
        "market_warning",
        "timestamp",
        "stream_type",
    ]
)
TRADE = frozenset(
    [
        "type",
        "code",
        "trade_price",
        "trade_volume",
        "ask_bid",
        "prev_closing_price",
        "change",
        "change_price",
        "trade_date",
        "trade_time",
        "trade_timestamp",
        "sequential_id",
        "timestamp",
        "stream_type",
    ]
)
BOOK = frozenset(
    ["type", "code", "total_ask_size", "total_bid_size", "orderbook_units", "level", "timestamp", "stream_type"]
)


@pytest.mark.parametrize(("kind", "fields"), [("ticker", TICKER), ("trade", TRADE), ("orderbook", BOOK)])
async def test_a_snapshot_comes_then_updates_in_binary_frames(kind: str, fields: frozenset[str]) -> None:
    async with SimulatedExchange("bithumb") as exchange, connect(exchange.sim.url) as client:
        await client.send(upbit_request({"type": kind, "codes": ["KRW-BTC", "KRW-ETH", "KRW-NOPE"]}))
        first = await client.recv()
        assert isinstance(first, bytes)
        frames = [json.loads(first), *[await receive(client) for _ in range(19)]]
    assert [(f["code"], f["stream_type"]) for f in frames[:2]] == [
        ("KRW-BTC", "SNAPSHOT"),
        ("KRW-ETH", "SNAPSHOT"),
    ]
    assert {f["stream_type"] for f in frames[2:]} == {"REALTIME"}
    assert all(set(f) == fields for f in frames)


async def test_an_order_book_is_whole_sorted_and_dated_in_microseconds() -> None:
    async with SimulatedExchange("bithumb") as exchange, connect(exchange.sim.url) as client:
        await client.send(upbit_request({"type": "orderbook", "codes": ["KRW-BTC", "KRW-ETH.3", "KRW-XRP.30"]}))
        frames = [await receive(client) for _ in range(30)]
        log = exchange.log
        assert {f["code"]: len(f["orderbook_units"]) for f in frames} == {
            "KRW-BTC": 15,
            "KRW-ETH": 3,
            "KRW-XRP": 15,
        }
        for frame, entry in zip(frames, log, strict=False):
            asks = [unit["ask_price"] for unit in frame["orderbook_units"]]
            bids = [unit["bid_price"] for unit in frame["orderbook_units"]]
            assert (asks, bids) == (sorted(set(asks)), sorted(set(bids), reverse=True))
            assert bids[0] < asks[0]
            assert frame["timestamp"] // 1000 == entry.exchange_ts_ms


@pytest.mark.parametrize("kind", ["ticker", "trade", "orderbook"])
async def test_the_simple_format_has_short_names(kind: str) -> None:
    wanted = {"type": kind, "codes": ["KRW-BTC"], "isOnlySnapshot": True}
    async with SimulatedExchange("bithumb", rate=0) as exchange, connect(exchange.sim.url) as client:
        frames = []
        for fmt in ("DEFAULT", "SIMPLE"):
            await client.send(upbit_request(wanted, fmt=fmt))
            frames.append(await receive(client))
        assert await silent(client)
    short = _TRADE_SHORT if kind == "trade" else _SHORT
    default, simple = frames
    if kind == "orderbook":
        default["orderbook_units"] = [{short[k]: v for k, v in u.items()} for u in default["orderbook_units"]]
    assert {short[name]: value for name, value in default.items()} == simple


async def test_a_later_request_takes_the_place_of_the_earlier_one() -> None:
    async with SimulatedExchange("bithumb") as exchange, connect(exchange.sim.url, max_queue=None) as client:
        await client.send(upbit_request({"type": "ticker", "codes": ["KRW-BTC"]}))
        await until(lambda: exchange.sim.stats.frames_sent >= 5)
        await client.send(upbit_request({"type": "ticker", "codes": ["KRW-ETH"], "isOnlyRealtime": True}))
        await until(lambda: exchange.sim.stats.frames_by_symbol.get("ETH-KRW", 0) >= 5)
        before = exchange.sim.stats.frames_by_symbol["BTC-KRW"]
        await until(lambda: exchange.sim.stats.frames_by_symbol["ETH-KRW"] >= 15)
        assert exchange.sim.stats.frames_by_symbol["BTC-KRW"] == before
        assert next(e.kind for e in exchange.log if e.symbol == "ETH-KRW") == "realtime"


async def test_a_ping_is_answered_and_unknown_codes_are_silent() -> None:
    async with SimulatedExchange("bithumb") as exchange, connect(exchange.sim.url) as client:
        await client.send(upbit_request({"type": "ticker", "codes": ["KRW-NOPE", "krw-btc", "BTC-KRW"]}))
        assert await silent(client)
        await client.send("PING")
        assert await receive(client) == {"status": "UP"}


@pytest.mark.parametrize(
    ("request_text", "name"),
    [
        ("hello", "WRONG_FORMAT"),
        ('{"type":"ticker"}', "WRONG_FORMAT"),
        ('[{"ticket":"x"}]', "WRONG_FORMAT"),
        ('[{"type":"ticker","codes":["KRW-BTC"]}]', "NO_TICKET"),
        (upbit_request({"type": "weather", "codes": ["KRW-BTC"]}), "INVALID_PARAM"),
        (upbit_request({"type": "ticker", "codes": []}), "INVALID_PARAM"),
    ],
)
async def test_a_wrong_request_is_told_and_ends_the_connection(request_text: str, name: str) -> None:
    async with SimulatedExchange("bithumb") as exchange, connect(exchange.sim.url) as client:
        await client.send(request_text)
        assert (await receive(client))["error"]["name"] == name
        assert await ends(client) == (1000, "")
