"""The simulated Binance, from a client's side over loopback."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from infra.simulator.binance import BinanceVenue
from tests.simulated_exchange import SimulatedExchange, binance_request, ends, receive, silent
from tests.waiting import until

FIELDS = {
    "ticker": "e E s p P w x c Q b B a A o h l v q O C F L n",
    "trade": "e E s t p q T m M",
    "aggTrade": "e E s a p q f l T m M",
    "bookTicker": "u s b B a A",
    "depth": "e E s U u b a",
    "depth@100ms": "e E s U u b a",
}
EVENTS = {
    "ticker": "24hrTicker", "trade": "trade", "aggTrade": "aggTrade", "depth": "depthUpdate",
    "depth@100ms": "depthUpdate",
}  # fmt: skip


async def test_combined_streams_are_acknowledged_then_come_in_text_frames() -> None:
    async with SimulatedExchange("binance") as exchange, connect(exchange.sim.url) as client:
        streams = [f"btcusdt@{kind}" for kind in FIELDS]
        await client.send(binance_request("SUBSCRIBE", *streams, request_id=7))
        assert await receive(client) == {"result": None, "id": 7}
        raw = await client.recv()
        assert isinstance(raw, str)
        frames = [json.loads(raw), *[await receive(client) for _ in range(59)]]
    assert {f["stream"] for f in frames} == set(streams)
    for frame in frames:
        kind = frame["stream"].removeprefix("btcusdt@")
        assert set(frame) == {"stream", "data"}
        assert set(frame["data"]) == set(FIELDS[kind].split())
        assert frame["data"]["s"] == "BTCUSDT"
        assert frame["data"].get("e") == EVENTS.get(kind)


async def test_a_ticker_s_values_fit_together() -> None:
    async with SimulatedExchange("binance") as exchange, connect(exchange.sim.url) as client:
        await client.send(binance_request("SUBSCRIBE", "ethusdt@ticker"))
        await receive(client)
        frames = [(await receive(client))["data"] for _ in range(30)]
    for f in frames:
        price, opened = float(f["c"]), float(f["o"])
        assert float(f["p"]) == pytest.approx(price - opened)
        assert float(f["P"]) == pytest.approx((price - opened) / opened * 100, abs=0.001)
        assert float(f["l"]) <= price <= float(f["h"])
        assert float(f["b"]) < float(f["a"])
        assert float(f["w"]) == pytest.approx(float(f["q"]) / float(f["v"]), rel=1e-3)
        assert f["n"] == f["L"] - f["F"] + 1
        assert f["C"] - f["O"] == 86_400_000
    times = [f["E"] for f in frames]
    assert times == sorted(set(times))


async def test_each_depth_stream_is_an_unbroken_chain_that_never_crosses() -> None:
    async with SimulatedExchange("binance", rate=2_000) as exchange, connect(exchange.sim.url) as client:
        streams = ("btcusdt@depth@100ms", "btcusdt@depth", "btcusdt@trade")
        await client.send(binance_request("SUBSCRIBE", *streams))
        await receive(client)
        frames = [await receive(client) for _ in range(900)]
    for stream in streams[:2]:
        events = [f["data"] for f in frames if f["stream"] == stream]
        assert len(events) == 300
        book: dict[str, dict[float, float]] = {"b": {}, "a": {}}
        for before, event in zip([None, *events], events, strict=False):
            assert event["U"] <= event["u"] + 1
            if before is not None:
                assert event["U"] == before["u"] + 1
            for side in "ba":
                for price, quantity in event[side]:
                    book[side][float(price)] = float(quantity)
                book[side] = {p: q for p, q in book[side].items() if q}
            if book["b"] and book["a"]:
                assert max(book["b"]) < min(book["a"])
    trades = [f["data"] for f in frames if f["stream"] == streams[2]]
    assert [t["t"] for t in trades] == list(range(trades[0]["t"], trades[0]["t"] + len(trades)))


async def test_the_log_is_what_the_client_received() -> None:
    received: list[Any] = []
    async with SimulatedExchange("binance") as exchange, connect(exchange.sim.url) as client:
        kinds = ("ticker", "trade", "depth@100ms", "bookTicker")
        await client.send(
            binance_request("SUBSCRIBE", *(f"{s}@{k}" for s in ("btcusdt", "xrpusdt") for k in kinds))
        )
        await receive(client)
        await until(lambda: exchange.sim.stats.frames_sent >= 150)
        exchange.sim.pause()
        while len(received) < exchange.sim.stats.frames_sent:
            received.append((await receive(client))["data"])
        assert await silent(client)
    types = {"24hrTicker": "ticker", "trade": "trade", "depthUpdate": "orderbook"}
    assert [(e.request_type, e.exchange_symbol, e.exchange_ts_ms, e.kind) for e in exchange.log] == [
        (types[f["e"]], f["s"], f["T"] if f["e"] == "trade" else f["E"], "realtime")
        if "e" in f
        else ("bookTicker", f["s"], None, "other")
        for f in received
    ]
    assert {e.symbol for e in exchange.log} == {"BTC-USDT", "XRP-USDT"}


@pytest.mark.parametrize(
    ("path", "combined"),
    [
        ("/stream?streams=btcusdt@trade/ethusdt@trade", True),
        ("/ws/btcusdt@trade/ethusdt@trade", False),
    ],
)
async def test_streams_can_be_asked_for_in_the_path(path: str, combined: bool) -> None:
    async with (
        SimulatedExchange("binance") as exchange,
        connect(exchange.sim.url.replace("/stream", path)) as client,
    ):
        frames = [await receive(client) for _ in range(20)]
        await client.send(binance_request("GET_PROPERTY", "combined"))
        while "result" not in (answer := await receive(client)):
            pass
    assert answer == {"result": combined, "id": 1}
    symbols = {(f["data"] if combined else f)["s"] for f in frames}
    assert symbols == {"BTCUSDT", "ETHUSDT"}


async def test_subscriptions_are_listed_and_end() -> None:
    async with SimulatedExchange("binance", rate=0) as exchange, connect(exchange.sim.url) as client:
        await client.send(binance_request("SUBSCRIBE", "btcusdt@trade", "ethusdt@ticker", "nopeusdt@trade"))
        await client.send(binance_request("UNSUBSCRIBE", "btcusdt@trade", "never@trade", request_id="a-b_1"))
        await client.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": None}))
        assert [await receive(client) for _ in range(3)] == [
            {"result": None, "id": 1},
            {"result": None, "id": "a-b_1"},
            {"result": ["ethusdt@ticker", "nopeusdt@trade"], "id": None},
        ]
        exchange.sim.set_rate(100)
        assert {(await receive(client))["stream"] for _ in range(10)} == {"ethusdt@ticker"}


async def test_the_combined_property_turns_the_wrapping_on_and_off() -> None:
    async with SimulatedExchange("binance", rate=50) as exchange, connect(exchange.sim.url) as client:
        await client.send(binance_request("SUBSCRIBE", "btcusdt@trade"))
        assert (await receive(client))["result"] is None
        assert "stream" in await receive(client)
        await client.send(binance_request("SET_PROPERTY", "combined", False, request_id=2))
        while (frame := await receive(client)) != {"result": None, "id": 2}:
            assert "stream" in frame
        assert (await receive(client))["e"] == "trade"


async def test_unknown_streams_are_acknowledged_and_silent() -> None:
    async with SimulatedExchange("binance") as exchange, connect(exchange.sim.url) as client:
        names = ("nopeusdt@trade", "BTCUSDT@trade", "btcusdt@weather", "btcusdt@kline_1m", "!ticker@arr")
        await client.send(binance_request("SUBSCRIBE", *names))
        assert await receive(client) == {"result": None, "id": 1}
        assert await silent(client)


@pytest.mark.parametrize(
    ("message", "code", "says", "request_id"),
    [
        ("{", 3, "Invalid JSON", None),
        ("hello", 3, "Invalid JSON", None),
        (b"\xff\xfe", 3, "Invalid JSON", None),
        ("[" * 10_000, 3, "Invalid JSON", None),
        ("[]", 2, "missing field `method`", None),
        ('{"id":1}', 2, "missing field `method`", 1),
        ('{"method":"SUBSCRIBE","params":["btcusdt@trade"]}', 2, "request ID must be", None),
        (binance_request("SUBSCRIBE", "btcusdt@trade", request_id=1.5), 2, "request ID must be", None),
        (binance_request("SUBSCRIBE", "btcusdt@trade", request_id="x" * 37), 2, "request ID must be", None),
        (binance_request("SUBSCRIBE", "btcusdt@trade", request_id=2**63), 2, "request ID must be", None),
        (binance_request("SUBSCRIBE", "btcusdt@trade", request_id=True), 2, "request ID must be", None),
        (binance_request("subscribe", "btcusdt@trade"), 2, "unknown variant `subscribe`", 1),
        (binance_request("SUBSCRIBE"), 2, "params", 1),
        (binance_request("SUBSCRIBE", 5), 2, "invalid stream", 1),
        (binance_request("SUBSCRIBE", "btcusdt"), 2, "invalid stream", 1),
        (binance_request("LIST_SUBSCRIPTIONS", "btcusdt"), 2, "too many parameters", 1),
        (binance_request("GET_PROPERTY", "combined", 1), 2, "too many parameters", 1),
        (binance_request("GET_PROPERTY", 5), 2, "property name must be a string", 1),
        (binance_request("GET_PROPERTY"), 2, "property name must be a string", 1),
        (binance_request("GET_PROPERTY", "colour"), 0, "Unknown property", 1),
        (binance_request("SET_PROPERTY", "combined", "yes"), 1, "expected Boolean", 1),
        (binance_request("SUBSCRIBE", *(f"s{i}@trade" for i in range(1025))), 2, "1024", 1),
    ],
)
async def test_a_wrong_request_gets_an_error_object(
    message: Any, code: int, says: str, request_id: Any
) -> None:
    async with SimulatedExchange("binance") as exchange, connect(exchange.sim.url) as client:
        await client.send(message)
        answer = await receive(client)
        assert set(answer) == {"error", "id"}
        assert answer["error"]["code"] == code
        assert says in answer["error"]["msg"]
        assert answer["id"] == request_id
        await client.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 9}))
        assert await receive(client) == {"result": [], "id": 9}


async def test_1024_streams_are_taken() -> None:
    async with SimulatedExchange("binance") as exchange, connect(exchange.sim.url) as client:
        await client.send(binance_request("SUBSCRIBE", *(f"s{i}@trade" for i in range(1024))))
        assert await receive(client) == {"result": None, "id": 1}


async def test_more_than_1024_streams_in_the_path_end_the_connection() -> None:
    names = "/".join(f"{i:x}@t" for i in range(1025))
    async with (
        SimulatedExchange("binance") as exchange,
        connect(f"{exchange.sim.url}?streams={names}") as client,
    ):
        assert (await ends(client))[0] == 1008


@pytest.mark.parametrize("kind", ["json", "ping", "pong"])
async def test_more_than_five_messages_a_second_end_the_connection(kind: str) -> None:
    async with SimulatedExchange("binance") as exchange, connect(exchange.sim.url) as client:
        for i in range(6):
            if kind == "json":
                await client.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": i}))
            elif kind == "ping":
                await client.ping()
            else:
                await client.pong()
        assert await ends(client) == (1008, "Too many requests")


async def test_the_exchange_pings_and_gives_up_on_a_client_without_pongs() -> None:
    assert (BinanceVenue.limits.ping_interval_s, BinanceVenue.limits.ping_timeout_s) == (20, 60)
    limits = msgspec.structs.replace(BinanceVenue.limits, ping_interval_s=0.2, ping_timeout_s=0.4)
    async with (
        SimulatedExchange("binance", limits=limits) as exchange,
        connect(exchange.sim.url) as answering,
        connect(exchange.sim.url) as deaf,
    ):
        deaf.transport.pause_reading()
        await until(lambda: exchange.sim.stats.connections == 1)
        await (await answering.ping())
        deaf.transport.abort()


async def test_a_connection_ends_at_its_age() -> None:
    assert BinanceVenue.limits.max_lifetime_s == 24 * 3600
    limits = msgspec.structs.replace(BinanceVenue.limits, max_lifetime_s=0.3)
    async with SimulatedExchange("binance", limits=limits) as exchange, connect(exchange.sim.url) as client:
        assert (await ends(client))[0] == 1008


@pytest.mark.parametrize("path", ["/", "/wss", "/stream/btcusdt@trade"])
async def test_another_path_does_not_exist(path: str) -> None:
    async with SimulatedExchange("binance") as exchange:
        with pytest.raises(InvalidStatus) as refused:
            await connect(exchange.sim.url.replace("/stream", path))
        assert refused.value.response.status_code == 404


async def test_the_end_of_the_server_is_announced() -> None:
    async with SimulatedExchange("binance") as exchange:
        client = await connect(exchange.sim.url)
        await until(lambda: exchange.sim.stats.connections == 1)
    async with asyncio.timeout(5):
        assert (await receive(client))["data"]["e"] == "serverShutdown"
        await client.wait_closed()
    assert client.close_code == 1001
