"""The simulated Bitfinex, from a client's side over loopback, by the rules of the documentation."""

import json
import re
import zlib
from itertools import pairwise
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from infra.simulator.bitfinex import BitfinexVenue
from infra.simulator.bitfinex_requests import (
    BULK_UPDATES,
    OB_CHECKSUM,
    SEQ_ALL,
    TIMESTAMP,
    BitfinexConversation,
)
from infra.simulator.market import PairMarket, PriceGrid
from infra.simulator.spelling import shortest_number
from infra.simulator.venue import Answer, Beat, Feed, Limits
from tests.simulated_exchange import SimulatedExchange, ends, receive, silent

CHEAP = "SHIB-BTC"
"""Costs so little that its prices are written with an exponent."""


def request(event: str, **more: Any) -> str:
    return json.dumps({"event": event, **more})


def subscribe(channel: str, symbol: str = "tBTCUSD", **more: Any) -> str:
    return request("subscribe", channel=channel, symbol=symbol, **more)


async def event(client: ClientConnection, name: str) -> Any:
    """The first event of that name; arrays before it are passed over."""
    while True:
        frame = await receive(client)
        if isinstance(frame, dict) and frame["event"] == name:
            return frame


async def arrays(client: ClientConnection, count: int) -> list[list[Any]]:
    """The next so many arrays, events passed over."""
    frames: list[list[Any]] = []
    while len(frames) < count:
        frame = await receive(client)
        if isinstance(frame, list):
            frames.append(frame)
    return frames


def bitfinex(exchange: SimulatedExchange) -> BitfinexVenue:
    venue = exchange.sim.venue
    assert isinstance(venue, BitfinexVenue)
    return venue


async def test_it_greets_answers_pings_and_confirms_a_subscription() -> None:
    async with SimulatedExchange("bitfinex", rate=0) as exchange, connect(exchange.sim.url) as client:
        await client.send(request("ping", cid=1234))
        greeting = await receive(client)
        assert (greeting["event"], greeting["version"], greeting["platform"]) == ("info", 2, {"status": 1})
        pong = await receive(client)
        assert (pong["event"], pong["cid"]) == ("pong", 1234)
        assert pong["ts"] > 1_700_000_000_000
        await client.send(request("conf", flags=SEQ_ALL))
        assert await receive(client) == {"event": "conf", "status": "OK", "flags": SEQ_ALL}
        await client.send(subscribe("book", "t1INCH:USD", len=25, subId=77))
        told = await receive(client)
        number = told.pop("chanId")
        assert told == {
            "event": "subscribed", "channel": "book", "symbol": "t1INCH:USD", "pair": "1INCH:USD",
            "prec": "P0", "freq": "F0", "len": "25", "subId": 77,
        }  # fmt: skip
        snapshot = await receive(client)
        assert (snapshot[0], len(snapshot[1]), snapshot[2:]) == (number, 50, [1])
        await client.send(request("unsubscribe", chanId=number))
        assert await receive(client) == {"event": "unsubscribed", "status": "OK", "chanId": number}


async def test_channels_are_numbered_on_each_connection_and_end_when_told_to() -> None:
    async with (
        SimulatedExchange("bitfinex") as exchange,
        connect(exchange.sim.url) as client,
        connect(exchange.sim.url) as other,
    ):
        numbers = []
        for connection, channel in ((client, "ticker"), (client, "trades"), (other, "ticker")):
            await connection.send(subscribe(channel))
            numbers.append((await event(connection, "subscribed"))["chanId"])
        assert len(set(numbers)) == 3
        assert numbers[1] == numbers[0] + 1
        await client.send(request("unsubscribe", chanId=numbers[0]))
        await event(client, "unsubscribed")
        assert {frame[0] for frame in await arrays(client, 20)} == {numbers[1]}
        await client.send(request("unsubscribe", chanId=numbers[2]))
        assert (await event(client, "error"))["code"] == 10401


@pytest.mark.parametrize("generic", [False, True])
async def test_refusals_have_the_codes_of_the_documentation_or_those_that_were_seen(generic: bool) -> None:
    async with SimulatedExchange("bitfinex", rate=0) as exchange:
        bitfinex(exchange).generic_codes = generic
        async with connect(exchange.sim.url) as client:
            await client.send(subscribe("book"))
            number = (await event(client, "subscribed"))["chanId"]
            for message, code, seen, words in (
                (subscribe("ticker", "tNOPEUSD"), 10001, 10300, "symbol: invalid"),
                (subscribe("ticker", "tbtcusd"), 10001, 10300, "symbol: invalid"),
                (subscribe("weather"), 10302, 10300, "channel: unknown"),
                (subscribe("book", len="7"), 10300, 10300, "length: invalid"),
                (subscribe("book", prec="P9"), 10300, 10300, "precision: invalid"),
                (subscribe("book", freq="F1"), 10300, 10300, "frequency: invalid"),
                (subscribe("book", "BTCUSD"), 10301, 10301, "subscribe: dup"),
                (request("unsubscribe", chanId=1), 10401, 10400, "unsubscribe: invalid"),
                (request("dance"), 10000, 10000, "event: invalid (dance)"),
                (request("conf", flags="all"), 10000, 10000, "conf: invalid"),
            ):
                await client.send(message)
                error = await event(client, "error")
                assert (error["code"], error["msg"]) == (seen if generic else code, words)
                asked = json.loads(message)
                if asked["event"] == "subscribe":
                    assert (error["channel"], error["symbol"]) == (
                        asked["channel"],
                        "t" + asked["symbol"].removeprefix("t"),
                    )
                if words == "subscribe: dup":
                    assert error["chanId"] == number
            await client.send("{")
            await client.send("[]")
            assert await silent(client)


async def test_a_connection_takes_25_channels() -> None:
    symbols = [f"{base}-USD" for base in ("ABC", "BCD", "CDE", "DEF", "EFG", "FGH", "GHI", "HIJ", "IJK")]
    async with (
        SimulatedExchange("bitfinex", rate=0, symbols=symbols) as exchange,
        connect(exchange.sim.url) as client,
    ):
        wanted = [(c, s) for s in exchange.sim.venue.markets for c in ("ticker", "trades", "book")]
        for channel, symbol in wanted[:26]:
            await client.send(subscribe(channel, symbol))
        error = await event(client, "error")
        assert (error["code"], error["msg"], error["symbol"]) == (10305, "subscribe: limit", wanted[25][1])
        assert await silent(client)


async def test_flags_change_the_frames() -> None:
    async with SimulatedExchange("bitfinex", rate=400) as exchange, connect(exchange.sim.url) as client:
        await client.send(subscribe("book", len="1"))
        plain = await arrays(client, 10)
        assert all(len(frame) == 2 for frame in plain)
        await client.send(request("conf", flags=TIMESTAMP + SEQ_ALL + OB_CHECKSUM + BULK_UPDATES))
        await event(client, "conf")
        full = await arrays(client, 40)
        first = full[0][-2]
        assert [frame[-2] for frame in full] == list(range(first, first + 40))
        assert all(frame[-1] > 1_700_000_000_000 for frame in full)
        assert [frame[1] == "cs" for frame in full[:2]] in ([True, False], [False, True])
        changes = [frame for frame in full if frame[1] != "cs"]
        assert len(changes) == 20
        assert all(isinstance(entry, list) for frame in changes for entry in frame[1])
        assert all(a[-1] == b[-1] for a, b in pairwise(full) if b[1] == "cs")
        await client.send(request("conf", flags=0))
        await event(client, "conf")
        assert all(len(frame) == 2 and frame[1] != "cs" for frame in await arrays(client, 10))


async def test_heartbeats_of_each_channel_keep_their_place_in_the_sequence() -> None:
    async with SimulatedExchange("bitfinex", rate=200) as exchange:
        bitfinex(exchange).heartbeat_s = 0.3
        async with connect(exchange.sim.url) as client:
            await client.send(request("conf", flags=SEQ_ALL))
            numbers = []
            for channel in ("ticker", "trades", "book"):
                await client.send(subscribe(channel))
                numbers.append((await event(client, "subscribed"))["chanId"])
            frames: list[list[Any]] = []
            while len([f for f in frames if f[1] == "hb"]) < 9:
                frames += await arrays(client, 1)
            beats = [frame[0] for frame in frames if frame[1] == "hb"]
            assert sorted(beats) == sorted(numbers * 3)
            sequences = [frame[-1] for frame in frames]
            assert sequences == list(range(sequences[0], sequences[0] + len(frames)))
            exchange.sim.pause()
            while (await receive(client))[1] != "hb":
                pass


def test_a_heartbeat_each_15_seconds() -> None:
    talk = BitfinexConversation({"tBTCUSD"}, 1)
    talk.tick(100.0)
    talk.receive(subscribe("trades"), 100.0)
    beats = [(second, reply) for second in range(1, 46) for reply in talk.tick(100.0 + second)]
    feed = Feed("trades", "tBTCUSD")
    assert beats == [(second, Beat(feed, b'"hb"')) for second in (15, 30, 45)]


async def test_a_trade_comes_twice_and_the_last_ones_at_once() -> None:
    async with SimulatedExchange("bitfinex") as exchange:
        async with connect(exchange.sim.url) as client:
            await client.send(subscribe("trades"))
            snapshot, *updates = await arrays(client, 41)
        async with connect(exchange.sim.url) as later:
            await later.send(subscribe("trades"))
            (again,) = await arrays(later, 1)
    for _, trades in (snapshot, again):
        assert len(trades) == 30
        assert [trade[:2] for trade in trades] == sorted((t[:2] for t in trades), reverse=True)
    assert [word for _, word, _ in updates] == ["te", "tu"] * 20
    executed = [trade for _, word, trade in updates if word == "te"]
    assert executed == [trade for _, word, trade in updates if word == "tu"]
    assert snapshot[1][0][0] < executed[0][0]
    assert len({trade[0] for trade in executed}) == 20
    assert {trade[2] > 0 for trade in executed} == {True, False}
    assert any(trade in again[1] for trade in executed)


async def test_a_ticker_has_the_documented_fields() -> None:
    async with SimulatedExchange("bitfinex") as exchange, connect(exchange.sim.url) as client:
        await client.send(subscribe("ticker"))
        frames = await arrays(client, 20)
        for _, ticker in frames:
            bid, bid_sizes, ask, ask_sizes, change, rate, last, volume, high, low = ticker
            assert bid < ask
            assert min(bid_sizes, ask_sizes, volume) > 0
            assert low <= last <= high
            assert rate == pytest.approx(change / (last - change), abs=1e-8)


Sides = dict[bool, dict[str, str]]
"""Bids (True) and asks, price to amount, as the frames' own text has them."""

_ENTRY = re.compile(r"\[([^\[\],]+),(\d+),([^\[\],]+)\]")


def checksum(sides: Sides) -> int:
    best = {side: sorted(sides[side], key=float, reverse=side)[:25] for side in (True, False)}
    texts = []
    for place in range(25):
        for side in (True, False):
            texts += [f"{price}:{sides[side][price]}" for price in best[side][place : place + 1]]
    crc = zlib.crc32(":".join(texts).encode())
    return crc - 2**32 if crc >= 2**31 else crc


@pytest.mark.parametrize("bulk", [0, BULK_UPDATES])
@pytest.mark.parametrize(("symbol", "length"), [("BTC-USD", 25), ("1INCH-USDT", 250), (CHEAP, 25)])
async def test_a_book_is_what_its_checksums_say(symbol: str, length: int, bulk: int) -> None:
    sides: Sides = {True: {}, False: {}}
    compared, texts = [], []
    async with (
        SimulatedExchange("bitfinex", rate=1_000, symbols=[symbol]) as exchange,
        connect(exchange.sim.url) as client,
    ):
        ((spelled, market),) = exchange.sim.venue.markets.items()
        if symbol == CHEAP:
            exchange.sim.venue.markets[spelled] = PairMarket(market.symbol, 5.6e-7, PriceGrid(10, 1), 7)
        await client.send(request("conf", flags=OB_CHECKSUM + bulk))
        await client.send(subscribe("book", spelled, len=str(length)))
        while len(compared) < 200:
            frame = str(await client.recv())
            if frame.startswith("{"):
                continue
            texts.append(frame)
            if '"cs"' in frame:
                compared.append((json.loads(frame)[2], checksum(sides)))
            for price, count, amount in _ENTRY.findall(frame):
                side = not amount.startswith("-")
                if int(count):
                    sides[side][price] = amount
                else:
                    assert amount in ("1", "-1")
                    del sides[side][price]
            assert all(len(side) <= length for side in sides.values()) or '"cs"' not in frame
    assert [said for said, _ in compared] == [computed for _, computed in compared]
    assert {said < 0 for said, _ in compared} == {True, False}
    assert len(sides[True]) == len(sides[False]) == min(length, 30)
    assert any("e-" in text for text in texts) is (symbol == CHEAP)


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [
        (0, 8, "0"), (9_125_000, 2, "91250"), (9_125_050, 2, "91250.5"), (-150, 2, "-1.5"), (5, 2, "0.05"),
        (100, 8, "0.000001"), (99, 8, "9.9e-7"), (-1, 8, "-1e-8"), (10, 8, "1e-7"), (123, 0, "123"),
        (120, 0, "120"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_javascript_writes_them(units: int, decimals: int, text: str) -> None:
    assert shortest_number(units, decimals) == text
    assert float(text) == pytest.approx(units / 10**decimals)


def test_every_built_in_symbol_makes_frames_that_are_recognised_by_their_channel() -> None:
    venue = BitfinexVenue(None, 3)
    assert len(venue.markets) >= 30
    talk = venue.converse("/ws/2")
    assert talk is not None
    talk.receive(request("conf", flags=TIMESTAMP + SEQ_ALL), 0.0)
    for spelled, pair in venue.markets.items():
        for channel in ("ticker", "trades", "book"):
            answers = talk.receive(subscribe(channel, spelled), 0.0)
            told = answers[0]
            assert isinstance(told, Answer)
            assert venue.identify(str(told.text).encode()) is None
            (feed,) = talk.feeds
            update = venue.advance(feed, 1_700_000_000_000)
            for snapshot in (True, False):
                frame = update.frames(venue.default_form(), snapshot)[0]
                payload = talk.wrap(feed, frame.payload, frame.told[-1].exchange_ts_ms)
                seen, meant = venue.identify(payload), frame.told[-1]
                assert seen is not None
                assert (seen.request_type, seen.symbol, seen.exchange_symbol, seen.exchange_ts_ms) == (
                    meant.request_type, str(pair.symbol), spelled, meant.exchange_ts_ms,
                )  # fmt: skip
            talk.receive(request("unsubscribe", chanId=json.loads(str(told.text))["chanId"]), 0.0)
    assert venue.identify(venue.unknown_type()) is None
    assert venue.identify(b"[17,[1,2,3]]") is None
    assert venue.identify(b"{") is None


async def test_20_connects_a_minute_where_that_is_turned_on_and_a_minute_without_a_subscription() -> None:
    limits = Limits(max_connects=(20, 60.0))
    async with SimulatedExchange("bitfinex", rate=0, limits=limits) as exchange:
        for _ in range(20):
            async with connect(exchange.sim.url) as client:
                await receive(client)
        with pytest.raises(InvalidStatus) as refused:
            await connect(exchange.sim.url)
        assert refused.value.response.status_code == 429
    limits = Limits(idle_timeout_s=0.5)
    async with SimulatedExchange("bitfinex", rate=0, limits=limits) as exchange:
        assert bitfinex(exchange).limits.idle_timeout_s == 60.0
        async with connect(exchange.sim.url) as client:
            assert (await ends(client))[0] == 1000


async def test_another_path_is_not_found() -> None:
    async with SimulatedExchange("bitfinex", rate=0) as exchange:
        with pytest.raises(InvalidStatus) as refused:
            await connect(exchange.sim.url.replace("/ws/2", "/ws/1"))
        assert refused.value.response.status_code == 404


async def test_maintenance_and_a_restart_are_announced() -> None:
    async with SimulatedExchange("bitfinex") as exchange, connect(exchange.sim.url) as client:
        await client.send(subscribe("trades"))
        await event(client, "subscribed")
        exchange.sim.begin_maintenance()
        assert (await event(client, "info"))["code"] == 20060
        assert await silent(client)
        async with connect(exchange.sim.url) as newcomer:
            assert (await event(newcomer, "info"))["platform"] == {"status": 0}
        exchange.sim.end_maintenance()
        assert (await event(client, "info"))["code"] == 20061
        await arrays(client, 3)
        await exchange.sim.stop()
        assert (await event(client, "info"))["code"] == 20051
        assert (await ends(client))[0] == 1001
