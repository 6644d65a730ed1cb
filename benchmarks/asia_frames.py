"""Cases of Binance, Bybit, OKX and HTX for ``benchmarks.session``.

A trade frame has two trades except Binance's. Books are whole ones of 1,000, 1,000, 400 and 150 levels a side
under updates of ten changed levels a side; frames of HTX are gzip.
"""

import gzip
import zlib
from collections.abc import Callable
from typing import Any, Final

import orjson

from benchmarks.session_case import NOW_US, SIDES, Case, MovingBook, Quote, documented, levels
from core.records import BookKind, OrderBook, Record, Side, StreamType, Ticker, Trade
from tests.frames import frame as example

_CHANGED: Final = 10
_TIME_MS: Final = NOW_US // 1000
_PAIRS: Final = {
    "BTCUSDT": "BTC-USDT", "BTC-USDT": "BTC-USDT", "btcusdt": "BTC-USDT", "ETHBTC": "ETH-BTC",
    "1INCHUSDT": "1INCH-USDT",
}  # fmt: skip


def _book(depth: int) -> MovingBook:
    return MovingBook(103_417.45, 0.01, depth)


def _updates(
    write: Callable[[list[Quote], list[Quote], int], bytes], depth: int
) -> Callable[[int], list[bytes]]:
    def frames(count: int) -> list[bytes]:
        book = _book(depth)
        return [write(*book.change(_CHANGED), number) for number in range(1, count + 1)]

    return frames


def _delta(exchange: str, symbol: str, time_ms: int, sides: Any, *ids: Any) -> list[Record]:
    bids, asks = sides
    return [OrderBook(
        exchange, "asia", _PAIRS[symbol], symbol, time_ms, NOW_US, 1, 1, BookKind.DELTA,
        levels(bids), levels(asks), *ids,
    )]  # fmt: skip


def _binance_ticker(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)["data"]
    symbol = data["s"]
    return [Ticker(
        "binance", "asia", _PAIRS[symbol], symbol, data["E"], NOW_US, 1, 1, float(data["c"]),
        float(data["o"]), float(data["h"]), float(data["l"]), float(data["x"]), float(data["P"]) / 100,
        float(data["v"]), float(data["q"]), float(data["b"]), float(data["B"]), float(data["a"]),
        float(data["A"]), StreamType.REALTIME,
    )]  # fmt: skip


def _binance_trade(id_key: str) -> Callable[[bytes], list[Record]]:
    def plain(frame: bytes) -> list[Record]:
        data = orjson.loads(frame)["data"]
        symbol = data["s"]
        return [Trade(
            "binance", "asia", _PAIRS[symbol], symbol, data["T"], NOW_US, 1, 1, float(data["p"]),
            float(data["q"]), Side.SELL if data["m"] else Side.BUY, str(data[id_key]),
        )]  # fmt: skip

    return plain


def _binance_book(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)["data"]
    return _delta("binance", data["s"], data["E"], (data["b"], data["a"]), data["U"], data["u"])


def _binance_update(bids: list[Quote], asks: list[Quote], number: int) -> bytes:
    data = {"e": "depthUpdate", "E": _TIME_MS, "s": "BTCUSDT", "U": 20 * number, "u": 20 * number + 19}
    return orjson.dumps({"stream": "btcusdt@depth@100ms", "data": data | {"b": bids, "a": asks}})


def _binance_rest() -> bytes:
    bids, asks = _book(1000).best(1000)
    return orjson.dumps({"lastUpdateId": 19, "bids": bids, "asks": asks})


def _bybit_ticker(frame: bytes) -> list[Record]:
    message = orjson.loads(frame)
    data = message["data"]
    symbol, day_ago = data["symbol"], float(data["prevPrice24h"])
    return [Ticker(
        "bybit", "asia", _PAIRS[symbol], symbol, message["ts"], NOW_US, 1, 1, float(data["lastPrice"]),
        day_ago, float(data["highPrice24h"]), float(data["lowPrice24h"]), day_ago,
        float(data["price24hPcnt"]), float(data["volume24h"]), float(data["turnover24h"]),
        None, None, None, None, StreamType.SNAPSHOT,
    )]  # fmt: skip


def _bybit_trades(frame: bytes) -> list[Record]:
    return [Trade(
        "bybit", "asia", _PAIRS[trade["s"]], trade["s"], trade["T"], NOW_US, 1, 1, float(trade["p"]),
        float(trade["v"]), SIDES[trade["S"]], trade["i"],
    ) for trade in orjson.loads(frame)["data"]]  # fmt: skip


def _bybit_book(frame: bytes) -> list[Record]:
    message = orjson.loads(frame)
    data = message["data"]
    return _delta("bybit", data["s"], message["ts"], (data["b"], data["a"]), None, data["u"])


def _bybit_frame(bids: list[Quote], asks: list[Quote], number: int, kind: str = "delta") -> bytes:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": 100 + number, "seq": 7_961_638_725 + number}
    message = {"topic": "orderbook.1000.BTCUSDT", "type": kind, "ts": _TIME_MS, "data": data, "cts": _TIME_MS}
    return orjson.dumps(message)


def _okx_tickers(frame: bytes) -> list[Record]:
    message = orjson.loads(frame)
    symbol = message["arg"]["instId"]
    return [Ticker(
        "okx", "asia", _PAIRS[symbol], symbol, int(data["ts"]), NOW_US, 1, 1, float(data["last"]),
        float(data["open24h"]), float(data["high24h"]), float(data["low24h"]), None, None,
        float(data["vol24h"]), float(data["volCcy24h"]), float(data["bidPx"]), float(data["bidSz"]),
        float(data["askPx"]), float(data["askSz"]), StreamType.REALTIME,
    ) for data in message["data"]]  # fmt: skip


def _okx_trades(frame: bytes) -> list[Record]:
    message = orjson.loads(frame)
    symbol = message["arg"]["instId"]
    pair = _PAIRS[symbol]
    return [Trade(
        "okx", "asia", pair, symbol, int(trade["ts"]), NOW_US, 1, 1, float(trade["px"]),
        float(trade["sz"]), SIDES[trade["side"]], trade["tradeId"],
    ) for trade in message["data"]]  # fmt: skip


def _okx_book(frame: bytes) -> list[Record]:
    message = orjson.loads(frame)
    (data,) = message["data"]
    sides = data["bids"], data["asks"]
    return _delta("okx", message["arg"]["instId"], int(data["ts"]), sides, None, data["seqId"])


def _okx_frame(bids: list[Quote], asks: list[Quote], number: int, action: str = "update") -> bytes:
    sides = {name: [(*quote, "0", "3") for quote in side] for name, side in (("asks", asks), ("bids", bids))}
    ids = {
        "ts": str(_TIME_MS),
        "checksum": 0,
        "prevSeqId": 99 + number if number else -1,
        "seqId": 100 + number,
    }
    arg = {"channel": "books", "instId": "BTC-USDT"}
    return orjson.dumps({"arg": arg, "action": action, "data": [sides | ids]})


def _huobi(frame: bytes) -> Any:
    return orjson.loads(zlib.decompress(frame, 31))


def _huobi_ticker(frame: bytes) -> list[Record]:
    message = _huobi(frame)
    symbol, tick = message["ch"].split(".")[1], message["tick"]
    return [Ticker(
        "huobi", "asia", _PAIRS[symbol], symbol, message["ts"], NOW_US, 1, 1, tick["lastPrice"],
        tick["open"], tick["high"], tick["low"], None, None, tick["amount"], tick["vol"], tick["bid"],
        tick["bidSize"], tick["ask"], tick["askSize"], StreamType.REALTIME,
    )]  # fmt: skip


def _huobi_trades(frame: bytes) -> list[Record]:
    message = _huobi(frame)
    symbol = message["ch"].split(".")[1]
    pair = _PAIRS[symbol]
    return [Trade(
        "huobi", "asia", pair, symbol, trade["ts"], NOW_US, 1, 1, trade["price"], trade["amount"],
        SIDES[trade["direction"]], str(trade["tradeId"]),
    ) for trade in message["tick"]["data"]]  # fmt: skip


def _huobi_book(kind: BookKind, id_key: str) -> Callable[[bytes], list[Record]]:
    def plain(frame: bytes) -> list[Record]:
        message = _huobi(frame)
        symbol, tick = message["ch"].split(".")[1], message["tick"]
        bids, asks = levels(tick["bids"]), levels(tick["asks"])
        return [OrderBook(
            "huobi", "asia", _PAIRS[symbol], symbol, message["ts"], NOW_US, 1, 1, kind, bids, asks,
            None, tick[id_key],
        )]  # fmt: skip

    return plain


def _zipped(frames: Callable[[int], list[bytes]]) -> Callable[[int], list[bytes]]:
    return lambda count: [gzip.compress(text) for text in frames(count)]


def _numbers(bids: list[Quote], asks: list[Quote]) -> dict[str, list[list[float]]]:
    return {"bids": [[float(p), float(q)] for p, q in bids], "asks": [[float(p), float(q)] for p, q in asks]}


def _huobi_update(bids: list[Quote], asks: list[Quote], number: int) -> bytes:
    tick = {"seqNum": 100 + number, "prevSeqNum": 99 + number} | _numbers(bids, asks)
    return orjson.dumps({"ch": "market.btcusdt.mbp.150", "ts": _TIME_MS, "tick": tick})


def _huobi_answer() -> bytes:
    data = {"seqNum": 100} | _numbers(*_book(150).best(150))
    return orjson.dumps({"id": "2", "rep": "market.btcusdt.mbp.150", "status": "ok", "data": data})


def _huobi_wholes(count: int) -> list[bytes]:
    book, made = _book(150), []
    for number in range(count):
        book.change(_CHANGED)
        tick = {"ts": _TIME_MS, "version": 100 + number} | _numbers(*book.best(150))
        made.append(orjson.dumps({"ch": "market.btcusdt.depth.step0", "ts": _TIME_MS, "tick": tick}))
    return made


_BTC: Final = "BTC-USDT"
_BYBIT_WHOLE: Final = _bybit_frame(*_book(1000).best(1000), 0, "snapshot")
_OKX_WHOLE: Final = _okx_frame(*_book(400).best(400), 0, "snapshot")
_HUOBI_BEFORE: Final = tuple(
    gzip.compress(text)
    for text in (b'{"id":"1","status":"ok","subbed":"market.btcusdt.mbp.150"}', _huobi_answer())
)

CASES: Final = (
    Case("binance", "ticker", _BTC, documented("binance", "ticker"), _binance_ticker),
    Case("binance", "trade", "ETH-BTC", documented("binance", "trade"), _binance_trade("t")),
    Case(
        "binance", "trade.aggregate", "1INCH-USDT", documented("binance", "trade.aggregate"),
        _binance_trade("a"),
    ),
    Case(
        "binance", "orderbook", _BTC, _updates(_binance_update, 1000), _binance_book,
        (b'{"result":null,"id":1}',), _binance_rest(),
    ),
    Case("bybit", "ticker", _BTC, lambda count: [example("bybit", "ticker")] * count, _bybit_ticker),
    Case("bybit", "trade", _BTC, documented("bybit", "trade"), _bybit_trades),
    Case("bybit", "orderbook", _BTC, _updates(_bybit_frame, 1000), _bybit_book, (_BYBIT_WHOLE,)),
    Case("okx", "ticker", _BTC, documented("okx", "ticker"), _okx_tickers),
    Case("okx", "trade", _BTC, documented("okx", "trade"), _okx_trades),
    Case("okx", "orderbook", _BTC, _updates(_okx_frame, 400), _okx_book, (_OKX_WHOLE,)),
    Case("huobi", "ticker", _BTC, _zipped(documented("huobi", "ticker")), _huobi_ticker),
    Case("huobi", "trade", _BTC, _zipped(documented("huobi", "trade")), _huobi_trades),
    Case(
        "huobi", "orderbook", _BTC, _zipped(_updates(_huobi_update, 150)),
        _huobi_book(BookKind.DELTA, "seqNum"), _HUOBI_BEFORE,
    ),
    Case(
        "huobi", "orderbook.whole", _BTC, _zipped(_huobi_wholes), _huobi_book(BookKind.SNAPSHOT, "version"),
    ),
)  # fmt: skip
