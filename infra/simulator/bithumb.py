"""Bithumb's public WebSocket, v1, from the exchange's side: its markets and the frames they make.

Written from https://apidocs.bithumb.com/reference (read 2026-11): 현재가 (Ticker), 체결 (Trade), 호가
(Orderbook) under WebSocket (fields, their short names, examples); the conversation stands in
``bithumb_requests.py``. Market data comes in binary frames holding JSON. An order book has up to
15 units and its ``timestamp`` is in microseconds; dates and times of day are Korean (UTC+9).

Times a record is matched by (``exchange_ts_ms``): ``timestamp`` of a ticker and of an order book
(its milliseconds), ``trade_timestamp`` of a trade. A trade's ``timestamp`` lies some milliseconds
after its ``trade_timestamp``, a ticker's ``trade_timestamp`` before its ``timestamp``.
"""

import math
from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from core.identity import Exchange, RequestType, Symbol
from infra.simulator.bithumb_requests import MAX_UNITS, BithumbConversation, BithumbForm
from infra.simulator.krw_grid import KRW_PAIRS, krw_grid, plain_number
from infra.simulator.market import QUANTITY_SCALE, PairMarket, PriceGrid
from infra.simulator.venue import Conversation, Feed, FrameIdentity, Limits, Update, Venue

_SHORT: Final = {
    "type": "ty", "code": "cd", "opening_price": "op", "high_price": "hp", "low_price": "lp",
    "trade_price": "tp", "prev_closing_price": "pcp", "change": "c", "change_price": "cp",
    "signed_change_price": "scp", "change_rate": "cr", "signed_change_rate": "scr", "trade_volume": "tv",
    "acc_trade_volume": "atv", "acc_trade_volume_24h": "atv24h", "acc_trade_price": "atp",
    "acc_trade_price_24h": "atp24h", "trade_date": "tdt", "trade_time": "ttm", "trade_timestamp": "ttms",
    "ask_bid": "ab", "acc_ask_volume": "aav", "acc_bid_volume": "abv", "highest_52_week_price": "h52wp",
    "highest_52_week_date": "h52wdt", "lowest_52_week_price": "l52wp", "lowest_52_week_date": "l52wdt",
    "market_state": "ms", "is_trading_suspended": "its", "delisting_date": "dd", "market_warning": "mw",
    "timestamp": "tms", "stream_type": "st", "sequential_id": "sid", "total_ask_size": "tas",
    "total_bid_size": "tbs", "orderbook_units": "obu", "ask_price": "ap", "bid_price": "bp",
    "ask_size": "as", "bid_size": "bs", "level": "lv",
}  # fmt: skip
_TRADE_SHORT: Final = {**_SHORT, "trade_date": "td"}


class BithumbVenue(Venue):
    """Bithumb's KRW and BTC markets: ticker, trade and order book."""

    exchange = Exchange.BITHUMB
    path = "/websocket/v1"
    binary = True
    # 기본 정보: 10 connects a second, left to whoever asks, as all share the loopback address.
    # 연결 관리: an idle connection is closed after about 120 s.
    limits = Limits(idle_timeout_s=120.0)
    default_symbols = (*KRW_PAIRS, "ETH-BTC", "XRP-BTC")

    def spell(self, symbol: Symbol) -> str:
        """``KRW-BTC``: the quote asset first."""
        return f"{symbol.quote}-{symbol.base}"

    def price_grid(self, symbol: Symbol, price: float) -> PriceGrid:
        """KRW by the table of price units, BTC in 1e-8."""
        if symbol.quote == "KRW":
            return krw_grid(price)
        decimals = 8 if symbol.quote == "BTC" else max(3, 4 - math.floor(math.log10(price)))
        return PriceGrid(decimals, 1)

    def converse(self, path: str) -> Conversation | None:
        """Only the one path, whatever its query."""
        return BithumbConversation(frozenset(self.markets)) if path.partition("?")[0] == self.path else None

    def advance(self, feed: Feed, now_ms: int) -> Update:
        """One trade for a ticker or a trade; some orders for an order book."""
        market = self.markets[feed.exchange_symbol]
        time_ms, n = self.stamp(feed.channel, feed.exchange_symbol, now_ms)
        identity = FrameIdentity(feed.channel, str(market.symbol), feed.exchange_symbol, time_ms, n)
        if feed.channel == RequestType.ORDERBOOK:
            market.churn()
            return self.remember(Update(feed, identity, _BookRender(market, feed.exchange_symbol, time_ms)))
        if feed.channel == RequestType.TRADE or not market.take_unseen_trade(feed.channel):
            market.trade()
            market.take_unseen_trade(feed.channel)
        if feed.channel == RequestType.TRADE:
            render = _FlatRender(_trade(market, feed.exchange_symbol, time_ms, n), _TRADE_SHORT)
        else:
            render = _FlatRender(_ticker(market, feed.exchange_symbol, time_ms), _SHORT)
        return self.remember(Update(feed, identity, render))

    def identify(self, payload: bytes) -> FrameIdentity | None:
        """Either format, of the three types."""
        try:
            frame = _RECORDED.decode(payload)
            quote, _, base = (frame.code or frame.cd or "").partition("-")
            symbol = str(Symbol(base, quote))
        except ValueError:
            return None
        kind = frame.type or frame.ty
        if kind not in tuple(RequestType):
            return None
        time_ms = frame.timestamp or frame.tms
        if kind == RequestType.TRADE:
            time_ms = frame.trade_timestamp or frame.ttms
        elif kind == RequestType.ORDERBOOK and time_ms is not None and time_ms >= 10**15:
            time_ms //= 1000
        return FrameIdentity(kind, symbol, f"{quote}-{base}", time_ms, 0)

    def default_form(self) -> BithumbForm:
        """DEFAULT."""
        return BithumbForm(simple=False)

    def unknown_type(self) -> bytes:
        """A type that does not exist."""
        return b'{"type":"weather","code":"KRW-BTC","timestamp":1700000000000,"stream_type":"REALTIME"}'


class _Recorded(msgspec.Struct):
    """What tells a recorded frame from another, in both formats."""

    type: str | None = None
    ty: str | None = None
    code: str | None = None
    cd: str | None = None
    timestamp: int | None = None
    tms: int | None = None
    trade_timestamp: int | None = None
    ttms: int | None = None


_RECORDED = msgspec.json.Decoder(_Recorded)


def _object(values: dict[str, str], short: dict[str, str] | None) -> str:
    """A JSON object of values that are JSON already, under their long or short names."""
    return "{" + ",".join(f'"{short[name] if short else name}":{text}' for name, text in values.items()) + "}"


class _FlatRender:
    """A frame without nesting; only the stream type differs between snapshot and update."""

    def __init__(self, values: dict[str, str], short: dict[str, str]) -> None:
        self._values, self._short = values, short

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        assert isinstance(form, BithumbForm)
        stream_type = '"SNAPSHOT"' if snapshot else '"REALTIME"'
        return _object(
            {**self._values, "stream_type": stream_type}, self._short if form.simple else None
        ).encode()


class _BookRender:
    """An order book with the number of units that the code asked for (``KRW-BTC.5``)."""

    def __init__(self, market: PairMarket, code: str, time_ms: int) -> None:
        self._code, self._time_ms = code, time_ms
        self._decimals, self._tick = market.grid.decimals, market.grid.tick_units
        self._ask, self._bid = market.ask, market.bid
        self._asks = tuple(market.ask_quantities[:MAX_UNITS])
        self._bids = tuple(market.bid_quantities[:MAX_UNITS])

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        assert isinstance(form, BithumbForm)
        short = _SHORT if form.simple else None
        units = ",".join(
            _object(
                {
                    "ask_price": plain_number(self._ask + i * self._tick, self._decimals),
                    "bid_price": plain_number(self._bid - i * self._tick, self._decimals),
                    "ask_size": _quantity(self._asks[i]),
                    "bid_size": _quantity(self._bids[i]),
                },
                short,
            )
            for i in range(form.units)
        )
        values = {
            "type": '"orderbook"',
            "code": f'"{self._code}"',
            "total_ask_size": _quantity(sum(self._asks[: form.units])),
            "total_bid_size": _quantity(sum(self._bids[: form.units])),
            "orderbook_units": f"[{units}]",
            "level": "1",
            "timestamp": f"{self._time_ms}{self._asks[0] % 1000:03d}",
            "stream_type": '"SNAPSHOT"' if snapshot else '"REALTIME"',
        }
        return _object(values, short).encode()


def _quantity(units: int) -> str:
    return plain_number(units, 8)


def _change(market: PairMarket) -> tuple[str, int]:
    difference = market.last - market.previous_close
    return ('"RISE"' if difference > 0 else '"FALL"' if difference < 0 else '"EVEN"'), difference


def _ticker(market: PairMarket, code: str, time_ms: int) -> dict[str, str]:
    decimals = market.grid.decimals
    change, difference = _change(market)
    rate = difference / market.previous_close
    trade_ms = time_ms - 1 - market.trade_id % 40
    date, clock = _korean(trade_ms // 1000)
    turnover = f"{market.turnover / (10**decimals * QUANTITY_SCALE):.6f}"
    high_date, low_date = _extremes(trade_ms // 86_400_000)
    return {
        "type": '"ticker"',
        "code": f'"{code}"',
        "opening_price": plain_number(market.open, decimals),
        "high_price": plain_number(market.high, decimals),
        "low_price": plain_number(market.low, decimals),
        "trade_price": plain_number(market.last, decimals),
        "prev_closing_price": plain_number(market.previous_close, decimals),
        "change": change,
        "change_price": plain_number(abs(difference), decimals),
        "signed_change_price": plain_number(difference, decimals),
        "change_rate": f"{abs(rate):.8f}",
        "signed_change_rate": f"{rate:.8f}",
        "trade_volume": _quantity(market.last_quantity),
        "acc_trade_volume": _quantity(market.volume),
        "acc_trade_volume_24h": _quantity(market.volume),
        "acc_trade_price": turnover,
        "acc_trade_price_24h": turnover,
        "trade_date": f'"{date.replace("-", "")}"',
        "trade_time": f'"{clock.replace(":", "")}"',
        "trade_timestamp": str(trade_ms),
        "ask_bid": '"BID"' if market.taker == "bid" else '"ASK"',
        "acc_ask_volume": _quantity(market.ask_volume),
        "acc_bid_volume": _quantity(market.bid_volume),
        "highest_52_week_price": plain_number(market.previous_close * 8 // 5, decimals),
        "highest_52_week_date": high_date,
        "lowest_52_week_price": plain_number(market.previous_close // 2, decimals),
        "lowest_52_week_date": low_date,
        "market_state": '"ACTIVE"',
        "is_trading_suspended": "false",
        "delisting_date": "null",
        "market_warning": '"NONE"',
        "timestamp": str(time_ms),
    }


def _trade(market: PairMarket, code: str, time_ms: int, n: int) -> dict[str, str]:
    decimals = market.grid.decimals
    change, difference = _change(market)
    date, clock = _korean(time_ms // 1000)
    return {
        "type": '"trade"',
        "code": f'"{code}"',
        "trade_price": plain_number(market.last, decimals),
        "trade_volume": _quantity(market.last_quantity),
        "ask_bid": '"BID"' if market.taker == "bid" else '"ASK"',
        "prev_closing_price": plain_number(market.previous_close, decimals),
        "change": change,
        "change_price": plain_number(abs(difference), decimals),
        "trade_date": f'"{date}"',
        "trade_time": f'"{clock}"',
        "trade_timestamp": str(time_ms),
        "sequential_id": str(time_ms * 10_000 + n % 10_000),
        "timestamp": str(time_ms + 1 + n % 40),
    }


@lru_cache(maxsize=64)
def _korean(second: int) -> tuple[str, str]:
    """Korean date and time of day of an epoch second, ``2026-01-31`` and ``23:59:59``."""
    moment = datetime.fromtimestamp(second, UTC) + timedelta(hours=9)
    return moment.strftime("%Y-%m-%d"), moment.strftime("%H:%M:%S")


@lru_cache(maxsize=4)
def _extremes(day: int) -> tuple[str, str]:
    """Dates of the 52-week high and low, as JSON strings."""
    today = datetime.fromtimestamp(day * 86_400, UTC)
    return f'"{today - timedelta(days=51):%Y-%m-%d}"', f'"{today - timedelta(days=233):%Y-%m-%d}"'
