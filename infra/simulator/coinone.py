"""Coinone's public WebSocket from the exchange's side: its markets and the frames they make.

Written from https://docs.coinone.co.kr/reference (read 2026-11): public-websocket-orderbook,
public-websocket-ticker, public-websocket-trade (fields with their short names, examples); the conversation
stands in ``coinone_requests.py``. Everything comes in text frames. An order book is always whole, 16 levels a
side, and its asks come with the worst first, as in the documentation's example. ``is_seller_maker`` true is a
buying taker.

Times a record is matched by (``exchange_ts_ms``): ``timestamp`` of each. ``id`` is that time with a counter
of three digits behind it.
"""

from collections.abc import Hashable
from typing import Final

import msgspec

from core.identity import Exchange, RequestType, Symbol
from infra.simulator.coinone_requests import CoinoneConversation
from infra.simulator.krw_grid import KRW_PAIRS, krw_grid, plain_number
from infra.simulator.market import QUANTITY_SCALE, PairMarket, PriceGrid
from infra.simulator.venue import Conversation, Feed, FrameIdentity, Limits, Update, Venue

_LEVELS: Final = 16
_SHORT: Final = {
    "response_type": "r", "channel": "c", "data": "d", "quote_currency": "qc", "target_currency": "tc",
    "timestamp": "t", "id": "i", "asks": "a", "bids": "b", "price": "p", "qty": "q", "is_seller_maker": "sm",
    "quote_volume": "qv", "target_volume": "tv", "high": "hi", "low": "lo", "first": "fi", "last": "la",
    "volume_power": "vp", "ask_best_price": "abp", "ask_best_qty": "abq", "bid_best_price": "bbp",
    "bid_best_qty": "bbq", "yesterday_high": "yhi", "yesterday_low": "ylo", "yesterday_first": "yfi",
    "yesterday_last": "yla", "yesterday_quote_volume": "yqv", "yesterday_target_volume": "ytv",
}  # fmt: skip


class CoinoneVenue(Venue):
    """Coinone's KRW markets: ticker, trade and order book."""

    exchange = Exchange.COINONE
    path = "/"
    binary = False
    limits = Limits()
    default_symbols = KRW_PAIRS

    def __init__(self, symbols: object, seed: int) -> None:
        super().__init__(symbols, seed)  # type: ignore[arg-type]  # handed through
        self._conversations = 0

    def spell(self, symbol: Symbol) -> str:
        """``KRW-BTC``: two fields in the frames, joined as the quote currency and the target currency."""
        return f"{symbol.quote}-{symbol.base}"

    def price_grid(self, symbol: Symbol, price: float) -> PriceGrid:
        """By the table of price units."""
        return krw_grid(price)

    def converse(self, path: str) -> Conversation | None:
        """Only the root, whatever its query."""
        if path.partition("?")[0] not in ("", "/"):
            return None
        self._conversations += 1
        return CoinoneConversation(frozenset(self.markets), self._conversations)

    def advance(self, feed: Feed, now_ms: int) -> Update:
        """One trade for a ticker or a trade; some orders for an order book."""
        market = self.markets[feed.exchange_symbol]
        time_ms, n = self.stamp(feed.channel, feed.exchange_symbol, now_ms)
        identity = FrameIdentity(feed.channel, str(market.symbol), feed.exchange_symbol, time_ms, n)
        if feed.channel == RequestType.ORDERBOOK:
            market.churn()
            return self.remember(Update(feed, identity, _Render("ORDERBOOK", _book(market, time_ms))))
        if feed.channel == RequestType.TRADE or not market.take_unseen_trade(feed.channel):
            market.trade()
            market.take_unseen_trade(feed.channel)
        values = (_trade if feed.channel == RequestType.TRADE else _ticker)(market, time_ms)
        return self.remember(Update(feed, identity, _Render(feed.channel.upper(), values)))

    def identify(self, payload: bytes) -> FrameIdentity | None:
        """Either format, of the three channels."""
        try:
            frame = _RECORDED.decode(payload)
            data = frame.data or frame.d
            channel = (frame.channel or frame.c or "").lower()
            if data is None or channel not in tuple(RequestType):
                return None
            quote, base = data.quote_currency or data.qc or "", data.target_currency or data.tc or ""
            symbol = str(Symbol(base, quote))
        except ValueError:
            return None
        return FrameIdentity(channel, symbol, f"{quote}-{base}", data.timestamp or data.t, 0)

    def default_form(self) -> bool:
        """Long names."""
        return False

    def unknown_type(self) -> bytes:
        """A channel that does not exist."""
        return (
            b'{"response_type":"DATA","channel":"WEATHER","data":{"quote_currency":"KRW","target_currency":"BTC",'
            b'"timestamp":1700000000000}}'
        )


class _RecordedData(msgspec.Struct):
    quote_currency: str | None = None
    qc: str | None = None
    target_currency: str | None = None
    tc: str | None = None
    timestamp: int | None = None
    t: int | None = None


class _Recorded(msgspec.Struct):
    """What tells a recorded frame from another, in both formats."""

    channel: str | None = None
    c: str | None = None
    data: _RecordedData | None = None
    d: _RecordedData | None = None


_RECORDED = msgspec.json.Decoder(_Recorded)

_Value = str | int | bool | list[dict[str, str]]


class _Render:
    """A frame under long or short names; nothing tells a first one from a later one."""

    def __init__(self, channel: str, data: dict[str, _Value]) -> None:
        self._channel, self._data = channel, data

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        frame: dict[str, object] = {"response_type": "DATA", "channel": self._channel, "data": self._data}
        return msgspec.json.encode(_shortened(frame) if form is True else frame)


def _shortened(value: object) -> object:
    if isinstance(value, dict):
        return {_SHORT[name]: _shortened(inner) for name, inner in value.items()}
    return [_shortened(inner) for inner in value] if isinstance(value, list) else value


def _head(market: PairMarket, time_ms: int) -> dict[str, _Value]:
    return {
        "quote_currency": market.symbol.quote,
        "target_currency": market.symbol.base,
        "timestamp": time_ms,
        "id": f"{time_ms}{1 + market.trade_id % 3:03d}",
    }


def _level(market: PairMarket, price: int, quantity: int) -> dict[str, str]:
    return {"price": _price(market, price), "qty": _quantity(quantity)}


def _price(market: PairMarket, units: int) -> str:
    return plain_number(units, market.grid.decimals)


def _quantity(units: int) -> str:
    return plain_number(units, 8)


def _book(market: PairMarket, time_ms: int) -> dict[str, _Value]:
    tick = market.grid.tick_units
    asks = [_level(market, market.ask + i * tick, market.ask_quantities[i]) for i in range(_LEVELS)]
    bids = [_level(market, market.bid - i * tick, market.bid_quantities[i]) for i in range(_LEVELS)]
    return {**_head(market, time_ms), "asks": asks[::-1], "bids": bids}


def _trade(market: PairMarket, time_ms: int) -> dict[str, _Value]:
    return {
        **_head(market, time_ms),
        "price": _price(market, market.last),
        "qty": _quantity(market.last_quantity),
        "is_seller_maker": market.taker == "bid",
    }


def _ticker(market: PairMarket, time_ms: int) -> dict[str, _Value]:
    turnover = market.turnover / (10**market.grid.decimals * QUANTITY_SCALE)
    power = min(market.bid_volume / market.ask_volume * 100, 500.0)
    yesterday = market.previous_close
    return {
        **_head(market, time_ms),
        "quote_volume": f"{turnover:.4f}",
        "target_volume": _quantity(market.volume),
        "high": _price(market, market.high),
        "low": _price(market, market.low),
        "first": _price(market, market.open),
        "last": _price(market, market.last),
        "volume_power": f"{power:.2f}",
        "ask_best_price": _price(market, market.ask),
        "ask_best_qty": _quantity(market.ask_quantities[0]),
        "bid_best_price": _price(market, market.bid),
        "bid_best_qty": _quantity(market.bid_quantities[0]),
        "yesterday_high": _price(market, yesterday * 21 // 20),
        "yesterday_low": _price(market, yesterday * 19 // 20),
        "yesterday_first": _price(market, yesterday),
        "yesterday_last": _price(market, yesterday),
        "yesterday_quote_volume": f"{turnover:.4f}",
        "yesterday_target_volume": _quantity(market.volume),
    }
