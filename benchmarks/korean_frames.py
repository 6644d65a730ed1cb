"""Cases of Upbit, Bithumb, Coinone and Korbit for ``benchmarks.session``.

Every book frame of theirs is the whole book, of 30, 15, 16 and 30 levels a side.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from benchmarks.session_case import NOW_US, SIDES, STREAM_TYPES, Case, MovingBook, Quote, documented
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade

_PAIRS: Final = {
    "KRW-BTC": "BTC-KRW", "KRW-ETH": "ETH-KRW", "KRW-1INCH": "1INCH-KRW", "USDT-BTC": "BTC-USDT",
    "btc_krw": "BTC-KRW", "1inch_krw": "1INCH-KRW",
}  # fmt: skip


def _books(
    exchange: str, name: str, depth: int, fill: Callable[[Any, list[Quote], list[Quote], int], None]
) -> Callable[[int], list[bytes]]:
    """The documented frame with whole books that move."""

    def frames(count: int) -> list[bytes]:
        book, made = MovingBook(143_101_000, 1000, depth), []
        message = orjson.loads(documented(exchange, name)(1)[0])
        for number in range(count):
            book.change(4)
            fill(message, *book.best(depth), number)
            made.append(orjson.dumps(message))
        return made

    return frames


def _ticker_of(exchange: str) -> Callable[[bytes], list[Record]]:
    def plain(frame: bytes) -> list[Record]:
        data = orjson.loads(frame)
        code = data["code"]
        return [Ticker(
            exchange, "korea", _PAIRS[code], code, data["timestamp"], NOW_US, 1, 1, data["trade_price"],
            data["opening_price"], data["high_price"], data["low_price"], data["prev_closing_price"],
            data["signed_change_rate"], data["acc_trade_volume_24h"], data["acc_trade_price_24h"],
            None, None, None, None, STREAM_TYPES[data["stream_type"]],
        )]  # fmt: skip

    return plain


def _trade_of(exchange: str) -> Callable[[bytes], list[Record]]:
    def plain(frame: bytes) -> list[Record]:
        data = orjson.loads(frame)
        code = data["code"]
        return [Trade(
            exchange, "korea", _PAIRS[code], code, data["trade_timestamp"], NOW_US, 1, 1,
            data["trade_price"], data["trade_volume"], SIDES[data["ask_bid"]], str(data["sequential_id"]),
        )]  # fmt: skip

    return plain


def _upbit_trade_simple(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)
    code = data["cd"]
    return [Trade(
        "upbit", "korea", _PAIRS[code], code, data["ttms"], NOW_US, 1, 1,
        data["tp"], data["tv"], SIDES[data["ab"]], str(data["sid"]),
    )]  # fmt: skip


def _book_of(
    exchange: str, code_key: str, time_key: str, units_key: str, names: Sequence[str], per_ms: int = 1
) -> Callable[[bytes], list[Record]]:
    bid, bid_size, ask, ask_size = names

    def plain(frame: bytes) -> list[Record]:
        data = orjson.loads(frame)
        code, units = data[code_key], data[units_key]
        return [OrderBook(
            exchange, "korea", _PAIRS[code], code, data[time_key] // per_ms, NOW_US, 1, 1,
            BookKind.SNAPSHOT,
            [Level(unit[bid], unit[bid_size]) for unit in units],
            [Level(unit[ask], unit[ask_size]) for unit in units],
        )]  # fmt: skip

    return plain


_LONG: Final = ("bid_price", "bid_size", "ask_price", "ask_size")
_SHORT: Final = ("bp", "bs", "ap", "as")


def _fill_units(units_key: str, names: Sequence[str]) -> Callable[..., None]:
    def fill(message: Any, bids: list[Quote], asks: list[Quote], _number: int) -> None:
        message[units_key] = [
            dict(zip(names, map(orjson.loads, (*bid, *ask)), strict=True))
            for bid, ask in zip(bids, asks, strict=True)
        ]

    return fill


def _coinone_ticker(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)["data"]
    quote, base = data["quote_currency"], data["target_currency"]
    return [Ticker(
        "coinone", "korea", f"{base}-{quote}", f"{quote}-{base}", data["timestamp"], NOW_US, 1, 1,
        float(data["last"]), float(data["first"]), float(data["high"]), float(data["low"]),
        float(data["yesterday_last"]), None, float(data["target_volume"]), float(data["quote_volume"]),
        float(data["bid_best_price"]), float(data["bid_best_qty"]), float(data["ask_best_price"]),
        float(data["ask_best_qty"]), StreamType.REALTIME,
    )]  # fmt: skip


def _coinone_trade(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)["data"]
    quote, base = data["quote_currency"], data["target_currency"]
    return [Trade(
        "coinone", "korea", f"{base}-{quote}", f"{quote}-{base}", data["timestamp"], NOW_US, 1, 1,
        float(data["price"]), float(data["qty"]), Side.BUY if data["is_seller_maker"] else Side.SELL,
        data["id"],
    )]  # fmt: skip


def _coinone_book(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)["data"]
    quote, base = data["quote_currency"], data["target_currency"]
    return [OrderBook(
        "coinone", "korea", f"{base}-{quote}", f"{quote}-{base}", data["timestamp"], NOW_US, 1, 1,
        BookKind.SNAPSHOT,
        [Level(float(level["price"]), float(level["qty"])) for level in data["bids"]],
        [Level(float(level["price"]), float(level["qty"])) for level in reversed(data["asks"])],
        None, int(data["id"]),
    )]  # fmt: skip


def _fill_coinone(message: Any, bids: list[Quote], asks: list[Quote], number: int) -> None:
    _fill_data(message, bids, asks[::-1], number)
    message["data"]["id"] = f"1793604690015{number:04d}"


def _korbit_ticker(frame: bytes) -> list[Record]:
    whole = orjson.loads(frame)
    symbol, data = whole["symbol"], whole["data"]
    return [Ticker(
        "korbit", "korea", _PAIRS[symbol], symbol, whole["timestamp"], NOW_US, 1, 1, float(data["close"]),
        float(data["open"]), float(data["high"]), float(data["low"]), float(data["prevClose"]),
        float(data["priceChangePercent"]) / 100, float(data["volume"]), float(data["quoteVolume"]),
        float(data["bestBidPrice"]), None, float(data["bestAskPrice"]), None, StreamType.REALTIME,
    )]  # fmt: skip


def _korbit_trades(frame: bytes) -> list[Record]:
    whole = orjson.loads(frame)
    symbol = whole["symbol"]
    pair = _PAIRS[symbol]
    return [Trade(
        "korbit", "korea", pair, symbol, trade["timestamp"], NOW_US, 1, 1, float(trade["price"]),
        float(trade["qty"]), Side.BUY if trade["isBuyerTaker"] else Side.SELL, str(trade["tradeId"]),
    ) for trade in whole["data"]]  # fmt: skip


def _korbit_book(frame: bytes) -> list[Record]:
    whole = orjson.loads(frame)
    symbol, data = whole["symbol"], whole["data"]
    return [OrderBook(
        "korbit", "korea", _PAIRS[symbol], symbol, data["timestamp"], NOW_US, 1, 1, BookKind.SNAPSHOT,
        [Level(float(level["price"]), float(level["qty"])) for level in data["bids"]],
        [Level(float(level["price"]), float(level["qty"])) for level in data["asks"]],
    )]  # fmt: skip


def _fill_data(message: Any, bids: list[Quote], asks: list[Quote], _number: int) -> None:
    for name, side in (("bids", bids), ("asks", asks)):
        message["data"][name] = [{"price": price, "qty": quantity} for price, quantity in side]


_UNITS: Final = "orderbook_units"
_LONG_BOOK: Final = ("code", "timestamp", _UNITS, _LONG)
_UPBIT_BOOKS: Final = _books("upbit", "orderbook", 30, _fill_units(_UNITS, _LONG))
_UPBIT_SIMPLE: Final = _books("upbit", "orderbook.simple", 30, _fill_units("obu", _SHORT))
_UPBIT_PLAIN_SIMPLE: Final = _book_of("upbit", "cd", "tms", "obu", _SHORT)
_BITHUMB_BOOKS: Final = _books("bithumb", "orderbook", 15, _fill_units(_UNITS, _LONG))
_COINONE_BOOKS: Final = _books("coinone", "orderbook", 16, _fill_coinone)
_KORBIT_BOOKS: Final = _books("korbit", "orderbook", 30, _fill_data)

CASES: Final = (
    Case("upbit", "ticker", "BTC-KRW", documented("upbit", "ticker"), _ticker_of("upbit")),
    Case("upbit", "trade", "ETH-KRW", documented("upbit", "trade"), _trade_of("upbit")),
    Case("upbit", "trade.simple", "BTC-USDT", documented("upbit", "trade.simple"), _upbit_trade_simple),
    Case("upbit", "orderbook", "BTC-KRW", _UPBIT_BOOKS, _book_of("upbit", *_LONG_BOOK)),
    Case("upbit", "orderbook.simple", "1INCH-KRW", _UPBIT_SIMPLE, _UPBIT_PLAIN_SIMPLE),
    Case("bithumb", "ticker", "BTC-KRW", documented("bithumb", "ticker"), _ticker_of("bithumb")),
    Case("bithumb", "trade", "ETH-KRW", documented("bithumb", "trade"), _trade_of("bithumb")),
    Case("bithumb", "orderbook", "BTC-KRW", _BITHUMB_BOOKS, _book_of("bithumb", *_LONG_BOOK, 1000)),
    Case("coinone", "ticker", "BTC-KRW", documented("coinone", "ticker"), _coinone_ticker),
    Case("coinone", "trade", "XRP-KRW", documented("coinone", "trade"), _coinone_trade),
    Case("coinone", "orderbook", "BTC-KRW", _COINONE_BOOKS, _coinone_book),
    Case("korbit", "ticker", "BTC-KRW", documented("korbit", "ticker"), _korbit_ticker),
    Case("korbit", "trade", "1INCH-KRW", documented("korbit", "trade.several"), _korbit_trades),
    Case("korbit", "orderbook", "BTC-KRW", _KORBIT_BOOKS, _korbit_book),
)
