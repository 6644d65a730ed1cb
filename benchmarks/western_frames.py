"""Cases of Coinbase, Kraken and Bitfinex for ``benchmarks.session``.

Books are whole ones of 1,000 (Bitfinex: 250) levels a side under updates of four changed levels a side, one,
and one in all, with the checksums that the exchange sends.
"""

import zlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import orjson

from benchmarks.session_case import NOW_US, SIDES, Case, MovingBook, Quote, documented, numbered
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade
from tests.frames import frame as example

_ISO: Final = "2026-11-02T07:31:40.440295Z"
_TIME_MS: Final = NOW_US // 1000
_BITFINEX_LEVELS: Final = 250
_UPDATES_A_CHECKSUM: Final = 10
_PAIRS: Final = {"BTC/USD": "BTC-USD", "MATIC/USD": "MATIC-USD"}
_TAKERS: Final = {"buy": Side.SELL, "sell": Side.BUY}


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6) // 1000


def _book(depth: int = 1000) -> MovingBook:
    return MovingBook(45_283.5, 0.1, depth)


def _coinbase_ticker(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)
    symbol = data["product_id"]
    return [Ticker(
        "coinbase", "na", symbol, symbol, _ms(data["time"]), NOW_US, 1, 1, float(data["price"]),
        float(data["open_24h"]), float(data["high_24h"]), float(data["low_24h"]), None, None,
        float(data["volume_24h"]), None, float(data["best_bid"]), float(data["best_bid_size"]),
        float(data["best_ask"]), float(data["best_ask_size"]), StreamType.REALTIME,
    )]  # fmt: skip


def _coinbase_trade(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)
    symbol = data["product_id"]
    return [Trade(
        "coinbase", "na", symbol, symbol, _ms(data["time"]), NOW_US, 1, 1, float(data["price"]),
        float(data["size"]), _TAKERS[data["side"]], str(data["trade_id"]),
    )]  # fmt: skip


def _coinbase_book(frame: bytes) -> list[Record]:
    data = orjson.loads(frame)
    symbol = data["product_id"]
    bids: list[Level] = []
    asks: list[Level] = []
    for side, price, size in data["changes"]:
        (bids if side == "buy" else asks).append(Level(float(price), float(size)))
    time_ms = _ms(data["time"])
    return [OrderBook("coinbase", "na", symbol, symbol, time_ms, NOW_US, 1, 1, BookKind.DELTA, bids, asks)]


def _coinbase_trades(count: int) -> list[bytes]:
    trade = example("coinbase", "trade")
    return [
        trade.replace(b'"trade_id":10', f'"trade_id":{number}'.encode()) for number in range(10, 10 + count)
    ]


def _coinbase_whole() -> bytes:
    bids, asks = _book().best(1000)
    return orjson.dumps({"type": "snapshot", "product_id": "BTC-USD", "bids": bids, "asks": asks})


def _coinbase_updates(count: int) -> list[bytes]:
    book, made = _book(), []
    for _ in range(count):
        bids, asks = book.change(4)
        changes = [("buy", *quote) for quote in bids] + [("sell", *quote) for quote in asks]
        update = {"type": "l2update", "product_id": "BTC-USD", "changes": changes, "time": _ISO}
        made.append(orjson.dumps(update))
    return made


def _kraken_tickers(frame: bytes) -> list[Record]:
    return [Ticker(
        "kraken", "na", _PAIRS[data["symbol"]], data["symbol"], _ms(data["timestamp"]), NOW_US, 1, 1,
        data["last"], None, data["high"], data["low"], None, data["change_pct"] / 100, data["volume"],
        None, data["bid"], data["bid_qty"], data["ask"], data["ask_qty"], StreamType.REALTIME,
    ) for data in orjson.loads(frame)["data"]]  # fmt: skip


def _kraken_trades(frame: bytes) -> list[Record]:
    return [Trade(
        "kraken", "na", _PAIRS[data["symbol"]], data["symbol"], _ms(data["timestamp"]), NOW_US, 1, 1,
        data["price"], data["qty"], SIDES[data["side"]], str(data["trade_id"]),
    ) for data in orjson.loads(frame)["data"]]  # fmt: skip


def _kraken_books(frame: bytes) -> list[Record]:
    return [OrderBook(
        "kraken", "na", _PAIRS[data["symbol"]], data["symbol"], _ms(data["timestamp"]), NOW_US, 1, 1,
        BookKind.DELTA,
        [Level(level["price"], level["qty"]) for level in data["bids"]],
        [Level(level["price"], level["qty"]) for level in data["asks"]],
        None, None, data["checksum"],
    ) for data in orjson.loads(frame)["data"]]  # fmt: skip


def _kraken_frame(kind: str, bids: Sequence[Quote], asks: Sequence[Quote], book: MovingBook) -> bytes:
    best_bids, best_asks = book.best(10)
    digits = "".join(text.replace(".", "").lstrip("0") for quote in best_asks + best_bids for text in quote)
    sides = [
        ",".join(f'{{"price":{price},"qty":{quantity}}}' for price, quantity in side) for side in (bids, asks)
    ]
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{sides[0]}],'
        f'"asks":[{sides[1]}],"checksum":{zlib.crc32(digits.encode())},"timestamp":"{_ISO}"}}]}}'
    ).encode()


def _kraken_updates(count: int) -> list[bytes]:
    book = _book()
    return [_kraken_frame("update", *book.change(1), book) for _ in range(count)]


def _bitfinex_ticker(frame: bytes) -> list[Record]:
    _channel, body, *tail = orjson.loads(frame)
    bid, _, ask, _, _, rate, last, volume, high, low = body
    return [Ticker(
        "bitfinex", "europe", "BTC-USD", "tBTCUSD", tail[1] if len(tail) > 1 else None, NOW_US, 1, 1, last,
        None, high, low, None, rate, volume, None, bid, None, ask, None, StreamType.REALTIME,
    )]  # fmt: skip


def _bitfinex_trade(frame: bytes) -> list[Record]:
    trade_id, time_ms, amount, price = orjson.loads(frame)[2]
    side = Side.BUY if amount > 0 else Side.SELL
    return [Trade(
        "bitfinex", "europe", "BTC-USD", "tBTCUSD", time_ms, NOW_US, 1, 1, price, abs(amount), side,
        str(trade_id),
    )]  # fmt: skip


def _bitfinex_book(frame: bytes) -> list[Record]:
    _channel, body, *tail = orjson.loads(frame)
    bids: list[Level] = []
    asks: list[Level] = []
    checksum = None
    if body == "cs":
        checksum = tail.pop(0)
    else:
        price, count, amount = body
        (bids if amount > 0 else asks).append(Level(price, abs(amount) if count else 0.0))
    time_ms = tail[1] if len(tail) > 1 else None
    return [OrderBook(
        "bitfinex", "europe", "BTC-USD", "tBTCUSD", time_ms, NOW_US, 1, 1, BookKind.DELTA, bids, asks,
        None, None, checksum,
    )]  # fmt: skip


def _bitfinex_entry(quote: Quote, sign: str) -> str:
    price, quantity = quote[0].removesuffix("0"), quote[1]
    return f"[{price},0,{sign}1]" if quantity == "0" else f"[{price},3,{sign}{quantity}]"


def _bitfinex_whole(tail: str) -> bytes:
    bids, asks = _book(_BITFINEX_LEVELS).best(_BITFINEX_LEVELS)
    entries = [_bitfinex_entry(quote, "") for quote in bids] + [_bitfinex_entry(quote, "-") for quote in asks]
    return f"[10092,[{','.join(entries)}],1{tail}]".encode()


def _bitfinex_checksum(book: MovingBook) -> int:
    entries = [
        _bitfinex_entry(quote, sign)[1:-1].split(",")
        for pair in zip(*book.best(25), strict=True)
        for quote, sign in zip(pair, ("", "-"), strict=True)
    ]
    crc = zlib.crc32(":".join(f"{price}:{amount}" for price, _count, amount in entries).encode())
    return crc - 2**32 if crc >= 2**31 else crc


def _bitfinex_updates(tail: str, *, checked: bool) -> Callable[[int], list[bytes]]:
    def frames(count: int) -> list[bytes]:
        book, made = _book(_BITFINEX_LEVELS), []
        waiting: list[str] = []
        for number in range(2, count + 2):
            if not waiting:
                bids, asks = book.change(1)
                waiting = [_bitfinex_entry(bids[0], ""), _bitfinex_entry(asks[0], "-")]
                if checked and number % _UPDATES_A_CHECKSUM < 2:
                    waiting.append(f'"cs",{_bitfinex_checksum(book)}')
            made.append(f"[10092,{waiting.pop(0)},{number}{tail}]".encode())
        return made

    return frames


def _bitfinex_cases(variant: str, tail: str) -> tuple[Case, ...]:
    """``tail``: what stands behind the sequence. The session asks for the time, and for checksums of books;
    cryptofeed for the sequence alone."""
    ticker = (
        "[224555,[7616.5,31.89055171,7617.5,43.35811862,-550.8,-0.0674,7617.1,8314.71200815,8257.8,7500],SEQ"
    )
    trade = '[19111,"te",[401597SEQ,1574694479001,-0.0125,7245.2],SEQ'
    opened = [example("bitfinex", f"subscribed.{name}") for name in ("ticker", "trades", "book")]
    opened[2] = opened[2].replace(b"ETH", b"BTC").replace(b'"25"', b'"250"')
    first = ticker.replace("SEQ", "1") + tail + "]"
    return (
        Case(
            "bitfinex", f"ticker{variant}", "BTC-USD", numbered(f"{ticker}{tail}]", 2), _bitfinex_ticker,
            (opened[0], first.encode()),
        ),
        Case(
            "bitfinex", f"trade{variant}", "BTC-USD", numbered(f"{trade}{tail}]"), _bitfinex_trade,
            opened[1:2],
        ),
        Case(
            "bitfinex", f"orderbook{variant}", "BTC-USD", _bitfinex_updates(tail, checked=bool(tail)),
            _bitfinex_book, (opened[2], _bitfinex_whole(tail)),
        ),
    )  # fmt: skip


_KRAKEN_WHOLE: Final = _kraken_frame("snapshot", *_book().best(1000), _book())

CASES: Final = (
    Case("coinbase", "ticker", "ETH-USD", documented("coinbase", "ticker"), _coinbase_ticker),
    Case("coinbase", "trade", "BTC-USD", _coinbase_trades, _coinbase_trade),
    Case("coinbase", "orderbook", "BTC-USD", _coinbase_updates, _coinbase_book, (_coinbase_whole(),)),
    Case("kraken", "ticker", "BTC-USD", documented("kraken", "ticker"), _kraken_tickers),
    Case("kraken", "trade", "MATIC-USD", documented("kraken", "trade"), _kraken_trades),
    Case("kraken", "orderbook", "BTC-USD", _kraken_updates, _kraken_books, (_KRAKEN_WHOLE,)),
    *_bitfinex_cases("", f",{_TIME_MS}"),
    *_bitfinex_cases(".sequence", ""),
)
