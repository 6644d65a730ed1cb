"""Frames of Bithumb, Coinone and Korbit for ``benchmarks.session``, and the plain way to read each.

Tickers and trades are the documented examples, as they come in real time. Books are whole books, as every frame
of these exchanges is: 15, 16 and 30 levels a side.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.western_frames import Case
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade

_FRAMES: Final = Path(__file__).resolve().parent.parent / "tests" / "frames"
_BITHUMB_LEVELS, _COINONE_LEVELS, _KORBIT_LEVELS = 15, 16, 30
_BITHUMB_SHORT: Final = {
    "type": "ty", "code": "cd", "timestamp": "tms", "trade_price": "tp", "opening_price": "op",
    "high_price": "hp", "low_price": "lp", "prev_closing_price": "pcp", "signed_change_rate": "scr",
    "acc_trade_volume_24h": "atv24h",
    "acc_trade_price_24h": "atp24h", "stream_type": "st", "trade_timestamp": "ttms", "trade_volume": "tv",
    "ask_bid": "ab", "sequential_id": "sid", "orderbook_units": "obu", "bid_price": "bp", "bid_size": "bs",
    "ask_price": "ap", "ask_size": "as",
}  # fmt: skip
_COINONE_SHORT: Final = {
    "channel": "c", "data": "d", "quote_currency": "qc", "target_currency": "tc", "timestamp": "t", "id": "i",
    "asks": "a", "bids": "b", "price": "p", "qty": "q", "is_seller_maker": "sm", "quote_volume": "qv",
    "target_volume": "tv", "high": "hi", "low": "lo", "first": "fi", "last": "la", "yesterday_last": "yla",
    "ask_best_price": "abp", "ask_best_qty": "abq", "bid_best_price": "bbp", "bid_best_qty": "bbq",
}  # fmt: skip


def _plain_bithumb(frame: bytes) -> Record:
    data: dict[str, Any] = orjson.loads(frame)
    names = {} if "type" in data else _BITHUMB_SHORT

    def get(name: str) -> Any:
        return data.get(names.get(name, name))

    quote, base = get("code").split("-")
    common = ("bithumb", "korea", f"{base}-{quote}", f"{quote}-{base}")
    match get("type"):
        case "ticker":
            return Ticker(
                *common,
                get("timestamp"),
                0,
                1,
                1,
                float(get("trade_price")),
                get("opening_price"),
                get("high_price"),
                get("low_price"),
                get("prev_closing_price"),
                get("signed_change_rate"),
                get("acc_trade_volume_24h"),
                get("acc_trade_price_24h"),
                stream_type=StreamType(get("stream_type")),
            )
        case "trade":
            side = Side.SELL if get("ask_bid") == "ASK" else Side.BUY
            price, quantity = float(get("trade_price")), float(get("trade_volume"))
            time_ms, trade_id = get("trade_timestamp"), str(get("sequential_id"))
            return Trade(*common, time_ms, 0, 1, 1, price, quantity, side, trade_id)
        case _:
            bid, bid_size, ask, ask_size = (
                names.get(n, n) for n in ("bid_price", "bid_size", "ask_price", "ask_size")
            )
            units = get("orderbook_units")
            bids = [Level(unit[bid], unit[bid_size]) for unit in units if unit[bid_size]]
            asks = [Level(unit[ask], unit[ask_size]) for unit in units if unit[ask_size]]
            return OrderBook(*common, get("timestamp"), 0, 1, 1, BookKind.SNAPSHOT, bids, asks, valid=True)


def _plain_coinone(frame: bytes) -> Record:
    whole: dict[str, Any] = orjson.loads(frame)
    names = {} if "channel" in whole else _COINONE_SHORT
    data = whole[names.get("data", "data")]

    def get(name: str) -> Any:
        return data.get(names.get(name, name))

    def number(name: str) -> float | None:
        text = get(name)
        return None if text is None else float(text)

    quote, base = get("quote_currency"), get("target_currency")
    common = ("coinone", "korea", f"{base}-{quote}", f"{quote}-{base}", get("timestamp"), 0, 1, 1)
    match whole[names.get("channel", "channel")]:
        case "TICKER":
            return Ticker(
                *common,
                float(get("last")),
                number("first"),
                number("high"),
                number("low"),
                number("yesterday_last"),
                None,
                number("target_volume"),
                number("quote_volume"),
                number("bid_best_price"),
                number("bid_best_qty"),
                number("ask_best_price"),
                number("ask_best_qty"),
                StreamType.REALTIME,
            )
        case "TRADE":
            side = Side.BUY if get("is_seller_maker") else Side.SELL
            return Trade(*common, float(get("price")), float(get("qty")), side, get("id"))
        case _:
            price, quantity = names.get("price", "price"), names.get("qty", "qty")
            bids = [Level(float(x[price]), float(x[quantity])) for x in get("bids")]
            asks = [Level(float(x[price]), float(x[quantity])) for x in reversed(get("asks"))]
            return OrderBook(*common, BookKind.SNAPSHOT, bids, asks, None, int(get("id")), None, True)


def _plain_korbit(frame: bytes) -> Record | list[Record]:
    whole: dict[str, Any] = orjson.loads(frame)
    symbol, data = whole["symbol"], whole["data"]
    common = ("korbit", "korea", symbol.upper().replace("_", "-"), symbol)
    match whole["type"]:
        case "ticker":
            return Ticker(
                *common,
                whole["timestamp"],
                0,
                1,
                1,
                float(data["close"]),
                float(data["open"]),
                float(data["high"]),
                float(data["low"]),
                float(data["prevClose"]),
                float(data["priceChangePercent"]) / 100,
                float(data["volume"]),
                float(data["quoteVolume"]),
                float(data["bestBidPrice"]),
                None,
                float(data["bestAskPrice"]),
                None,
                StreamType.SNAPSHOT if whole.get("snapshot") else StreamType.REALTIME,
            )
        case "trade":
            return [
                Trade(
                    *common,
                    trade["timestamp"],
                    0,
                    1,
                    1,
                    float(trade["price"]),
                    float(trade["qty"]),
                    Side.BUY if trade["isBuyerTaker"] else Side.SELL,
                    str(trade["tradeId"]),
                )
                for trade in data
            ]
        case _:
            bids = [Level(float(x["price"]), float(x["qty"])) for x in data["bids"]]
            asks = [Level(float(x["price"]), float(x["qty"])) for x in data["asks"]]
            time_ms = data["timestamp"]
            return OrderBook(*common, time_ms, 0, 1, 1, BookKind.SNAPSHOT, bids, asks, valid=True)


def _frames(exchange: str, name: str) -> Callable[[int], list[bytes]]:
    """The documented frame in real time; the sides of a book repeated up to their usual length."""
    frame = (_FRAMES / exchange / f"{name}.json").read_bytes().strip()
    frame = frame.replace(b"SNAPSHOT", b"REALTIME").replace(b'"snapshot":true,', b"")
    if name.startswith("orderbook"):
        book = orjson.loads(frame)
        holder = book.get("data") or book.get("d") or book
        levels = {"bithumb": _BITHUMB_LEVELS, "coinone": _COINONE_LEVELS, "korbit": _KORBIT_LEVELS}[exchange]
        for side in ("orderbook_units", "obu", "bids", "asks", "b", "a"):
            if side in holder:
                holder[side] = holder[side][:1] * levels
        frame = orjson.dumps(book)
    return lambda count: [frame] * count


def _case(exchange: str, name: str, symbol: str, plain: Callable[[bytes], object]) -> Case:
    return Case(exchange, name, symbol, (), _frames(exchange, name), plain)


CASES: Final = (
    _case("bithumb", "ticker", "BTC-KRW", _plain_bithumb),
    _case("bithumb", "ticker.simple", "ETH-BTC", _plain_bithumb),
    _case("bithumb", "trade", "ETH-KRW", _plain_bithumb),
    _case("bithumb", "trade.simple", "1INCH-KRW", _plain_bithumb),
    _case("bithumb", "orderbook", "BTC-KRW", _plain_bithumb),
    _case("bithumb", "orderbook.simple", "1INCH-KRW", _plain_bithumb),
    _case("coinone", "ticker", "BTC-KRW", _plain_coinone),
    _case("coinone", "ticker.short", "XRP-KRW", _plain_coinone),
    _case("coinone", "trade", "XRP-KRW", _plain_coinone),
    _case("coinone", "trade.short", "1INCH-KRW", _plain_coinone),
    _case("coinone", "orderbook", "BTC-KRW", _plain_coinone),
    _case("coinone", "orderbook.short", "XRP-KRW", _plain_coinone),
    _case("korbit", "ticker", "BTC-KRW", _plain_korbit),
    _case("korbit", "trade", "BTC-KRW", _plain_korbit),
    _case("korbit", "trade.several", "1INCH-KRW", _plain_korbit),
    _case("korbit", "orderbook", "BTC-KRW", _plain_korbit),
)
