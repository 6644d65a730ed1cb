"""Korbit's public WebSocket, v2, from the exchange's side: its markets and the frames they make.

Written from https://docs.korbit.co.kr (read 2026-11), "WebSocket API": 현재가 (Ticker), 호가
(Orderbook), 체결 (Trade) (fields and examples); the conversation stands in ``korbit_requests.py``.
Everything comes in text frames; the first of a subscription says ``"snapshot": true``, the later
ones do not mention it. An order book is always whole, 30 levels a side, best first.

Times a record is matched by (``exchange_ts_ms``): ``timestamp`` of a ticker, ``data.timestamp``
of an order book, that of the trade in a trade; the two latter lie some milliseconds before the
frame's own ``timestamp``. The exchange pings every 30 s.
"""

from collections.abc import Hashable
from typing import Any

import msgspec

from core.identity import Exchange, RequestType, Symbol
from infra.simulator.korbit_requests import KorbitConversation
from infra.simulator.krw_grid import KRW_PAIRS, krw_grid, plain_number
from infra.simulator.market import LEVELS, QUANTITY_SCALE, PairMarket, PriceGrid
from infra.simulator.venue import Conversation, Feed, FrameIdentity, Limits, Update, Venue


class KorbitVenue(Venue):
    """Korbit's KRW markets: ticker, trade and order book."""

    exchange = Exchange.KORBIT
    path = "/v2/public"
    binary = False
    limits = Limits(ping_interval_s=30.0, ping_timeout_s=60.0)
    default_symbols = KRW_PAIRS

    def spell(self, symbol: Symbol) -> str:
        """``btc_krw``."""
        return f"{symbol.base}_{symbol.quote}".lower()

    def price_grid(self, symbol: Symbol, price: float) -> PriceGrid:
        """By the table of price units."""
        return krw_grid(price)

    def converse(self, path: str) -> Conversation | None:
        """Only the one path, whatever its query."""
        return KorbitConversation(frozenset(self.markets)) if path.partition("?")[0] == self.path else None

    def advance(self, feed: Feed, now_ms: int) -> Update:
        """One trade for a ticker or a trade; some orders for an order book."""
        market = self.markets[feed.exchange_symbol]
        time_ms, n = self.stamp(feed.channel, feed.exchange_symbol, now_ms)
        identity = FrameIdentity(feed.channel, str(market.symbol), feed.exchange_symbol, time_ms, n)
        sent_ms = time_ms + 1 + n % 40
        if feed.channel == RequestType.ORDERBOOK:
            market.churn()
            data: Any = _book(market, time_ms)
        elif feed.channel == RequestType.TRADE:
            market.trade()
            data = [_trade(market, time_ms)]
        else:
            if not market.take_unseen_trade(feed.channel):
                market.trade()
                market.take_unseen_trade(feed.channel)
            data, sent_ms = _ticker(market, time_ms), time_ms
        return self.remember(Update(feed, identity, _Render(feed, sent_ms, data)))

    def identify(self, payload: bytes) -> FrameIdentity | None:
        """The three types."""
        try:
            frame = _RECORDED.decode(payload)
            if frame.type not in tuple(RequestType) or frame.symbol is None:
                return None
            base, _, quote = frame.symbol.upper().partition("_")
            symbol = str(Symbol(base, quote))
            time_ms = frame.timestamp
            if frame.type == RequestType.TRADE:
                time_ms = msgspec.convert(frame.data, list[_Dated])[0].timestamp
            elif frame.type == RequestType.ORDERBOOK:
                time_ms = msgspec.convert(frame.data, _Dated).timestamp
        except (ValueError, IndexError):
            return None
        return FrameIdentity(frame.type, symbol, frame.symbol, time_ms, 0)

    def default_form(self) -> None:
        """There is but one."""

    def unknown_type(self) -> bytes:
        """A type that does not exist."""
        return b'{"symbol":"btc_krw","timestamp":1700000000000,"type":"weather","data":{"open":"1"}}'


class _Dated(msgspec.Struct):
    timestamp: int | None = None


class _Recorded(msgspec.Struct):
    """What tells a recorded frame from another."""

    type: str | None = None
    symbol: str | None = None
    timestamp: int | None = None
    data: Any = None


_RECORDED = msgspec.json.Decoder(_Recorded)


class _Render:
    """The one form; a snapshot says that it is one."""

    def __init__(self, feed: Feed, sent_ms: int, data: object) -> None:
        self._feed, self._sent_ms, self._data = feed, sent_ms, data

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        frame: dict[str, object] = {
            "symbol": self._feed.exchange_symbol,
            "timestamp": self._sent_ms,
            "type": self._feed.channel,
        }
        if snapshot:
            frame["snapshot"] = True
        return msgspec.json.encode({**frame, "data": self._data})


def _price(market: PairMarket, units: int) -> str:
    return plain_number(units, market.grid.decimals)


def _quantity(units: int) -> str:
    return plain_number(units, 8)


def _book(market: PairMarket, time_ms: int) -> dict[str, object]:
    tick = market.grid.tick_units
    return {
        "timestamp": time_ms,
        "asks": [
            {"price": _price(market, market.ask + i * tick), "qty": _quantity(market.ask_quantities[i])}
            for i in range(LEVELS)
        ],
        "bids": [
            {"price": _price(market, market.bid - i * tick), "qty": _quantity(market.bid_quantities[i])}
            for i in range(LEVELS)
        ],
    }


def _trade(market: PairMarket, time_ms: int) -> dict[str, object]:
    return {
        "timestamp": time_ms,
        "price": _price(market, market.last),
        "qty": _quantity(market.last_quantity),
        "isBuyerTaker": market.taker == "bid",
        "tradeId": market.trade_id,
    }


def _ticker(market: PairMarket, time_ms: int) -> dict[str, object]:
    change = market.last - market.previous_close
    turnover = market.turnover / (10**market.grid.decimals * QUANTITY_SCALE)
    return {
        "open": _price(market, market.open),
        "high": _price(market, market.high),
        "low": _price(market, market.low),
        "close": _price(market, market.last),
        "prevClose": _price(market, market.previous_close),
        "priceChange": _price(market, change),
        "priceChangePercent": f"{change / market.previous_close * 100:.2f}",
        "volume": _quantity(market.volume),
        "quoteVolume": f"{turnover:.5f}",
        "bestAskPrice": _price(market, market.ask),
        "bestBidPrice": _price(market, market.bid),
        "lastTradedAt": time_ms - 1 - market.trade_id % 40,
    }
