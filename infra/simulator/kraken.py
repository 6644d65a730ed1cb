"""Kraken's public channels, v2, from the exchange's side: its spot markets and the frames they make.

Written from https://docs.kraken.com/exchange/api-reference/spot-websocket-v2 (ticker, trade) and
https://docs.kraken.com/api/docs/guides/spot-ws-book-v2 (excerpts read 2026-11, frame fields otherwise as
commonly known); the conversation stands in
``kraken_requests.py``. Everything comes in text frames; prices and quantities are JSON numbers that carry
all their decimals, as the checksum is made of those.

Times a record is matched by (``exchange_ts_ms``): ``timestamp`` of the data, RFC 3339 with microseconds. The
documentation of the book names it for updates; here the snapshot has it too, that of the update it repeats.

A book begins with a snapshot and goes on with updates, each with the CRC32 of its best 10. A level that leaves
the depth is not told as removed: the client cuts its book to the depth. Not simulated: ``level3``, ``ohlc``,
``instrument`` and the tickers on each change of the best prices.
"""

import zlib
from collections.abc import Hashable, Sequence
from typing import Any, Final

import msgspec

from core.identity import Exchange, RequestType, Symbol
from infra.simulator.book_chain import BookChain, Levels
from infra.simulator.kraken_requests import KrakenConversation
from infra.simulator.market import LEVELS, PairMarket, PriceGrid, decimal_text
from infra.simulator.spelling import five_digit_grid, iso_time, iso_time_ms
from infra.simulator.venue import Conversation, Feed, FrameIdentity, Limits, Update, Venue

_REQUEST_TYPES: Final = {
    "ticker": RequestType.TICKER,
    "trade": RequestType.TRADE,
    "book": RequestType.ORDERBOOK,
}
_CHECKSUM_LEVELS: Final = 10


class KrakenVenue(Venue):
    """Kraken spot."""

    exchange = Exchange.KRAKEN
    path = "/v2"
    binary = False
    # Ended after a minute without anything. The some 150 connects in 10 minutes are left to whoever asks, as
    # all share the loopback address.
    limits = Limits(idle_timeout_s=60.0)
    default_symbols = (
        "BTC-USD", "ETH-USD", "XRP-USD", "SOL-USD", "DOGE-USD", "ADA-USD", "TRX-USD", "LINK-USD", "AVAX-USD",
        "DOT-USD", "BCH-USD", "LTC-USD", "ETC-USD", "XLM-USD", "SUI-USD", "APT-USD", "NEAR-USD", "ATOM-USD",
        "ALGO-USD", "AAVE-USD", "UNI-USD", "FIL-USD", "ARB-USD", "OP-USD", "INJ-USD", "TON-USD", "SEI-USD",
        "ETH-BTC", "BTC-USDT", "ETH-USDT", "BTC-EUR",
    )  # fmt: skip

    def __init__(self, symbols: Sequence[str] | None, seed: int) -> None:
        super().__init__(symbols, seed)
        self._chains: dict[Feed, BookChain] = {}
        self._connections = 0

    def spell(self, symbol: Symbol) -> str:
        """``BTC/USD``."""
        return f"{symbol.base}/{symbol.quote}"

    def price_grid(self, symbol: Symbol, price: float) -> PriceGrid:
        """Hundredths or finer."""
        return five_digit_grid(price)

    def converse(self, path: str) -> Conversation | None:
        """Only the path of the second version, whatever its query."""
        if path.partition("?")[0] != self.path:
            return None
        self._connections += 1
        return KrakenConversation(self.markets.keys(), 13_834_774_380_200_000_000 + self._connections)

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
        data = make(market, feed.exchange_symbol, time_ms)
        render = _Render(_frame(feed.channel, "snapshot", data), _frame(feed.channel, "update", data))
        return self.remember(Update(feed, identity, render))

    def _book(self, feed: Feed, market: PairMarket, time_ms: int) -> "_Render":
        depth = int(feed.channel.partition(".")[2])
        step = self._chains.setdefault(feed, BookChain(depth)).step(market)
        decimals = market.grid.decimals
        changed_bids, changed_asks = step.changed_bids, step.changed_asks
        if depth <= LEVELS:  # else the client's book has room for what fell off the end of the market's
            worst_bid, worst_ask = step.bids[-1][0], step.asks[-1][0]
            changed_bids = tuple(level for level in changed_bids if level[1] or level[0] > worst_bid)
            changed_asks = tuple(level for level in changed_asks if level[1] or level[0] < worst_ask)
        tail = f'"checksum":{_checksum(step.bids, step.asks, decimals)},"timestamp":"{iso_time(time_ms)}"}}'
        head = f'{{"symbol":"{feed.exchange_symbol}",'
        return _Render(
            _frame("book", "snapshot", f"{head}{_sides(step.bids, step.asks, decimals)},{tail}"),
            _frame("book", "update", f"{head}{_sides(changed_bids, changed_asks, decimals)},{tail}"),
        )

    def identify(self, payload: bytes) -> FrameIdentity | None:
        """The channels that become ticker, trade and order book."""
        try:
            frame = _RECORDED.decode(payload)
            request_type = _REQUEST_TYPES[frame.channel]
            own = frame.data[0]["symbol"]
            base, _, quote = own.partition("/")
            symbol = str(Symbol(base, quote))
            time = frame.data[0].get("timestamp")
            time_ms = None if time is None else iso_time_ms(time)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return None
        return FrameIdentity(request_type, symbol, own, time_ms, 0)

    def default_form(self) -> None:
        """There is one form."""
        return

    def unknown_type(self) -> bytes:
        """A channel that does not exist."""
        return b'{"channel":"weather","type":"update","data":[{"symbol":"BTC/USD"}]}'


class _Recorded(msgspec.Struct):
    """What tells a recorded frame from another."""

    channel: str
    data: list[Any]


_RECORDED = msgspec.json.Decoder(_Recorded)


class _Render:
    """The frame as a snapshot, and as an update."""

    def __init__(self, snapshot: str, update: str) -> None:
        self._snapshot, self._update = snapshot, update

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        return (self._snapshot if snapshot else self._update).encode()


def _frame(channel: str, kind: str, data: str) -> str:
    return f'{{"channel":"{channel}","type":"{kind}","data":[{data}]}}'


def _side(levels: Levels, decimals: int) -> str:
    return ",".join(
        f'{{"price":{decimal_text(price, decimals)},"qty":{decimal_text(quantity, 8)}}}'
        for price, quantity in levels
    )


def _sides(bids: Levels, asks: Levels, decimals: int) -> str:
    return f'"bids":[{_side(bids, decimals)}],"asks":[{_side(asks, decimals)}]'


def _checksum(bids: Levels, asks: Levels, decimals: int) -> int:
    """CRC32 of the best 10 asks and then bids: the digits of price and quantity, without leading zeros."""
    digits = "".join(
        decimal_text(units, places).replace(".", "").lstrip("0")
        for side in (asks, bids)
        for level in side[:_CHECKSUM_LEVELS]
        for units, places in zip(level, (decimals, 8), strict=True)
    )
    return zlib.crc32(digits.encode())


def _ticker(market: PairMarket, symbol: str, time_ms: int) -> str:
    decimals = market.grid.decimals

    def price(units: int) -> str:
        return decimal_text(units, decimals)

    def quantity(units: int) -> str:
        return decimal_text(units, 8)

    change = market.last - market.open
    return (
        f'{{"symbol":"{symbol}","bid":{price(market.bid)},"bid_qty":{quantity(market.bid_quantities[0])},'
        f'"ask":{price(market.ask)},"ask_qty":{quantity(market.ask_quantities[0])},'
        f'"last":{price(market.last)},"volume":{quantity(market.volume)},'
        f'"vwap":{price(round(market.turnover / market.volume))},"low":{price(market.low)},'
        f'"high":{price(market.high)},"change":{price(change)},'
        f'"change_pct":{change * 100 / market.open:.2f},"timestamp":"{iso_time(time_ms)}"}}'
    )


def _trade(market: PairMarket, symbol: str, time_ms: int) -> str:
    return (
        f'{{"symbol":"{symbol}","side":"{"buy" if market.taker == "bid" else "sell"}",'
        f'"price":{decimal_text(market.last, market.grid.decimals)},'
        f'"qty":{decimal_text(market.last_quantity, 8)},"ord_type":"market","trade_id":{market.trade_id},'
        f'"timestamp":"{iso_time(time_ms)}"}}'
    )
