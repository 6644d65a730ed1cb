"""The simulated OKX, from a client's side over loopback."""

import json
import zlib
from typing import Any

import pytest
from websockets.asyncio.client import connect

from core.exchanges.base import SymbolBroken
from core.exchanges.table import profile_of
from core.identity import RequestType, Symbol
from core.records import OrderBook
from core.session import StreamSession
from infra.simulator.okx import OkxVenue
from infra.simulator.okx_requests import OkxConversation
from infra.simulator.venue import Answer, Feed, Limits
from tests.simulated_exchange import SimulatedExchange, ends, receive

TICKER = (
    "instType instId last lastSz askPx askSz bidPx bidSz open24h high24h low24h volCcy24h vol24h sodUtc0 "
    "sodUtc8 ts"
)


def request(op: str, *args: tuple[str, str]) -> str:
    named = [{"channel": channel, "instId": instrument} for channel, instrument in args]
    return json.dumps({"id": "7", "op": op, "args": named})


async def test_each_argument_is_answered_and_streams() -> None:
    async with SimulatedExchange("okx") as exchange, connect(exchange.sim.url) as client:
        await client.send(
            request("subscribe", ("tickers", "BTC-USDT"), ("trades", "NOPE-USDT"), ("trades", "ETH-USDT"))
        )
        frames = [await receive(client) for _ in range(40)]
    events = [frame for frame in frames if "event" in frame]
    assert [(event["event"], event.get("code")) for event in events] == [
        ("subscribe", None),
        ("error", "60018"),
        ("subscribe", None),
    ]
    assert events[0]["arg"] == {"channel": "tickers", "instId": "BTC-USDT"}
    assert "NOPE-USDT" in events[1]["msg"]
    assert {event["id"] for event in events} == {"7"}
    for frame in frames:
        if frame.get("arg", {}).get("channel") == "tickers" and "data" in frame:
            assert set(frame["data"][0]) == set(TICKER.split())
        elif "data" in frame:
            assert set(frame["data"][0]) == set("instId tradeId px sz side ts count source seqId".split())  # noqa: SIM905


def applied(book: dict[str, dict[str, str]], data: dict[str, Any]) -> None:
    for side in ("bids", "asks"):
        for price, quantity, zero, _ in data[side]:
            assert zero == "0"
            if quantity == "0":
                del book[side][price]
            else:
                book[side][price] = quantity


def checksum(book: dict[str, dict[str, str]]) -> int:
    bids = sorted(book["bids"].items(), key=lambda level: -float(level[0]))[:25]
    asks = sorted(book["asks"].items(), key=lambda level: float(level[0]))[:25]
    texts = [f"{price}:{quantity}" for pair in zip(bids, asks, strict=True) for price, quantity in pair]
    crc = zlib.crc32(":".join(texts).encode())
    return crc - 2**32 if crc >= 2**31 else crc


async def test_a_book_is_a_chain_with_the_checksum_of_the_documentation() -> None:
    for checksums in (False, True):
        async with SimulatedExchange("okx", rate=2_000) as exchange, connect(exchange.sim.url) as client:
            venue = exchange.sim.venue
            assert isinstance(venue, OkxVenue)
            venue.checksums = checksums
            await client.send(request("subscribe", ("books", "BTC-USDT"), ("trades", "BTC-USDT")))
            frames = [await receive(client) for _ in range(400)]
        books = [f for f in frames if "action" in f]
        assert [f["action"] for f in books] == ["snapshot"] + ["update"] * (len(books) - 1)
        book: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
        last = -1
        for frame in books:
            (data,) = frame["data"]
            assert data["prevSeqId"] == last < data["seqId"]
            last = data["seqId"]
            applied(book, data)
            assert data["checksum"] == (checksum(book) if checksums else 0)


async def test_small_books_are_whole_every_time() -> None:
    async with SimulatedExchange("okx") as exchange, connect(exchange.sim.url) as client:
        await client.send(request("subscribe", ("books5", "BTC-USDT"), ("bbo-tbt", "BTC-USDT")))
        frames = [f for f in [await receive(client) for _ in range(40)] if "data" in f]
    for frame in frames:
        assert "action" not in frame
        levels = 5 if frame["arg"]["channel"] == "books5" else 1
        assert len(frame["data"][0]["bids"]) == len(frame["data"][0]["asks"]) == levels


async def test_wrong_requests_and_a_ping() -> None:
    async with SimulatedExchange("okx") as exchange, connect(exchange.sim.url) as client:
        for message, code in (
            ("{", "60012"),
            ('{"op":"dance","args":[]}', "60012"),
            ('{"op":"subscribe","args":[]}', "60013"),
            ('{"op":"subscribe","args":["tickers"]}', "60013"),
            (request("subscribe", ("weather", "BTC-USDT")), "60018"),
        ):
            await client.send(message)
            assert (await receive(client))["code"] == code
        await client.send("ping")
        assert await client.recv() == "pong"


async def test_a_silent_connection_is_cut_and_an_upgrade_announced() -> None:
    limits = Limits(idle_timeout_s=0.3)
    async with SimulatedExchange("okx", limits=limits) as exchange, connect(exchange.sim.url) as client:
        code, _ = await ends(client)
        assert code == 1000
    async with SimulatedExchange("okx") as exchange, connect(exchange.sim.url) as client:
        await client.send(request("subscribe", ("trades", "NOPE")))
        await receive(client)
        await exchange.sim.stop()
        assert (await receive(client))["code"] == "64008"


def test_480_requests_an_hour() -> None:
    talk = OkxConversation(frozenset({"BTC-USDT"}), "c")
    answers = [talk.receive(request("unsubscribe", ("trades", "BTC-USDT")), float(i))[0] for i in range(481)]
    codes = [json.loads(answer.text).get("code") for answer in answers if isinstance(answer, Answer)]
    assert codes == [None] * 480 + ["60014"]
    assert talk.receive("ping", 481.0) == [Answer("pong")]


@pytest.mark.parametrize("checksums", [False, True])
def test_a_session_finds_the_chain_and_the_checksums_right(checksums: bool) -> None:
    venue = OkxVenue(["BTC-USDT"], 3)
    venue.checksums = checksums
    session = StreamSession(profile_of("okx"), RequestType.ORDERBOOK, 1, now_s=0.0)
    session.subscribe([Symbol("BTC", "USDT")], 0.0)
    feed = Feed("books", "BTC-USDT")
    for number in range(500):
        payload = venue.advance(feed, 1_793_000_000_000).payload(None, snapshot=number == 0)
        (record,) = session.receive(payload, 1)
        assert isinstance(record, OrderBook)
        assert record.valid
    assert not [notice for notice in session.take_notices() if isinstance(notice, SymbolBroken)]
