"""CPU microseconds and bytes per value of the codec, beside the alternatives.

Each way gets what it takes: this project its records as structs, the others dicts (made outside the measured
time). Medians of rounds that take turns, so that a noisy machine is noisy for all. The readers give dicts,
msgspec JSON a struct.
"smaller" is in per cent of the JSON, with the framing's 5 bytes.
Usage: ``python -m benchmarks.codec [--seconds 0.2] [--json]``.
"""

import argparse
import io
import itertools
import json
import statistics
import sys
from collections.abc import Callable
from time import process_time
from typing import Any, NamedTuple

import fastavro
import msgspec
import orjson
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from rich.console import Console
from rich.table import Table

from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade, json_form
from infra.messaging.avro.codec.compiled_writer import compile_writer
from infra.messaging.avro.codec.framing import HEADER_SIZE, header_of
from infra.messaging.avro.codec.reader import compile_reader
from infra.messaging.avro.codec.record_codec import RecordCodec
from infra.messaging.schemas.schema_loader import SchemaLoader

_ROUNDS = 7
_IDS = {"ticker_data": 1, "trade_data": 2, "orderbook_data": 3, "metrics_event": 4}
_HEAD = ("upbit", "korea", "BTC-KRW", "KRW-BTC", 1_732_000_000_123)


class Way(NamedTuple):
    """One way to write and read one value; ``size`` is in bytes."""

    case: str
    way: str
    write: Callable[[], bytes]
    read: Callable[[], Any]
    size: int


def cases() -> list[tuple[str, str, Callable[[int], Any]]]:
    """(label, schema name, value number n): sequence and time move on as in a stream."""

    def head(number: int) -> tuple[str, str, str, str, int, int, int, int]:
        session_id = 7_094_272_000_503_808
        return (*_HEAD, 1_732_000_000_123_456 + 531 * number, session_id, 100_000 + number)

    def ticker(number: int) -> Ticker:
        day = (134_000_000.0, 136_250_000.0, 133_100_000.0, 134_010_000.0, 0.0123, 4021.77, 5.4e11)
        return Ticker(*head(number), 135_660_000.0 + number, *day, stream_type=StreamType.REALTIME)

    def trade(number: int) -> Trade:
        return Trade(*head(number), 135_660_000.0, 0.0123, Side.BUY, f"1732000000123{number:04d}")

    def book(number: int) -> OrderBook:
        bids = [Level(135_660_000.0 - 1000 * level, 0.1 + level) for level in range(30)]
        asks = [Level(135_661_000.0 + 1000 * level, 0.2 + level) for level in range(30)]
        return OrderBook(*head(number), BookKind.SNAPSHOT, bids, asks, None, None, None, True)

    def metrics(number: int) -> dict[str, Any]:
        counts = {f"S{symbol}-KRW_COUNT": 60 + symbol for symbol in range(50)}
        item = {
            "minute_start_ts_kst": 1_732_000_020_000,
            "total": sum(counts.values()),
            "details": counts,
        }
        batch = {
            "range_start_ts_kst": 1_732_000_020_000,
            "range_end_ts_kst": 1_732_000_080_000,
            "bucket_size_sec": 60,
            "items": [item],
            "version": 1,
        }
        sequences = [
            {"session_id": 7_094_272_000_503_808, "symbol": f"S{symbol}-KRW", "first": 1, "last": 60 + number}
            for symbol in range(50)
        ]
        totals = dict.fromkeys(
            ("frames", "parse_failed", "ignored", "delivered", "delivery_failed", "bytes_received"), 4225
        )
        latencies = {"latency_p50_us": 5100, "latency_p95_us": 6200, "latency_p99_us": 6600}
        return {
            "region": "korea",
            "exchange": "upbit",
            "request_type": "ticker",
            "batch": batch,
            **totals,
            **latencies,
            "sequences": sequences,
            "shed": [],
        }

    return [
        ("ticker", "ticker_data", ticker),
        ("trade", "trade_data", trade),
        ("order book 2 x 30", "orderbook_data", book),
        ("metrics, 50 symbols", "metrics_event", metrics),
    ]


def _turns(values: list[Any]) -> Callable[[], Any]:
    """The values in turn, for ever, by one cheap call."""
    return itertools.cycle(values).__next__


def ways(label: str, name: str, make: Callable[[int], Any]) -> list[Way]:
    """All ways for one case."""
    loader = SchemaLoader()
    values = [make(number) for number in range(256)]
    plain = [value if isinstance(value, dict) else json_form(value) for value in values]
    next_value, next_plain = _turns(values), _turns(plain)
    if isinstance(values[0], msgspec.Struct):
        encode: Callable[[Any], bytes] = RecordCodec(_IDS).encode
    else:
        encode = compile_writer(loader.schema(name), access="item", header=header_of(_IDS[name]))
    framed = [encode(value) for value in values]
    next_framed = _turns(framed)
    read = compile_reader(loader.schema(name))
    parsed = fastavro.parse_schema(loader.schema(name))

    def write_fastavro() -> bytes:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, parsed, next_plain())
        return buffer.getvalue()

    def read_fastavro() -> Any:
        buffer = io.BytesIO(next_framed())
        buffer.seek(HEADER_SIZE)
        return fastavro.schemaless_reader(buffer, parsed, None)

    orjson_texts = _turns([orjson.dumps(value) for value in plain])
    encoder = msgspec.json.Encoder()
    decoder: Any = msgspec.json.Decoder(type(values[0]))
    msgspec_texts = _turns([encoder.encode(value) for value in values])

    registry = SchemaRegistryClient.new_client({"url": "mock://codec"})
    confluent_write = AvroSerializer(registry, loader.text(name))
    confluent_read = AvroDeserializer(registry)
    context = SerializationContext("benchmark", MessageField.VALUE)
    confluent_framed = _turns([confluent_write(value, context) for value in plain])
    json_size = len(orjson_texts())
    avro_size = len(framed[0])
    return [
        Way(label, "this project", lambda: encode(next_value()), lambda: read(next_framed()), avro_size),
        Way(label, "fastavro", write_fastavro, read_fastavro, avro_size - HEADER_SIZE),
        Way(
            label,
            "confluent-kafka",
            lambda: confluent_write(next_plain(), context),
            lambda: confluent_read(confluent_framed(), context),
            avro_size,
        ),
        Way(
            label,
            "orjson",
            lambda: orjson.dumps(next_plain()),
            lambda: orjson.loads(orjson_texts()),
            json_size,
        ),
        Way(
            label,
            "msgspec JSON",
            lambda: encoder.encode(next_value()),
            lambda: decoder.decode(msgspec_texts()),
            json_size,
        ),
    ]


def _once_us(call: Callable[[], Any], seconds: float) -> float:
    """CPU microseconds per call, over about ``seconds``."""
    count, spent = 64, 0.0
    while True:
        began = process_time()
        for _ in range(count):
            call()
        spent = process_time() - began
        if spent >= seconds / 2 or count >= 1 << 22:
            return spent / count * 1e6
        count *= 2


def measure(seconds: float) -> list[dict[str, Any]]:
    """One row a way, about ``seconds`` for each figure."""
    rows = []
    for case in cases():
        table = ways(*case)
        taken: list[tuple[list[float], list[float]]] = [([], []) for _ in table]
        for _ in range(_ROUNDS):
            for way, (writes, reads) in zip(table, taken, strict=True):
                writes.append(_once_us(way.write, seconds / _ROUNDS))
                reads.append(_once_us(way.read, seconds / _ROUNDS))
        for way, (writes, reads) in zip(table, taken, strict=True):
            rows.append(
                {
                    "case": way.case,
                    "way": way.way,
                    "write_us": round(statistics.median(writes), 2),
                    "read_us": round(statistics.median(reads), 2),
                    "bytes": way.size,
                    "smaller_than_json_percent": round(100 - 100 * way.size / table[-1].size, 1),
                }
            )
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each figure")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = measure(arguments.seconds)
    if arguments.json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    table = Table(title="CPU microseconds per value", title_justify="left")
    for heading in ("value", "way"):
        table.add_column(heading)
    for heading in ("write", "read", "bytes", "smaller"):
        table.add_column(heading, justify="right")
    before = None
    for row in rows:
        if before not in (None, row["case"]):
            table.add_section()
        name = row["case"] if before != row["case"] else ""
        figures = (f"{row['write_us']:.2f}", f"{row['read_us']:.2f}", str(row["bytes"]))
        smaller = row["smaller_than_json_percent"]
        table.add_row(name, row["way"], *figures, f"{smaller:.0f} %" if smaller else "")
        before = row["case"]
    Console().print(table)


if __name__ == "__main__":
    main()
