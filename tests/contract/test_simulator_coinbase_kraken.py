"""What the simulated Coinbase Exchange and Kraken say beside market data, over a real socket."""

import json
import zlib
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from infra.simulator.coinbase import CoinbaseVenue
from infra.simulator.venue import Feed
from tests.simulated_exchange import SYMBOLS, SimulatedExchange, ends, receive


async def first(client: ClientConnection, **fields: Any) -> Any:
    """The first frame that has these fields."""
    while True:
        frame = await receive(client)
        if all(frame.get(name) == value for name, value in fields.items()):
            return frame


async def test_coinbase_heartbeats_of_each_product_come_every_second() -> None:
    async with SimulatedExchange("coinbase", rate=0) as exchange, connect(exchange.sim.url) as client:
        request = {"type": "subscribe", "product_ids": SYMBOLS["coinbase"], "channels": ["heartbeat"]}
        await client.send(json.dumps(request))
        answer = await receive(client)
        assert [(c["name"], c["product_ids"]) for c in answer["channels"]] == [
            ("heartbeat", SYMBOLS["coinbase"])
        ]
        beats = [await receive(client) for _ in range(2 * len(SYMBOLS["coinbase"]))]
    assert [beat["product_id"] for beat in beats] == SYMBOLS["coinbase"] * 2
    assert {beat["type"] for beat in beats} == {"heartbeat"}


@pytest.mark.parametrize(
    ("channel", "product", "reason"),
    [
        ("ticker", "FOO-USD", "FOO-USD is not a valid product"),
        ("weather", "BTC-USD", "weather is not a valid channel"),
        ("full", "BTC-USD", "full requires authentication"),
    ],
)
async def test_coinbase_refuses_a_request_as_a_whole(channel: str, product: str, reason: str) -> None:
    async with SimulatedExchange("coinbase", rate=0) as exchange, connect(exchange.sim.url) as client:
        request = {"type": "subscribe", "product_ids": ["ETH-USD", product], "channels": [channel]}
        await client.send(json.dumps(request))
        assert await receive(client) == {"type": "error", "message": "Failed to subscribe", "reason": reason}
        await client.send(
            json.dumps({"type": "unsubscribe", "product_ids": ["ETH-USD"], "channels": ["ticker"]})
        )
        assert await receive(client) == {"type": "subscriptions", "channels": []}


def test_coinbase_numbers_what_matches_tells_without_a_gap() -> None:
    venue = CoinbaseVenue(["BTC-USD"], seed=1)
    turns = ["ticker", "ticker", "matches", "ticker", "ticker", "ticker", "level2_batch", "matches", "matches"]
    updates = [venue.advance(Feed(channel, "BTC-USD"), 1_000) for channel in turns * 20]
    ids = [json.loads(u.payload(None))["trade_id"] for u in updates if u.feed.channel == "matches"]
    assert ids == list(range(ids[0], ids[0] + 60))
    times = [u.identity.exchange_ts_ms for u in updates if u.feed.channel == "ticker"]
    assert len(set(times)) == len(times) == 100


async def test_coinbase_ends_a_connection_that_does_not_subscribe() -> None:
    async with SimulatedExchange("coinbase", rate=0) as exchange, connect(exchange.sim.url) as client:
        assert await ends(client, within_s=10) == (1008, "No subscription within 5 seconds")


async def test_kraken_greets_answers_pings_and_keeps_its_heart_beating() -> None:
    async with SimulatedExchange("kraken", rate=0) as exchange, connect(exchange.sim.url) as client:
        assert (await first(client, channel="status"))["data"][0]["system"] == "online"
        await client.send(json.dumps({"method": "ping", "req_id": 101}))
        assert (await first(client, method="pong"))["req_id"] == 101
        params = {"channel": "trade", "symbol": ["FOO/USD", "BTC/USD"]}
        await client.send(json.dumps({"method": "subscribe", "params": params, "req_id": 7}))
        refused = await first(client, success=False)
        assert (refused["error"], refused["symbol"]) == ("Currency pair not supported FOO/USD", "FOO/USD")
        assert (await first(client, success=True))["result"]["symbol"] == "BTC/USD"
        for _ in range(2):
            await first(client, channel="heartbeat")


async def test_a_kraken_book_cut_to_its_depth_keeps_the_checksum() -> None:
    sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
    async with SimulatedExchange("kraken", rate=500) as exchange, connect(exchange.sim.url) as client:
        params = {"channel": "book", "symbol": ["1INCH/USD"], "depth": 10}
        await client.send(json.dumps({"method": "subscribe", "params": params}))
        for _ in range(300):
            frame = json.loads(await client.recv(), parse_float=Decimal)
            if frame.get("channel") != "book":
                continue
            (data,) = frame["data"]
            for name, side in sides.items():
                side |= {level["price"]: level["qty"] for level in data[name]}
                kept = sorted((p for p in side if side[p]), reverse=name == "bids")[:10]
                sides[name] = {price: side[price] for price in kept}
            numbers = [n for name in ("asks", "bids") for level in sides[name].items() for n in level]
            digits = "".join(f"{n:f}".replace(".", "").lstrip("0") for n in numbers)
            assert zlib.crc32(digits.encode()) == data["checksum"]
    assert len(sides["bids"]) == 10
