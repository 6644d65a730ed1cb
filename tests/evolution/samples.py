"""Real values of the packaged schemas, as deserializers return them."""

from decimal import Decimal
from typing import Any, Final

_HEAD: Final = {
    "exchange": "upbit",
    "region": "korea",
    "symbol": "BTC-KRW",
    "exchange_symbol": "KRW-BTC",
    "exchange_ts_ms": 1_732_000_000_123,
    "received_ts_us": 1_732_000_000_150_001,
    "session_id": 1 << 60,
    "sequence": 7,
}
_DAY: Final = {
    name: number + 0.5
    for number, name in enumerate(
        ("open", "high", "low", "prev_close", "change_rate", "volume_24h", "quote_volume_24h")
    )
}
EXACT: Final = Decimal("135660000.123456789012345678")
SAMPLES: Final[dict[str, list[dict[str, Any]]]] = {
    "ticker_data": [
        {
            **_HEAD,
            "price": 135_660_000.125,
            **_DAY,
            "bid": None,
            "bid_quantity": None,
            "ask": 1e-7,
            "ask_quantity": 0.0,
            "stream_type": "REALTIME",
            "price_exact": EXACT,
        }
    ],
    "trade_data": [
        {
            **_HEAD,
            "exchange_ts_ms": None,
            "price": 1.5,
            "quantity": 0.1,
            "side": "SELL",
            "trade_id": "é-17",
            "price_exact": Decimal("1.500000000000000000"),
            "quantity_exact": None,
        }
    ],
    "orderbook_data": [
        {
            **_HEAD,
            "kind": "SNAPSHOT",
            "bids": [{"price": 1.25, "quantity": 2.5}, {"price": 1.0, "quantity": 0.0}],
            "asks": [],
            "first_update_id": None,
            "last_update_id": 80_123_456_701,
            "checksum": -1,
            "valid": True,
        }
    ],
    "metrics_event": [
        {
            "region": "korea",
            "exchange": "upbit",
            "request_type": "ticker",
            "batch": {
                "range_start_ts_kst": 1,
                "range_end_ts_kst": 2,
                "bucket_size_sec": 60,
                "items": [
                    {"minute_start_ts_kst": 1, "total": 3, "details": {"BTC-KRW_COUNT": 2, "X_COUNT": 1}}
                ],
                "version": 1,
            },
            "frames": 3,
            "parse_failed": 0,
            "ignored": 0,
            "delivered": 3,
            "delivery_failed": 0,
            "bytes_received": 1000,
            "latency_p50_us": 5100,
            "latency_p95_us": None,
            "latency_p99_us": None,
            "sequences": [{"session_id": 9, "symbol": "BTC-KRW", "first": 1, "last": 3}],
            "shed": [],
        }
    ],
}
