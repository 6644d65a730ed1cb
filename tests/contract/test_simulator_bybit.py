"""The simulated Bybit, from a client's side over loopback."""

import json
from typing import Any

from websockets.asyncio.client import connect

from infra.simulator.bybit_requests import BybitConversation
from infra.simulator.venue import Answer
from tests.simulated_exchange import SimulatedExchange, receive, silent

TICKER = (
    "symbol lastPrice highPrice24h lowPrice24h prevPrice24h volume24h turnover24h price24hPcnt usdIndexPrice"
)


def request(op: str, *topics: str) -> str:
    return json.dumps({"op": op, "args": list(topics), "req_id": "r1"})


async def test_topics_are_acknowledged_then_come_in_text_frames() -> None:
    async with SimulatedExchange("bybit") as exchange, connect(exchange.sim.url) as client:
        await client.send(request("subscribe", "tickers.BTCUSDT", "publicTrade.ETHUSDT"))
        answer = await receive(client)
        assert answer == {
            "success": True,
            "ret_msg": "subscribe",
            "conn_id": answer["conn_id"],
            "req_id": "r1",
            "op": "subscribe",
        }
        frames = [await receive(client) for _ in range(20)]
    assert frames[0]["topic"] == "tickers.BTCUSDT"
    for frame in frames:
        assert frame["type"] == "snapshot"
        if frame["topic"] == "tickers.BTCUSDT":
            assert set(frame["data"]) == set(TICKER.split())
        else:
            (trade,) = frame["data"]
            assert set(trade) == set("i T p v S seq s BT RPI".split())  # noqa: SIM905
            assert trade["S"] in ("Buy", "Sell")
            assert trade["T"] < frame["ts"]


def applied(book: dict[str, dict[float, float]], data: dict[str, Any]) -> None:
    for side in "ba":
        for price, quantity in data[side]:
            book[side][float(price)] = float(quantity)
            if not float(quantity):
                del book[side][float(price)]


async def test_a_book_is_a_snapshot_and_an_unbroken_chain_to_its_depth() -> None:
    async with SimulatedExchange("bybit", rate=2_000) as exchange, connect(exchange.sim.url) as client:
        await client.send(request("subscribe", "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"))
        await receive(client)
        frames = [await receive(client) for _ in range(400)]
        await client.send(request("unsubscribe", "orderbook.50.BTCUSDT"))
        while (await receive(client)).get("op") != "unsubscribe":
            pass
        await client.send(request("subscribe", "orderbook.50.BTCUSDT"))
        while "b" not in (again := await receive(client)).get("data", {}):
            pass
    books = [frame for frame in frames if frame["topic"].startswith("orderbook")]
    assert [frame["type"] for frame in books] == ["snapshot"] + ["delta"] * (len(books) - 1)
    book: dict[str, dict[float, float]] = {"b": {}, "a": {}}
    for before, frame in zip([None, *books], books, strict=False):
        assert before is None or frame["data"]["u"] == before["data"]["u"] + 1
        applied(book, frame["data"])
        assert max(book["b"]) < min(book["a"])
        assert len(book["b"]) == len(book["a"]) == 30
    assert again["type"] == "snapshot"


async def test_depth_1_is_a_snapshot_every_time() -> None:
    async with SimulatedExchange("bybit") as exchange, connect(exchange.sim.url) as client:
        await client.send(request("subscribe", "orderbook.1.BTCUSDT"))
        await receive(client)
        frames = [await receive(client) for _ in range(20)]
    assert {frame["type"] for frame in frames} == {"snapshot"}
    assert {len(frame["data"]["b"]) for frame in frames} == {1}


async def test_refusals() -> None:
    async with SimulatedExchange("bybit") as exchange, connect(exchange.sim.url) as client:
        for message, reason in (
            (
                request("subscribe", "tickers.BTCUSDT", "tickers.NOPE"),
                "error:handler not found,topic:tickers.NOPE",
            ),
            (request("subscribe", "weather.BTCUSDT"), "error:handler not found,topic:weather.BTCUSDT"),
            (request("subscribe", *(f"tickers.C{i}USDT" for i in range(11))), "args size >10"),
            (request("subscribe"), "error:args must be a list of topics"),
            (request("dance", "tickers.BTCUSDT"), "error:unknown op,op:dance"),
            ("{", "error:invalid json"),
        ):
            await client.send(message)
            answer = await receive(client)
            assert (answer["success"], answer["ret_msg"]) == (False, reason)
        assert await silent(client)
        await client.send(request("subscribe", "publicTrade.BTCUSDT"))
        await client.send(request("subscribe", "publicTrade.BTCUSDT"))
        answers = [frame for frame in [await receive(client) for _ in range(20)] if "op" in frame]
    assert [(a["success"], a["ret_msg"]) for a in answers] == [
        (True, "subscribe"),
        (False, "error:already subscribed,topic:publicTrade.BTCUSDT"),
    ]


async def test_a_ping_is_answered() -> None:
    async with SimulatedExchange("bybit") as exchange, connect(exchange.sim.url) as client:
        await client.send('{"req_id":"100001","op":"ping"}')
        answer = await receive(client)
    assert (answer["op"], answer["ret_msg"], answer["success"], answer["req_id"]) == (
        "ping",
        "pong",
        True,
        "100001",
    )


def test_topics_of_a_connection_are_bounded_in_characters() -> None:
    symbols = [f"C{number:017d}USDT" for number in range(1000)]
    talk = BybitConversation(frozenset(symbols), "c")
    refused = 0
    for start in range(0, 1000, 10):
        topics = [f"tickers.{symbol}" for symbol in symbols[start : start + 10]]
        answer = talk.receive(request("subscribe", *topics), 0.0)[0]
        assert isinstance(answer, Answer)
        refused += not json.loads(answer.text)["success"]
    assert sum(len(f"tickers.{feed.exchange_symbol}") for feed in talk.feeds) <= 21_000
    assert refused == 30
