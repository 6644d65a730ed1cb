"""Bybit's public spot stream, v5, from the exchange's side: its markets and the frames they make.

Written from https://bybit-exchange.github.io/docs/v5/websocket/public (read 2026-11): ``ticker`` (spot),
``trade``, ``orderbook``; the conversation stands in ``bybit_requests.py``. Everything comes in text frames.

Times a record is matched by (``exchange_ts_ms``): ``ts`` of a ticker and of an order book (whose ``cts``, the
matching engine's time, is the same here), ``T`` of a trade; a trade's ``ts`` lies some milliseconds after it.

An order book begins with a snapshot; each change takes one update id ``u`` more. Depth 1 is a snapshot every
time. ``seq`` grows over all topics of a pair. Not simulated: klines, liquidations, the snapshot that repeats
itself after 3 quiet seconds, and the one with ``u`` 1 after a restart of the service.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Final

import msgspec

from core.identity import Exchange, RequestType, Symbol
from infra.simulator.book_chain import BookChain, Levels
from infra.simulator.bybit_requests import BybitConversation
from infra.simulator.market import QUANTITY_SCALE, PairMarket, PriceGrid, decimal_text
from infra.simulator.spelling import five_digit_grid, joined_pair
from infra.simulator.venue import Conversation, Feed, FrameIdentity, Limits, Update, Venue

_REQUEST_TYPES: Final = {
    "tickers": RequestType.TICKER,
    "publicTrade": RequestType.TRADE,
    "orderbook": RequestType.ORDERBOOK,
}


class BybitVenue(Venue):
    """Bybit spot."""

    exchange = Exchange.BYBIT
    path = "/v5/public/spot"
    binary = False
    # A connection without pings and without data is cut off after 10 minutes. The 500 connects in 5 minutes are
    # left to whoever asks, as all share the loopback address.
    limits = Limits(idle_timeout_s=600.0)
    default_symbols = (
        "BTC-USDT", "ETH-USDT", "XRP-USDT", "SOL-USDT", "DOGE-USDT", "ADA-USDT", "TRX-USDT", "LINK-USDT",
        "AVAX-USDT", "DOT-USDT", "BCH-USDT", "LTC-USDT", "ETC-USDT", "XLM-USDT", "HBAR-USDT", "SUI-USDT",
        "APT-USDT", "NEAR-USDT", "ATOM-USDT", "ALGO-USDT", "AAVE-USDT", "UNI-USDT", "FIL-USDT", "ARB-USDT",
        "OP-USDT", "INJ-USDT", "TON-USDT", "ETH-BTC", "BTC-USDC", "ETH-USDC", "BTC-EUR",
    )  # fmt: skip

    def __init__(self, symbols: Sequence[str] | None, seed: int) -> None:
        super().__init__(symbols, seed)
        self._chains: dict[Feed, BookChain] = {}
        self._update_ids: dict[Feed, int] = {}
        self._connections = 0

    def spell(self, symbol: Symbol) -> str:
        """``BTCUSDT``."""
        return f"{symbol.base}{symbol.quote}"

    def price_grid(self, symbol: Symbol, price: float) -> PriceGrid:
        """Hundredths or finer."""
        return five_digit_grid(price)

    def converse(self, path: str) -> Conversation | None:
        """Only the spot path, whatever its query."""
        if path.partition("?")[0] != self.path:
            return None
        self._connections += 1
        return BybitConversation(self.markets.keys(), f"c0ffee00-0000-4000-8000-{self._connections:012x}")

    def advance(self, feed: Feed, now_ms: int) -> Update:
        """A trade for what reports trades; some orders for an order book."""
        market = self.markets[feed.exchange_symbol]
        request_type = _REQUEST_TYPES[feed.channel.partition(".")[0]]
        time_ms, n = self.stamp(request_type, feed.exchange_symbol, now_ms)
        identity = FrameIdentity(request_type, str(market.symbol), feed.exchange_symbol, time_ms, n)
        if request_type is RequestType.ORDERBOOK:
            market.churn()
            return self.remember(Update(feed, identity, self._book(feed, market, time_ms)))
        if request_type is RequestType.TRADE or not market.take_unseen_trade(feed.channel):
            market.trade()
            market.take_unseen_trade(feed.channel)
        make = _trade if request_type is RequestType.TRADE else _ticker
        return self.remember(Update(feed, identity, _Same(make(market, feed.exchange_symbol, time_ms))))

    def _book(self, feed: Feed, market: PairMarket, time_ms: int) -> "_BookRender":
        depth = int(feed.channel.partition(".")[2])
        chain = self._chains.setdefault(feed, BookChain(depth))
        update_id = self._update_ids[feed] = self._update_ids.get(feed, market.update_id % 10_000_000) + 1
        step = chain.step(market)
        common = (feed, time_ms, update_id, market.update_id, market.grid.decimals)
        whole = _book_text("snapshot", step.bids, step.asks, *common)
        if depth == 1:
            return _BookRender(whole, whole)
        return _BookRender(whole, _book_text("delta", step.changed_bids, step.changed_asks, *common))

    def identify(self, payload: bytes) -> FrameIdentity | None:
        """The topics that become ticker, trade and order book."""
        try:
            frame = _RECORDED.decode(payload)
            kind, _, rest = frame.topic.partition(".")
            own = rest.rpartition(".")[2]
            market = self.markets.get(own)
            symbol = str(market.symbol if market else joined_pair(own))
            request_type = _REQUEST_TYPES[kind]
        except (ValueError, KeyError):
            return None
        time_ms = frame.ts
        if request_type is RequestType.TRADE and isinstance(frame.data, list) and frame.data:
            time_ms = frame.data[0].get("T", frame.ts)
        return FrameIdentity(request_type, symbol, own, time_ms, 0)

    def default_form(self) -> None:
        """There is one form."""
        return

    def sample(self, feed: Feed | None, form: Hashable, now_ms: int) -> bytes:
        """Some good frame, to be spoilt."""
        return super().sample(feed or Feed("tickers", next(iter(self.markets))), form, now_ms)

    def unknown_type(self) -> bytes:
        """A topic that does not exist."""
        return b'{"topic":"weather.BTCUSDT","ts":1700000000000,"type":"snapshot","data":{"symbol":"BTCUSDT"}}'


class _Recorded(msgspec.Struct):
    """What tells a recorded frame from another."""

    topic: str
    ts: int | None = None
    data: Any = None


_RECORDED = msgspec.json.Decoder(_Recorded)


class _Same:
    """A frame that is the same as snapshot and as update."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        return self._text.encode()


class _BookRender:
    """The whole book, or what changed in it."""

    def __init__(self, whole: str, change: str) -> None:
        self._whole, self._change = whole, change

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        return (self._whole if snapshot else self._change).encode()


def _quantity(units: int) -> str:
    return f'"{decimal_text(units, 8)}"' if units else '"0"'


def _book_text(
    kind: str, bids: Levels, asks: Levels, feed: Feed, time_ms: int, update_id: int, seq: int, decimals: int
) -> str:
    sides = (
        ",".join(f'["{decimal_text(price, decimals)}",{_quantity(quantity)}]' for price, quantity in side)
        for side in (bids, asks)
    )
    return (
        f'{{"topic":"{feed.channel}.{feed.exchange_symbol}","ts":{time_ms},"type":"{kind}",'
        f'"data":{{"s":"{feed.exchange_symbol}","b":[{next(sides)}],"a":[{next(sides)}],'
        f'"u":{update_id},"seq":{seq}}},"cts":{time_ms}}}'
    )


def _ticker(market: PairMarket, symbol: str, time_ms: int) -> str:
    decimals = market.grid.decimals
    turnover = market.turnover / (10**decimals * QUANTITY_SCALE)
    return (
        f'{{"topic":"tickers.{symbol}","ts":{time_ms},"type":"snapshot","cs":{market.update_id},'
        f'"data":{{"symbol":"{symbol}","lastPrice":"{decimal_text(market.last, decimals)}",'
        f'"highPrice24h":"{decimal_text(market.high, decimals)}",'
        f'"lowPrice24h":"{decimal_text(market.low, decimals)}",'
        f'"prevPrice24h":"{decimal_text(market.open, decimals)}",'
        f'"volume24h":"{decimal_text(market.volume, 8)}","turnover24h":"{turnover:.8f}",'
        f'"price24hPcnt":"{(market.last - market.open) / market.open:.4f}","usdIndexPrice":""}}}}'
    )


def _trade(market: PairMarket, symbol: str, time_ms: int) -> str:
    return (
        f'{{"topic":"publicTrade.{symbol}","ts":{time_ms + 1 + market.trade_id % 5},"type":"snapshot",'
        f'"data":[{{"i":"{2_290_000_000_000_000_000 + market.trade_id}","T":{time_ms},'
        f'"p":"{decimal_text(market.last, market.grid.decimals)}",'
        f'"v":"{decimal_text(market.last_quantity, 8)}","S":"{"Buy" if market.taker == "bid" else "Sell"}",'
        f'"seq":{market.update_id},"s":"{symbol}","BT":false,"RPI":false}}]}}'
    )
