"""HTX's (Huobi's) spot market feed from the exchange's side: its markets and the frames they make.

Written from https://huobiapi.github.io/docs/spot/v1/en/ (read 2026-11): ``ticker``, ``detail``,
``trade.detail``, ``depth``, ``bbo`` and ``mbp`` (Market By Price) with its refresh; the conversation stands
in ``huobi_requests.py``. Every frame is binary and holds gzip, numbers in it are JSON numbers.

Times a record is matched by (``exchange_ts_ms``): ``ts`` of a ticker and of an order book; ``ts`` of the one
trade in a frame of trades, whose outer ``ts`` lies some milliseconds after it. ``detail`` counts as a ticker,
``depth``, ``mbp`` and its refresh as order books; ``bbo`` is logged under its own name.

``mbp.{levels}`` has changes only, chained by ``prevSeqNum``; the book under them is the answer to ``req`` for
the same topic (``rep``), logged as a snapshot. ``depth`` and ``mbp.refresh`` are the whole book every time.
The documentation has ``mbp`` on the path ``/feed`` and the rest on ``/ws``; here all is on both. ``depth`` is
not aggregated by its steps. Not simulated: klines.
"""

import gzip
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from core.identity import Exchange, RequestType, Symbol
from infra.simulator.book_chain import BookChain, BookStep, Levels
from infra.simulator.huobi_requests import HuobiConversation
from infra.simulator.market import QUANTITY_SCALE, PairMarket, PriceGrid, decimal_text
from infra.simulator.spelling import five_digit_grid, joined_pair
from infra.simulator.venue import Conversation, Feed, FrameIdentity, Limits, Update, Venue

_REQUEST_TYPES: Final = {
    "ticker": RequestType.TICKER,
    "detail": RequestType.TICKER,
    "trade.detail": RequestType.TRADE,
    "bbo": "bbo",
}
_DEPTH_LEVELS: Final = 150


class HuobiVenue(Venue):
    """HTX (Huobi) spot."""

    exchange = Exchange.HUOBI
    path = "/ws"
    binary = True
    # The heartbeat, which the conversation keeps, ends idle connections.
    limits = Limits()
    default_symbols = (
        "BTC-USDT", "ETH-USDT", "XRP-USDT", "SOL-USDT", "DOGE-USDT", "ADA-USDT", "TRX-USDT", "LINK-USDT",
        "AVAX-USDT", "DOT-USDT", "BCH-USDT", "LTC-USDT", "ETC-USDT", "XLM-USDT", "HBAR-USDT", "SUI-USDT",
        "APT-USDT", "NEAR-USDT", "ATOM-USDT", "ALGO-USDT", "AAVE-USDT", "UNI-USDT", "FIL-USDT", "ARB-USDT",
        "OP-USDT", "INJ-USDT", "TON-USDT", "ETH-BTC", "BTC-USDD", "ETH-USDD", "XRP-BTC",
    )  # fmt: skip

    def __init__(self, symbols: Sequence[str] | None, seed: int) -> None:
        super().__init__(symbols, seed)
        self._chains: dict[Feed, BookChain] = {}
        self._sequences: dict[Feed, int] = {}

    def spell(self, symbol: Symbol) -> str:
        """``btcusdt``."""
        return f"{symbol.base}{symbol.quote}".lower()

    def price_grid(self, symbol: Symbol, price: float) -> PriceGrid:
        """Hundredths or finer."""
        return five_digit_grid(price)

    def converse(self, path: str) -> Conversation | None:
        """``/ws`` and ``/feed``."""
        if path.partition("?")[0] not in (self.path, "/feed"):
            return None
        return HuobiConversation(self.markets.keys())

    def advance(self, feed: Feed, now_ms: int) -> Update:
        """A trade for what reports trades; some orders for what reports the book."""
        market = self.markets[feed.exchange_symbol]
        request_type = _REQUEST_TYPES.get(feed.channel, RequestType.ORDERBOOK)
        time_ms, n = self.stamp(request_type, feed.exchange_symbol, now_ms)
        identity = FrameIdentity(request_type, str(market.symbol), feed.exchange_symbol, time_ms, n)
        if request_type is RequestType.ORDERBOOK:
            market.churn()
            return self.remember(Update(feed, identity, self._book(feed, market, time_ms)))
        if request_type == "bbo":
            market.churn()
            text = _bbo(market, feed.exchange_symbol, time_ms)
        else:
            if request_type is RequestType.TRADE or not market.take_unseen_trade(feed.channel):
                market.trade()
                market.take_unseen_trade(feed.channel)
            text = _TEXTS[feed.channel](market, time_ms)
        return self.remember(Update(feed, identity, partial(_same, _frame(feed, time_ms, text))))

    def _book(self, feed: Feed, market: PairMarket, time_ms: int) -> "_BookRender":
        kind, _, size = feed.channel.rpartition(".")
        depth = int(size) if size.isdigit() else _DEPTH_LEVELS
        step = self._chains.setdefault(feed, BookChain(depth)).step(market)
        before = self._sequences.get(feed, 100_000_000_000 + market.update_id)
        self._sequences[feed] = before + 1
        return _BookRender(feed, kind, time_ms, before, step, market.grid.decimals)

    def identify(self, payload: bytes) -> FrameIdentity | None:
        """The topics that become ticker, trade and order book."""
        try:
            text = gzip.decompress(payload) if payload[:2] == b"\x1f\x8b" else payload
            frame = _RECORDED.decode(text)
            _, own, channel = frame.ch.split(".", 2)
            market = self.markets.get(own)
            symbol = str(market.symbol if market else joined_pair(own))
            known = channel in _REQUEST_TYPES or channel.startswith(("depth.", "mbp."))
            request_type = _REQUEST_TYPES.get(channel, RequestType.ORDERBOOK)
            if not known or request_type == "bbo":
                return None
            time_ms = frame.tick["data"][0]["ts"] if request_type is RequestType.TRADE else frame.ts
        except (ValueError, KeyError, IndexError, TypeError, OSError, EOFError):
            return None
        return FrameIdentity(request_type, symbol, own, time_ms, 0)

    def default_form(self) -> None:
        """As it is pushed."""
        return

    def unknown_type(self) -> bytes:
        """A topic that does not exist."""
        return gzip.compress(b'{"ch":"market.btcusdt.weather","ts":1700000000000,"tick":{"rain":1}}', 1)


class _Recorded(msgspec.Struct):
    """What tells a recorded frame from another."""

    ch: str
    ts: int | None = None
    tick: Any = None


_RECORDED = msgspec.json.Decoder(_Recorded)


def _same(text: str, form: Hashable, snapshot: bool) -> bytes:
    return gzip.compress(text.encode(), 1)


class _BookRender:
    """A push, or the answer to a request, whose id is the form."""

    def __init__(self, feed: Feed, kind: str, time_ms: int, before: int, step: BookStep, decimals: int) -> None:
        self._feed, self._kind, self._time_ms = feed, kind, time_ms
        self._before, self._step, self._decimals = before, step, decimals

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        step, sequence = self._step, self._before + 1
        whole, time_ms = self._sides(step.bids, step.asks), self._time_ms
        if snapshot:
            numbered = f'"seqNum":{sequence},' if self._kind == "mbp" else f'"version":{sequence},'
            text = (
                f'{{"id":{msgspec.json.encode(form).decode()},"rep":"{_topic(self._feed)}","status":"ok",'
                f'"ts":{time_ms},"data":{{{numbered}{whole}}}}}'
            )
        elif self._kind == "mbp":
            changes = self._sides(step.changed_bids, step.changed_asks)
            numbered = f'"seqNum":{sequence},"prevSeqNum":{self._before},'
            text = _frame(self._feed, time_ms, f"{numbered}{changes}")
        elif self._kind == "mbp.refresh":
            text = _frame(self._feed, time_ms, f'"seqNum":{sequence},{whole}')
        else:
            text = _frame(self._feed, time_ms, f'{whole},"version":{sequence},"ts":{time_ms}')
        return gzip.compress(text.encode(), 1)

    def _sides(self, bids: Levels, asks: Levels) -> str:
        texts = (
            ",".join(
                f"[{decimal_text(price, self._decimals)},{_quantity(quantity)}]" for price, quantity in side
            )
            for side in (bids, asks)
        )
        return f'"bids":[{next(texts)}],"asks":[{next(texts)}]'


def _topic(feed: Feed) -> str:
    return f"market.{feed.exchange_symbol}.{feed.channel}"


def _frame(feed: Feed, time_ms: int, tick: str) -> str:
    return f'{{"ch":"{_topic(feed)}","ts":{time_ms},"tick":{{{tick}}}}}'


def _quantity(units: int) -> str:
    return decimal_text(units, 8) if units else "0"


def _turnover(market: PairMarket) -> str:
    return f"{market.turnover / (10**market.grid.decimals * QUANTITY_SCALE):.8f}"


def _day(market: PairMarket) -> str:
    decimals = market.grid.decimals
    return (
        f'"open":{decimal_text(market.open, decimals)},"high":{decimal_text(market.high, decimals)},'
        f'"low":{decimal_text(market.low, decimals)},"close":{decimal_text(market.last, decimals)},'
        f'"amount":{decimal_text(market.volume, 8)},"vol":{_turnover(market)},'
        f'"count":{market.trade_id - market.first_trade_id + 1}'
    )


def _ticker(market: PairMarket, time_ms: int) -> str:
    decimals = market.grid.decimals
    return (
        f'{_day(market)},"bid":{decimal_text(market.bid, decimals)},'
        f'"bidSize":{decimal_text(market.bid_quantities[0], 8)},"ask":{decimal_text(market.ask, decimals)},'
        f'"askSize":{decimal_text(market.ask_quantities[0], 8)},'
        f'"lastPrice":{decimal_text(market.last, decimals)},'
        f'"lastSize":{decimal_text(market.last_quantity, 8)}'
    )


def _detail(market: PairMarket, time_ms: int) -> str:
    return f'"id":{market.update_id},{_day(market)},"version":{market.update_id}'


def _trades(market: PairMarket, time_ms: int) -> str:
    trade = (
        f'{{"id":{market.update_id}{market.trade_id:017d},"ts":{time_ms},"tradeId":{market.trade_id},'
        f'"amount":{decimal_text(market.last_quantity, 8)},'
        f'"price":{decimal_text(market.last, market.grid.decimals)},'
        f'"direction":"{"buy" if market.taker == "bid" else "sell"}"}}'
    )
    return f'"id":{market.update_id},"ts":{time_ms},"data":[{trade}]'


def _bbo(market: PairMarket, symbol: str, time_ms: int) -> str:
    decimals = market.grid.decimals
    return (
        f'"seqId":{market.update_id},"ask":{decimal_text(market.ask, decimals)},'
        f'"askSize":{decimal_text(market.ask_quantities[0], 8)},"bid":{decimal_text(market.bid, decimals)},'
        f'"bidSize":{decimal_text(market.bid_quantities[0], 8)},"quoteTime":{time_ms},"symbol":"{symbol}"'
    )


_TEXTS: Final = {"ticker": _ticker, "detail": _detail, "trade.detail": _trades}
