"""A simulated exchange with its log in memory, and a client's few verbs."""

import asyncio
import contextlib
import gzip
import json
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from infra.simulator.log import FrameLogEntry
from infra.simulator.server import ExchangeSimulator

SYMBOLS = {
    "upbit": ["BTC-KRW", "ETH-KRW", "XRP-KRW"],
    "binance": ["BTC-USDT", "ETH-USDT", "XRP-USDT"],
    "bitfinex": ["BTC-USD", "ETH-USDT", "1INCH-USD"],
    "bybit": ["BTC-USDT", "ETH-USDT", "1INCH-USDT"],
    "okx": ["BTC-USDT", "ETH-USDT", "1INCH-USDT"],
    "huobi": ["BTC-USDT", "ETH-USDT", "1INCH-USDT"],
    "coinbase": ["BTC-USD", "ETH-USD", "1INCH-USD"],
    "kraken": ["BTC-USD", "ETH-USD", "1INCH-USD"],
    "bithumb": ["BTC-KRW", "ETH-KRW", "XRP-KRW"],
    "coinone": ["BTC-KRW", "ETH-KRW", "XRP-KRW"],
    "korbit": ["BTC-KRW", "ETH-KRW", "XRP-KRW"],
}


class SimulatedExchange:
    """``sim`` writes its log to ``log``; keywords are the simulator's own."""

    def __init__(self, exchange: str, **options: Any) -> None:
        self.log: list[FrameLogEntry] = []
        defaults = {"rate": 200.0, "seed": 7, "symbols": SYMBOLS[exchange], "log": self.log.append}
        self.sim = ExchangeSimulator(exchange, **{**defaults, **options})

    async def __aenter__(self) -> "SimulatedExchange":
        await self.sim.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sim.stop()


def upbit_request(*types: dict[str, Any], fmt: str | None = None, ticket: str = "test") -> str:
    """Upbit's request array."""
    parts: list[dict[str, Any]] = [{"ticket": ticket}, *types]
    return json.dumps(parts if fmt is None else [*parts, {"format": fmt}])


def binance_request(method: str, *params: Any, request_id: Any = 1) -> str:
    """Binance's request object."""
    return json.dumps({"method": method, "params": list(params), "id": request_id})


def coinone_request(kind: str, channel: str, target: str, quote: str = "KRW", **more: Any) -> str:
    """Coinone's request object for one topic."""
    topic = {"quote_currency": quote, "target_currency": target}
    return json.dumps({"request_type": kind, "channel": channel, "topic": topic, **more})


def korbit_request(kind: str, *symbols: str, method: str = "subscribe", **more: Any) -> str:
    """Korbit's request array with one object."""
    return json.dumps([{"method": method, "type": kind, "symbols": list(symbols), **more}])


def inflated(frame: str | bytes) -> Any:
    """A frame's JSON, out of its gzip where it is binary."""
    return json.loads(
        gzip.decompress(frame) if isinstance(frame, bytes) and frame[:2] == b"\x1f\x8b" else frame
    )


async def receive(client: ClientConnection, within_s: float = 5.0) -> Any:
    """The next frame, decoded."""
    async with asyncio.timeout(within_s):
        return inflated(await client.recv())


async def silent(client: ClientConnection, for_s: float = 0.3) -> bool:
    """Whether nothing comes for a while."""
    try:
        async with asyncio.timeout(for_s):
            await client.recv()
    except TimeoutError:
        return True
    return False


async def ends(client: ClientConnection, within_s: float = 5.0) -> tuple[int | None, str | None]:
    """Close code and reason, once the exchange closed the connection; the frames before are thrown away."""
    async with asyncio.timeout(within_s):
        with contextlib.suppress(ConnectionClosed):
            while True:  # the library stops reading when nobody takes its frames
                await client.recv()
    return client.close_code, client.close_reason
