"""Kafka Connect, a real worker: Apicurio's Avro converter and the file sink, without a line of our own."""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from infra.services.artifacts import MavenArtifacts
from infra.services.java import java_environment
from infra.services.tcp_ports import free_port
from tests.integration.foreign import java_programs
from tests.integration.foreign.documented import documented
from tests.integration.foreign.market import SCHEMAS, Market

# The first test pays for the broker, the registry and the gateway's run.
pytestmark = pytest.mark.timeout(240)

_WITHIN_S = 60.0
_TOKEN = re.compile(r"Struct\{|[{}\[\]=]|, ?|[^{}\[\],=]+")


@pytest.fixture(scope="module")
def sunk(
    market: Market, artifacts: MavenArtifacts, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Any]]:
    """What the file sinks wrote, by topic."""
    folder = tmp_path_factory.mktemp("connect")
    worker = folder / "worker.properties"
    _write(
        worker,
        {
            "bootstrap.servers": market.bootstrap_servers,
            "listeners": f"http://127.0.0.1:{free_port()}",
            "offset.storage.file.filename": str(folder / "offsets"),
            **_documented_converters(market),
        },
    )
    sinks = []
    for name in SCHEMAS:
        sinks.append(folder / f"{name}.properties")
        _write(
            sinks[-1],
            {
                "name": name,
                "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
                "topics": market.topic(name),
                "file": str(folder / f"{name}.txt"),
                "consumer.override.auto.offset.reset": "earliest",
            },
        )
    command = java_programs.java(
        java_programs.connect_class_path(artifacts),
        "org.apache.kafka.connect.cli.ConnectStandalone",
        *map(str, (worker, *sinks)),
        heap_mb=512,
    )
    log_path = folder / "connect.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=java_environment())
    try:
        until_s = time.monotonic() + _WITHIN_S
        while any(len(_lines(folder, name)) < len(market.records[name]) for name in SCHEMAS):
            assert process.poll() is None, log_path.read_text()[-4000:]
            assert time.monotonic() < until_s, log_path.read_text()[-4000:]
            time.sleep(0.2)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
    return {name: [_parsed(line) for line in _lines(folder, name)] for name in SCHEMAS}


def _documented_converters(market: Market) -> dict[str, str]:
    """The converters' settings of ``docs/consumers.md``, with this run's registry."""
    (text,) = documented("properties")
    lines = [line.partition("=") for line in text.splitlines() if not line.startswith("#")]
    settings = {name: value for name, _, value in lines}
    url = "value.converter.apicurio.registry.url"
    documented_registry, _, path = settings[url].partition("/apis/")
    assert documented_registry == "http://localhost:8081"
    settings[url] = f"{market.registry_url.partition('/apis/')[0]}/apis/{path}"
    return settings


def _write(path: Path, properties: dict[str, str]) -> None:
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))


def _lines(folder: Path, name: str) -> list[str]:
    path = folder / f"{name}.txt"
    return path.read_text().splitlines() if path.exists() else []


def _parsed(line: str) -> Any:
    """Connect's text of a value, as ``Struct{a=1,b=[Struct{c=2.0}, Struct{c=3.0}],d={k=1}}``.

    Nulls are left out there; scalars stay text here.
    """
    tokens = _TOKEN.findall(line)

    def value(position: int) -> tuple[Any, int]:
        token = tokens[position]
        if token in ("Struct{", "{"):
            fields = {}
            position += 1
            while tokens[position] != "}":
                name = tokens[position]
                fields[name], position = value(position + 2)
                position += tokens[position].startswith(",")
            return fields, position + 1
        if token == "[":
            items = []
            position += 1
            while tokens[position] != "]":
                item, position = value(position)
                items.append(item)
                position += tokens[position].startswith(",")
            return items, position + 1
        return token, position + 1

    return value(0)[0]


def _identity(record: Any) -> tuple[str, ...]:
    """What no two records of a topic have in common."""
    if "batch" in record:
        start = record["batch"]["range_start_ts_kst"]
        return record["exchange"], record["request_type"], str(start)
    return str(record["session_id"]), record["symbol"], str(record["sequence"])


def _same(text: Any, written: Any) -> bool:
    """Whether what Connect printed is what was written."""
    if isinstance(written, dict):
        present = {name: value for name, value in written.items() if value is not None}
        return text.keys() == present.keys() and all(_same(text[name], present[name]) for name in present)
    if isinstance(written, list):
        return len(text) == len(written) and all(map(_same, text, written))
    if isinstance(written, bool):
        return text == str(written).lower()
    return text == written if isinstance(written, str) else type(written)(text) == written


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_record_comes_out_of_the_sink_as_it_was_written(
    market: Market, sunk: dict[str, list[Any]], name: str
) -> None:
    written = {_identity(record): record for _, _, record in market.records[name]}
    came_out = {_identity(one): one for one in sunk[name]}
    assert len(sunk[name]) == len(came_out) == len(market.records[name])
    assert came_out.keys() == written.keys()
    different = [(came_out[key], written[key]) for key in written if not _same(came_out[key], written[key])]
    assert not different, different[0]
