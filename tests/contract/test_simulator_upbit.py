"""The simulated Upbit, from a client's side over loopback."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from infra.simulator.upbit import UpbitVenue
from tests.simulated_exchange import SimulatedExchange, ends, receive, silent, upbit_request
from tests.waiting import until

TICKER = {
    "type": "ty", "code": "cd", "opening_price": "op", "high_price": "hp", "low_price": "lp",
    "trade_price": "tp", "prev_closing_price": "pcp", "change": "c", "change_price": "cp",
    "signed_change_price": "scp", "change_rate": "cr", "signed_change_rate": "scr", "trade_volume": "tv",
    "acc_trade_volume": "atv", "acc_trade_volume_24h": "atv24h", "acc_trade_price": "atp",
    "acc_trade_price_24h": "atp24h", "trade_date": "tdt", "trade_time": "ttm", "trade_timestamp": "ttms",
    "ask_bid": "ab", "acc_ask_volume": "aav", "acc_bid_volume": "abv", "highest_52_week_price": "h52wp",
    "highest_52_week_date": "h52wdt", "lowest_52_week_price": "l52wp", "lowest_52_week_date": "l52wdt",
    "market_state": "ms", "is_trading_suspended": "its", "delisting_date": "dd", "market_warning": "mw",
    "timestamp": "tms", "stream_type": "st",
}  # fmt: skip
TRADE = {
    "type": "ty", "code": "cd", "trade_price": "tp", "trade_volume": "tv", "ask_bid": "ab",
    "prev_closing_price": "pcp", "change": "c", "change_price": "cp", "trade_date": "td", "trade_time": "ttm",
    "trade_timestamp": "ttms", "timestamp": "tms", "sequential_id": "sid", "best_ask_price": "bap",
    "best_ask_size": "bas", "best_bid_price": "bbp", "best_bid_size": "bbs", "stream_type": "st",
}  # fmt: skip
BOOK = {
    "type": "ty", "code": "cd", "total_ask_size": "tas", "total_bid_size": "tbs", "orderbook_units": "obu",
    "timestamp": "tms", "level": "lv", "stream_type": "st",
}  # fmt: skip
FIELDS = {"ticker": TICKER, "trade": TRADE, "orderbook": BOOK}
UNIT = {"ask_price": "ap", "bid_price": "bp", "ask_size": "as", "bid_size": "bs"}


async def test_a_ticker_comes_as_snapshot_then_updates_in_binary_frames() -> None:
    async with SimulatedExchange("upbit") as exchange, connect(exchange.sim.url) as client:
        await client.send(upbit_request({"type": "ticker", "codes": ["KRW-BTC", "KRW-ETH"]}))
        first = await client.recv()
        assert isinstance(first, bytes)
        frames = [json.loads(first), *[await receive(client) for _ in range(39)]]
    snapshots = [(f["code"], f["stream_type"]) for f in frames[:2]]
    assert snapshots == [("KRW-BTC", "SNAPSHOT"), ("KRW-ETH", "SNAPSHOT")]
    assert {f["stream_type"] for f in frames[2:]} == {"REALTIME"}
    for frame in frames:
        assert set(frame) == set(TICKER)
        assert frame["low_price"] <= frame["trade_price"] <= frame["high_price"]
        assert frame["signed_change_price"] == frame["trade_price"] - frame["prev_closing_price"]
        assert (
            frame["change"]
            == ("EVEN", "RISE", "FALL")[
                (frame["signed_change_price"] > 0) + 2 * (frame["signed_change_price"] < 0)
            ]
        )
        assert frame["acc_ask_volume"] + frame["acc_bid_volume"] == pytest.approx(frame["acc_trade_volume"])
        assert frame["trade_timestamp"] < frame["timestamp"]
    for code in ("KRW-BTC", "KRW-ETH"):
        times = [f["timestamp"] for f in frames if f["code"] == code]
        assert len(times) >= 10
        assert times == sorted(set(times))


@pytest.mark.parametrize("kind", ["ticker", "trade", "orderbook"])
async def test_the_simple_format_has_the_same_fields_under_short_names(kind: str) -> None:
    wanted = {"type": kind, "codes": ["KRW-BTC"], "is_only_snapshot": True}
    async with SimulatedExchange("upbit", rate=0) as exchange, connect(exchange.sim.url) as client:
        frames = []
        for fmt in ("DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST"):
            await client.send(upbit_request(wanted, fmt=fmt))
            frames.append(await receive(client))
    default, simple, listed, simple_listed = frames
    assert set(default) == set(FIELDS[kind])
    if kind == "orderbook":
        for long, short in zip(default["orderbook_units"], simple["obu"], strict=True):
            assert {UNIT[name]: value for name, value in long.items()} == short
        default = {**default, "orderbook_units": simple["obu"]}
    assert {FIELDS[kind][name]: value for name, value in default.items()} == simple
    assert [frames[0]] == listed
    assert [simple] == simple_listed


async def test_an_order_book_is_whole_sorted_and_of_the_asked_depth() -> None:
    codes = ["KRW-BTC", "KRW-ETH.5", "KRW-XRP.7"]
    async with SimulatedExchange("upbit") as exchange, connect(exchange.sim.url) as client:
        await client.send(upbit_request({"type": "orderbook", "codes": codes}))
        frames = [await receive(client) for _ in range(60)]
    depths = {f["code"]: len(f["orderbook_units"]) for f in frames}
    assert depths == {"KRW-BTC": 30, "KRW-ETH": 5, "KRW-XRP": 30}
    for frame in frames:
        units = frame["orderbook_units"]
        asks, bids = [u["ask_price"] for u in units], [u["bid_price"] for u in units]
        assert asks == sorted(set(asks))
        assert bids == sorted(set(bids), reverse=True)
        assert bids[0] < asks[0]
        assert sum(u["ask_size"] for u in units) == pytest.approx(frame["total_ask_size"])
        assert sum(u["bid_size"] for u in units) == pytest.approx(frame["total_bid_size"])


async def test_trades_are_numbered_and_dated() -> None:
    async with SimulatedExchange("upbit") as exchange, connect(exchange.sim.url) as client:
        await client.send(upbit_request({"type": "trade", "codes": ["KRW-BTC"]}))
        frames = [await receive(client) for _ in range(40)]
    ids = [f["sequential_id"] for f in frames]
    assert ids == sorted(set(ids))
    assert all(f["trade_timestamp"] < f["timestamp"] for f in frames)
    assert all(f["best_bid_price"] < f["best_ask_price"] for f in frames)
    assert {f["ask_bid"] for f in frames} == {"ASK", "BID"}


async def test_the_log_is_what_the_client_received() -> None:
    received: list[Any] = []
    async with SimulatedExchange("upbit") as exchange, connect(exchange.sim.url) as client:
        kinds = ("ticker", "trade", "orderbook")
        await client.send(upbit_request(*({"type": k, "codes": ["KRW-BTC", "KRW-XRP"]} for k in kinds)))
        await until(lambda: exchange.sim.stats.frames_sent >= 150)
        exchange.sim.pause()
        while len(received) < exchange.sim.stats.frames_sent:
            received.append(await receive(client))
        assert await silent(client)
    assert [(e.request_type, e.exchange_symbol, e.exchange_ts_ms, e.kind.upper()) for e in exchange.log] == [
        (f["type"], f["code"], f["trade_timestamp" if f["type"] == "trade" else "timestamp"], f["stream_type"])
        for f in received
    ]
    assert exchange.sim.stats.frames_by_symbol.keys() == {"BTC-KRW", "XRP-KRW"}
    assert sum(exchange.sim.stats.frames_by_symbol.values()) == len(received)
    updates = [(e.request_type, e.symbol, e.exchange_ts_ms) for e in exchange.log if e.kind == "realtime"]
    assert len(updates) == len(set(updates))
    for e in exchange.log:
        numbers = [o.n for o in exchange.log if (o.request_type, o.symbol) == (e.request_type, e.symbol)]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_a_later_snapshot_repeats_the_last_update() -> None:
    wanted = {"type": "ticker", "codes": ["KRW-BTC"]}
    async with SimulatedExchange("upbit") as exchange, connect(exchange.sim.url) as client:
        await client.send(upbit_request(wanted))
        await until(lambda: exchange.sim.stats.frames_sent >= 20)
        exchange.sim.pause()
        frames = [await receive(client) for _ in range(exchange.sim.stats.frames_sent)]
        await client.send(upbit_request(wanted, ticket="again"))
        repeated = await receive(client)
    assert repeated == {**frames[-1], "stream_type": "SNAPSHOT"}
    assert exchange.log[-1].n == exchange.log[-2].n
    assert exchange.log[-1].kind == "snapshot"


async def test_snapshot_only_and_realtime_only() -> None:
    async with SimulatedExchange("upbit") as exchange, connect(exchange.sim.url) as client:
        await client.send(upbit_request({"type": "ticker", "codes": ["KRW-BTC"], "is_only_snapshot": True}))
        assert (await receive(client))["stream_type"] == "SNAPSHOT"
        assert await silent(client)
        await client.send(upbit_request({"type": "ticker", "codes": ["KRW-BTC"], "is_only_realtime": True}))
        assert {(await receive(client))["stream_type"] for _ in range(10)} == {"REALTIME"}


async def test_a_new_request_takes_the_place_of_the_former_one() -> None:
    async with SimulatedExchange("upbit") as exchange, connect(exchange.sim.url) as client:
        await client.send(upbit_request({"type": "ticker", "codes": ["KRW-BTC"]}))
        await receive(client)
        await client.send(upbit_request({"type": "trade", "codes": ["KRW-ETH"]}))
        while (frame := await receive(client))["type"] == "ticker":
            pass
        assert frame["stream_type"] == "SNAPSHOT"
        assert {(f["type"], f["code"]) for f in [await receive(client) for _ in range(20)]} == {
            ("trade", "KRW-ETH")
        }


async def test_unknown_codes_are_met_with_silence_and_the_others_come() -> None:
    async with SimulatedExchange("upbit") as exchange, connect(exchange.sim.url) as client:
        codes = ["KRW-NOPE", "krw-btc", "BTC-KRW", "KRW-BTC.5"]
        await client.send(upbit_request({"type": "ticker", "codes": codes}))
        assert await silent(client)
        await client.send(upbit_request({"type": "ticker", "codes": ["KRW-NOPE", "KRW-ETH"]}))
        assert {(await receive(client))["code"] for _ in range(10)} == {"KRW-ETH"}


GOOD = {"type": "ticker", "codes": ["KRW-BTC"]}


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("{", "WRONG_FORMAT"),
        ("hello", "WRONG_FORMAT"),
        (b"\xff\xfe", "WRONG_FORMAT"),
        ('{"ticket":"x"}', "WRONG_FORMAT"),
        ('[{"ticket":"x"},"ticker"]', "WRONG_FORMAT"),
        ("[" * 10_000, "WRONG_FORMAT"),
        (json.dumps([GOOD]), "NO_TICKET"),
        (json.dumps([{"ticket": ""}, GOOD]), "NO_TICKET"),
        ("[]", "NO_TICKET"),
        ('[{"ticket":"x"}]', "NO_TYPE"),
        (upbit_request({"codes": ["KRW-BTC"]}), "NO_TYPE"),
        (upbit_request({"type": "ticker"}), "NO_CODES"),
        (upbit_request({"type": "ticker", "codes": []}), "NO_CODES"),
        (upbit_request({"type": "weather", "codes": ["KRW-BTC"]}), "INVALID_PARAM"),
        (upbit_request({"type": 5, "codes": ["KRW-BTC"]}), "INVALID_PARAM"),
        (upbit_request({"type": "ticker", "codes": "KRW-BTC"}), "INVALID_PARAM"),
        (upbit_request({"type": "ticker", "codes": [1]}), "INVALID_PARAM"),
        (upbit_request({**GOOD, "is_only_snapshot": "yes"}), "INVALID_PARAM"),
        (upbit_request({"type": "orderbook", "codes": ["KRW-BTC"], "level": "ten"}), "INVALID_PARAM"),
        (upbit_request(GOOD, fmt="XML"), "INVALID_PARAM"),
        (json.dumps([{"ticket": "x"}, {"method": "DELETE_ALL"}]), "INVALID_PARAM"),
    ],
)
async def test_a_wrong_request_is_refused_by_name_and_changes_nothing(message: Any, name: str) -> None:
    async with SimulatedExchange("upbit") as exchange, connect(exchange.sim.url) as client:
        await client.send(upbit_request({"type": "trade", "codes": ["KRW-ETH"]}))
        await receive(client)
        await client.send(message)
        while "error" not in (frame := await receive(client)):
            assert frame["code"] == "KRW-ETH"
        assert frame["error"]["name"] == name
        assert frame["error"]["message"]
        assert (await receive(client))["code"] == "KRW-ETH"


async def test_the_text_ping_is_answered_in_text_and_the_websocket_ping_by_a_pong() -> None:
    async with SimulatedExchange("upbit") as exchange, connect(exchange.sim.url) as client:
        await client.send("PING")
        async with asyncio.timeout(5):
            assert await client.recv() == '{"status":"UP"}'
            await (await client.ping())


async def test_subscriptions_can_be_listed_and_the_format_follows_that_request() -> None:
    async with SimulatedExchange("upbit", rate=0) as exchange, connect(exchange.sim.url) as client:
        await client.send(upbit_request(GOOD, {"type": "orderbook", "codes": ["KRW-ETH.5"]}, fmt="SIMPLE"))
        assert [(await receive(client))["ty"] for _ in range(2)] == ["ticker", "orderbook"]
        await client.send(json.dumps([{"ticket": "me"}, {"method": "LIST_SUBSCRIPTIONS"}]))
        assert await receive(client) == {
            "method": "LIST_SUBSCRIPTIONS",
            "result": [
                {"type": "ticker", "codes": ["KRW-BTC"]},
                {"type": "orderbook", "codes": ["KRW-ETH.5"], "level": 0},
            ],
            "ticket": "me",
        }
        exchange.sim.set_rate(100)
        assert {(await receive(client))["type"] for _ in range(4)} == {"ticker", "orderbook"}


async def test_more_than_five_messages_a_second_end_the_connection() -> None:
    async with SimulatedExchange("upbit") as exchange, connect(exchange.sim.url) as client:
        for _ in range(5):
            await client.send("PING")
        for _ in range(5):
            await receive(client)
        await client.send("PING")
        assert await ends(client) == (1008, "Too many requests")


async def test_an_idle_connection_is_closed_and_a_ping_keeps_it() -> None:
    limits = msgspec.structs.replace(UpbitVenue.limits, idle_timeout_s=0.6)
    async with (
        SimulatedExchange("upbit", limits=limits) as exchange,
        connect(exchange.sim.url) as idle,
        connect(exchange.sim.url) as pinging,
    ):
        ended = asyncio.create_task(ends(idle))
        while not ended.done():
            await (await pinging.ping())
            await asyncio.sleep(0.05)
        assert await ended == (1000, "Idle timeout")
        await (await pinging.ping())


async def test_the_documented_idle_timeout_is_two_minutes() -> None:
    assert UpbitVenue.limits.idle_timeout_s == 120


async def test_another_path_does_not_exist() -> None:
    async with SimulatedExchange("upbit") as exchange:
        with pytest.raises(InvalidStatus) as refused:
            await connect(exchange.sim.url.replace("/websocket/v1", "/websocket/v9"))
        assert refused.value.response.status_code == 404


async def test_too_many_connects_are_refused_where_that_is_enforced() -> None:
    limits = msgspec.structs.replace(UpbitVenue.limits, max_connects=(2, 60.0))
    async with SimulatedExchange("upbit", limits=limits) as exchange:
        for _ in range(2):
            async with connect(exchange.sim.url):
                pass
        with pytest.raises(InvalidStatus) as refused:
            await connect(exchange.sim.url)
        assert refused.value.response.status_code == 429
        assert exchange.sim.stats.refused == 1


async def test_stop_closes_with_going_away() -> None:
    async with SimulatedExchange("upbit") as exchange:
        client = await connect(exchange.sim.url)
    with pytest.raises(ConnectionClosed):
        await client.recv()
    assert client.close_code == 1001
