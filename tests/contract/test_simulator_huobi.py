"""The simulated HTX (Huobi), from a client's side over loopback."""

import gzip
import itertools
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from core.exchanges.table import profile_of
from core.identity import RequestType, Symbol
from core.session import StreamSession
from infra.simulator.huobi_requests import HuobiConversation
from infra.simulator.venue import Answer, Close
from tests.simulated_exchange import SimulatedExchange, inflated, receive

DAY = "open high low close amount vol count"
TICKS = {
    "ticker": f"{DAY} bid bidSize ask askSize lastPrice lastSize",
    "detail": f"id {DAY} version",
    "trade.detail": "id ts data",
    "bbo": "seqId ask askSize bid bidSize quoteTime symbol",
    "depth.step0": "bids asks version ts",
    "mbp.150": "seqNum prevSeqNum bids asks",
    "mbp.refresh.20": "seqNum bids asks",
}


def sub(channel: str, symbol: str = "btcusdt") -> str:
    return json.dumps({"sub": f"market.{symbol}.{channel}", "id": "id1"})


@pytest.mark.parametrize("channel", TICKS)
async def test_topics_are_acknowledged_then_come_in_binary_gzip(channel: str) -> None:
    async with SimulatedExchange("huobi") as exchange, connect(exchange.sim.url) as client:
        await client.send(sub(channel))
        raw = await client.recv()
        assert isinstance(raw, bytes)
        answer = json.loads(gzip.decompress(raw))
        assert answer == {
            "id": "id1",
            "status": "ok",
            "subbed": f"market.btcusdt.{channel}",
            "ts": answer["ts"],
        }
        frames = [await receive(client) for _ in range(5)]
    for frame in frames:
        assert frame["ch"] == f"market.btcusdt.{channel}"
        assert set(frame["tick"]) == set(TICKS[channel].split())
        if channel == "trade.detail":
            (trade,) = frame["tick"]["data"]
            assert set(trade) == {"id", "ts", "tradeId", "amount", "price", "direction"}


def applied(book: dict[str, dict[float, float]], data: dict[str, Any]) -> None:
    for side in ("bids", "asks"):
        for price, quantity in data[side]:
            if quantity:
                book[side][price] = quantity
            else:
                book[side].pop(price, None)


async def test_changes_of_a_book_continue_the_one_that_is_asked_for() -> None:
    async with SimulatedExchange("huobi", rate=2_000) as exchange, connect(exchange.sim.url) as client:
        await client.send(sub("mbp.20"))
        await client.send(sub("trade.detail"))
        await client.send('{"req":"market.btcusdt.mbp.20","id":"r9"}')
        frames = [await receive(client) for _ in range(600)]
    (asked,) = [frame for frame in frames if "rep" in frame]
    assert (asked["id"], asked["rep"], asked["status"]) == ("r9", "market.btcusdt.mbp.20", "ok")
    changes = [f["tick"] for f in frames if f.get("ch", "").endswith("mbp.20")]
    for before, change in itertools.pairwise(changes):
        assert change["prevSeqNum"] == before["seqNum"] < change["seqNum"]
    book: dict[str, dict[float, float]] = {"bids": {}, "asks": {}}
    applied(book, asked["data"])
    after = [change for change in changes if change["seqNum"] > asked["data"]["seqNum"]]
    assert after[0]["prevSeqNum"] == asked["data"]["seqNum"]
    for change in after:
        applied(book, change)
        assert max(book["bids"]) < min(book["asks"])
        assert len(book["bids"]) == len(book["asks"]) == 20


async def test_wrong_messages_get_their_errors() -> None:
    async with SimulatedExchange("huobi") as exchange, connect(exchange.sim.url) as client:
        for message, reason in (
            (sub("ticker", "nopeusdt"), "invalid topic market.nopeusdt.ticker"),
            (sub("weather"), "invalid topic market.btcusdt.weather"),
            (sub("ticker", "BTCUSDT"), "invalid topic market.BTCUSDT.ticker"),
            ('{"sub":["market.btcusdt.ticker"]}', "invalid topic ['market.btcusdt.ticker']"),
            ('{"req":"market.btcusdt.ticker"}', "invalid topic market.btcusdt.ticker"),
            ('{"ping":"now"}', "invalid ping"),
            ("[]", "invalid command"),
            ("{}", "invalid command"),
            ("{", "invalid json"),
        ):
            await client.send(message)
            answer = await receive(client)
            assert (answer["status"], answer["err-code"], answer["err-msg"]) == ("error", "bad-request", reason)
        await client.send('{"ping":18212553000}')
        assert await receive(client) == {"pong": 18212553000}
        await client.send(sub("ticker"))
        await receive(client)
        await client.send('{"unsub":"market.btcusdt.ticker","id":"id2"}')
        while "unsubbed" not in (answer := await receive(client)):
            assert "ch" in answer
        assert (answer["id"], answer["unsubbed"]) == ("id2", "market.btcusdt.ticker")


async def test_both_paths_exist() -> None:
    async with (
        SimulatedExchange("huobi") as exchange,
        connect(exchange.sim.url.replace("/ws", "/feed")) as client,
    ):
        await client.send(sub("mbp.400"))
        assert (await receive(client))["status"] == "ok"


def test_a_client_that_does_not_answer_pings_is_cut() -> None:
    talk = HuobiConversation(frozenset({"btcusdt"}))
    said: list[tuple[float, Any]] = []
    for tenth in range(300):
        replies = talk.tick(tenth / 10)
        said += [(tenth / 10, inflated(r.text) if isinstance(r, Answer) else r) for r in replies]
        if said and isinstance(said[-1][1], Close):
            break
    assert [at_s for at_s, _ in said] == [5.0, 10.0, 15.0]
    assert set(said[0][1]) == {"ping"}
    talk = HuobiConversation(frozenset({"btcusdt"}))
    for second in range(60):
        for reply in talk.tick(float(second)):
            assert isinstance(reply, Answer)
            talk.receive(json.dumps({"pong": inflated(reply.text)["ping"]}), float(second))


def test_a_session_answers_the_pings() -> None:
    talk = HuobiConversation(frozenset({"btcusdt"}))
    session = StreamSession(profile_of("huobi"), RequestType.TICKER, 1, now_s=0.0)
    session.subscribe([Symbol("BTC", "USDT")], 0.0)
    pings = 0
    for second in range(120):
        session.on_time(float(second))
        replies = [reply for message in session.take_outbox() for reply in talk.receive(message, float(second))]
        for reply in [*replies, *talk.tick(float(second))]:
            assert isinstance(reply, Answer), "the exchange gave up"
            pings += "ping" in inflated(reply.text)
            session.receive(reply.text, second)
        for message in session.take_outbox():
            talk.receive(message, float(second))
    assert pings >= 20
    assert session.parse_failed == 0
