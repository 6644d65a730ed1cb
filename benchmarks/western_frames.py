"""Frames of Coinbase, Kraken and Bitfinex for ``benchmarks.session``, and the plain way to read each.

Tickers and trades are the documented examples. Books are whole books of 250 levels a side under updates of
one level, with the sequence and the checksum that the exchange sends; the plain way reads the updates and
keeps no book.
"""

import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade

_FRAMES: Final = Path(__file__).resolve().parent.parent / "tests" / "frames"
_LEVELS: Final = 250
_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}


class Case(NamedTuple):
    """One row: ``before`` is given to the session first, ``frames`` makes as many as asked for."""

    exchange: str
    name: str
    symbol: str
    before: tuple[bytes, ...]
    frames: Callable[[int], list[bytes]]
    plain: Callable[[bytes], object]


def _documented(exchange: str, name: str) -> bytes:
    return (_FRAMES / exchange / f"{name}.json").read_bytes().strip()


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


# -- Coinbase --------------------------------------------------------------------------------------------


def _plain_coinbase(frame: bytes) -> Record:
    data: dict[str, Any] = orjson.loads(frame)
    symbol = data["product_id"]
    common = ("coinbase", "na", symbol, symbol, _ms(data["time"]), 0, 1, 1)
    match data["type"]:
        case "ticker":
            return Ticker(
                *common,
                float(data["price"]),
                float(data["open_24h"]),
                float(data["high_24h"]),
                float(data["low_24h"]),
                volume_24h=float(data["volume_24h"]),
                bid=float(data["best_bid"]),
                bid_quantity=float(data["best_bid_size"]),
                ask=float(data["best_ask"]),
                ask_quantity=float(data["best_ask_size"]),
                stream_type=StreamType.REALTIME,
            )
        case "match":
            side = Side.SELL if data["side"] == "buy" else Side.BUY
            return Trade(*common, float(data["price"]), float(data["size"]), side, str(data["trade_id"]))
        case _:
            sides: dict[str, list[Level]] = {"buy": [], "sell": []}
            for side, price, size in data["changes"]:
                sides[side].append(Level(float(price), float(size)))
            return OrderBook(*common, BookKind.DELTA, sides["buy"], sides["sell"])


def _coinbase_book() -> bytes:
    return orjson.dumps(
        {
            "type": "snapshot",
            "product_id": "BTC-USD",
            "bids": [[f"{10101.8 - i / 10:.2f}", "1.50000000"] for i in range(_LEVELS)],
            "asks": [[f"{10102.5 + i / 10:.2f}", "1.50000000"] for i in range(_LEVELS)],
        }
    )


# -- Kraken ----------------------------------------------------------------------------------------------


def _plain_kraken(frame: bytes) -> list[Record]:
    message: dict[str, Any] = orjson.loads(frame)
    records: list[Record] = []
    for data in message["data"]:
        symbol = data["symbol"]
        common = ("kraken", "na", symbol, symbol, _ms(data["timestamp"]), 0, 1, 1)
        match message["channel"]:
            case "ticker":
                records.append(
                    Ticker(
                        *common,
                        data["last"],
                        high=data["high"],
                        low=data["low"],
                        change_rate=data["change_pct"] / 100,
                        volume_24h=data["volume"],
                        bid=data["bid"],
                        bid_quantity=data["bid_qty"],
                        ask=data["ask"],
                        ask_quantity=data["ask_qty"],
                        stream_type=StreamType.REALTIME,
                    )
                )
            case "trade":
                trade = (data["price"], data["qty"], _SIDES[data["side"]], str(data["trade_id"]))
                records.append(Trade(*common, *trade))
            case _:
                bids, asks = (
                    [Level(level["price"], level["qty"]) for level in data[side]] for side in ("bids", "asks")
                )
                records.append(OrderBook(*common, BookKind.DELTA, bids, asks, checksum=data["checksum"]))
    return records


def _kraken_levels(levels: list[tuple[str, str]]) -> str:
    return ",".join(f'{{"price":{price},"qty":{quantity}}}' for price, quantity in levels)


def _kraken_frame(kind: str, bids: list[tuple[str, str]], asks: list[tuple[str, str]], checksum: int) -> bytes:
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{_kraken_levels(bids)}],'
        f'"asks":[{_kraken_levels(asks)}],"checksum":{checksum},"timestamp":"2023-10-06T17:35:55.440295Z"}}]}}'
    ).encode()


def _kraken_book(best_bid: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]], int]:
    """Both sides with this quantity at the best bid, and their checksum."""
    bids = [(f"{45283.5 - i / 10:.1f}", best_bid if i == 0 else "0.10000000") for i in range(_LEVELS)]
    asks = [(f"{45285.2 + i / 10:.1f}", "0.00100000") for i in range(_LEVELS)]
    texts = [part.replace(".", "").lstrip("0") for level in asks[:10] + bids[:10] for part in level]
    return bids, asks, zlib.crc32("".join(texts).encode())


def _kraken_updates(count: int) -> list[bytes]:
    updates = []
    for quantity in ("0.20000000", "0.30000000"):
        bids, _, checksum = _kraken_book(quantity)
        updates.append(_kraken_frame("update", bids[:1], [], checksum))
    return [updates[number % 2] for number in range(count)]


# -- Bitfinex --------------------------------------------------------------------------------------------


def _plain_bitfinex(frame: bytes) -> Record:
    message: list[Any] = orjson.loads(frame)
    common = ("bitfinex", "europe", "tBTCUSD", "tBTCUSD", message[-1], 0, 1, 1)
    if message[1] == "te":
        trade_id, time_ms, amount, price = message[2]
        side = Side.BUY if amount > 0 else Side.SELL
        return Trade(*common[:4], time_ms, *common[5:], price, abs(amount), side, str(trade_id))
    body = message[1]
    if len(body) == 3:
        level = Level(body[0], abs(body[2]) if body[1] else 0.0)
        bids, asks = ([level], []) if body[2] > 0 else ([], [level])
        return OrderBook(*common, BookKind.DELTA, bids, asks)
    return Ticker(
        *common,
        body[6],
        high=body[8],
        low=body[9],
        change_rate=body[5],
        volume_24h=body[7],
        bid=body[0],
        ask=body[2],
    )


def _numbered(text: str, count: int) -> list[bytes]:
    """The frame with a sequence that goes on, and each trade its own id."""
    return [text.replace("SEQ", str(number + 2)).encode() for number in range(count)]


def _bitfinex_book() -> bytes:
    bids = [[7254.7 - i / 10, 3, 1.5] for i in range(_LEVELS)]
    asks = [[7254.8 + i / 10, 3, -1.5] for i in range(_LEVELS)]
    return orjson.dumps([10092, [*bids, *asks], 1, 1574694475100])


def _cases() -> tuple[Case, ...]:
    coinbase = {name: _documented("coinbase", name) for name in ("ticker", "trade", "orderbook")}
    kraken = {name: _documented("kraken", name) for name in ("ticker", "trade")}
    opened = {name: _documented("bitfinex", f"subscribed.{name}") for name in ("ticker", "trades", "book")}
    ticker = "[224555,[7616.5,31.89,7617.5,43.35,-550.8,-0.0674,7617.1,8314.71,8257.8,7500],SEQ,1574694478808]"
    trade = '[19111,"te",[401597SEQ,1574694479001,-0.0125,7245.2],SEQ,1574694479015]'
    book = "[10092,[7254.6,2,0.75],SEQ,1574694475180]"
    return (
        Case("coinbase", "ticker", "ETH-USD", (), lambda n: [coinbase["ticker"]] * n, _plain_coinbase),
        Case("coinbase", "trade", "BTC-USD", (), lambda n: [coinbase["trade"]] * n, _plain_coinbase),
        Case(
            "coinbase",
            "orderbook",
            "BTC-USD",
            (_coinbase_book(),),
            lambda n: [coinbase["orderbook"]] * n,
            _plain_coinbase,
        ),
        Case("kraken", "ticker", "BTC-USD", (), lambda n: [kraken["ticker"]] * n, _plain_kraken),
        Case("kraken", "trade", "MATIC-USD", (), lambda n: [kraken["trade"]] * n, _plain_kraken),
        Case(
            "kraken",
            "orderbook",
            "BTC-USD",
            (_kraken_frame("snapshot", *_kraken_book("0.10000000")),),
            _kraken_updates,
            _plain_kraken,
        ),
        Case(
            "bitfinex",
            "ticker",
            "BTC-USD",
            (opened["ticker"],),
            lambda n: _numbered(ticker, n),
            _plain_bitfinex,
        ),
        Case(
            "bitfinex", "trade", "BTC-USD", (opened["trades"],), lambda n: _numbered(trade, n), _plain_bitfinex
        ),
        Case(
            "bitfinex",
            "orderbook",
            "ETH-USD",
            (opened["book"], _bitfinex_book()),
            lambda n: _numbered(book, n),
            _plain_bitfinex,
        ),
    )


CASES: Final = _cases()
