"""Where the time goes on the way of one record: the gateway's own parts, called in one process, stage by stage.

    make bench-stages     ten seconds

Each line runs the path from the WebSocket's bytes up to and including its stage, on the event loop's thread;
the stage's own cost is the difference to the line before. Frames come in pieces of 64 KiB, as a busy socket
gives them. librdkafka is configured as in the gateway but finds no broker: what it took is purged between
rounds, off the clock. The delivery report is what the polling thread spends in our callback. CPU time of the
thread, the least of many short rounds: what else the machine does can only add to it.
"""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from time import thread_time_ns, time_ns
from typing import Any

import structlog
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from application.accounting import StreamAccounting
from application.ports import ConnectionEnd, FrameHandler
from application.reporting import ErrorReporter
from application.stream import Stream, StreamParts
from benchmarks.market_frames import SYMBOLS, frames
from core.exchanges.kept_book import BookSettings
from core.exchanges.table import PROFILES
from core.identity import ConnectionScopeDomain, Exchange
from core.liveness import LivenessSettings
from core.records import Record
from infra.cache.local_connect_budgets import LocalConnectBudgets
from infra.clock import SystemClock
from infra.commandline.run import run_in_loop
from infra.messaging.avro.codec.record_codec import RecordCodec
from infra.messaging.clients.cb.producer import CircuitBreakerProducer
from infra.messaging.clients.delivery_book import DeliveryBook
from infra.messaging.clients.kafka_producer import KafkaProducer
from infra.messaging.clients.producer_profiles import data_producer_config
from infra.messaging.connect.producer_client import RealtimeDataProducer
from infra.settings import KafkaSettings, Settings
from infra.websocket.connector import _PushConnection

_PROFILE = PROFILES[Exchange.UPBIT]
_CHUNK_BYTES = 64 * 1024
_FRAMES_A_ROUND = 4_000
_ROUNDS = 30
_NOWHERE = KafkaSettings(
    bootstrap_servers="127.0.0.1:1", queue_max_messages=1_000_000, queue_max_kbytes=2_000_000
)


class _Taker:
    """The end of a path that is cut off: a handler, a sink and a producer that do nothing."""

    def on_frame(self, frame: str | bytes, received_us: int) -> None: ...

    def publish(self, record: Record, on_delivery: Any = None) -> None: ...

    def produce(self, *_args: Any) -> None: ...

    def figures(self) -> None: ...


async def _taker() -> _Taker:
    return _Taker()


class _HeldConnection:
    """An open connection that stays open and sends nothing; its frames are pushed by the benchmark."""

    def send(self, message: str | bytes) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    async def closed(self) -> ConnectionEnd:
        await asyncio.Event().wait()
        raise AssertionError("never set")

    async def close(self) -> None: ...


class _HeldConnector:
    def __init__(self) -> None:
        self.handler: FrameHandler | None = None

    async def connect(self, url: str, handler: FrameHandler, *, max_frame_bytes: int) -> _HeldConnection:
        self.handler = handler
        return _HeldConnection()


class _NoSnapshots:
    """Upbit needs none: each of its frames is a whole book."""

    async def fetch(self, exchange: str, path: str) -> bytes:
        raise SystemExit(f"nothing is to be fetched: {path}")


class _Owner:
    """The orchestrator's place."""

    def __init__(self) -> None:
        self._sure_until_us = time_ns() // 1000 + 10**12

    def may_publish(self, received_us: int) -> bool:
        """As ``StreamOrchestrator.may_publish``."""
        return received_us <= self._sure_until_us

    def on_confirmed(self, scope: ConnectionScopeDomain, symbols: Iterable[str]) -> None: ...

    def on_refused(self, scope: ConnectionScopeDomain, symbols: Iterable[str], error: Exception) -> None:
        raise SystemExit(f"refused: {error}")


async def handler_to(kind: str, sink: Any) -> FrameHandler:
    """What the open connection of a running stream calls, when its records go to ``sink``."""
    connector, clock = _HeldConnector(), SystemClock()
    parts = StreamParts(
        connector=connector,
        sink=sink,
        reporter=ErrorReporter({}, clock, prefix="", uniform=lambda low, high: high),
        clock=clock,
        new_session_id=lambda: 7_000_000_000_000_000,
        backoff=lambda: iter(()),
        liveness=LivenessSettings(),
        hold_max_s=5.0,
        url_of=lambda profile, _request_type: profile.url,
        budgets=LocalConnectBudgets(),
        snapshots=_NoSnapshots(),
        books=BookSettings(),
        instance="bench",
    )
    stream = Stream(ConnectionScopeDomain("upbit", "korea", kind), _PROFILE, parts, _Owner())
    stream.run([str(_PROFILE.parse_symbol(symbol)) for symbol in SYMBOLS], None, {})
    while connector.handler is None or not stream.spec().connected_at_ms:
        await asyncio.sleep(0.001)
    return connector.handler


def websocket_to(handler: FrameHandler, *, deflate: bool = False) -> tuple[_PushConnection, ServerProtocol]:
    """The adapter's connection after its handshake with a server in memory, without a socket."""
    client = ClientProtocol(
        parse_uri("ws://nowhere/"),
        extensions=[ClientPerMessageDeflateFactory()] if deflate else [],
        max_size=_PROFILE.limits.max_frame_bytes,
    )
    server = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()] if deflate else [])
    connection = _PushConnection(handler, client)
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    (request,) = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]
    connection.data_received(b"".join(server.data_to_send()))
    return connection, server


def chunks_of(kind: str, server: ServerProtocol, count: int) -> list[bytes]:
    """``count`` frames as pieces of what the socket would give."""
    plain = frames(kind)
    stream = bytearray()
    for number in range(count):
        frame = Frame(Opcode.BINARY, plain[number % len(plain)])
        stream += frame.serialize(mask=False, extensions=server.extensions)
    return [bytes(stream[start : start + _CHUNK_BYTES]) for start in range(0, len(stream), _CHUNK_BYTES)]


class Stage:
    """A path that ends somewhere; ``settle`` empties what it filled, off the clock."""

    def __init__(
        self, name: str, handler: Callable[[], Awaitable[FrameHandler]], settle: Callable[[], Any] | None = None
    ) -> None:
        self.name = name
        self.rounds_us: list[float] = []
        self.settle = settle
        self._handler = handler

    async def measure(self, chunks: list[bytes], deflate: bool) -> None:
        """One round, on a fresh stream and connection."""
        connection, _ = websocket_to(await self._handler(), deflate=deflate)
        start_ns = thread_time_ns()
        for chunk in chunks:
            connection.data_received(chunk)
        self.rounds_us.append((thread_time_ns() - start_ns) / _FRAMES_A_ROUND / 1e3)
        if self.settle is not None:
            await self.settle()


async def stages_of(kind: str, core: KafkaProducer) -> list[Stage]:
    """The path cut off after each of its parts."""
    codec = RecordCodec({"ticker_data": 1, "trade_data": 2, "orderbook_data": 3})

    async def publishing_to(producer: Any) -> RealtimeDataProducer:
        realtime = RealtimeDataProducer(codec=codec, producer=producer, settings=Settings(kafka=_NOWHERE))
        await realtime.start_producer()
        return realtime

    async def purge() -> None:
        assert core._client is not None, "it is started"
        if core.figures().in_flight != _FRAMES_A_ROUND:
            raise SystemExit("not every record reached librdkafka: the figures would mean nothing")
        core._client.purge()
        while core.figures().in_flight:
            await asyncio.sleep(0.01)

    sinks: list[tuple[str, Any]] = [
        ("stream, session, dialect: frame to record", _Taker()),
        ("publisher: topic, key, Avro", await publishing_to(_Taker())),
        ("circuit breaker", await publishing_to(CircuitBreakerProducer(_Taker(), name="bench"))),
        ("account, librdkafka's produce", await publishing_to(CircuitBreakerProducer(core, name="bench"))),
    ]
    stages = [Stage("websockets: bytes to message", _taker)]
    stages += [Stage(name, partial(handler_to, kind, sink)) for name, sink in sinks]
    stages[-1].settle = purge
    return stages


async def delivery_report_us(core: KafkaProducer) -> list[float]:
    """What the polling thread spends in our callback for one acknowledged record, a figure a round."""
    messages: list[Any] = []
    core.produce("bench", b"", on_delivery=lambda _error, message: messages.append(message))
    assert core._client is not None, "it is started"
    core._client.purge()
    while not messages:
        await asyncio.sleep(0.01)
    rounds = []
    for _ in range(_ROUNDS):
        accounting, book = StreamAccounting(0), DeliveryBook()
        receipt = book.receipt(accounting.delivered_one, 0.0)
        receipt.opened = _FRAMES_A_ROUND
        start_ns = thread_time_ns()
        for _ in range(_FRAMES_A_ROUND):
            receipt(None, messages[0])
        rounds.append((thread_time_ns() - start_ns) / _FRAMES_A_ROUND / 1e3)
    return rounds


async def measure(kind: str, deflate: bool) -> list[tuple[str, float, float]]:
    """Name, microseconds a record of the stage alone, and up to and including it."""
    core = KafkaProducer(lambda: data_producer_config(_NOWHERE), name="bench")
    await core.start()
    try:
        stages = await stages_of(kind, core)
        _, server = websocket_to(_Taker(), deflate=deflate)
        chunks = chunks_of(kind, server, _FRAMES_A_ROUND)
        for _ in range(_ROUNDS):
            for stage in stages:
                await stage.measure(chunks, deflate)
        report_us = min(await delivery_report_us(core))
    finally:
        await core.stop(0.1)
    rows, before_us = [], 0.0
    for stage in stages:
        until_us = min(stage.rounds_us)
        rows.append((stage.name, until_us - before_us, until_us))
        before_us = until_us
    return [*rows, ("delivery report, in the polling thread", report_us, before_us + report_us)]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="ticker", choices=("ticker", "trade", "orderbook"))
    parser.add_argument("--deflate", action="store_true", help="frames are compressed (permessage-deflate)")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of the table")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    rows = run_in_loop(measure(options.kind, options.deflate))
    if options.json:
        text = json.dumps({name: round(own_us, 3) for name, own_us, _ in rows})
    else:
        lines = [f"{options.kind + ', CPU us a record':44} {'stage':>6} {'sum':>6}"]
        lines += [f"{name:44} {own_us:6.2f} {until_us:6.2f}" for name, own_us, until_us in rows]
        text = "\n".join(lines)
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
