"""The exact numbers of Bitfinex's tickers and trades."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from core.exact_numbers import ExactNumbers
from core.exchanges.bitfinex_frames import Array


class _ExactTicker(msgspec.Struct, frozen=True, array_like=True):
    bid: float | None
    bid_sizes: float | None
    ask: float | None
    ask_sizes: float | None
    change: float | None
    change_rate: float | None
    last: Decimal


class _ExactTrade(msgspec.Struct, frozen=True, array_like=True):
    trade_id: int
    time_ms: int
    amount: Decimal
    price: Decimal


# Not strict: see ``bitfinex_frames``.
_TICKER = msgspec.json.Decoder(_ExactTicker, strict=False)
_TRADE = msgspec.json.Decoder(_ExactTrade, strict=False)
_TRADES = msgspec.json.Decoder(list[_ExactTrade], strict=False)


def exact_ticker(array: Array) -> Sequence[ExactNumbers]:
    """Of a ticker's frame."""
    return (ExactNumbers(_TICKER.decode(array.body).last),)


def exact_trades(array: Array, taken: Sequence[int]) -> Sequence[ExactNumbers]:
    """Of a trade's frame; of a snapshot those that became records, by their ids."""
    if array.word is not None:
        trade = _TRADE.decode(array.a)
        return (ExactNumbers(trade.price, abs(trade.amount)),)
    by_id = {trade.trade_id: trade for trade in _TRADES.decode(array.body)}
    return [ExactNumbers(by_id[i].price, abs(by_id[i].amount)) for i in taken]
