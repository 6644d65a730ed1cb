"""A command's projection: fields outside of it are null, where the record allows null."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from core.identity import RequestType
from core.records import OrderBook, Record, Ticker, Trade

RECORD_OF: Final[dict[RequestType, type[Ticker] | type[Trade] | type[OrderBook]]] = {
    RequestType.TICKER: Ticker,
    RequestType.TRADE: Trade,
    RequestType.ORDERBOOK: OrderBook,
}
"""The record that each request type gives."""

_NULLABLE: Final = {
    request_type: frozenset(
        field.name
        for field in msgspec.structs.fields(record)
        if field.default is None or field.name == "exchange_ts_ms"
    )
    for request_type, record in RECORD_OF.items()
}

Blanks = dict[str, None]


def blanks(projection: Collection[str], request_type: RequestType) -> Blanks:
    """The fields to set to null for a projection."""
    return dict.fromkeys(sorted(_NULLABLE[request_type] - set(projection)))


def project(records: Sequence[Record], by_symbol: Mapping[str, Blanks]) -> list[Record]:
    """The records with their symbols' projections applied."""
    return [
        msgspec.structs.replace(record, **blank) if (blank := by_symbol.get(record.symbol)) else record
        for record in records
    ]
