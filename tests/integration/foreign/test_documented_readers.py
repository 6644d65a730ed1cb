"""The complete snippets of ``docs/consumers.md``, run as they stand there, with this run's topics."""

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.services.artifacts import MavenArtifacts
from infra.services.java import java_environment
from tests.integration.foreign import java_programs
from tests.integration.foreign.documented import documented
from tests.integration.foreign.market import Market

# The first test pays for the broker, the registry and the gateway's run.
pytestmark = pytest.mark.timeout(240)

_WITHIN_S = 80.0
_CONFLUENT, _BY_HAND = documented("python")
_JAVA = documented("java")[0]


def _on_this_runs_topics(snippet: str, market: Market) -> str:
    assert '"realtime.' in snippet
    return snippet.replace('"realtime.', f'"{market.prefix}realtime.')


def _first_lines(command: Sequence[str], market: Market, count: int, log_path: Path) -> list[str]:
    """What a program that goes on for ever prints first."""
    addresses = {
        "KAFKA_BOOTSTRAP_SERVERS": market.bootstrap_servers,
        "SCHEMA_REGISTRY_URL": market.registry_url,
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=java_environment() | addresses
        )
    timer = threading.Timer(_WITHIN_S, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        lines = [line.rstrip("\n") for _, line in zip(range(count), process.stdout, strict=False)]
    finally:
        timer.cancel()
        process.kill()
        process.communicate()
    assert len(lines) == count, log_path.read_text()[-3000:]
    return lines


def _ticker(record: dict[str, Any]) -> str:
    return f"{record['symbol']} {record['price']} {record['session_id']} {record['sequence']}"


def _book(record: dict[str, Any]) -> str:
    head = f"{record['symbol']} {record['kind']} {len(record['bids'])}"
    return f"{head} {record['session_id']} {record['sequence']}"


@pytest.mark.parametrize(
    ("snippet", "topic", "as_printed"),
    [(_CONFLUENT, "realtime.ticker", _ticker), (_BY_HAND, "realtime.orderbook", _book)],
    ids=["confluent-kafka", "fastavro by hand"],
)
def test_the_python_snippets_print_every_record(
    market: Market, tmp_path: Path, snippet: str, topic: str, as_printed: Callable[[dict[str, Any]], str]
) -> None:
    program = tmp_path / "snippet.py"
    program.write_text(_on_this_runs_topics(snippet, market))
    expected = [as_printed(record) for _, _, record in market.records[topic]]
    lines = _first_lines([sys.executable, str(program)], market, len(expected), tmp_path / "errors.log")
    assert sorted(lines) == sorted(expected)


def test_the_java_program_prints_every_record(
    market: Market, artifacts: MavenArtifacts, tmp_path: Path
) -> None:
    source = tmp_path / "ReadTrades.java"
    source.write_text(_on_this_runs_topics(_JAVA, market))
    # Connect's class path has Kafka's client and Avro.
    class_path = java_programs.connect_class_path(artifacts)
    java_programs.compile_source(artifacts, source, class_path, tmp_path)
    records = [record for _, _, record in market.records["realtime.trade"]]
    command = java_programs.java(f"{tmp_path}:{class_path}", "ReadTrades")
    lines = [line.split() for line in _first_lines(command, market, len(records), tmp_path / "errors.log")]
    printed = sorted((symbol, side, float(price), int(s), int(n)) for symbol, side, price, s, n in lines)
    assert printed == sorted(
        (r["symbol"], r["side"], r["price"], r["session_id"], r["sequence"]) for r in records
    )
