"""Upbit frames of realistic size: many symbols, values that change from frame to frame."""

import itertools
import random
from typing import Any, Final

import orjson

SYMBOLS: Final = tuple(
    f"KRW-{base}"
    for base in (
        "BTC ETH XRP SOL ADA DOGE AVAX DOT LINK TRX MATIC ATOM ETC BCH NEAR APT ARB SUI SEI STX".split()  # noqa: SIM905
    )
)
LEVELS: Final = 15
_DISTINCT: Final = 40
"""Different frames a symbol, so that no cache of values makes the work look smaller than it is."""
_START_MS: Final = 1_793_604_700_000


def frames(kind: str, *, seed: int = 1) -> list[bytes]:
    """Frames of one kind (ticker, trade, orderbook), the symbols in turn: about 0.9, 0.5 and 1.6 KB each."""
    random_numbers = random.Random(seed)
    make = {"ticker": _ticker, "trade": _trade, "orderbook": _orderbook}[kind]
    numbered = itertools.product(range(_DISTINCT), enumerate(SYMBOLS))
    return [
        orjson.dumps(make(code, round(1_000.0 * (place + 1), 2), _START_MS + 37 * number, random_numbers))
        for number, (place, code) in numbered
    ]


def _ticker(code: str, base: float, time_ms: int, numbers: random.Random) -> dict[str, Any]:
    price = round(base * numbers.uniform(0.98, 1.02), 2)
    change = round(price - base, 8)
    rate = round(change / base, 10)
    return {
        "type": "ticker",
        "code": code,
        "opening_price": base,
        "high_price": round(base * 1.021, 2),
        "low_price": round(base * 0.979, 2),
        "trade_price": price,
        "prev_closing_price": base,
        "acc_trade_price": round(numbers.uniform(1e9, 1e11), 8),
        "change": "RISE" if change > 0 else "FALL",
        "change_price": abs(change),
        "signed_change_price": change,
        "change_rate": abs(rate),
        "signed_change_rate": rate,
        "ask_bid": numbers.choice(("ASK", "BID")),
        "trade_volume": round(numbers.uniform(0.0001, 10.0), 8),
        "acc_trade_volume": round(numbers.uniform(100.0, 10_000.0), 8),
        "trade_date": "20261102",
        "trade_time": "073114",
        "trade_timestamp": time_ms,
        "acc_ask_volume": round(numbers.uniform(100.0, 10_000.0), 8),
        "acc_bid_volume": round(numbers.uniform(100.0, 10_000.0), 8),
        "highest_52_week_price": round(base * 1.4, 8),
        "highest_52_week_date": "2026-01-15",
        "lowest_52_week_price": round(base * 0.6, 8),
        "lowest_52_week_date": "2026-04-08",
        "market_state": "ACTIVE",
        "is_trading_suspended": False,
        "delisting_date": None,
        "market_warning": "NONE",
        "timestamp": time_ms + 37,
        "acc_trade_price_24h": round(numbers.uniform(1e9, 1e11), 8),
        "acc_trade_volume_24h": round(numbers.uniform(100.0, 10_000.0), 8),
        "stream_type": "REALTIME",
    }


def _trade(code: str, base: float, time_ms: int, numbers: random.Random) -> dict[str, Any]:
    price = round(base * numbers.uniform(0.98, 1.02), 2)
    return {
        "type": "trade",
        "code": code,
        "timestamp": time_ms + 37,
        "trade_date": "2026-11-02",
        "trade_time": "07:31:20",
        "trade_timestamp": time_ms,
        "trade_price": price,
        "trade_volume": round(numbers.uniform(0.0001, 10.0), 8),
        "ask_bid": numbers.choice(("ASK", "BID")),
        "prev_closing_price": base,
        "change": "RISE" if price > base else "FALL",
        "change_price": round(abs(price - base), 8),
        "sequential_id": time_ms * 10_000,
        "best_ask_price": round(price * 1.0001, 2),
        "best_ask_size": round(numbers.uniform(0.1, 5.0), 8),
        "best_bid_price": price,
        "best_bid_size": round(numbers.uniform(0.1, 5.0), 8),
        "stream_type": "REALTIME",
    }


def _orderbook(code: str, base: float, time_ms: int, numbers: random.Random) -> dict[str, Any]:
    return {
        "type": "orderbook",
        "code": code,
        "timestamp": time_ms + 37,
        "total_ask_size": round(numbers.uniform(1.0, 50.0), 8),
        "total_bid_size": round(numbers.uniform(1.0, 50.0), 8),
        "orderbook_units": [
            {
                "ask_price": round(base * (1.0 + 0.0001 * (level + 1)), 2),
                "bid_price": round(base * (1.0 - 0.0001 * level), 2),
                "ask_size": round(numbers.uniform(0.001, 5.0), 8),
                "bid_size": round(numbers.uniform(0.001, 5.0), 8),
            }
            for level in range(LEVELS)
        ],
        "stream_type": "REALTIME",
        "level": 0,
    }
