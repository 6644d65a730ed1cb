"""Frames of Bybit, OKX and HTX for the session benchmark, and the plain way to read them."""

import gzip
from collections.abc import Callable
from typing import Any, Final

import orjson

from core.exchanges.table import PROFILES
from core.identity import Exchange, RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade
from core.session import StreamSession
from tests.frames import frame

CASES: Final = (
    ("bybit", "ticker"),
    ("bybit", "trade"),
    ("bybit", "orderbook.delta"),
    ("okx", "ticker"),
    ("okx", "trade"),
    ("okx", "orderbook.delta"),
    ("huobi", "ticker"),
    ("huobi", "trade"),
    ("huobi", "trade.gzip"),
    ("huobi", "orderbook.delta"),
)
"""A trade frame has two trades; an order book's has ten changed levels a side."""

_CHANGED: Final = 10
_LEVELS: Final = 400
_US: Final = 1_793_604_700_000_000


def asia_session(exchange: str, name: str, *, exact: bool = False) -> StreamSession:
    """A session that has subscribed to BTC-USDT, with a whole book where the frames are updates."""
    profile = PROFILES[Exchange(exchange)]
    session = StreamSession(profile, RequestType(name.partition(".")[0]), 1, now_s=0.0, exact=exact)
    session.subscribe([Symbol("BTC", "USDT")], 0.0)
    if name.startswith("orderbook"):
        if exchange == "huobi":
            session.receive('{"id":"1","status":"ok","subbed":"market.btcusdt.mbp.150"}', 1)
            session.on_time(1.0)
        (whole,) = session.receive(_whole_book(exchange), 1)
        if not (isinstance(whole, OrderBook) and whole.valid):
            raise SystemExit(f"{exchange} {name}: no whole book")
    return session


def asia_frames(exchange: str, name: str, count: int) -> list[bytes]:
    """``count`` frames; a chain of updates for an order book."""
    if name == "trade.gzip":
        return [gzip.compress(frame(exchange, "trade"))] * count
    if not name.startswith("orderbook"):
        return [frame(exchange, name)] * count
    return [orjson.dumps(_update(exchange, number)) for number in range(1, count + 1)]


def _pairs(exchange: str, number: int, side: int, count: int) -> list[list[Any]]:
    """Changed levels: price and quantity, as this exchange writes them; ``side`` -1 is below the price."""
    levels: list[list[Any]] = []
    for step in range(count):
        price = 91_250.5 + side * (0.5 + (step * 7 + number) % _LEVELS)
        quantity = 0 if (number + step) % 11 == 0 and count == _CHANGED else 0.25 + step
        if exchange == "huobi":
            levels.append([price, quantity])
        else:
            levels.append([f"{price:.2f}", f"{quantity}", *(("0", "3") if exchange == "okx" else ())])
    return levels


def _whole_book(exchange: str) -> bytes:
    book = _update(exchange, 0)
    if exchange == "huobi":
        tick = book.pop("tick")
        book = {"id": "2", "status": "ok", "rep": book["ch"], "ts": book["ts"], "data": tick}
    else:
        book["type" if exchange == "bybit" else "action"] = "snapshot"
    return orjson.dumps(book)


def _update(exchange: str, number: int) -> dict[str, Any]:
    count = _CHANGED if number else _LEVELS
    bids, asks = (_pairs(exchange, number, side, count) for side in (-1, 1))
    update_id, time_ms = 1_000_000 + number, _US // 1000 + number
    match exchange:
        case "bybit":
            data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update_id, "seq": update_id * 3}
            return {
                "topic": "orderbook.1000.BTCUSDT",
                "type": "delta",
                "ts": time_ms,
                "data": data,
                "cts": time_ms,
            }
        case "okx":
            numbers = {"ts": str(time_ms), "checksum": 0, "prevSeqId": update_id - 1, "seqId": update_id}
            arg = {"channel": "books", "instId": "BTC-USDT"}
            return {"arg": arg, "action": "update", "data": [{"asks": asks, "bids": bids, **numbers}]}
        case _:
            tick = {"seqNum": update_id, "prevSeqNum": update_id - 1, "bids": bids, "asks": asks}
            return {"ch": "market.btcusdt.mbp.150", "ts": time_ms, "tick": tick}


def plain_bybit(raw: bytes) -> object:
    """Bybit by orjson and dict."""
    message: dict[str, Any] = orjson.loads(raw)
    kind, data = message["topic"].partition(".")[0], message["data"]
    if kind == "tickers":
        common = ("bybit", "asia", data["symbol"], data["symbol"], message["ts"], 0, 1, 1)
        day_ago = float(data["prevPrice24h"])
        return Ticker(
            *common,
            float(data["lastPrice"]),
            day_ago,
            float(data["highPrice24h"]),
            float(data["lowPrice24h"]),
            day_ago,
            float(data["price24hPcnt"]),
            float(data["volume24h"]),
            float(data["turnover24h"]),
            stream_type=StreamType.SNAPSHOT,
        )
    if kind == "publicTrade":
        return [
            Trade(
                "bybit", "asia", trade["s"], trade["s"], trade["T"], 0, 1, 1, float(trade["p"]),
                float(trade["v"]), Side.BUY if trade["S"] == "Buy" else Side.SELL, trade["i"],
            )
            for trade in data
        ]  # fmt: skip
    common = ("bybit", "asia", data["s"], data["s"], message["ts"], 0, 1, 1)
    return _plain_book(common, data["b"], data["a"], data["u"])


def plain_okx(raw: bytes) -> object:
    """OKX by orjson and dict."""
    message: dict[str, Any] = orjson.loads(raw)
    symbol, kind, rows = message["arg"]["instId"], message["arg"]["channel"], message["data"]
    if kind == "tickers":
        data = rows[0]
        return Ticker(
            "okx",
            "asia",
            symbol,
            symbol,
            int(data["ts"]),
            0,
            1,
            1,
            float(data["last"]),
            float(data["open24h"]),
            float(data["high24h"]),
            float(data["low24h"]),
            None,
            None,
            float(data["vol24h"]),
            float(data["volCcy24h"]),
            float(data["bidPx"]),
            float(data["bidSz"]),
            float(data["askPx"]),
            float(data["askSz"]),
            StreamType.REALTIME,
        )
    if kind == "trades":
        return [
            Trade(
                "okx", "asia", symbol, symbol, int(trade["ts"]), 0, 1, 1, float(trade["px"]),
                float(trade["sz"]), Side.BUY if trade["side"] == "buy" else Side.SELL, trade["tradeId"],
            )
            for trade in rows
        ]  # fmt: skip
    common = ("okx", "asia", symbol, symbol, int(rows[0]["ts"]), 0, 1, 1)
    return _plain_book(common, rows[0]["bids"], rows[0]["asks"], rows[0]["seqId"])


def plain_huobi(raw: bytes) -> object:
    """HTX by gzip, orjson and dict."""
    message: dict[str, Any] = orjson.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    _, symbol, kind = message["ch"].split(".", 2)
    tick = message["tick"]
    common = ("huobi", "asia", symbol, symbol, message["ts"], 0, 1, 1)
    if kind == "ticker":
        return Ticker(
            *common,
            float(tick["lastPrice"]),
            float(tick["open"]),
            float(tick["high"]),
            float(tick["low"]),
            None,
            None,
            float(tick["amount"]),
            float(tick["vol"]),
            float(tick["bid"]),
            float(tick["bidSize"]),
            float(tick["ask"]),
            float(tick["askSize"]),
            StreamType.REALTIME,
        )
    if kind == "trade.detail":
        return [
            Trade(
                "huobi", "asia", symbol, symbol, trade["ts"], 0, 1, 1, float(trade["price"]),
                float(trade["amount"]), Side.BUY if trade["direction"] == "buy" else Side.SELL,
                str(trade["tradeId"]),
            )
            for trade in tick["data"]
        ]  # fmt: skip
    return _plain_book(common, tick["bids"], tick["asks"], tick["seqNum"])


def _plain_book(common: tuple[Any, ...], bids: list[Any], asks: list[Any], update_id: int) -> Record:
    return OrderBook(
        *common,
        BookKind.DELTA,
        [Level(float(level[0]), float(level[1])) for level in bids],
        [Level(float(level[0]), float(level[1])) for level in asks],
        None,
        update_id,
    )


PLAIN: Final[dict[str, Callable[[bytes], object]]] = {
    "bybit": plain_bybit,
    "okx": plain_okx,
    "huobi": plain_huobi,
}
