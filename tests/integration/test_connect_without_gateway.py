"""``gateway connect`` where no gateway runs: the command stands, and whoever asked is told so."""

import pytest
from typer.testing import CliRunner

from infra.cli import app
from infra.messaging.topic_reader import TopicReader
from tests.kafka_mock import mock_cluster, read_topic


@pytest.fixture
def bootstrap(monkeypatch):
    with mock_cluster() as address:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", address)
        yield address


def test_the_command_stands_when_nobody_answers_in_time(bootstrap):
    done = CliRunner().invoke(app, ["connect", "upbit", "ticker", "KRW-BTC", "--timeout", "1"])
    assert done.exit_code == 1, done.output
    assert "0 of 1 outcomes within 1 s; the command stands in its topic" in done.output
    assert len(read_topic(bootstrap, "ws.command", 1)) == 1


def test_the_command_stands_when_the_wait_is_broken_off(bootstrap, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(TopicReader, "read", interrupted)
    done = CliRunner().invoke(app, ["disconnect", "upbit", "ticker"])
    assert done.exit_code == 130, done.output
    assert "broken off before the outcome; the command stands in its topic" in done.output
    assert len(read_topic(bootstrap, "ws.disconnection", 1)) == 1
