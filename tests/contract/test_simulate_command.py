"""``gateway simulate`` as a user runs it."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner
from websockets.asyncio.client import connect

from core.source_log import SentFrame, SourceLog
from infra.cli import app
from infra.messaging.audit.topic_auditor import TopicAuditor
from infra.simulator.log import read_frame_log
from tests.gateway_rig import TopicLog, World, embedded_world, publish, running
from tests.gateway_rig import connect as connect_command
from tests.simulated_exchange import binance_request, receive, upbit_request

ROOT = Path(__file__).parent.parent.parent
RECORDING = ROOT / "tests" / "frames" / "simulator" / "upbit.jsonl"


@asynccontextmanager
async def simulate(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """The command in a process of its own with --json, and its first line; ended by the body, or killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "infra.cli", "simulate", "--json", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            yield process, json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def finished(process: asyncio.subprocess.Process) -> tuple[int | None, dict[str, Any], str]:
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, json.loads(out), err.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_until_it_is_asked_to_end(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "sent.jsonl"
    async with simulate("upbit", "binance", "--rate", "500", "--log", str(log)) as (process, started):
        urls = started["urls"]
        assert json.loads(started["environment"]["GATEWAY_EXCHANGE_URLS"]) == urls
        async with connect(urls["upbit"]) as upbit, connect(urls["binance"]) as binance:
            await upbit.send(upbit_request({"type": "ticker", "codes": ["KRW-BTC"]}))
            await binance.send(binance_request("SUBSCRIBE", "btcusdt@ticker"))
            for _ in range(30):
                await receive(upbit)
                await receive(binance)
            process.send_signal(number)
            code, ended, err = await finished(process)
    assert (code, err) == (0, "")
    entries = read_frame_log(log)
    for exchange in ("upbit", "binance"):
        sent = sum(entry.exchange == exchange for entry in entries)
        assert sent == ended["summary"][exchange]["frames_sent"] >= 29


async def test_it_ends_by_itself_after_some_seconds_and_plays_a_recording() -> None:
    arguments = ("--replay", str(RECORDING), "--speed", "0", "--seconds", "2")
    async with simulate("upbit", *arguments) as (process, started):
        async with connect(started["urls"]["upbit"]) as client:
            await client.send(upbit_request({"type": "ticker", "codes": ["KRW-BTC"]}))
            async with asyncio.timeout(5):
                frames = [await client.recv() for _ in RECORDING.read_text().splitlines()]
        code, ended, _ = await finished(process)
    assert code == 0
    assert ended["summary"]["upbit"]["frames_sent"] == len(frames)


async def test_a_gateway_on_an_exchange_with_several_frames_an_update_is_proven_by_its_log(
    tmp_path: Path,
) -> None:
    log, symbols = tmp_path / "sent.jsonl", ["BTC-USD", "DOGE-USD", "ETH-USDT"]
    arguments = ("--rate", "200", "--symbols", ",".join(symbols), "--log", str(log))
    async with simulate("bitfinex", *arguments) as (process, started), embedded_world() as world:
        gateway = world.settings.gateway.model_copy(update={"exchange_urls": started["urls"]})
        settings = world.settings.model_copy(update={"gateway": gateway})
        auditor = TopicAuditor(settings, keep_exchange_times=True)
        auditor.start()
        async with TopicLog(settings, ["ws.connect_success"]) as topics:
            async with running(World(settings, True, {}).container()):
                types = ("ticker", "trade", "orderbook")
                await publish(
                    settings, "ws.command", *[connect_command("bitfinex", kind, *symbols) for kind in types]
                )
                await topics.until(lambda: len(topics.on("ws.connect_success")) == 9)
                await topics.until(lambda: auditor.records >= 1_000)
                process.send_signal(signal.SIGTERM)
                code, _, _ = await finished(process)
            await asyncio.to_thread(auditor.stop, 30.0)
        assert code == 0
        sent = [SentFrame(**msgspec.structs.asdict(entry)) for entry in read_frame_log(log)]
        report = auditor.report(SourceLog(sent), exact=True)
    assert report.source is not None
    assert report.ok
    assert report.totals.tails["proven"] == 9
    matched = sum(track.matched for track in report.source.tracks)
    assert matched == report.totals.records == sum(frame.kind != "repeat" for frame in sent)


async def test_ports_follow_each_other() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = ("--port", str(port), "--seconds", "0.1", "--drop-every", "1", "--stall-after", "1")
    async with simulate("upbit", *arguments, "--rubbish-every", "5") as (process, started):
        assert started["urls"]["upbit"].startswith(f"ws://127.0.0.1:{port}/")
        assert (await finished(process))[0] == 0


async def test_pairs_are_taken_in_the_exchanges_own_spelling() -> None:
    async with simulate("upbit", "--symbols", "KRW-BTC,ETH-KRW", "--seconds", "3") as (process, started):
        async with connect(started["urls"]["upbit"]) as client:
            await client.send(upbit_request({"type": "ticker", "codes": ["KRW-BTC"]}))
            assert (await receive(client))["code"] == "KRW-BTC"
        assert (await finished(process))[0] == 0


def test_for_people_it_says_how_to_point_a_gateway_at_it() -> None:
    result = CliRunner().invoke(app, ["simulate", "upbit", "binance", "--seconds", "0.1"])
    assert result.exit_code == 0
    assert 'export GATEWAY_EXCHANGE_URLS=\'{"upbit":"ws://127.0.0.1:' in result.output
    assert "0 frames" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope"], "no simulated exchange 'nope'; there are binance, "),
        (["upbit", "--symbols", "BTCKRW"], "'BTCKRW' is not a pair"),
        (["binance", "--replay", str(RECORDING)], "holds no market data of binance"),
        (["upbit", "--symbols", " , "], "--symbols"),
        (["upbit", "--rate", "-1"], "--rate -1.0 must be zero or more"),
        (["upbit", "--rate", "nan"], "--rate nan must be zero or more"),
        (["upbit", "--port", "70000"], "--port 70000"),
        (["upbit", "--replay", "nowhere.jsonl"], "nowhere.jsonl: No such file"),
        (["upbit", "--log", "nowhere/log.jsonl"], "nowhere/log.jsonl: No such file"),
        (["upbit", "binance", "--replay", str(RECORDING)], "name one exchange"),
        (["upbit", "--replay", str(ROOT / "pyproject.toml")], "line 1"),
    ],
)
def test_wrong_use_is_one_clear_line(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["simulate", *arguments])
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
async def test_one_that_dies_ends_the_command_with_the_reason() -> None:
    async with (
        simulate("upbit", "--rate", "500", "--log", "/dev/full") as (process, started),
        connect(started["urls"]["upbit"]) as client,
    ):
        await client.send(upbit_request({"type": "ticker", "codes": ["KRW-BTC"]}))
        async with asyncio.timeout(30):
            out, err = await process.communicate()
    assert process.returncode == 1
    assert out == b""
    assert err.count(b"\n") == 1
    assert b"the simulated upbit died of OSError" in err
    assert b"No space left on device" in err


def test_a_port_that_is_taken_is_wrong_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(app, ["simulate", "upbit", "--port", port])
    assert result.exit_code == 2
    assert "cannot listen for upbit" in result.stderr
    assert result.stderr.count("\n") == 1
