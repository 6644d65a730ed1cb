"""Reads frames by cryptofeed, for ``benchmarks.session``; needs cryptofeed and nothing of this project.

A line of JSON on standard input is a case, or the name of one. The answer is what the callbacks of all its
frames were (how many, and the numbers of the last), or the CPU seconds of reading them all once more. A feed is
made as its user makes it, and its own message handler is called; symbols and Binance's snapshot, which it would
fetch, are given to it. The callback does nothing. Frames are text or bytes as the exchange sends them.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from time import process_time
from typing import Any

from cryptofeed import exchanges
from cryptofeed.defines import L2_BOOK, TICKER, TRADES
from cryptofeed.symbols import Symbols

Callback = Callable[[Any, float], Awaitable[None]]
Read = Callable[[Sequence[str | bytes]], Awaitable[float]]

_FEEDS = {
    "upbit": exchanges.Upbit, "binance": exchanges.Binance, "bybit": exchanges.Bybit, "okx": exchanges.OKX,
    "huobi": exchanges.Huobi, "bitfinex": exchanges.Bitfinex,
}  # fmt: skip
_CHANNELS = {"ticker": TICKER, "trade": TRADES, "orderbook": L2_BOOK}
_BINARY = {"upbit", "huobi"}
_NOW_S = 1_793_604_700.0


class _NothingLogged(logging.Handler):
    """What cryptofeed logs while it reads is a frame that it did not read."""

    def emit(self, record: logging.LogRecord) -> None:
        raise SystemExit(f"cryptofeed: {record.getMessage()[:500]}")


def _text(case: dict[str, Any], frames: Sequence[str]) -> list[str | bytes]:
    return [frame.encode("latin-1") if case["exchange"] in _BINARY else frame for frame in frames]


async def _opened(case: dict[str, Any], callback: Callback) -> Read:
    """A feed that has had what comes first; answers with how it reads frames."""
    kind, symbol, spelled = case["kind"], case["symbol"], case["spelled"]
    if case["exchange"] == "bybit":
        # Spot tickers come in the same frames as those of perpetuals, which alone it subscribes.
        symbol, spelled = (
            (f"{symbol}-PERP", spelled) if kind == "ticker" else (symbol, symbol.replace("-", "/"))
        )
    make, channel = _FEEDS[case["exchange"]], _CHANNELS[kind]
    Symbols.set(make.id, {symbol: spelled}, {})
    feed = make(symbols=[symbol], channels=[channel], callbacks={channel: callback})
    ((connection, _subscribe, handler, _authenticate),) = feed.connect()
    if case["rest"] is not None:

        async def read(_address: str) -> str:
            return str(case["rest"])

        feed.http_conn.read = read
        await feed._snapshot(spelled)
    else:
        for frame in _text(case, case["before"]):
            await handler(frame, connection, _NOW_S)

    async def read_all(frames: Sequence[str | bytes]) -> float:
        start_s = process_time()
        for frame in frames:
            await handler(frame, connection, _NOW_S)
        return process_time() - start_s

    return read_all


def _numbers(kind: str, seen: Any) -> list[float]:
    if kind == "ticker":
        return [float(seen.bid), float(seen.ask)]
    if kind == "trade":
        return [float(seen.price), float(seen.amount)]
    return [float(number) for side in (seen.book.bids, seen.book.asks) for number in side.index(0)]


async def _check(case: dict[str, Any], frames: Sequence[str | bytes]) -> list[float]:
    seen: list[Any] = []

    async def keep(what: Any, _received_s: float) -> None:
        seen.append(what)

    read_all = await _opened(case, keep)
    seen.clear()
    await read_all(frames)
    return [len(seen), *_numbers(case["kind"], seen[-1])]


async def _nothing(_what: Any, _received_s: float) -> None:
    pass


async def _main() -> None:
    logging.getLogger("feedhandler").addHandler(_NothingLogged(logging.WARNING))
    cases: dict[str, tuple[dict[str, Any], list[str | bytes]]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if isinstance(request, dict):
            frames = _text(request, request["frames"])
            cases[request["name"]] = request, frames
            answer: object = await _check(request, frames)
        else:
            case, frames = cases[request]
            answer = await (await _opened(case, _nothing))(frames)
        print(json.dumps(answer), flush=True)  # noqa: T201


asyncio.run(_main())
