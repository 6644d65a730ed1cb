"""The simulated Coinone, from a client's side over loopback."""

import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from infra.simulator.coinone import _SHORT
from infra.simulator.coinone_requests import CoinoneConversation
from infra.simulator.venue import Close
from tests.simulated_exchange import SimulatedExchange, coinone_request, receive, silent

FIELDS = {
    "ORDERBOOK": {"quote_currency", "target_currency", "timestamp", "id", "asks", "bids"},
    "TRADE": {"quote_currency", "target_currency", "timestamp", "id", "price", "qty", "is_seller_maker"},
    "TICKER": set(_SHORT)
    - {"response_type", "channel", "data", "asks", "bids", "price", "qty", "is_seller_maker"},
}


async def greeted(client: ClientConnection) -> None:
    greeting = await receive(client)
    assert greeting["response_type"] == "CONNECTED"
    assert len(greeting["data"]["session_id"]) == 36


def subscribed(channel: str, target: str, quote: str = "KRW") -> dict[str, Any]:
    data = {"quote_currency": quote, "target_currency": target}
    return {"response_type": "SUBSCRIBED", "channel": channel, "data": data}


@pytest.mark.parametrize("channel", sorted(FIELDS))
async def test_a_subscription_is_acknowledged_and_brings_frames(channel: str) -> None:
    async with SimulatedExchange("coinone") as exchange, connect(exchange.sim.url) as client:
        await greeted(client)
        await client.send(coinone_request("SUBSCRIBE", channel, "BTC"))
        assert await receive(client) == subscribed(channel, "BTC")
        frames = [await receive(client) for _ in range(15)]
        log = [(e.request_type, e.kind, e.exchange_ts_ms) for e in exchange.log[:15]]
    assert all(
        (f["response_type"], f["channel"], set(f["data"])) == ("DATA", channel, FIELDS[channel]) for f in frames
    )
    first = "snapshot" if channel == "ORDERBOOK" else "realtime"
    assert log[0][:2] == (channel.lower(), first)
    assert [entry[2] for entry in log] == [f["data"]["timestamp"] for f in frames]
    assert all(f["data"]["id"].startswith(str(f["data"]["timestamp"])) for f in frames)


async def test_an_order_book_has_its_asks_worst_first() -> None:
    async with SimulatedExchange("coinone") as exchange, connect(exchange.sim.url) as client:
        await greeted(client)
        await client.send(coinone_request("SUBSCRIBE", "ORDERBOOK", "ETH"))
        await receive(client)
        for _ in range(10):
            data = (await receive(client))["data"]
            asks, bids = ([float(level["price"]) for level in data[side]] for side in ("asks", "bids"))
            assert len(asks) == len(bids) == 16
            assert asks == sorted(asks, reverse=True)
            assert bids == sorted(bids, reverse=True)
            assert bids[0] < asks[-1]


async def test_the_short_format_has_short_names() -> None:
    async with SimulatedExchange("coinone", rate=0) as exchange, connect(exchange.sim.url) as client:
        await greeted(client)
        frames = []
        for fmt in ("DEFAULT", "SHORT"):
            await client.send(coinone_request("SUBSCRIBE", "ORDERBOOK", "BTC", format=fmt))
            assert await receive(client) == subscribed("ORDERBOOK", "BTC")
            frames.append(await receive(client))
    default, simple = frames
    assert simple == {
        "r": "DATA",
        "c": "ORDERBOOK",
        "d": {
            _SHORT[name]: [{"p": level["price"], "q": level["qty"]} for level in value]
            if name in ("asks", "bids")
            else value
            for name, value in default["data"].items()
        },
    }


async def test_an_unsubscribed_topic_falls_silent_and_a_ping_is_answered() -> None:
    async with SimulatedExchange("coinone") as exchange, connect(exchange.sim.url) as client:
        await greeted(client)
        await client.send(coinone_request("SUBSCRIBE", "TRADE", "BTC"))
        await client.send(coinone_request("UNSUBSCRIBE", "TRADE", "BTC"))
        kinds = [await receive(client) for _ in range(2)]
        while kinds[-1]["response_type"] != "UNSUBSCRIBED":
            kinds.append(await receive(client))
        assert await silent(client)
        await client.send('{"request_type":"PING"}')
        assert await receive(client) == {"response_type": "PONG"}


@pytest.mark.parametrize(
    ("request_text", "code"),
    [
        ("hello", 160010),
        ("[]", 160010),
        ('{"request_type":"subscribe"}', 160011),
        (coinone_request("SUBSCRIBE", "WEATHER", "BTC"), 160011),
        (coinone_request("SUBSCRIBE", "TICKER", "BTC", format="short"), 160011),
        ('{"request_type":"SUBSCRIBE","channel":"TICKER"}', 160012),
    ],
)
async def test_a_wrong_request_is_told(request_text: str, code: int) -> None:
    async with SimulatedExchange("coinone") as exchange, connect(exchange.sim.url) as client:
        await greeted(client)
        await client.send(request_text)
        answer = await receive(client)
        assert (answer["response_type"], answer["error_code"]) == ("ERROR", code)


async def test_an_unknown_market_is_acknowledged_and_then_refused() -> None:
    async with SimulatedExchange("coinone") as exchange, connect(exchange.sim.url) as client:
        await greeted(client)
        await client.send(coinone_request("SUBSCRIBE", "TICKER", "NOPE"))
        assert await receive(client) == subscribed("TICKER", "NOPE")
        error = {"response_type": "ERROR", "error_code": 160012, "message": "Invalid Topic"}
        assert await receive(client) == error
        assert await silent(client)


def test_who_does_not_ping_for_half_an_hour_is_cut() -> None:
    talk = CoinoneConversation(frozenset({"KRW-BTC"}), 1)
    talk.tick(0.0)
    talk.receive(json.dumps({"request_type": "PING"}), 1000.0)
    assert talk.tick(2799.0) == []
    assert talk.tick(2800.0) == [Close(1000, "")]
