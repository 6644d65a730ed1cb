"""Topics as a gateway leaves them: a real ``gateway run`` between simulated exchanges and a real broker.

What stands in them is read here with nothing of the gateway's own: bytes from the broker, the schema from the
``.avsc`` file, decoded by fastavro. That is what the readers under test have to agree with.
"""

import contextlib
import dataclasses
import functools
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer, Producer, TopicPartition

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = {
    "realtime.ticker": "ticker_data",
    "realtime.trade": "trade_data",
    "realtime.orderbook": "orderbook_data",
    "ws.metrics": "metrics_event",
}
_SYMBOLS = {"upbit": ["KRW-BTC", "KRW-ETH"], "binance": ["BTCUSDT", "ETHUSDT"]}
_OURS = ("GATEWAY_", "KAFKA_", "SCHEMA_REGISTRY_", "REDIS_")
_FRAME_HEADER_BYTES = 5
_ENOUGH = 150
_WITHIN_S = 60.0


@dataclasses.dataclass(frozen=True)
class Market:
    """Where the topics are, and what is in them: topic without prefix -> [(partition, offset, record)]."""

    bootstrap_servers: str
    registry_url: str
    prefix: str
    records: Mapping[str, Sequence[tuple[int, int, dict[str, Any]]]]

    def topic(self, name: str) -> str:
        """The full name."""
        return self.prefix + name


def run_market(environment: Mapping[str, str], prefix: str, folder: Path) -> Market:
    """Run exchanges and a gateway until every data topic holds enough, end both, read what they left."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    settings = {
        **clean,
        **environment,
        "GATEWAY_PREFIX": prefix,
        "GATEWAY_REALTIME_PARTITIONS": "3",
        "GATEWAY_STREAMS_PARTITIONS": "3",
        "GATEWAY_HTTP_PORT": "0",
        # Complete topics are wanted here, however busy the machine is; other tests look at the time of a drain.
        "GATEWAY_DRAIN_TIMEOUT_S": "25",
    }
    bootstrap = environment["KAFKA_BOOTSTRAP_SERVERS"]
    with _process(
        ["simulate", *_SYMBOLS, "--rate", "150", "--json"], clean, folder / "exchanges.log"
    ) as exchanges:
        assert exchanges.stdout is not None
        urls = json.loads(exchanges.stdout.readline())["environment"]
        with _process(["run"], {**settings, **urls}, folder / "gateway.log") as gateway:
            log = _Log(gateway, folder / "gateway.log")
            log.wait_for(lambda: b"gateway started" in log.path.read_bytes())
            _ask_for_streams(bootstrap, prefix)
            _wait_until_filled(bootstrap, prefix, log)
            # Its last minute's metrics are written while it drains.
            gateway.send_signal(signal.SIGTERM)
            assert gateway.wait(40) == 0, log.tail()
            assert "not drained in time" not in log.path.read_text(), log.tail()
    records = {name: list(_stored(bootstrap, prefix + name, schema)) for name, schema in SCHEMAS.items()}
    return Market(bootstrap, environment["SCHEMA_REGISTRY_URL"], prefix, records)


@contextlib.contextmanager
def _process(
    arguments: Sequence[str], environment: Mapping[str, str], log_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.cli", *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _ask_for_streams(bootstrap: str, prefix: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for exchange, symbols in _SYMBOLS.items():
        for request_type in ("ticker", "trade", "orderbook"):
            command = {
                "type": "status",
                "action": "connect_and_subscribe",
                "target": {"exchange": exchange, "request_type": request_type},
                "symbols": symbols,
            }
            producer.produce(f"{prefix}ws.command", json.dumps(command))
    assert producer.flush(20) == 0


class _Log:
    """A running process's log, to wait beside it and to say why it did not come."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self._process = process
        self.path = path

    def tail(self) -> str:
        return self.path.read_text()[-3000:]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        until_s = time.monotonic() + _WITHIN_S
        while not condition():
            assert self._process.poll() is None, self.tail()
            assert time.monotonic() < until_s, self.tail()
            time.sleep(0.1)


def _wait_until_filled(bootstrap: str, prefix: str, log: _Log) -> None:
    consumer = _consumer(bootstrap)
    wanted = [f"{prefix}{name}" for name in SCHEMAS if name != "ws.metrics"]
    try:
        log.wait_for(lambda: all(sum(_ends(consumer, topic).values()) >= _ENOUGH for topic in wanted))
    finally:
        consumer.close()


def _consumer(bootstrap: str) -> Consumer:
    return Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, "log_level": 0}
    )


def _ends(consumer: Consumer, topic: str) -> dict[int, int]:
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    return {
        partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
        for partition in partitions
    }


def _stored(bootstrap: str, topic: str, schema_name: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    consumer = _consumer(bootstrap)
    try:
        ends = _ends(consumer, topic)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
        until_s = time.monotonic() + 20
        left = sum(ends.values())
        while left:
            assert time.monotonic() < until_s, f"{left} of {topic} are missing"
            message = consumer.poll(0.2)
            if message is None:
                continue
            assert message.error() is None, message.error()
            body = io.BytesIO(message.value()[_FRAME_HEADER_BYTES:])
            yield (
                message.partition(),
                message.offset(),
                fastavro.schemaless_reader(body, _parsed(schema_name), None),
            )
            left -= 1
    finally:
        consumer.close()


@functools.cache
def _parsed(schema_name: str) -> Any:
    return fastavro.parse_schema(json.loads((ROOT / "schemas" / "avro" / f"{schema_name}.avsc").read_text()))
