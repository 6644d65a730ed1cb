"""Market data as frozen records, field for field the Avro schemas under ``schemas/avro``.

Prices and quantities are doubles, ``exchange_ts_ms`` is epoch milliseconds or None where the exchange
sends none, ``received_ts_us`` is epoch microseconds at the frame's arrival. ``session_id`` names the
connection, ``sequence`` counts 1, 2, 3 … per symbol within it. What an exchange did not send is None,
never 0. ``price_exact`` and ``quantity_exact`` are filled only when exact numbers are asked for
(``core.exact_numbers``).
"""

from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from core.exchanges.values import Price, Quantity


class StreamType(StrEnum):
    """Whether a record is the state at subscription or a change as it happened."""

    SNAPSHOT = "SNAPSHOT"
    REALTIME = "REALTIME"
    UNKNOWN = "UNKNOWN"


class Side(StrEnum):
    """The taker's side of a trade."""

    BUY = "BUY"
    SELL = "SELL"
    UNKNOWN = "UNKNOWN"


class BookKind(StrEnum):
    """Whether an order book record is the whole book or a change to it."""

    SNAPSHOT = "SNAPSHOT"
    DELTA = "DELTA"
    UNKNOWN = "UNKNOWN"


class Ticker(msgspec.Struct, frozen=True, gc=False):
    """Last price and the day's figures of one symbol (``ticker_data``)."""

    exchange: str
    region: str
    symbol: str
    exchange_symbol: str
    exchange_ts_ms: int | None
    received_ts_us: int
    session_id: int
    sequence: int
    price: float
    open: float | None = None
    high: float | None = None
    low: float | None = None
    prev_close: float | None = None
    change_rate: float | None = None
    volume_24h: float | None = None
    quote_volume_24h: float | None = None
    bid: float | None = None
    bid_quantity: float | None = None
    ask: float | None = None
    ask_quantity: float | None = None
    stream_type: StreamType = StreamType.UNKNOWN
    price_exact: Decimal | None = None


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One execution (``trade_data``)."""

    exchange: str
    region: str
    symbol: str
    exchange_symbol: str
    exchange_ts_ms: int | None
    received_ts_us: int
    session_id: int
    sequence: int
    price: float
    quantity: float
    side: Side = Side.UNKNOWN
    trade_id: str | None = None
    price_exact: Decimal | None = None
    quantity_exact: Decimal | None = None


class Level(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One price level; in a delta, quantity 0 removes it.

    Most exchanges write a level as an array, price and quantity first: decoders read it straight into this,
    with the ranges of ``core.exchanges.values``. Our own JSON names the two: ``json_form``.
    """

    price: Price
    quantity: Quantity


class OrderBook(msgspec.Struct, frozen=True, gc=False):
    """A book or a change to it (``orderbook_data``); in a snapshot both sides have the best first.

    ``valid`` says that the chain from the last snapshot to here is unbroken.
    """

    exchange: str
    region: str
    symbol: str
    exchange_symbol: str
    exchange_ts_ms: int | None
    received_ts_us: int
    session_id: int
    sequence: int
    kind: BookKind
    bids: list[Level]
    asks: list[Level]
    first_update_id: int | None = None
    last_update_id: int | None = None
    checksum: int | None = None
    valid: bool = False


Record = Ticker | Trade | OrderBook


def json_form(value: Record | Level) -> dict[str, Any]:
    """A record or a level as JSON has it: a level is price and quantity by name, whatever else it remembers of
    its frame."""
    if isinstance(value, Level):
        return {"price": value.price, "quantity": value.quantity}
    fields = msgspec.structs.asdict(value)
    if isinstance(value, OrderBook):
        for side in ("bids", "asks"):
            fields[side] = [json_form(level) for level in fields[side]]
    return fields
