"""Microseconds per frame of the stream session, by exchange and frame type.

Compared with the plain way: orjson into a dict, values picked from it into the same record, without ranges,
subscriptions, sequences or counts. "exact": with GATEWAY_NUMBERS=exact.
Usage: ``python -m benchmarks.session [--frames 20000] [--json]``.
"""

import argparse
import functools
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import orjson

from benchmarks import asia_frames, korean_frames, western_frames
from core.exchanges.base import BookSettings, SymbolBroken
from core.exchanges.table import PROFILES
from core.identity import Exchange, RequestType
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade
from core.session import StreamSession

_FRAMES = Path(__file__).resolve().parent.parent / "tests" / "frames"
_CASES = (
    ("upbit", "ticker"),
    ("upbit", "ticker.simple"),
    ("upbit", "trade"),
    ("upbit", "trade.simple"),
    ("upbit", "orderbook"),
    ("upbit", "orderbook.simple"),
    ("binance", "ticker"),
    ("binance", "trade"),
    ("binance", "orderbook"),
)
_ROUNDS = 5
_UPBIT_LEVELS = 30


def frame_of(exchange: str, name: str) -> bytes:
    """A frame of realistic size: an Upbit order book is filled up to 30 levels a side."""
    frame = (_FRAMES / exchange / f"{name}.json").read_bytes().strip()
    if exchange == "upbit" and name.startswith("orderbook"):
        book = orjson.loads(frame)
        units = "obu" if "obu" in book else "orderbook_units"
        book[units] = [book[units][0]] * _UPBIT_LEVELS
        frame = orjson.dumps(book)
    return frame


def _plain_upbit(frame: bytes) -> Record:
    data: dict[str, Any] = orjson.loads(frame)
    kind = data.get("type") or data.get("ty")
    long = "type" in data
    base, quote = (data["code"] if long else data["cd"]).split("-")[::-1]
    common = ("upbit", "korea", f"{base}-{quote}", f"{quote}-{base}")
    if kind == "ticker":
        get = data.get
        return Ticker(
            *common,
            get("timestamp" if long else "tms"),
            0,
            1,
            1,
            float(data["trade_price" if long else "tp"]),
            get("opening_price" if long else "op"),
            get("high_price" if long else "hp"),
            get("low_price" if long else "lp"),
            get("prev_closing_price" if long else "pcp"),
            get("signed_change_rate" if long else "scr"),
            get("acc_trade_volume_24h" if long else "atv24h"),
            get("acc_trade_price_24h" if long else "atp24h"),
            stream_type=StreamType(get("stream_type" if long else "st")),
        )
    if kind == "trade":
        return Trade(
            *common,
            data["trade_timestamp" if long else "ttms"],
            0,
            1,
            1,
            float(data["trade_price" if long else "tp"]),
            float(data["trade_volume" if long else "tv"]),
            Side.SELL if data["ask_bid" if long else "ab"] == "ASK" else Side.BUY,
            str(data["sequential_id" if long else "sid"]),
        )
    units = data["orderbook_units" if long else "obu"]
    bid, bid_size = ("bid_price", "bid_size") if long else ("bp", "bs")
    ask, ask_size = ("ask_price", "ask_size") if long else ("ap", "as")
    return OrderBook(
        *common,
        data["timestamp" if long else "tms"],
        0,
        1,
        1,
        BookKind.SNAPSHOT,
        [Level(unit[bid], unit[bid_size]) for unit in units],
        [Level(unit[ask], unit[ask_size]) for unit in units],
        valid=True,
    )


def _plain_binance(frame: bytes) -> Record:
    data: dict[str, Any] = orjson.loads(frame)["data"]
    symbol = data["s"]
    common = ("binance", "asia", symbol, symbol, data["E"], 0, 1, 1)
    match data["e"]:
        case "24hrTicker":
            return Ticker(
                *common,
                float(data["c"]),
                float(data["o"]),
                float(data["h"]),
                float(data["l"]),
                float(data["x"]),
                float(data["P"]) / 100,
                float(data["v"]),
                float(data["q"]),
                float(data["b"]),
                float(data["B"]),
                float(data["a"]),
                float(data["A"]),
                StreamType.REALTIME,
            )
        case "trade":
            side = Side.SELL if data["m"] else Side.BUY
            return Trade(*common, float(data["p"]), float(data["q"]), side, str(data["t"]))
        case _:
            return OrderBook(
                *common,
                BookKind.DELTA,
                [Level(float(price), float(quantity)) for price, quantity in data["b"]],
                [Level(float(price), float(quantity)) for price, quantity in data["a"]],
                data["U"],
                data["u"],
            )


def session_for(exchange: str, name: str, frame: bytes, *, exact: bool = False) -> StreamSession:
    """A session that has subscribed to the frame's symbol."""
    profile = PROFILES[Exchange(exchange)]
    session = StreamSession(profile, RequestType(name.partition(".")[0]), 1, now_s=0.0, exact=exact)
    data = orjson.loads(frame)
    own = data.get("code") or data.get("cd") or data["data"]["s"]
    session.subscribe([profile.parse_symbol(own)], 0.0)
    if (exchange, name) == ("binance", "orderbook"):
        _give_book(session, data["data"])
    return session


def _give_book(session: StreamSession, update: dict[str, Any]) -> None:
    """A whole book of 1,000 levels a side under the updates, so that keeping it is part of the figure."""
    session.receive('{"result":null,"id":1}', 1)
    session.on_time(1.0)
    best = float(update["b"][0][0])
    book = {
        "lastUpdateId": update["U"] - 1,
        "bids": [[f"{best - 0.01 * step:.8f}", "1.00000000"] for step in range(1000)],
        "asks": [[f"{best + 0.01 * (step + 1):.8f}", "1.00000000"] for step in range(1000)],
    }
    (track,) = session.tracks
    if not session.snapshot(track.symbol, orjson.dumps(book), 1):
        raise SystemExit("binance orderbook: no whole book")


def frames_of(exchange: str, name: str, frame: bytes, count: int) -> list[bytes]:
    """``count`` frames; a chain of order book updates where the exchange numbers them."""
    if (exchange, name) != ("binance", "orderbook"):
        return [frame] * count
    update = orjson.loads(frame)
    chain = []
    for number in range(count):
        update["data"]["U"] = update["data"]["u"] = 80_123_456_701 + number
        chain.append(orjson.dumps(update))
    return chain


def median_us(work: Callable[[bytes], object], frames: list[bytes]) -> float:
    """The median over rounds of microseconds per frame."""
    rounds = []
    for _ in range(_ROUNDS):
        start_s = perf_counter()
        for frame in frames:
            work(frame)
        rounds.append((perf_counter() - start_s) / len(frames) * 1e6)
    return statistics.median(rounds)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000, help="frames a round")
    parser.add_argument("--json", action="store_true", help="one JSON object a case")
    options = parser.parse_args()
    for exchange, name in _CASES:
        frame = frame_of(exchange, name)
        frames = frames_of(exchange, name, frame, options.frames)
        plain = _plain_upbit if exchange == "upbit" else _plain_binance
        _report(
            exchange, name, frames, plain, functools.partial(session_for, exchange, name, frame), options.json
        )
    for exchange, name in asia_frames.CASES:
        frames = asia_frames.asia_frames(exchange, name, options.frames)
        plain = asia_frames.PLAIN[exchange]
        _report(
            exchange,
            name,
            frames,
            plain,
            functools.partial(asia_frames.asia_session, exchange, name),
            options.json,
        )
    for case in (*western_frames.CASES, *korean_frames.CASES):
        frames = case.frames(options.frames)
        _report(
            case.exchange, case.name, frames, case.plain, functools.partial(_session_of, case), options.json
        )
    return 0


def _session_of(case: western_frames.Case, *, exact: bool = False) -> StreamSession:
    profile = PROFILES[Exchange(case.exchange)]
    books = BookSettings(depth=250)
    kind = RequestType(case.name.partition(".")[0])
    session = StreamSession(profile, kind, 1, now_s=0.0, exact=exact, books=books)
    session.subscribe([profile.parse_symbol(case.symbol)], 0.0)
    for frame in case.before:
        session.receive(frame, 1)
    return session


def _report(
    exchange: str,
    name: str,
    frames: list[bytes],
    plain: Callable[[bytes], object],
    open_session: Callable[..., StreamSession],
    as_json: bool,
) -> None:
    session_us = _measure_session(frames, open_session)
    plain_us = median_us(plain, frames)
    row = {
        "exchange": exchange,
        "frame": name,
        "bytes": len(frames[0]),
        "session_us": round(session_us, 2),
        "dict_us": round(plain_us, 2),
    }
    if not name.startswith("orderbook"):
        row["exact_us"] = round(_measure_session(frames, open_session, exact=True), 2)
    if as_json:
        sys.stdout.write(json.dumps(row) + "\n")
    else:
        sys.stdout.write(
            f"{exchange:8} {name:17} {len(frames[0]):5} bytes   session {session_us:6.2f} us   "
            f"orjson, dict, record {plain_us:6.2f} us"
            + (f"   exact numbers {row['exact_us']:6.2f} us\n" if "exact_us" in row else "\n")
        )


def _measure_session(
    frames: list[bytes], open_session: Callable[..., StreamSession], *, exact: bool = False
) -> float:
    rounds = []
    for _ in range(_ROUNDS):
        session = open_session(exact=exact)
        rounds.append(_timed(session, frames))
        if session.parse_failed or session.ignored:
            name = f"{session.profile.exchange} {session.request_type}"
            raise SystemExit(f"{name}: {session.parse_failed} failed, ignored {session.ignored}")
        if any(isinstance(notice, SymbolBroken) for notice in session.take_notices()):
            raise SystemExit(f"{session.profile.exchange}: the book broke")
    return statistics.median(rounds)


def _timed(session: StreamSession, frames: list[bytes]) -> float:
    start_s = perf_counter()
    for frame in frames:
        session.receive(frame, 1_793_604_700_000_000)
    return (perf_counter() - start_s) / len(frames) * 1e6


if __name__ == "__main__":
    sys.exit(main())
