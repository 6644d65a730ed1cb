"""Recordings played to a client: the project's own small ones, and the captures where they are at hand."""

import asyncio
import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from infra.simulator.replay import read_recording
from tests.frames import CAPTURES
from tests.simulated_exchange import SimulatedExchange, binance_request, silent, upbit_request
from tests.waiting import until

OWN = Path(__file__).parent.parent / "frames" / "simulator"
SUBSCRIBE = {
    "upbit": upbit_request({"type": "trade", "codes": ["KRW-LAMB"]}),
    "binance": binance_request("SUBSCRIBE", "nknusdt@depth@100ms"),
}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def on_the_wire(line: dict[str, Any]) -> str | bytes:
    return line["frame"] if "frame" in line else base64.b64decode(line["b64"])


async def played(client: ClientConnection, exchange: str, count: int) -> list[str | bytes]:
    await client.send(SUBSCRIBE[exchange])
    async with asyncio.timeout(20):
        frames = [await client.recv() for _ in range(count + (exchange == "binance"))]
    return [f for f in frames if f != '{"result":null,"id":1}']


@pytest.mark.parametrize("folder", [OWN, CAPTURES], ids=["own", "captures"])
@pytest.mark.parametrize("exchange", ["upbit", "binance"])
async def test_a_recording_is_sent_as_it_is(folder: Path, exchange: str) -> None:
    path = folder / f"{exchange}.jsonl"
    if not path.is_file():
        pytest.skip(f"{folder.name} is not at hand")
    recorded = [on_the_wire(line) for line in lines(path)]
    async with (
        SimulatedExchange(exchange, replay=path, replay_speed=None) as simulated,
        connect(simulated.sim.url) as client,
    ):
        assert await silent(client, 0.1)
        assert await played(client, exchange, len(recorded)) == recorded
        assert await silent(client, 0.1)
        assert simulated.sim.stats.replays_finished == 1
    assert [e.n for e in simulated.log] == list(range(1, len(recorded) + 1))
    for entry, frame in zip(simulated.log, recorded, strict=True):
        content = json.loads(gzip.decompress(frame) if frame[:2] == b"\x1f\x8b" else frame)
        data = content.get("data", content)
        named = data.get("s") or data.get("cd") or data.get("code")
        assert entry.exchange_symbol == (named if entry.request_type else None)
        assert entry.kind == ("realtime" if entry.request_type else "other")


def test_the_own_recordings_hold_what_the_format_allows() -> None:
    upbit, binance = lines(OWN / "upbit.jsonl"), lines(OWN / "binance.jsonl")
    assert {line.get("enc") for line in upbit} == {"utf-8", "gzip"}
    assert {"frame" in line for line in binance} == {True}


async def test_each_connection_gets_the_whole_recording() -> None:
    path = OWN / "upbit.jsonl"
    count = len(lines(path))
    async with (
        SimulatedExchange("upbit", replay=path, replay_speed=None) as simulated,
        connect(simulated.sim.url) as first,
        connect(simulated.sim.url) as second,
    ):
        assert await played(first, "upbit", count) == await played(second, "upbit", count)
        await until(lambda: simulated.sim.stats.replays_finished == 2)
    assert {e.connection for e in simulated.log} == {1, 2}


async def test_its_own_pace_is_kept_and_can_be_hurried() -> None:
    path = OWN / "upbit.jsonl"
    recording = read_recording(path)
    took_s = []
    for speed in (1.0, 10.0):
        async with (
            SimulatedExchange("upbit", replay=path, replay_speed=speed) as simulated,
            connect(simulated.sim.url) as client,
        ):
            began_s = asyncio.get_running_loop().time()
            await played(client, "upbit", len(recording))
            took_s.append(asyncio.get_running_loop().time() - began_s)
    assert took_s[0] >= recording[-1].after_s
    assert took_s[1] >= recording[-1].after_s / 10
    assert took_s[1] < took_s[0]


async def test_a_pause_holds_a_replay_too() -> None:
    path = OWN / "upbit.jsonl"
    async with (
        SimulatedExchange("upbit", replay=path, replay_speed=None) as simulated,
        connect(simulated.sim.url) as client,
    ):
        simulated.sim.pause()
        await client.send(SUBSCRIBE["upbit"])
        assert await silent(client)
        simulated.sim.resume()
        async with asyncio.timeout(5):
            for _ in lines(path):
                await client.recv()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no frame"),
        ("\n\n", "holds no frame"),
        ("{", "line 1"),
        ('{"t":1,"frame":"x"}\n{"t":2}', "line 2: neither frame nor b64"),
        ('{"t":1,"b64":"??"}', "line 1"),
        ('{"t":1,"b64":"AAAA","enc":"gzip"}', "line 1"),
        ('{"t":1,"b64":"AAAA","enc":"zip"}', "neither utf-8 nor gzip"),
        ('{"frame":"x"}', "line 1"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        read_recording(path)
