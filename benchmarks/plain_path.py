"""The plain way to do the same job, to compare with: JSON to dict, dict to JSON, ``await`` per message.

Each way runs in a process of its own, on uvloop, over the same feed and the same broker, idempotent with
acks=all and lz4 like the gateway. ``linger.ms`` is 0 where each message is awaited before the next is read:
waiting for a batch that cannot come would only make it slower.
"""

import asyncio
import multiprocessing
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import orjson
import websockets
from confluent_kafka import Producer

from benchmarks.market_frames import SYMBOLS
from benchmarks.measured_process import MeasuredProcess
from infra.commandline.run import run_in_loop

TOPIC: Final = "bench.plain"
IN_FLIGHT: Final = 1000


class _Counter(Protocol):
    value: int


class PlainProcess:
    """One of ``WAYS``, connected to the feeder at ``url``."""

    def __init__(self, way: str, bootstrap_servers: str, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._delivered: Any = context.Value("q", 0, lock=False)
        self._process = context.Process(
            target=_run, args=(way, bootstrap_servers, url, self._delivered), name=way, daemon=True
        )
        self._process.start()
        assert self._process.pid is not None, "it was started"
        self.measured = MeasuredProcess(self._process.pid)

    @property
    def delivered(self) -> int:
        """Messages the broker acknowledged."""
        return int(self._delivered.value)

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(10)


# -- inside the process --------------------------------------------------------------------------------

Send = Callable[[bytes, bytes], Awaitable["asyncio.Future[Any]"]]
"""Key and value; answers with the future of the delivery."""


def as_message(frame: str | bytes) -> tuple[bytes, bytes]:
    """Key and value of one ticker frame: the same fields as the gateway's record."""
    data = orjson.loads(frame)
    quote, base = data["code"].split("-")
    record = {
        "exchange": "upbit",
        "region": "korea",
        "symbol": f"{base}-{quote}",
        "exchange_symbol": data["code"],
        "exchange_ts_ms": data["timestamp"],
        "price": data["trade_price"],
        "open": data.get("opening_price"),
        "high": data.get("high_price"),
        "low": data.get("low_price"),
        "prev_close": data.get("prev_closing_price"),
        "change_rate": data.get("signed_change_rate"),
        "volume_24h": data.get("acc_trade_volume_24h"),
        "quote_volume_24h": data.get("acc_trade_price_24h"),
        "stream_type": data.get("stream_type"),
    }
    return f"upbit|{record['symbol']}".encode(), orjson.dumps(record)


async def _awaiting(url: str, send: Send, delivered: _Counter) -> None:
    """One message after the other."""
    async with await _subscribed(url) as connection:
        async for frame in connection:
            await (await send(*as_message(frame)))
            delivered.value += 1


async def _pipelined(url: str, send: Send, delivered: _Counter) -> None:
    """``IN_FLIGHT`` messages at a time."""
    room = asyncio.Semaphore(IN_FLIGHT)

    def settled(future: asyncio.Future[Any]) -> None:
        future.result()
        delivered.value += 1
        room.release()

    async with await _subscribed(url) as connection:
        async for frame in connection:
            await room.acquire()
            (await send(*as_message(frame))).add_done_callback(settled)


async def _subscribed(url: str) -> websockets.ClientConnection:
    connection = await websockets.connect(url)
    request = [{"ticket": "plain"}, {"type": "ticker", "codes": list(SYMBOLS)}, {"format": "DEFAULT"}]
    await connection.send(orjson.dumps(request).decode())
    return connection


def _config(bootstrap_servers: str, linger_ms: int) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap_servers,
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": linger_ms,
    }


def _future_per_message(bootstrap_servers: str, linger_ms: int) -> Send:
    """confluent-kafka with a polling thread and a future a message, as its own asyncio example has it."""
    producer = Producer(_config(bootstrap_servers, linger_ms))
    loop = asyncio.get_running_loop()

    def poll() -> None:
        while True:
            producer.poll(0.1)

    threading.Thread(target=poll, daemon=True).start()

    async def send(key: bytes, value: bytes) -> asyncio.Future[None]:
        future: asyncio.Future[None] = loop.create_future()

        def settle(error: Any, _message: Any) -> None:
            if error is None:
                loop.call_soon_threadsafe(future.set_result, None)
            else:
                loop.call_soon_threadsafe(future.set_exception, RuntimeError(str(error)))

        producer.produce(TOPIC, value, key, on_delivery=settle)
        return future

    return send


def _aio_producer(bootstrap_servers: str, linger_ms: int) -> Send:
    """confluent-kafka's own asyncio producer, which collects batches before librdkafka does.

    Awaiting each delivery is no use with it: it looks for reports when a batch goes out, or after a second.
    """
    from confluent_kafka.aio import AIOProducer

    producer = AIOProducer(_config(bootstrap_servers, linger_ms), batch_size=100)

    async def send(key: bytes, value: bytes) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = await producer.produce(TOPIC, value=value, key=key)
        return future

    return send


_Way = tuple[Callable[..., Awaitable[None]], Callable[[str, int], Send], int]
WAYS: Final[Mapping[str, _Way]] = {
    "await each delivery": (_awaiting, _future_per_message, 0),
    f"future a message, {IN_FLIGHT} in flight": (_pipelined, _future_per_message, 5),
    f"AIOProducer, {IN_FLIGHT} in flight": (_pipelined, _aio_producer, 5),
}


def _run(way: str, bootstrap_servers: str, url: str, delivered: _Counter) -> None:
    work, producer, linger_ms = WAYS[way]

    async def main() -> None:
        await work(url, producer(bootstrap_servers, linger_ms), delivered)

    run_in_loop(main())
