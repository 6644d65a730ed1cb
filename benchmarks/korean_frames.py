"""Cases of Upbit, Bithumb, Coinone and Korbit for ``benchmarks.session``.

Every book frame of theirs is the whole book, of 30, 15, 16 and 30 levels a side.
"""

from collections.abc import Callable, Sequence
from typing import Final

import orjson

from benchmarks.session_case import NOW_US, SIDES, STREAM_TYPES, Case, MovingBook, Quote, documented
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade

_TIME_MS: Final = NOW_US // 1000
_PAIRS: Final = {
    "KRW-BTC": "BTC-KRW",
    "KRW-ETH": "ETH-KRW",
    "USDT-BTC": "BTC-USDT",
    "btc_krw": "BTC-KRW",
    "1inch_krw": "1INCH-KRW",
}


def _books(write: Callable[[list[Quote], list[Quote]], str], depth: int) -> Callable[[int], list[bytes]]:
    def frames(count: int) -> list[bytes]:
        book, made = MovingBook(143_101_000, 1000, 3 * depth), []
        for _ in range(count):
            book.change(4)
            made.append(write(*book.best(depth)).encode())
        return made

    return frames


# -- Upbit and Bithumb -----------------------------------------------------------------------------------


def _ticker_of(exchange: str) -> Callable[[bytes], list[Record]]:
    def plain(frame: bytes) -> list[Record]:
        data = orjson.loads(frame)
        code = data["code"]
        return [
            Ticker(
                exchange, "korea", _PAIRS[code], code, data["timestamp"], NOW_US, 1, 1, data["trade_price"],
                data["opening_price"], data["high_price"], data["low_price"], data["prev_closing_price"],
                data["signed_change_rate"], data["acc_trade_volume_24h"], data["acc_trade_price_24h"],
                None, None, None, None, STREAM_TYPES[data["stream_type"]],
            )
        ]  # fmt: skip

    return plain


def _trade_of(exchange: str) -> Callable[[bytes], list[Record]]:
    def plain(frame: bytes) -> list[Record]:
        data = orjson.loads(frame)
        code = data["code"]
        return [
            Trade(
                exchange, "korea", _PAIRS[code], code, data["trade_timestamp"], NOW_US, 1, 1,
                data["trade_price"], data["trade_volume"], SIDES[data["ask_bid"]], str(data["sequential_id"]),
            )
        ]  # fmt: skip

    return plain


def _upbit_trade_simple(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)
    code = data["cd"]
    return [
        Trade(
            "upbit", "korea", _PAIRS[code], code, data["ttms"], NOW_US, 1, 1,
            data["tp"], data["tv"], SIDES[data["ab"]], str(data["sid"]),
        )
    ]  # fmt: skip


def _book_of(
    exchange: str, code_key: str, time_key: str, units_key: str, names: Sequence[str], per_ms: int
) -> Callable[[bytes], list[Record]]:
    bid, bid_size, ask, ask_size = names

    def plain(frame: bytes) -> list[Record]:
        data = orjson.loads(frame)
        code, units = data[code_key], data[units_key]
        return [
            OrderBook(
                exchange, "korea", _PAIRS[code], code, data[time_key] // per_ms, NOW_US, 1, 1,
                BookKind.SNAPSHOT,
                [Level(unit[bid], unit[bid_size]) for unit in units],
                [Level(unit[ask], unit[ask_size]) for unit in units],
            )
        ]  # fmt: skip

    return plain


_LONG: Final = ("bid_price", "bid_size", "ask_price", "ask_size")
_SHORT: Final = ("bp", "bs", "ap", "as")


def _units(bids: list[Quote], asks: list[Quote], names: Sequence[str]) -> str:
    bid, bid_size, ask, ask_size = names
    return ",".join(
        f'{{"{ask}":{ask_price},"{bid}":{bid_price},"{ask_size}":{asked},"{bid_size}":{wanted}}}'
        for (bid_price, wanted), (ask_price, asked) in zip(bids, asks, strict=True)
    )


def _upbit_book(bids: list[Quote], asks: list[Quote]) -> str:
    return (
        f'{{"type":"orderbook","code":"KRW-BTC","timestamp":{_TIME_MS},"total_ask_size":98.12033771,'
        f'"total_bid_size":101.29930112,"orderbook_units":[{_units(bids, asks, _LONG)}],'
        '"stream_type":"REALTIME","level":0}'
    )


def _upbit_book_simple(bids: list[Quote], asks: list[Quote]) -> str:
    return (
        f'{{"ty":"orderbook","cd":"KRW-BTC","tms":{_TIME_MS},"tas":98.12033771,"tbs":101.29930112,'
        f'"obu":[{_units(bids, asks, _SHORT)}],"st":"REALTIME","lv":0}}'
    )


def _bithumb_book(bids: list[Quote], asks: list[Quote]) -> str:
    return (
        f'{{"type":"orderbook","code":"KRW-BTC","total_ask_size":49.1203,"total_bid_size":51.2993,'
        f'"orderbook_units":[{_units(bids, asks, _LONG)}],"level":1,"timestamp":{NOW_US},'
        '"stream_type":"REALTIME"}'
    )


# -- Coinone ---------------------------------------------------------------------------------------------


def _coinone_ticker(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)["data"]
    quote, base = data["quote_currency"], data["target_currency"]
    return [
        Ticker(
            "coinone", "korea", f"{base}-{quote}", f"{quote}-{base}", data["timestamp"], NOW_US, 1, 1,
            float(data["last"]), float(data["first"]), float(data["high"]), float(data["low"]),
            float(data["yesterday_last"]), None, float(data["target_volume"]), float(data["quote_volume"]),
            float(data["bid_best_price"]), float(data["bid_best_qty"]), float(data["ask_best_price"]),
            float(data["ask_best_qty"]), StreamType.REALTIME,
        )
    ]  # fmt: skip


def _coinone_trade(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)["data"]
    quote, base = data["quote_currency"], data["target_currency"]
    return [
        Trade(
            "coinone", "korea", f"{base}-{quote}", f"{quote}-{base}", data["timestamp"], NOW_US, 1, 1,
            float(data["price"]), float(data["qty"]), Side.BUY if data["is_seller_maker"] else Side.SELL,
            data["id"],
        )
    ]  # fmt: skip


def _coinone_book(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)["data"]
    quote, base = data["quote_currency"], data["target_currency"]
    return [
        OrderBook(
            "coinone", "korea", f"{base}-{quote}", f"{quote}-{base}", data["timestamp"], NOW_US, 1, 1,
            BookKind.SNAPSHOT,
            [Level(float(level["price"]), float(level["qty"])) for level in data["bids"]],
            [Level(float(level["price"]), float(level["qty"])) for level in reversed(data["asks"])],
            None, int(data["id"]),
        )
    ]  # fmt: skip


def _objects(quotes: Sequence[Quote]) -> str:
    return ",".join(f'{{"price":"{price}","qty":"{quantity}"}}' for price, quantity in quotes)


def _coinone_books(count: int) -> list[bytes]:
    head = (
        '{"response_type":"DATA","channel":"ORDERBOOK","data":{"quote_currency":"KRW","target_currency":"BTC",'
        f'"timestamp":{_TIME_MS},"id":"{_TIME_MS}'
    )
    bodies = _books(lambda bids, asks: f'","asks":[{_objects(asks[::-1])}],"bids":[{_objects(bids)}]}}}}', 16)(
        count
    )
    return [f"{head}{number:04d}".encode() + body for number, body in enumerate(bodies)]


# -- Korbit ----------------------------------------------------------------------------------------------


def _korbit_ticker(frame: bytes) -> list[Record]:
    whole = orjson.loads(frame)
    symbol, data = whole["symbol"], whole["data"]
    return [
        Ticker(
            "korbit", "korea", _PAIRS[symbol], symbol, whole["timestamp"], NOW_US, 1, 1, float(data["close"]),
            float(data["open"]), float(data["high"]), float(data["low"]), float(data["prevClose"]),
            float(data["priceChangePercent"]) / 100, float(data["volume"]), float(data["quoteVolume"]),
            float(data["bestBidPrice"]), None, float(data["bestAskPrice"]), None, StreamType.REALTIME,
        )
    ]  # fmt: skip


def _korbit_trades(frame: bytes) -> list[Record]:
    whole = orjson.loads(frame)
    symbol = whole["symbol"]
    pair = _PAIRS[symbol]
    return [
        Trade(
            "korbit", "korea", pair, symbol, trade["timestamp"], NOW_US, 1, 1, float(trade["price"]),
            float(trade["qty"]), Side.BUY if trade["isBuyerTaker"] else Side.SELL, str(trade["tradeId"]),
        )
        for trade in whole["data"]
    ]  # fmt: skip


def _korbit_book(frame: bytes) -> list[Record]:
    whole = orjson.loads(frame)
    symbol, data = whole["symbol"], whole["data"]
    return [
        OrderBook(
            "korbit", "korea", _PAIRS[symbol], symbol, data["timestamp"], NOW_US, 1, 1, BookKind.SNAPSHOT,
            [Level(float(level["price"]), float(level["qty"])) for level in data["bids"]],
            [Level(float(level["price"]), float(level["qty"])) for level in data["asks"]],
        )
    ]  # fmt: skip


def _korbit_books(bids: list[Quote], asks: list[Quote]) -> str:
    return (
        f'{{"symbol":"btc_krw","timestamp":{_TIME_MS},"type":"orderbook","data":{{"timestamp":{_TIME_MS},'
        f'"asks":[{_objects(asks)}],"bids":[{_objects(bids)}]}}}}'
    )


_upbit_plain_book = _book_of("upbit", "code", "timestamp", "orderbook_units", _LONG, 1)
_upbit_plain_simple = _book_of("upbit", "cd", "tms", "obu", _SHORT, 1)
_bithumb_plain_book = _book_of("bithumb", "code", "timestamp", "orderbook_units", _LONG, 1000)

CASES: Final = (
    Case("upbit", "ticker", "BTC-KRW", documented("upbit", "ticker"), _ticker_of("upbit")),
    Case("upbit", "trade", "ETH-KRW", documented("upbit", "trade"), _trade_of("upbit")),
    Case("upbit", "trade.simple", "BTC-USDT", documented("upbit", "trade.simple"), _upbit_trade_simple),
    Case("upbit", "orderbook", "BTC-KRW", _books(_upbit_book, 30), _upbit_plain_book),
    Case("upbit", "orderbook.simple", "BTC-KRW", _books(_upbit_book_simple, 30), _upbit_plain_simple),
    Case("bithumb", "ticker", "BTC-KRW", documented("bithumb", "ticker"), _ticker_of("bithumb")),
    Case("bithumb", "trade", "ETH-KRW", documented("bithumb", "trade"), _trade_of("bithumb")),
    Case("bithumb", "orderbook", "BTC-KRW", _books(_bithumb_book, 15), _bithumb_plain_book),
    Case("coinone", "ticker", "BTC-KRW", documented("coinone", "ticker"), _coinone_ticker),
    Case("coinone", "trade", "XRP-KRW", documented("coinone", "trade"), _coinone_trade),
    Case("coinone", "orderbook", "BTC-KRW", _coinone_books, _coinone_book),
    Case("korbit", "ticker", "BTC-KRW", documented("korbit", "ticker"), _korbit_ticker),
    Case("korbit", "trade", "1INCH-KRW", documented("korbit", "trade.several"), _korbit_trades),
    Case("korbit", "orderbook", "BTC-KRW", _books(_korbit_books, 30), _korbit_book),
)
