"""The frames of Upbit's protocol, as far as they are read: with long keys and with short ones.

What each field means stands in ``upbit_protocol``.
"""

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import field

from core.exchanges.epoch_time import EpochMsOrUs
from core.exchanges.values import EpochMs, Price, PriceOrZero, Quantity, Rate


class TickerFrame(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="ticker"):
    code: str
    trade_price: PriceOrZero | None = None
    timestamp: EpochMsOrUs | None = None
    opening_price: PriceOrZero | None = None
    high_price: PriceOrZero | None = None
    low_price: PriceOrZero | None = None
    prev_closing_price: PriceOrZero | None = None
    signed_change_rate: Rate | None = None
    acc_trade_volume_24h: Quantity | None = None
    acc_trade_price_24h: Quantity | None = None
    stream_type: str | None = None


class ShortTickerFrame(TickerFrame, frozen=True, gc=False, tag_field="ty", tag="ticker"):
    code: str = field(name="cd")
    trade_price: PriceOrZero | None = field(name="tp", default=None)
    timestamp: EpochMsOrUs | None = field(name="tms", default=None)
    opening_price: PriceOrZero | None = field(name="op", default=None)
    high_price: PriceOrZero | None = field(name="hp", default=None)
    low_price: PriceOrZero | None = field(name="lp", default=None)
    prev_closing_price: PriceOrZero | None = field(name="pcp", default=None)
    signed_change_rate: Rate | None = field(name="scr", default=None)
    acc_trade_volume_24h: Quantity | None = field(name="atv24h", default=None)
    acc_trade_price_24h: Quantity | None = field(name="atp24h", default=None)
    stream_type: str | None = field(name="st", default=None)


class TradeFrame(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="trade"):
    code: str
    trade_price: Price
    trade_volume: Quantity
    ask_bid: str | None = None
    trade_timestamp: EpochMs | None = None
    sequential_id: int | str | None = None
    stream_type: str | None = None


class ShortTradeFrame(TradeFrame, frozen=True, gc=False, tag_field="ty", tag="trade"):
    code: str = field(name="cd")
    trade_price: Price = field(name="tp")
    trade_volume: Quantity = field(name="tv")
    ask_bid: str | None = field(name="ab", default=None)
    trade_timestamp: EpochMs | None = field(name="ttms", default=None)
    sequential_id: int | str | None = field(name="sid", default=None)
    stream_type: str | None = field(name="st", default=None)


class Unit(msgspec.Struct, frozen=True, gc=False):
    ask_price: PriceOrZero | None = None
    bid_price: PriceOrZero | None = None
    ask_size: Quantity | None = None
    bid_size: Quantity | None = None


class ShortUnit(Unit, frozen=True, gc=False):
    ask_price: PriceOrZero | None = field(name="ap", default=None)
    bid_price: PriceOrZero | None = field(name="bp", default=None)
    ask_size: Quantity | None = field(name="as", default=None)
    bid_size: Quantity | None = field(name="bs", default=None)


class BookFrame(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="orderbook"):
    code: str
    orderbook_units: list[Unit] | None
    timestamp: EpochMsOrUs | None = None


class ShortBookFrame(msgspec.Struct, frozen=True, gc=False, tag_field="ty", tag="orderbook"):
    code: str = field(name="cd")
    orderbook_units: list[ShortUnit] | None = field(name="obu")
    timestamp: EpochMsOrUs | None = field(name="tms", default=None)


class ExactTicker(msgspec.Struct, frozen=True, tag_field="type", tag="ticker"):
    price: Decimal = field(name="trade_price")


class ExactTrade(msgspec.Struct, frozen=True, tag_field="type", tag="trade"):
    price: Decimal = field(name="trade_price")
    quantity: Decimal = field(name="trade_volume")


class ShortExactTicker(ExactTicker, frozen=True, tag_field="ty", tag="ticker"):
    price: Decimal = field(name="tp")


class ShortExactTrade(ExactTrade, frozen=True, tag_field="ty", tag="trade"):
    price: Decimal = field(name="tp")
    quantity: Decimal = field(name="tv")


class ErrorText(msgspec.Struct, frozen=True):
    name: str | int | None = None
    message: str | None = None


class Envelope(msgspec.Struct, frozen=True):
    """A frame that could not be read as data, as far as it says what it is.

    What other types have in the fields of a trade is not known, so these may be anything.
    """

    type: str | None = None
    ty: str | None = None
    status: str | None = None
    error: ErrorText | str | None = None
    method: str | None = None
    mthd: str | None = None
    code: Any = None
    cd: Any = None
    stream_type: Any = None
    st: Any = None
    trade_price: Any = None
    tp: Any = None

    @property
    def before_any_trade(self) -> bool:
        """Whether it is the snapshot of a symbol that was never traded."""
        price = self.trade_price if self.tp is None else self.tp
        return (
            "trade" in (self.type, self.ty)
            and "SNAPSHOT" in (self.stream_type, self.st)
            and price in (None, 0, "", "0")
        )


# Not strict, so that a number written as text is one too.
LONG: msgspec.json.Decoder[TickerFrame | TradeFrame | BookFrame] = msgspec.json.Decoder(
    TickerFrame | TradeFrame | BookFrame, strict=False
)
SHORT: msgspec.json.Decoder[ShortTickerFrame | ShortTradeFrame | ShortBookFrame] = msgspec.json.Decoder(
    ShortTickerFrame | ShortTradeFrame | ShortBookFrame, strict=False
)
LONG_EXACT: msgspec.json.Decoder[ExactTicker | ExactTrade] = msgspec.json.Decoder(ExactTicker | ExactTrade)
SHORT_EXACT: msgspec.json.Decoder[ShortExactTicker | ShortExactTrade] = msgspec.json.Decoder(
    ShortExactTicker | ShortExactTrade
)
ENVELOPE = msgspec.json.Decoder(Envelope)
ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
TIMES = frozenset({"timestamp", "tms", "trade_timestamp", "ttms"})
DATA_TYPES = frozenset({"ticker", "trade", "orderbook"})

AnyFrame = str | bytes | msgspec.Raw
MarketFrame = TickerFrame | TradeFrame | BookFrame | ShortBookFrame
