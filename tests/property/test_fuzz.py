"""Ten thousand broken frames an exchange: no exception, no record that makes no sense, nothing grows."""

import math
import random

import pytest

from core.exchanges.table import PROFILES
from core.identity import Exchange, RequestType
from core.records import OrderBook, Record, Ticker, Trade
from core.session import StreamSession
from tests.frames import all_frames
from tests.frames.mutations import mutated

FRAMES = 10_000
SYMBOLS = {
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

ELSEWHERE = ["BTC-USDT", "BTC-USD", "BTC-KRW", "ETH-USDT", "ETH-USD", "ETH-KRW"]
"""Of an exchange without a line of its own above."""


def check(record: Record) -> None:
    """What holds of every record, whatever came in."""
    assert type(record.exchange) is str
    assert record.exchange_ts_ms is None or 10**12 <= record.exchange_ts_ms < 10**13
    match record:
        case Ticker():
            prices = [
                record.price,
                record.open,
                record.high,
                record.low,
                record.prev_close,
                record.bid,
                record.ask,
            ]
            amounts = [record.volume_24h, record.quote_volume_24h, record.bid_quantity, record.ask_quantity]
            assert record.change_rate is None or math.isfinite(record.change_rate)
        case Trade():
            prices, amounts = [record.price, record.quantity], []
        case OrderBook():
            levels = [*record.bids, *record.asks]
            prices, amounts = [level.price for level in levels], [level.quantity for level in levels]
    assert all(price is None or 0 < price < math.inf for price in prices)
    assert all(amount is None or 0 <= amount < math.inf for amount in amounts)


@pytest.mark.parametrize("accept_all", [False, True], ids=["live", "replay"])
@pytest.mark.parametrize("exchange", list(PROFILES))
def test_broken_frames(exchange: Exchange, accept_all: bool) -> None:
    source = random.Random(f"{exchange} {accept_all}")
    profile, frames = PROFILES[exchange], all_frames(exchange)
    sessions = [StreamSession(profile, kind, 1, now_s=0.0, accept_all=accept_all) for kind in RequestType]
    symbols = [profile.parse_symbol(symbol) for symbol in SYMBOLS.get(exchange, ELSEWHERE)]
    sequences: dict[tuple[int, str, str], int] = {}
    records = 0
    for number in range(FRAMES):
        frame: str | bytes = mutated(source.choice(frames), frames, source)
        if number % 2:
            frame = frame.decode("utf-8", "surrogateescape")
        place = source.randrange(len(sessions))
        for record in sessions[place].receive(frame, number):
            check(record)
            records += 1
            key = (place, type(record).__name__, record.exchange_symbol)
            assert record.sequence == sequences.get(key, 0) + 1
            sequences[key] = record.sequence
        if number % 100 == 0:
            # Broken answers may refuse symbols: ask for them again.
            for session in sessions:
                assert len(session.take_notices()) <= 200
                session.take_outbox()  # answers to pings, and what is asked for again
                session.subscribe(symbols, float(number))
                assert len(session.take_outbox()) <= profile.limits.max_messages
    assert records > FRAMES / 100
    for session in sessions:
        assert session.parse_failed > FRAMES / 100
        assert len(session.ignored) < 10
