"""Upbit's quotation WebSocket, v1, from the exchange's side: its markets and the frames they make.

Written from the developer centre's pages https://docs.upbit.com/kr/reference/websocket-ticker,
/websocket-trade and /websocket-orderbook (fields, their short names, and types); the conversation stands in
``upbit_requests.py``. Market data comes in binary frames holding JSON.

Times a record is matched by (``exchange_ts_ms``): ``timestamp`` of a ticker and of an order book,
``trade_timestamp`` of a trade. A trade's ``timestamp`` lies some milliseconds after its ``trade_timestamp``,
and a ticker's ``trade_timestamp`` before its ``timestamp``, as on the exchange.

Not simulated: candles (accepted and silent), the grouping of an order book by ``level`` (silent, which is
what the documentation says of a level that a pair does not support).
"""

import math
from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from core.identity import Exchange, RequestType, Symbol
from infra.simulator.market import LEVELS, QUANTITY_SCALE, PairMarket, PriceGrid, decimal_text
from infra.simulator.upbit_requests import UpbitConversation, UpbitForm
from infra.simulator.venue import Conversation, Feed, FrameIdentity, Limits, Update, Venue

_TICKER_FIELDS: Final = (
    ("type", "ty"), ("code", "cd"), ("opening_price", "op"), ("high_price", "hp"), ("low_price", "lp"),
    ("trade_price", "tp"), ("prev_closing_price", "pcp"), ("acc_trade_price", "atp"), ("change", "c"),
    ("change_price", "cp"), ("signed_change_price", "scp"), ("change_rate", "cr"),
    ("signed_change_rate", "scr"), ("ask_bid", "ab"), ("trade_volume", "tv"), ("acc_trade_volume", "atv"),
    ("trade_date", "tdt"),
    ("trade_time", "ttm"), ("trade_timestamp", "ttms"), ("acc_ask_volume", "aav"), ("acc_bid_volume", "abv"),
    ("highest_52_week_price", "h52wp"), ("highest_52_week_date", "h52wdt"), ("lowest_52_week_price", "l52wp"),
    ("lowest_52_week_date", "l52wdt"), ("market_state", "ms"), ("is_trading_suspended", "its"),
    ("delisting_date", "dd"), ("market_warning", "mw"), ("timestamp", "tms"), ("acc_trade_price_24h", "atp24h"),
    ("acc_trade_volume_24h", "atv24h"), ("stream_type", "st"),
)  # fmt: skip
_TRADE_FIELDS: Final = (
    ("type", "ty"), ("code", "cd"), ("timestamp", "tms"), ("trade_date", "td"), ("trade_time", "ttm"),
    ("trade_timestamp", "ttms"), ("trade_price", "tp"), ("trade_volume", "tv"), ("ask_bid", "ab"),
    ("prev_closing_price", "pcp"), ("change", "c"), ("change_price", "cp"), ("sequential_id", "sid"),
    ("best_ask_price", "bap"), ("best_ask_size", "bas"), ("best_bid_price", "bbp"), ("best_bid_size", "bbs"),
    ("stream_type", "st"),
)  # fmt: skip
_BOOK_FIELDS: Final = (
    ("type", "ty"), ("code", "cd"), ("timestamp", "tms"), ("total_ask_size", "tas"), ("total_bid_size", "tbs"),
    ("orderbook_units", "obu"), ("stream_type", "st"), ("level", "lv"),
)  # fmt: skip
_UNIT_FIELDS: Final = (("ask_price", "ap"), ("bid_price", "bp"), ("ask_size", "as"), ("bid_size", "bs"))


class _Templates(NamedTuple):
    """A frame's text with a place for each value, in both formats."""

    default: str
    simple: str


def _templates(fields: tuple[tuple[str, str], ...]) -> _Templates:
    return _Templates(*("{" + ",".join(f'"{f[i]}":%s' for f in fields) + "}" for i in (0, 1)))


_TICKER, _TRADE, _BOOK, _UNIT = map(_templates, (_TICKER_FIELDS, _TRADE_FIELDS, _BOOK_FIELDS, _UNIT_FIELDS))
_REALTIME, _SNAPSHOT = '"REALTIME"', '"SNAPSHOT"'

# Price units of the KRW market by price, from https://docs.upbit.com/kr/docs/krw-market-info: (from, tick).
_KRW_TICKS: Final = (
    (1_000_000, 1_000.0), (500_000, 500.0), (100_000, 100.0), (50_000, 50.0), (10_000, 10.0), (5_000, 5.0),
    (100, 1.0), (10, 0.1), (1, 0.01), (0.1, 0.001), (0.01, 0.0001), (0.001, 0.00001), (0.0001, 0.000001),
    (0.00001, 0.0000001), (0, 0.00000001),
)  # fmt: skip


class UpbitVenue(Venue):
    """Upbit's Korean markets: ticker, trade and order book."""

    exchange = Exchange.UPBIT
    path = "/websocket/v1"
    binary = True
    # https://docs.upbit.com/kr/reference/websocket-guide (120 s), /rate-limits (5 messages a second and
    # 100 a minute; its 5 connects a second are left to whoever asks, as all share the loopback address).
    limits = Limits(idle_timeout_s=120.0, max_messages=((5, 1.0), (100, 60.0)))
    default_symbols = (
        "BTC-KRW", "ETH-KRW", "XRP-KRW", "SOL-KRW", "DOGE-KRW", "ADA-KRW", "TRX-KRW", "LINK-KRW", "AVAX-KRW",
        "DOT-KRW", "BCH-KRW", "ETC-KRW", "XLM-KRW", "HBAR-KRW", "SUI-KRW", "APT-KRW", "NEAR-KRW", "ATOM-KRW",
        "ALGO-KRW", "AAVE-KRW", "UNI-KRW", "ARB-KRW", "SAND-KRW", "MANA-KRW", "STX-KRW", "WAVES-KRW", "ETH-BTC",
        "XRP-BTC", "SOL-BTC", "BTC-USDT", "ETH-USDT",
    )  # fmt: skip

    def spell(self, symbol: Symbol) -> str:
        """``KRW-BTC``: the quote asset first."""
        return f"{symbol.quote}-{symbol.base}"

    def price_grid(self, symbol: Symbol, price: float) -> PriceGrid:
        """KRW by its table of price units, USDT in thousandths or finer, BTC in 1e-8."""
        if symbol.quote == "KRW":
            tick = next(tick for floor, tick in _KRW_TICKS if price >= floor)
        elif symbol.quote == "BTC":
            tick = 1e-8
        else:
            tick = 10.0 ** min(-3, math.floor(math.log10(price)) - 4)
        decimals = max(0, -math.floor(math.log10(tick)))
        return PriceGrid(decimals, round(tick * 10**decimals))

    def converse(self, path: str) -> Conversation | None:
        """Only the one path, whatever its query."""
        return UpbitConversation(frozenset(self.markets)) if path.partition("?")[0] == self.path else None

    def advance(self, feed: Feed, now_ms: int) -> Update:
        """One trade for a ticker or a trade; some orders for an order book."""
        market = self.markets[feed.exchange_symbol]
        time_ms, n = self.stamp(feed.channel, feed.exchange_symbol, now_ms)
        identity = FrameIdentity(feed.channel, str(market.symbol), feed.exchange_symbol, time_ms, n)
        if feed.channel == RequestType.ORDERBOOK:
            market.churn()
            render = _BookRender(market, feed.exchange_symbol, time_ms)
            return self.remember(Update(feed, identity, render))
        if feed.channel == RequestType.TRADE or not market.take_unseen_trade(feed.channel):
            market.trade()
            market.take_unseen_trade(feed.channel)
        if feed.channel == RequestType.TRADE:
            templates, values = _TRADE, _trade_values(market, feed.exchange_symbol, time_ms, n)
        else:
            templates, values = _TICKER, _ticker_values(market, feed.exchange_symbol, time_ms)
        return self.remember(Update(feed, identity, _FlatRender(templates, values)))

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
        trade_ms = frame.trade_timestamp or frame.ttms
        time_ms = trade_ms if kind == RequestType.TRADE else frame.timestamp or frame.tms
        return FrameIdentity(kind, symbol, f"{quote}-{base}", time_ms, 0)

    def default_form(self) -> UpbitForm:
        """DEFAULT, as an object."""
        return UpbitForm(simple=False, listed=False)

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


def _wrapped(text: str, form: UpbitForm) -> bytes:
    return f"[{text}]".encode() if form.listed else text.encode()


class _FlatRender:
    """A frame without nesting; only the stream type differs between snapshot and update."""

    def __init__(self, templates: _Templates, values: tuple[object, ...]) -> None:
        self._templates = templates
        self._values = values

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        assert isinstance(form, UpbitForm)
        template = self._templates.simple if form.simple else self._templates.default
        return _wrapped(template % (*self._values, _SNAPSHOT if snapshot else _REALTIME), form)


class _BookRender:
    """An order book with the number of units that the code asked for (``KRW-BTC.5``)."""

    def __init__(self, market: PairMarket, code: str, time_ms: int) -> None:
        self._code, self._time_ms = code, time_ms
        self._decimals, self._tick = market.grid.decimals, market.grid.tick_units
        self._ask, self._bid = market.ask, market.bid
        self._asks, self._bids = tuple(market.ask_quantities), tuple(market.bid_quantities)

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        assert isinstance(form, UpbitForm)
        template, unit = (_BOOK.simple, _UNIT.simple) if form.simple else (_BOOK.default, _UNIT.default)
        ask, bid, tick, decimals = self._ask, self._bid, self._tick, self._decimals
        units = ",".join(
            _unit_text(unit, ask + i * tick, bid - i * tick, self._asks[i], self._bids[i], decimals)
            for i in range(min(form.units, LEVELS))
        )
        totals = (
            decimal_text(sum(self._asks[: form.units]), 8),
            decimal_text(sum(self._bids[: form.units]), 8),
        )
        stream_type = _SNAPSHOT if snapshot else _REALTIME
        values = ('"orderbook"', f'"{self._code}"', self._time_ms, *totals, f"[{units}]", stream_type, 0)
        return _wrapped(template % values, form)


@lru_cache(maxsize=8_192)
def _unit_text(template: str, ask: int, bid: int, ask_size: int, bid_size: int, decimals: int) -> str:
    """One level of both sides; between two frames of a pair most are as they were."""
    prices = decimal_text(ask, decimals), decimal_text(bid, decimals)
    return template % (*prices, decimal_text(ask_size, 8), decimal_text(bid_size, 8))


def _change(market: PairMarket) -> tuple[str, int]:
    difference = market.last - market.previous_close
    return ('"RISE"' if difference > 0 else '"FALL"' if difference < 0 else '"EVEN"'), difference


def _ticker_values(market: PairMarket, code: str, time_ms: int) -> tuple[object, ...]:
    decimals = market.grid.decimals
    change, difference = _change(market)
    rate = difference / market.previous_close
    trade_ms = time_ms - 1 - market.trade_id % 40
    date, clock = _utc(trade_ms // 1000)
    turnover = f"{market.turnover / (10**decimals * QUANTITY_SCALE):.8f}"
    high_date, low_date = _extremes(trade_ms // 86_400_000)
    return (
        '"ticker"', f'"{code}"', decimal_text(market.open, decimals), decimal_text(market.high, decimals),
        decimal_text(market.low, decimals), decimal_text(market.last, decimals),
        decimal_text(market.previous_close, decimals), turnover, change,
        decimal_text(abs(difference), decimals), decimal_text(difference, decimals),
        f"{abs(rate):.10f}", f"{rate:.10f}",
        '"BID"' if market.taker == "bid" else '"ASK"', decimal_text(market.last_quantity, 8),
        decimal_text(market.volume, 8), f'"{date.replace("-", "")}"', f'"{clock.replace(":", "")}"', trade_ms,
        decimal_text(market.ask_volume, 8), decimal_text(market.bid_volume, 8),
        decimal_text(market.previous_close * 8 // 5, decimals), high_date,
        decimal_text(market.previous_close // 2, decimals), low_date, '"ACTIVE"', "false", "null", '"NONE"',
        time_ms, turnover, decimal_text(market.volume, 8),
    )  # fmt: skip


def _trade_values(market: PairMarket, code: str, time_ms: int, n: int) -> tuple[object, ...]:
    decimals = market.grid.decimals
    change, difference = _change(market)
    date, clock = _utc(time_ms // 1000)
    return (
        '"trade"', f'"{code}"', time_ms + 1 + n % 40, f'"{date}"', f'"{clock}"', time_ms,
        decimal_text(market.last, decimals), decimal_text(market.last_quantity, 8),
        '"BID"' if market.taker == "bid" else '"ASK"', decimal_text(market.previous_close, decimals), change,
        decimal_text(abs(difference), decimals), time_ms * 10_000 + n % 10_000,
        decimal_text(market.ask, decimals), decimal_text(market.ask_quantities[0], 8),
        decimal_text(market.bid, decimals),
        decimal_text(market.bid_quantities[0], 8),
    )  # fmt: skip


@lru_cache(maxsize=64)
def _utc(second: int) -> tuple[str, str]:
    """Date and time of day of an epoch second, ``2026-01-31`` and ``23:59:59``."""
    moment = datetime.fromtimestamp(second, UTC)
    return moment.strftime("%Y-%m-%d"), moment.strftime("%H:%M:%S")


@lru_cache(maxsize=4)
def _extremes(day: int) -> tuple[str, str]:
    """Dates of the 52-week high and low, as JSON strings."""
    today = datetime.fromtimestamp(day * 86_400, UTC)
    return (
        f'"{today - timedelta(days=51):%Y-%m-%d}"',
        f'"{today - timedelta(days=233):%Y-%m-%d}"',
    )
