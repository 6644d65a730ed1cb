"""A fuzz run: broken frames by the thousand through one exchange's sessions, each record checked.

``python -m tests.property.fuzzing --frames 1000000`` (``make fuzz``) runs every exchange, one process a core;
``test_fuzz.py`` runs the same with fewer frames. The same seed gives the same frames.
"""

import argparse
import math
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from os import cpu_count
from time import thread_time
from typing import Final, NamedTuple

from core.exchanges.base import SnapshotWanted
from core.exchanges.table import PROFILES
from core.identity import Exchange, RequestType
from core.records import OrderBook, Record, Ticker, Trade
from core.session import StreamSession
from tests.frames import all_frames
from tests.frames.mutations import mutated

MAX_FRAME_MS: Final = 100.0
"""CPU time that no frame may take."""
_MAX_NOTICES: Final = 200
_LOOK_EVERY: Final = 100
_WHOLE_EVERY: Final = 8
"""After so many broken frames comes a whole one: it names a channel or begins a book, as others need it."""
_SYMBOLS: Final = {
    Exchange.UPBIT: ["BTC-KRW", "ETH-KRW", "XRP-BTC", "BTC-USDT", "1INCH-KRW"],
    Exchange.BINANCE: ["BTC-USDT", "ETH-BTC", "1INCH-USDT", "1000SATS-FDUSD"],
    Exchange.COINBASE: ["BTC-USD", "ETH-USD", "1INCH-USD"],
    Exchange.KRAKEN: ["BTC-USD", "ALGO-USD", "MATIC-USD"],
    Exchange.BITFINEX: ["BTC-USD", "ETH-USD"],
    Exchange.BYBIT: ["BTC-USDT", "ETH-USDT", "1INCH-USDT"],
    Exchange.OKX: ["BTC-USDT", "ETH-USDT", "1INCH-USDT", "BCH-USDT"],
    Exchange.HUOBI: ["BTC-USDT", "ETH-USDT", "ETH-BTC", "1INCH-USDT", "HT-USDT"],
    Exchange.BITHUMB: ["BTC-KRW", "ETH-KRW", "ETH-BTC", "1INCH-KRW"],
    Exchange.KORBIT: ["BTC-KRW", "ETH-KRW", "1INCH-KRW"],
    Exchange.COINONE: ["BTC-KRW", "XRP-KRW", "1INCH-KRW"],
}
_ELSEWHERE: Final = ["BTC-USDT", "BTC-USD", "BTC-KRW", "ETH-USDT", "ETH-USD", "ETH-KRW"]
"""Of an exchange without a line of its own above."""


class FuzzResult(NamedTuple):
    """What came of a run's broken frames; ``slowest_ms`` is the CPU time of the slowest."""

    exchange: Exchange
    frames: int
    records: int
    parse_failed: int
    slowest_ms: float


def fuzz(exchange: Exchange, frames: int, *, accept_all: bool) -> FuzzResult:
    """Feed that many broken frames to a session of each request type, and time to all of them. Half are of
    those frames that make records. Whole ones come in between, and are checked but not counted.

    Raises ``AssertionError`` for a record that makes no sense, for a sequence with a gap and for what grows
    without bound; and whatever a session should not have let out.
    """
    source = random.Random(f"{exchange} {accept_all}")
    profile, whole = PROFILES[exchange], all_frames(exchange)
    sessions = [StreamSession(profile, kind, 1, now_s=0.0, accept_all=accept_all) for kind in RequestType]
    symbols = [profile.parse_symbol(symbol) for symbol in _SYMBOLS.get(exchange, _ELSEWHERE)]
    sequences: dict[tuple[int, str, str], int] = {}
    records, failed, slowest_s = 0, 0, 0.0

    def take(place: int, found: list[Record]) -> None:
        for record in found:
            _check(record)
            key = (place, type(record).__name__, record.exchange_symbol)
            assert record.sequence == sequences.get(key, 0) + 1
            sequences[key] = record.sequence

    for session in sessions:
        session.subscribe(symbols, 0.0)
        session.take_outbox()
    # Frames that make records, by session; twice through, as some need others before them.
    telling: list[list[bytes]] = [[] for _ in sessions]
    for frame in whole * 2:
        for place, session in enumerate(sessions):
            found = list(session.receive(frame, 0))
            take(place, found)
            telling[place] += [frame] if found else []
    for number in range(frames):
        place = source.randrange(len(sessions))
        if number % _WHOLE_EVERY == 0:
            take(place, list(sessions[place].receive(source.choice(whole), number)))
        broken: str | bytes = mutated(
            source.choice(source.choice((whole, telling[place] or whole))), whole, source
        )
        if number % 2:
            broken = broken.decode("utf-8", "surrogateescape")
        failed_before, began_s = sessions[place].parse_failed, thread_time()
        found = list(sessions[place].receive(broken, number))
        slowest_s = max(slowest_s, thread_time() - began_s)
        failed += sessions[place].parse_failed - failed_before
        records += len(found)
        take(place, found)
        if number % _LOOK_EVERY == 0:
            for place, session in enumerate(sessions):
                take(place, _pass_time(session, mutated(source.choice(whole), whole, source), number))
                # Broken answers may refuse symbols: ask for them again.
                session.subscribe(symbols, float(number))
                assert len(session.take_outbox()) <= profile.limits.max_messages
    assert all(len(session.ignored) < 12 for session in sessions), "reasons are from a fixed set"
    return FuzzResult(exchange, frames, records, failed, slowest_s * 1e3)


def _pass_time(session: StreamSession, body: bytes, number: int) -> list[Record]:
    """What is due, and a broken answer for each snapshot that is wanted by REST."""
    session.on_time(float(number), number)
    records = list(session.take_records())
    notices = session.take_notices()
    assert len(notices) <= _MAX_NOTICES
    session.take_outbox()  # answers to pings, and what is asked for again
    for notice in notices:
        if isinstance(notice, SnapshotWanted):
            records.extend(session.snapshot(notice.symbol, body, number))
    return records


def _check(record: Record) -> None:
    """What holds of every record, whatever came in."""
    assert type(record.exchange) is str
    assert record.exchange_ts_ms is None or 10**12 <= record.exchange_ts_ms < 10**13
    match record:
        case Ticker():
            prices = [record.price, record.open, record.high, record.low, record.prev_close]
            prices += [record.bid, record.ask]
            amounts = [record.volume_24h, record.quote_volume_24h, record.bid_quantity, record.ask_quantity]
            assert record.change_rate is None or math.isfinite(record.change_rate)
        case Trade():
            prices, amounts = [record.price, record.quantity], []
        case OrderBook():
            levels = [*record.bids, *record.asks]
            prices, amounts = [level.price for level in levels], [level.quantity for level in levels]
    assert all(price is None or 0 < price < math.inf for price in prices)
    assert all(amount is None or 0 <= amount < math.inf for amount in amounts)


def _run(work: tuple[Exchange, int, bool]) -> FuzzResult:
    exchange, frames, accept_all = work
    return fuzz(exchange, frames, accept_all=accept_all)


def main() -> int:
    """Half of the frames to live sessions, half to those of a replay; exit status 1 for a frame too slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000, help="frames an exchange")
    parser.add_argument("--exchange", choices=[str(name) for name in PROFILES], help="only this one")
    options = parser.parse_args()
    wanted = [Exchange(options.exchange)] if options.exchange else list(PROFILES)
    work = [(exchange, options.frames // 2, accept_all) for exchange in wanted for accept_all in (False, True)]
    too_slow = False
    with ProcessPoolExecutor(cpu_count()) as pool:
        for (exchange, frames, accept_all), result in zip(work, pool.map(_run, work), strict=True):
            too_slow = too_slow or result.slowest_ms >= MAX_FRAME_MS
            sys.stdout.write(
                f"{exchange:9} {'replay' if accept_all else 'live':7} {frames:>9,} frames   "
                f"{result.records:>9,} records   {result.parse_failed:>9,} could not be read   "
                f"slowest {result.slowest_ms:6.2f} ms\n"
            )
            sys.stdout.flush()
    return int(too_slow)


if __name__ == "__main__":
    sys.exit(main())
