"""``gateway tail`` on a broker and a registry."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from infra.cli import app
from infra.services.tcp_ports import free_port
from tests.integration.audit_feed import Feed, registry_in_a_thread
from tests.kafka_mock import mock_cluster


@pytest.fixture(scope="module")
def registry_url():
    with registry_in_a_thread() as url:
        yield url


@pytest.fixture(scope="module")
def bootstrap():
    with mock_cluster() as address:
        yield address


@pytest.fixture
def prefix(request):
    return f"{request.node.name.replace('[', '-').replace(']', '')}."


@pytest.fixture
def feed(bootstrap, registry_url, prefix):
    return Feed(bootstrap, registry_url, prefix=prefix)


@pytest.fixture
def tail(bootstrap, registry_url, prefix, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", registry_url)
    monkeypatch.setenv("GATEWAY_PREFIX", prefix)

    def run(*words):
        return CliRunner().invoke(app, ["tail", *[str(word) for word in words]])

    return run


def test_avro_and_json_come_decoded_one_a_line(tail, feed, prefix):
    feed.records("BTC-KRW", [1, 2])
    feed.raw("ws.error", "upbit|korea|ticker", b'{"action":"error","target":null}')
    feed.producer.flush(10)
    done = tail("realtime.ticker", "ws.error", "--from-beginning", "--max", 3)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    tickers = [line for line in lines if f"{prefix}realtime.ticker[" in line]
    assert '"sequence":1,"price":1.0' in tickers[0]
    assert '"open"' not in tickers[0]
    assert any('{"action":"error"}' in line for line in lines)


def test_json_lines_are_for_programs(tail, feed, prefix):
    feed.records("BTC-KRW", [1])
    done = tail("realtime.ticker", "--from-beginning", "--max", 1, "--json")
    line = json.loads(done.stdout)
    assert line["topic"] == f"{prefix}realtime.ticker"
    assert line["key"] == "upbit|BTC-KRW"
    assert (line["offset"], line["headers"], line["value"]["sequence"]) == (0, {}, 1)
    assert line["value"]["open"] is None
    assert line["timestamp"] > 0


def test_only_keys_that_begin_so(tail, feed):
    feed.records("BTC-KRW", [1, 2])
    feed.records("ETH-KRW", [1])
    done = tail("realtime.ticker", "--from-beginning", "--seconds", 2, "--key", "upbit|ETH", "--json")
    assert [json.loads(line)["key"] for line in done.stdout.splitlines()] == ["upbit|ETH-KRW"]


def test_what_cannot_be_decoded_is_one_line_and_the_next_follows(tail, feed):
    for value in (b"\x00\x00\x00\xff\xff123", b"\xff\xfe", b"\x00", b'{"a":1}', None):
        feed.raw("ws.error", "one|key", value)
    feed.producer.flush(10)
    done = tail("ws.error", "--from-beginning", "--max", 5)
    lines = [line.partition("one|key ")[2] for line in done.stdout.splitlines()]
    assert lines[0].startswith("cannot be decoded: schema id 65535 is not in the registry")
    assert lines[1].startswith("cannot be decoded: neither Avro nor JSON")
    assert lines[2].startswith("cannot be decoded: 1 bytes are too short")
    assert lines[3:] == ['{"a":1}', "(no value)"]


def test_a_message_does_not_steer_the_terminal(tail, feed):
    feed.raw("ws.error", "\x1b[31mred", '{"a":"\x9b31m"}'.encode())
    feed.producer.flush(10)
    done = tail("ws.error", "--from-beginning", "--max", 1)
    assert "\x1b" not in done.stdout
    assert "\x9b" not in done.stdout


def test_a_topic_that_is_not_there_is_waited_for_until_ctrl_c(bootstrap, registry_url, prefix, feed):
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.cli", "tail", "ws.command", "--json"],
        env=os.environ
        | {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "SCHEMA_REGISTRY_URL": registry_url,
            "GATEWAY_PREFIX": prefix,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert f"waiting for {prefix}ws.command" in process.stderr.readline()
        feed.raw("ws.command", "k", b'{"n":1}')
        feed.producer.flush(10)
        assert json.loads(process.stdout.readline())["value"] == {"n": 1}
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.mark.parametrize(("name", "meant"), [("realtime.tickr", "realtime.ticker"), ("ws_error", "ws.error")])
def test_a_name_like_one_of_the_gateways_own_is_told(tail, name, meant):
    done = tail(name, "--seconds", 0.1)
    assert f"waiting for {name} (did you mean {meant}?)" in done.stderr


def test_a_name_of_its_own_is_waited_for_without_a_guess(tail, prefix):
    done = tail("orders", "ws.error", "--seconds", 0.1)
    assert f"waiting for orders, {prefix}ws.error, not there" in done.stderr


def test_an_absent_broker_is_one_line_and_no_hang(tail, monkeypatch):
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", address)
    begin_s = time.monotonic()
    done = tail("ws.error")
    assert done.exit_code == 1
    assert time.monotonic() - begin_s < 8
    assert address in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "words", [(), ("t", "--max", "0"), ("t", "--max", "x"), ("t", "--env-file", "nowhere")]
)
def test_wrong_use_ends_with_2(tail, words):
    assert tail(*words).exit_code == 2
