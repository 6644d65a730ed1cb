"""What a simulated exchange can be made to do wrong, and that it does nothing else meanwhile."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from infra.simulator.faults import RUBBISH_KINDS, FaultPlan
from infra.simulator.log import read_frame_log
from infra.simulator.server import ExchangeSimulator, SimulatorDiedError
from infra.simulator.venue import Limits
from tests.simulated_exchange import (
    SYMBOLS,
    SimulatedExchange,
    binance_request,
    ends,
    receive,
    silent,
    upbit_request,
)
from tests.waiting import until

TICKERS = upbit_request({"type": "ticker", "codes": ["KRW-BTC", "KRW-ETH"]})


async def subscribed(exchange: SimulatedExchange, **options: Any) -> ClientConnection:
    client = await connect(exchange.sim.url, **options)
    await client.send(TICKERS)
    await receive(client)
    return client


async def drained(client: ClientConnection, exchange: SimulatedExchange, already: int) -> list[Any]:
    """All frames the exchange has written, given that so many were taken before."""
    return [await receive(client) for _ in range(exchange.sim.stats.frames_sent - already)]


async def test_dropped_connections_end_without_a_close_frame_and_can_come_back() -> None:
    async with SimulatedExchange("upbit") as exchange:
        clients = [await subscribed(exchange) for _ in range(3)]
        assert await exchange.sim.drop_connections() == 3
        assert exchange.sim.stats.connections == 0
        assert [(await ends(client))[0] for client in clients] == [1006, 1006, 1006]
        await subscribed(exchange)
        assert exchange.sim.stats.connections_total == 4


async def test_connections_can_be_closed_with_code_and_reason() -> None:
    async with SimulatedExchange("upbit") as exchange:
        client = await subscribed(exchange)
        closing = asyncio.create_task(exchange.sim.close_all(1012, "restart"))
        assert await ends(client) == (1012, "restart")
        assert await closing == 1


async def test_a_pause_stops_updates_alone() -> None:
    async with SimulatedExchange("upbit") as exchange:
        client = await subscribed(exchange)
        exchange.sim.pause()
        await drained(client, exchange, 1)
        assert await silent(client)
        await client.send("PING")
        assert await receive(client) == {"status": "UP"}
        sent = exchange.sim.stats.frames_sent
        exchange.sim.resume()
        assert (await receive(client))["stream_type"] == "REALTIME"
        assert exchange.sim.stats.frames_sent < sent + 100


async def test_a_stall_withholds_answers_too_but_not_pongs() -> None:
    async with SimulatedExchange("upbit") as exchange:
        client = await subscribed(exchange)
        exchange.sim.stall()
        await drained(client, exchange, 1)
        newcomer = await connect(exchange.sim.url)
        await client.send("PING")
        await newcomer.send(TICKERS)
        assert await silent(client)
        assert await silent(newcomer)
        async with asyncio.timeout(5):
            await (await client.ping())
        exchange.sim.resume()
        assert (await receive(newcomer))["stream_type"] == "SNAPSHOT"
        while (await receive(client)) != {"status": "UP"}:
            pass


async def test_a_stall_of_some_seconds_ends_by_itself() -> None:
    async with SimulatedExchange("upbit") as exchange:
        client = await subscribed(exchange)
        exchange.sim.stall(0.4)
        await drained(client, exchange, 1)
        assert await silent(client, 0.2)
        await receive(client)


async def test_a_pause_outlasts_a_stall() -> None:
    async with SimulatedExchange("upbit") as exchange:
        client = await subscribed(exchange)
        exchange.sim.pause()
        exchange.sim.stall(0.1)
        await drained(client, exchange, 1)
        assert await silent(client, 0.4)


async def test_a_frozen_connection_does_not_even_pong_and_new_ones_work() -> None:
    async with SimulatedExchange("upbit") as exchange:
        client = await subscribed(exchange, ping_interval=None)
        exchange.sim.freeze()
        await drained(client, exchange, 1)
        pong = await client.ping()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(pong), 0.3)
        newcomer = await subscribed(exchange)
        await receive(newcomer)
        written = [e.connection for e in exchange.log]
        assert written[-1] == 2
        exchange.sim.resume()
        async with asyncio.timeout(5):
            await pong
        await receive(client)


async def test_stop_ends_frozen_connections() -> None:
    async with SimulatedExchange("upbit") as exchange:
        client = await subscribed(exchange)
        exchange.sim.freeze()
    await ends(client)


async def test_refused_connections() -> None:
    async with SimulatedExchange("upbit") as exchange:
        exchange.sim.refuse_connections()
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                await connect(exchange.sim.url)
            assert refused.value.response.status_code == 503
        exchange.sim.refuse_connections(False)
        await subscribed(exchange)
        assert exchange.sim.stats.refused == 2


def _is_rubbish(frame: bytes | str, kind: str) -> bool:
    try:
        content = json.loads(frame)
    except ValueError:
        return kind in ("broken_json", "truncated", "invalid_utf8")
    if kind == "unknown_type":
        return "weather" in str(content)
    if kind == "wrong_types":
        data = content.get("data", content)
        return data.get("trade_price", data.get("c")) == []
    return kind == "huge" and len(frame) > 300_000


@pytest.mark.parametrize("exchange_name", ["upbit", "binance"])
@pytest.mark.parametrize("kind", RUBBISH_KINDS)
async def test_rubbish_of_each_kind(kind: Any, exchange_name: str) -> None:
    async with (
        SimulatedExchange(exchange_name, rate=0, huge_bytes=400_000) as exchange,
        connect(exchange.sim.url) as client,
    ):
        if exchange_name == "upbit":
            await client.send(upbit_request({"type": "ticker", "codes": ["KRW-BTC"]}))
        else:
            await client.send(binance_request("SUBSCRIBE", "btcusdt@ticker"))
        await receive(client)
        before = len(exchange.log)
        assert exchange.sim.send_rubbish(3, kind) == 3
        if kind == "invalid_utf8" and exchange_name == "binance":
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.sent is not None
            assert closed.value.sent.code == 1007
        else:
            async with asyncio.timeout(5):
                frames = [await client.recv() for _ in range(3)]
            assert all(_is_rubbish(frame, kind) for frame in frames)
            assert {type(frame) for frame in frames} == {bytes if exchange_name == "upbit" else str}
    logged = exchange.log[before:]
    assert [(e.kind, e.n, e.symbol) for e in logged] == [("rubbish", n, None) for n in (1, 2, 3)]
    assert exchange.sim.stats.rubbish_sent == 3


async def test_rubbish_comes_to_clients_that_asked_for_nothing_and_its_kind_is_checked() -> None:
    async with SimulatedExchange("upbit") as exchange, connect(exchange.sim.url) as client:
        await until(lambda: exchange.sim.stats.connections == 1)
        assert exchange.sim.send_rubbish(4) == 4
        for _ in range(4):
            await client.recv()
        with pytest.raises(ValueError, match="broken_json"):
            exchange.sim.send_rubbish(1, "nonsense")  # type: ignore[arg-type]


async def test_planned_rubbish_comes_after_so_many_frames() -> None:
    plan = FaultPlan(rubbish_every=10, rubbish_kinds=("unknown_type",))
    async with SimulatedExchange("upbit", faults=plan) as exchange:
        client = await subscribed(exchange)
        frames = [await receive(client) for _ in range(100)]
    rubbish = sum("weather" in str(frame) for frame in frames)
    assert 8 <= rubbish <= 10
    assert exchange.sim.stats.rubbish_sent == exchange.sim.stats.frames_sent // 10


async def test_planned_drops_and_a_planned_stall() -> None:
    async with SimulatedExchange("upbit", faults=FaultPlan(drop_every_s=0.3)) as exchange:
        for _ in range(2):
            assert (await ends(await subscribed(exchange)))[0] == 1006
    async with SimulatedExchange("upbit", faults=FaultPlan(stall_after_s=0.3)) as exchange:
        client = await subscribed(exchange)
        while not await silent(client, 0.5):
            pass
        await client.send("PING")
        assert await silent(client)


async def test_a_client_that_does_not_read_holds_up_itself_alone_and_is_cut_off_in_the_end() -> None:
    async with SimulatedExchange("upbit", rate=4_000, max_backlog_bytes=300_000) as exchange:
        with socket.create_connection(("127.0.0.1", int(exchange.sim.url.split(":")[2].split("/")[0]))) as sock:
            # A receive buffer as small as the system has them, so that the backlog is reached soon.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.setblocking(False)
            deaf = await connect(exchange.sim.url, sock=sock, max_queue=1)
            deaf.transport.pause_reading()
            await deaf.send(TICKERS)
            reading = await subscribed(exchange)
            while exchange.sim.stats.too_slow == 0:
                await receive(reading)
            await until(lambda: exchange.sim.stats.connections == 1)
            assert (await receive(reading))["stream_type"] == "REALTIME"
            deaf.transport.abort()
    # What waited when the connection was cut was not written: the log's last entries are the reader's alone.
    written = [e.connection for e in exchange.log]
    assert written.count(1) < written.count(2)


async def test_a_slow_client_gets_every_frame_in_order() -> None:
    async with SimulatedExchange("upbit", rate=4_000) as exchange:
        client = await subscribed(exchange, max_queue=1)
        client.transport.pause_reading()
        await until(lambda: exchange.sim.stats.updates > exchange.sim.stats.frames_sent + 500, timeout_s=20)
        exchange.sim.pause()
        client.transport.resume_reading()
        updates = exchange.sim.stats.updates
        frames = [await receive(client) for _ in range(updates + 1)]
        assert await silent(client)
    assert [f["timestamp"] for f in frames] == [e.exchange_ts_ms for e in exchange.log][1:]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"exchange": "nope"}, "there are binance, .*upbit"),
        ({"exchange": "upbit", "symbols": ["BTCKRW"]}, "BASE-QUOTE"),
        ({"exchange": "upbit", "rate": -1}, "rate"),
        ({"exchange": "upbit", "replay_speed": 0}, "replay_speed"),
    ],
)
def test_a_wrong_set_up_fails_when_it_is_built(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ExchangeSimulator(**options)


async def test_it_is_started_once_and_stopped_as_often_as_one_likes() -> None:
    sim = ExchangeSimulator("upbit", symbols=SYMBOLS["upbit"])
    await sim.stop()
    await sim.start()
    with pytest.raises(RuntimeError):
        await sim.start()
    await sim.stop()
    await sim.stop()


async def test_a_frozen_connection_is_neither_found_idle_nor_missing_its_pongs() -> None:
    limits = Limits(idle_timeout_s=0.3, ping_interval_s=0.1, ping_timeout_s=0.1, max_lifetime_s=60)
    async with SimulatedExchange("upbit", limits=limits) as exchange:
        client = await subscribed(exchange, ping_interval=None)
        exchange.sim.freeze(1.2)
        await drained(client, exchange, 1)
        assert await silent(client, 0.8)
        assert exchange.sim.stats.connections == 1
        assert (await receive(client))["stream_type"] == "REALTIME"


async def test_the_rate_counts_updates_of_all_feeds_and_can_be_changed() -> None:
    async with SimulatedExchange("upbit", rate=0) as exchange:
        first, second = [await subscribed(exchange) for _ in range(2)]
        assert [(await receive(client))["stream_type"] for client in (first, second)] == ["SNAPSHOT"] * 2
        assert await silent(first)
        assert (exchange.sim.stats.updates, exchange.sim.stats.frames_sent) == (0, 4)
        exchange.sim.set_rate(400)
        began_s = asyncio.get_running_loop().time()
        await until(lambda: exchange.sim.stats.updates >= 200)
        took_s = asyncio.get_running_loop().time() - began_s
        assert exchange.sim.stats.updates <= 400 * (took_s + 0.5)
        exchange.sim.pause()
        updates = [e for e in exchange.log if e.kind == "realtime"]
        assert [e.n for e in updates if e.connection == 1] == [e.n for e in updates if e.connection == 2]
        with pytest.raises(ValueError, match="rate"):
            exchange.sim.set_rate(float("nan"))
        for client in (first, second):
            await receive(client)


async def test_compression_is_offered_where_it_is_turned_on() -> None:
    for compression in (False, True):
        async with SimulatedExchange("upbit", compression=compression) as exchange:
            client = await subscribed(exchange)
            assert bool(client.protocol.extensions) is compression
            frames = [await receive(client) for _ in range(30)]
            assert {f["stream_type"] for f in frames} <= {"REALTIME", "SNAPSHOT"}


async def test_the_log_file_is_written_out_each_second_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    async with SimulatedExchange("upbit", log=str(path), rate=20) as exchange:
        await subscribed(exchange)
        await until(lambda: path.stat().st_size > 0, timeout_s=10)
        assert read_frame_log(path)[0].kind == "snapshot"
    assert len(read_frame_log(path)) == exchange.sim.stats.frames_sent


class _FullError(Exception):
    """What the log of these tests fails with."""


def _failing_log(after: int) -> Any:
    taken = []

    def log(entry: Any) -> None:
        taken.append(entry)
        if len(taken) > after:
            raise _FullError("there is no more room")

    return log


@pytest.mark.parametrize(
    "replay", [None, Path(__file__).parent.parent / "frames" / "simulator" / "upbit.jsonl"]
)
async def test_an_exchange_whose_production_dies_is_not_merely_silent(replay: Path | None) -> None:
    sim = ExchangeSimulator("upbit", symbols=SYMBOLS["upbit"], rate=200, log=_failing_log(2), replay=replay)
    await sim.start()
    client = await connect(sim.url)
    await client.send(TICKERS)
    assert (await ends(client))[0] == 1001
    assert sim.died.is_set()
    with pytest.raises(ConnectionRefusedError):
        await connect(sim.url)
    with pytest.raises(
        SimulatorDiedError, match="the simulated upbit died of _FullError: there is no more room"
    ):
        await sim.stop()
    await sim.stop()
