"""A whole gateway against the simulated Bitfinex: ``gateway verify`` misses no frame of repaired books."""

import asyncio
import json
from pathlib import Path

import pytest
from dependency_injector import providers
from typer.testing import CliRunner

from infra.cli import app
from infra.simulator.server import ExchangeSimulator
from tests.gateway_rig import TopicLog, connect, embedded_world, publish, running
from tests.running_stream import MeddlingConnector
from tests.simulated_exchange import SYMBOLS

PAIRS = SYMBOLS["bitfinex"]


async def test_every_frame_is_a_record_also_around_repairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sent.jsonl"
    spoilt: dict[int, int] = {}
    # While the exchange has not heard yet that a channel shall end, a dozen frames more come on it.
    connector = MeddlingConnector(late_s=0.05)

    def spoil_a_checksum_of_each(frame: str | bytes) -> str | bytes:
        content = json.loads(frame) if '"cs"' in str(frame) else None
        if content is None or content[0] in spoilt or len(spoilt) == len(PAIRS):
            return frame
        spoilt[content[0]] = content[2]
        return json.dumps([content[0], "cs", content[2] ^ 1, *content[3:]])

    async with (
        ExchangeSimulator("bitfinex", symbols=PAIRS, rate=100, log=path) as simulator,
        embedded_world({"bitfinex": simulator}, book_depth=25) as world,
    ):
        container = world.container()
        container.connector.override(providers.Object(connector))
        async with running(container), TopicLog(world.settings, ["realtime.orderbook", "ws.error"]) as log:
            await publish(world.settings, "ws.command", connect("bitfinex", "orderbook", *PAIRS))
            await log.until(lambda: log.messages["realtime.orderbook"])
            connector.meddle = spoil_a_checksum_of_each
            await log.until(lambda: snapshots(path) == 2 * len(PAIRS))
            simulator.pause()
            await log.settle()
            codes = [error["error"]["error_code"] for error in log.on("ws.error")]
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", world.settings.kafka.bootstrap_servers)
        monkeypatch.setenv("SCHEMA_REGISTRY_URL", world.settings.registry.url)
        monkeypatch.delenv("GATEWAY_PREFIX", raising=False)
        words = ["verify", "--json", "--exact", "--simulator-log", str(path), "--until-idle", "1"]
        verified = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert codes == ["checksum_mismatch"] * len(PAIRS)
    source = json.loads(verified.stdout)["source"]
    assert {track["symbol"] for track in source["tracks"]} == set(PAIRS)
    for what in ("lost", "unread_head", "unread_tail", "invented", "unlogged"):
        assert {track["symbol"]: track[what] for track in source["tracks"]} == dict.fromkeys(PAIRS, 0)
    assert verified.exit_code == 0


def snapshots(path: Path) -> int:
    """How many books the exchange has sent whole, as far as its log was written out."""
    return path.read_text().count('"snapshot"')
