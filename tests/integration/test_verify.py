"""The auditor on a broker and a registry: what is injected into the topics comes out of ``gateway verify``."""

import _thread
import contextlib
import itertools
import json
import signal
import threading
import time

import pytest
from typer.testing import CliRunner

from core.errors import BrokerUnavailableError
from infra.cli import app
from infra.messaging.audit.record_decoding import PrefixDecoder
from infra.messaging.audit.topic_auditor import TopicAuditor
from infra.services.tcp_ports import free_port
from infra.settings import GatewaySettings, KafkaSettings, RegistrySettings, Settings
from tests.integration.audit_feed import Feed, registry_in_a_thread
from tests.kafka_mock import mock_cluster


@pytest.fixture(scope="module")
def registry_url():
    with registry_in_a_thread() as url:
        yield url


@pytest.fixture(autouse=True)
def _nothing_in_flight(monkeypatch):
    """These tests flush what they produce, so no record follows the metrics."""
    monkeypatch.setattr("infra.messaging.audit.topic_auditor._SETTLE_S", 0.1)


@pytest.fixture
def bootstrap():
    with mock_cluster() as address:
        yield address


@pytest.fixture
def feed(bootstrap, registry_url):
    return Feed(bootstrap, registry_url)


@pytest.fixture
def gateway(bootstrap, registry_url, monkeypatch):
    """Runs the command line against broker and registry."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", registry_url)
    monkeypatch.delenv("GATEWAY_PREFIX", raising=False)

    def run(*words):
        return CliRunner().invoke(app, [str(word) for word in words])

    return run


def settings(bootstrap, registry_url, prefix=""):
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=bootstrap),
        registry=RegistrySettings(url=registry_url),
        gateway=GatewaySettings(prefix=prefix),
    )


def test_clean_topics_pass(gateway, feed):
    feed.records("BTC-KRW", range(1, 501))
    feed.records("ETH-KRW", range(1, 301))
    feed.metrics([(7, "BTC-KRW", 1, 500), (7, "ETH-KRW", 1, 300)])
    done = gateway("verify", "--until-idle", 0.5)
    assert done.exit_code == 0, done.output
    assert "800 records" in done.output
    assert "nothing lost, doubled or out of order" in done.output


@pytest.mark.parametrize(
    ("sequences", "last", "field"),
    [
        ([1, 2, 4], 4, "lost"),
        ([1, 2, 3], 4, "lost"),
        ([1, 2, 2, 3], 3, "doubled"),
        ([1, 3, 2], 3, "out_of_order"),
    ],
)
def test_one_faulty_record_ends_with_1(gateway, feed, sequences, last, field):
    feed.records("BTC-KRW", sequences)
    feed.metrics([(7, "BTC-KRW", 1, last)])
    done = gateway("verify", "--until-idle", 0.5, "--json")
    assert done.exit_code == 1, done.output
    report = json.loads(done.stdout)
    assert report["totals"][field] == 1
    others = {"lost", "doubled", "out_of_order"} - {field}
    assert all(report["totals"][other] == 0 for other in others)


def test_a_message_that_is_no_record_ends_with_1(gateway, feed):
    feed.records("BTC-KRW", [1, 2])
    feed.raw("realtime.ticker", "upbit|BTC-KRW", b"{}")
    feed.raw("realtime.ticker", "upbit|BTC-KRW", b"\x00\x00\x00\xff\xff123")
    feed.producer.flush(30)
    done = gateway("verify", "--until-idle", 0.5, "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["undecodable_count"] == 2
    assert report["totals"]["records"] == 2


def log_line(ts, connection=1, kind="realtime"):
    return json.dumps(
        {
            "connection": connection,
            "exchange": "upbit",
            "request_type": "ticker",
            "symbol": "BTC-KRW",
            "exchange_symbol": "KRW-BTC",
            "exchange_ts_ms": ts,
            "kind": kind,
            "n": 1,
        }
    )


def test_the_simulators_log_is_compared(gateway, feed, tmp_path):
    feed.records("BTC-KRW", range(1, 6))
    log = tmp_path / "sent.jsonl"
    log.write_text("".join(log_line(n * 10) + "\n" for n in range(1, 6)) + '{"cut')
    words = ("verify", "--until-idle", 0.5, "--simulator-log", log)
    assert gateway(*words, "--exact").exit_code == 0
    log.write_text("".join(log_line(n * 10) + "\n" for n in range(1, 7)))
    assert gateway(*words).exit_code == 0
    assert gateway(*words, "--exact").exit_code == 1
    log.write_text("".join(log_line(ts) + "\n" for ts in (10, 20, 25, 30, 40, 50)))
    done = gateway(*words)
    assert done.exit_code == 1
    assert "1 frames never became records" in done.output
    log.write_text("no json\n")
    done = gateway(*words)
    assert done.exit_code == 2
    assert "line 1" in done.stderr


def test_topics_that_appear_later_are_read_from_their_beginning(bootstrap, registry_url):
    auditor = TopicAuditor(settings(bootstrap, registry_url, "later."), from_beginning=False)
    auditor.start()
    assert "later.realtime.ticker" in auditor.absent
    feed = Feed(bootstrap, registry_url, prefix="later.")
    feed.records("BTC-KRW", range(1, 101))
    feed.metrics([(7, "BTC-KRW", 1, 100)])
    deadline_s = time.monotonic() + 20
    while auditor.records < 100:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    auditor.stop()
    report = auditor.report()
    assert report.ok
    assert report.totals.before_reading == 0
    assert report.totals.tails["proven"] == 1


def test_following_holds_earlier_records_not_to_be_lost(bootstrap, registry_url, feed):
    feed.records("BTC-KRW", range(1, 101))
    auditor = TopicAuditor(settings(bootstrap, registry_url), from_beginning=False)
    auditor.start()
    feed.records("BTC-KRW", range(101, 151))
    auditor.stop()
    report = auditor.report()
    assert report.ok
    assert (report.totals.records, report.totals.before_reading) == (50, 100)


def test_no_records_prove_nothing(gateway):
    done = gateway("verify", "--until-idle", 0.2)
    assert done.exit_code == 1
    assert "GATEWAY_PREFIX" in done.stderr


@contextlib.contextmanager
def streaming(feed, batch=20):
    """A gateway at work: metrics that count records which are still on their way, over and over."""
    stop, batches = threading.Event(), []

    def produce():
        while not stop.is_set():
            first = len(batches) * batch + 1
            feed.metrics([(7, "BTC-KRW", first, first + batch - 1)])
            stop.wait(0.05)
            feed.records("BTC-KRW", range(first, first + batch))
            batches.append(first)

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        deadline_s = time.monotonic() + 20
        while len(batches) < 5:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        yield batches
    finally:
        stop.set()
        thread.join()


def test_while_records_stream_it_ends_at_the_ends_it_found_and_finds_nothing(gateway, feed, monkeypatch):
    monkeypatch.setattr("infra.messaging.audit.topic_auditor._SETTLE_S", 1.0)
    with streaming(feed) as batches:
        for _ in range(3):
            before = len(batches) * 20
            done = gateway("verify", "--json")
            assert done.exit_code == 0, done.output
            report = json.loads(done.stdout)
            assert report["complete"]
            assert before <= report["totals"]["records"] <= (len(batches) + 1) * 20
            assert report["totals"]["lost"] == 0
            assert report["totals"]["minutes_checked"] == 1
    feed.records("BTC-KRW", [10**6])
    assert gateway("verify").exit_code == 1


@pytest.fixture
def slow_reading(monkeypatch):
    """A backlog without having to make a large one: every record takes a while to decode.

    Answers with what to call before the nth record.
    """
    decode, numbers, calls = PrefixDecoder.decode, itertools.count(), {}

    def decode_slowly(self, value):
        calls.get(next(numbers), int)()
        time.sleep(0.002)
        return decode(self, value)

    monkeypatch.setattr(PrefixDecoder, "decode", decode_slowly)
    monkeypatch.setattr("infra.messaging.audit.topic_auditor._BATCH", 20)
    monkeypatch.setattr("infra.commandline.verify._BROKEN_OFF_S", 0.3)
    monkeypatch.setattr("infra.commandline.verify._PROGRESS_S", 0.2)
    # Whoever runs the tests in the background of a shell has Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield calls
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("slow_reading")
def test_seconds_on_a_backlog_report_what_was_read(gateway, feed):
    feed.records("BTC-KRW", range(1, 3001))
    feed.metrics([(7, "BTC-KRW", 1, 3000)])
    begin_s = time.monotonic()
    done = gateway("verify", "--seconds", 1)
    assert time.monotonic() - begin_s < 5
    assert done.exit_code == 0, done.output
    assert "incomplete" in done.stdout
    assert "records; Ctrl-C reports now" in done.stderr
    report = json.loads(gateway("verify", "--seconds", 1, "--json").stdout)
    assert 0 < report["totals"]["records"] < 3000
    assert (report["complete"], report["totals"]["lost"], report["mismatches"]) == (False, 0, [])


def test_ctrl_c_on_a_backlog_reports_what_was_read(gateway, feed, slow_reading):
    feed.records("BTC-KRW", [n for n in range(1, 3001) if n != 5])
    feed.metrics([(7, "BTC-KRW", 1, 3000)])
    slow_reading[500] = _thread.interrupt_main
    done = gateway("verify", "--json")
    assert done.exit_code == 1, done.output
    assert "of about 2,999 records; Ctrl-C reports now" in done.stderr
    report = json.loads(done.stdout)
    assert 5 < report["totals"]["records"] < 2999
    assert (report["complete"], report["totals"]["lost"]) == (False, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no frame"),
        ('\n{"cut', "holds no frame"),
        ('{"t": 1.5, "conn": "a", "frame": "{}"}\n', "line 1: not what `gateway simulate --log` writes"),
    ],
)
def test_a_log_that_is_none_is_told_before_any_topic_is_read(monkeypatch, tmp_path, text, says):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    log = tmp_path / "sent.jsonl"
    log.write_text(text)
    done = CliRunner().invoke(app, ["verify", "--simulator-log", str(log)])
    assert (done.exit_code, says in done.stderr) == (2, True), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--from-beginning", "--follow"),
        ("--seconds", "1", "--until-idle", "1"),
        ("--exact",),
        ("--simulator-log", "no-such-file"),
        ("--topics", "ws.error"),
        ("--env-file", "no-such-file"),
        ("--nonsense",),
    ],
)
def test_wrong_use_ends_with_2(gateway, words):
    assert gateway("verify", *words).exit_code == 2


def test_an_absent_broker_is_one_line_and_no_hang(registry_url):
    port = free_port()
    auditor = TopicAuditor(settings(f"127.0.0.1:{port}", registry_url))
    begin_s = time.monotonic()
    with pytest.raises(BrokerUnavailableError, match=str(port)):
        auditor.start(timeout_s=1)
    assert time.monotonic() - begin_s < 10


def test_an_absent_registry_is_one_line_and_no_hang(gateway, feed, monkeypatch):
    monkeypatch.setattr("infra.commandline.verify._PATIENCE_S", 1.0)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", f"http://127.0.0.1:{free_port()}")
    feed.records("BTC-KRW", [1])
    done = gateway("verify", "--until-idle", 0.5)
    assert done.exit_code == 1
    assert "registry" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
