"""The simulated Korbit, from a client's side over loopback."""

from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.simulated_exchange import SimulatedExchange, korbit_request, receive, silent

DATA = {
    "ticker": {
        "open", "high", "low", "close", "prevClose", "priceChange", "priceChangePercent", "volume",
        "quoteVolume", "bestAskPrice", "bestBidPrice", "lastTradedAt",
    },
    "orderbook": {"timestamp", "asks", "bids"},
    "trade": {"timestamp", "price", "qty", "isBuyerTaker", "tradeId"},
}  # fmt: skip


def time_of(frame: dict[str, Any]) -> Any:
    match frame["type"]:
        case "ticker":
            return frame["timestamp"]
        case "trade":
            return frame["data"][0]["timestamp"]
        case _:
            return frame["data"]["timestamp"]


@pytest.mark.parametrize("kind", sorted(DATA))
async def test_a_snapshot_comes_then_updates_that_do_not_mention_it(kind: str) -> None:
    async with SimulatedExchange("korbit") as exchange, connect(exchange.sim.url) as client:
        await client.send(korbit_request(kind, "btc_krw", "eth_krw"))
        frames = [await receive(client) for _ in range(20)]
        log = exchange.log[:20]
    assert [(f["symbol"], f.get("snapshot")) for f in frames[:2]] == [("btc_krw", True), ("eth_krw", True)]
    assert all("snapshot" not in f for f in frames[2:])
    for frame, entry in zip(frames, log, strict=True):
        data = frame["data"][0] if kind == "trade" else frame["data"]
        assert (frame["type"], set(data)) == (kind, DATA[kind])
        assert (entry.exchange_symbol, entry.exchange_ts_ms) == (frame["symbol"], time_of(frame))


async def test_an_order_book_is_whole_and_sorted() -> None:
    async with SimulatedExchange("korbit") as exchange, connect(exchange.sim.url) as client:
        await client.send(korbit_request("orderbook", "xrp_krw"))
        for _ in range(10):
            data = (await receive(client))["data"]
            asks, bids = ([float(level["price"]) for level in data[side]] for side in ("asks", "bids"))
            assert len(asks) == len(bids) == 30
            assert (asks, bids) == (sorted(asks), sorted(bids, reverse=True))
            assert bids[0] < asks[0]


async def test_success_is_told_to_who_gave_an_id() -> None:
    async with SimulatedExchange("korbit", rate=0) as exchange, connect(exchange.sim.url) as client:
        await client.send(korbit_request("ticker", "btc_krw", requestId=7))
        assert await receive(client) == {"status": "success", "requestId": 7}
        assert (await receive(client))["snapshot"] is True
        await client.send(korbit_request("ticker", "btc_krw", method="unsubscribe", requestId=8))
        assert await receive(client) == {"status": "success", "requestId": 8}
        assert await silent(client)


@pytest.mark.parametrize(
    ("request_text", "answer"),
    [
        ("hello", {"status": "fail", "message": "invalid_format"}),
        ('{"method":"subscribe"}', {"status": "fail", "message": "invalid_format"}),
        (
            korbit_request("ticker", "btc_krw", "nope_krw", requestId=2),
            {
                "status": "fail",
                "code": "INVALID_SYMBOL",
                "message": "The symbol does not exist (nope_krw)",
                "requestId": 2,
            },
        ),
        (
            korbit_request("ticker", "BTC_KRW"),
            {"status": "fail", "code": "INVALID_SYMBOL", "message": "The symbol does not exist (BTC_KRW)"},
        ),
        (
            korbit_request("weather", "btc_krw"),
            {"status": "fail", "code": "INVALID_REQUEST", "message": "unknown_type"},
        ),
        (
            korbit_request("orderbook", "btc_krw", level="7"),
            {"status": "fail", "code": "INVALID_REQUEST", "message": "invalid_level"},
        ),
    ],
)
async def test_a_wrong_request_is_told_and_subscribes_to_nothing(
    request_text: str, answer: dict[str, Any]
) -> None:
    async with SimulatedExchange("korbit") as exchange, connect(exchange.sim.url) as client:
        await client.send(request_text)
        assert await receive(client) == answer
        assert await silent(client)
