"""OKX's public channels, v5, from the exchange's side: its spot markets and the frames they make.

Written from https://www.okx.com/docs-v5/en/ (read 2026-11): the tickers, trades and order book channels of
"Order Book Trading"; and from the notice "OKX Order Book Channels Checksum Field Deprecation" (21 May 2026):
since 23 June 2026 ``checksum`` is there and always 0, the chain is ``prevSeqId``. The conversation stands in
``okx_requests.py``. Everything comes in text frames.

Times a record is matched by (``exchange_ts_ms``): ``ts`` of the data, in milliseconds as text.

``books`` begins with a snapshot (``prevSeqId`` -1) and goes on with updates; ``books5`` and ``bbo-tbt`` are
the whole book of 5 and 1 levels every time. The three share the request type order book. ``seqId`` grows by
any step. Not simulated: the update without changes after a quiet minute, and the channels for members of
higher tiers.
"""

import zlib
from collections.abc import Hashable, Sequence
from typing import Any, Final

import msgspec

from core.identity import Exchange, RequestType, Symbol
from infra.simulator.book_chain import BookChain, Levels
from infra.simulator.market import QUANTITY_SCALE, PairMarket, PriceGrid, decimal_text
from infra.simulator.okx_requests import OkxConversation
from infra.simulator.spelling import five_digit_grid
from infra.simulator.venue import Conversation, Feed, FrameIdentity, Limits, Update, Venue

_REQUEST_TYPES: Final = {
    "tickers": RequestType.TICKER,
    "trades": RequestType.TRADE,
    "books": RequestType.ORDERBOOK,
    "books5": RequestType.ORDERBOOK,
    "bbo-tbt": RequestType.ORDERBOOK,
}
_DEPTHS: Final = {"books": 400, "books5": 5, "bbo-tbt": 1}
_CHECKSUM_LEVELS: Final = 25


class OkxVenue(Venue):
    """OKX spot. ``checksums``: send the checksums that there were until June 2026, in place of 0."""

    exchange = Exchange.OKX
    path = "/ws/v5/public"
    binary = False
    # Without data for 30 s the connection breaks. The 3 connects a second are left to whoever asks, as all
    # share the loopback address.
    limits = Limits(idle_timeout_s=30.0)
    default_symbols = (
        "BTC-USDT", "ETH-USDT", "XRP-USDT", "SOL-USDT", "DOGE-USDT", "ADA-USDT", "TRX-USDT", "LINK-USDT",
        "AVAX-USDT", "DOT-USDT", "BCH-USDT", "LTC-USDT", "ETC-USDT", "XLM-USDT", "HBAR-USDT", "SUI-USDT",
        "APT-USDT", "NEAR-USDT", "ATOM-USDT", "ALGO-USDT", "AAVE-USDT", "UNI-USDT", "FIL-USDT", "ARB-USDT",
        "OP-USDT", "INJ-USDT", "TON-USDT", "ETH-BTC", "BTC-USDC", "ETH-USDC", "BTC-EUR",
    )  # fmt: skip

    def __init__(self, symbols: Sequence[str] | None, seed: int) -> None:
        super().__init__(symbols, seed)
        self.checksums = False
        self._chains: dict[Feed, BookChain] = {}
        self._told_ids: dict[Feed, int] = {}
        self._connections = 0

    def spell(self, symbol: Symbol) -> str:
        """``BTC-USDT``."""
        return str(symbol)

    def price_grid(self, symbol: Symbol, price: float) -> PriceGrid:
        """Hundredths or finer."""
        return five_digit_grid(price)

    def converse(self, path: str) -> Conversation | None:
        """Only the public path, whatever its query."""
        if path.partition("?")[0] != self.path:
            return None
        self._connections += 1
        return OkxConversation(self.markets.keys(), f"{0xA4D30000 + self._connections:08x}")

    def advance(self, feed: Feed, now_ms: int) -> Update:
        """A trade for what reports trades; some orders for an order book."""
        market = self.markets[feed.exchange_symbol]
        request_type = _REQUEST_TYPES[feed.channel]
        time_ms, n = self.stamp(request_type, feed.exchange_symbol, now_ms)
        identity = FrameIdentity(request_type, str(market.symbol), feed.exchange_symbol, time_ms, n)
        if request_type is RequestType.ORDERBOOK:
            market.churn()
            return self.remember(Update(feed, identity, self._book(feed, market, time_ms)))
        if request_type is RequestType.TRADE or not market.take_unseen_trade(feed.channel):
            market.trade()
            market.take_unseen_trade(feed.channel)
        make = _trade if request_type is RequestType.TRADE else _ticker
        text = _frame(feed, None, make(market, feed.exchange_symbol, time_ms))
        return self.remember(Update(feed, identity, _Render(text, text)))

    def _book(self, feed: Feed, market: PairMarket, time_ms: int) -> "_Render":
        step = self._chains.setdefault(feed, BookChain(_DEPTHS[feed.channel])).step(market)
        told_id = self._told_ids.get(feed, -1)
        sequence_id = self._told_ids[feed] = max(market.update_id, told_id + 1)
        decimals = market.grid.decimals
        if feed.channel != "books":
            tail = f'"instId":"{feed.exchange_symbol}","ts":"{time_ms}","seqId":{sequence_id}'
            text = _frame(feed, None, f"{{{_sides(step.bids, step.asks, decimals)},{tail}}}")
            return _Render(text, text)
        checksum = _checksum(step.bids, step.asks, decimals) if self.checksums else 0
        tail = f'"ts":"{time_ms}","checksum":{checksum},"seqId":{sequence_id},"prevSeqId":'
        whole = f"{{{_sides(step.bids, step.asks, decimals)},{tail}-1}}"
        change = f"{{{_sides(step.changed_bids, step.changed_asks, decimals)},{tail}{told_id}}}"
        return _Render(_frame(feed, "snapshot", whole), _frame(feed, "update", change))

    def identify(self, payload: bytes) -> FrameIdentity | None:
        """The channels that become ticker, trade and order book."""
        try:
            frame = _RECORDED.decode(payload)
            request_type = _REQUEST_TYPES[frame.arg.channel]
            symbol = str(Symbol.parse(frame.arg.instId))
            time_ms = int(frame.data[0]["ts"])
        except (ValueError, KeyError, IndexError, TypeError):
            return None
        return FrameIdentity(request_type, symbol, frame.arg.instId, time_ms, 0)

    def default_form(self) -> None:
        """There is one form."""
        return

    def sample(self, feed: Feed | None, form: Hashable, now_ms: int) -> bytes:
        """Some good frame, to be spoilt."""
        return super().sample(feed or Feed("tickers", next(iter(self.markets))), form, now_ms)

    def unknown_type(self) -> bytes:
        """A channel that does not exist."""
        return b'{"arg":{"channel":"weather","instId":"BTC-USDT"},"data":[{"ts":"1700000000000"}]}'


class _RecordedArg(msgspec.Struct):
    channel: str
    instId: str  # as the frames spell it


class _Recorded(msgspec.Struct):
    """What tells a recorded frame from another."""

    arg: _RecordedArg
    data: list[Any]


_RECORDED = msgspec.json.Decoder(_Recorded)


class _Render:
    """The frame as a snapshot, and as an update."""

    def __init__(self, snapshot: str, update: str) -> None:
        self._snapshot, self._update = snapshot, update

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        return (self._snapshot if snapshot else self._update).encode()


def _frame(feed: Feed, action: str | None, data: str) -> str:
    acting = "" if action is None else f'"action":"{action}",'
    return f'{{"arg":{{"channel":"{feed.channel}","instId":"{feed.exchange_symbol}"}},{acting}"data":[{data}]}}'


def _quantity(units: int) -> str:
    return decimal_text(units, 8) if units else "0"


def _side(levels: Levels, decimals: int) -> str:
    # Price, quantity, a field that is 0 by now, and the number of orders.
    return ",".join(
        f'["{decimal_text(price, decimals)}","{_quantity(quantity)}","0","{quantity % 7 + (quantity > 0)}"]'
        for price, quantity in levels
    )


def _sides(bids: Levels, asks: Levels, decimals: int) -> str:
    return f'"asks":[{_side(asks, decimals)}],"bids":[{_side(bids, decimals)}]'


def _checksum(bids: Levels, asks: Levels, decimals: int) -> int:
    """CRC32, signed, of the best 25 of both sides in turn."""
    texts = [
        f"{decimal_text(price, decimals)}:{decimal_text(quantity, 8)}"
        for place in range(_CHECKSUM_LEVELS)
        for side in (bids, asks)
        for price, quantity in side[place : place + 1]
    ]
    crc = zlib.crc32(":".join(texts).encode())
    return crc - 2**32 if crc >= 2**31 else crc


def _ticker(market: PairMarket, instrument: str, time_ms: int) -> str:
    decimals = market.grid.decimals

    def price(units: int) -> str:
        return f'"{decimal_text(units, decimals)}"'

    def quantity(units: int) -> str:
        return f'"{decimal_text(units, 8)}"'

    turnover = market.turnover / (10**decimals * QUANTITY_SCALE)
    return (
        f'{{"instType":"SPOT","instId":"{instrument}","last":{price(market.last)},'
        f'"lastSz":{quantity(market.last_quantity)},"askPx":{price(market.ask)},'
        f'"askSz":{quantity(market.ask_quantities[0])},"bidPx":{price(market.bid)},'
        f'"bidSz":{quantity(market.bid_quantities[0])},"open24h":{price(market.open)},'
        f'"high24h":{price(market.high)},"low24h":{price(market.low)},"volCcy24h":"{turnover:.8f}",'
        f'"vol24h":{quantity(market.volume)},"sodUtc0":{price(market.open)},"sodUtc8":{price(market.open)},'
        f'"ts":"{time_ms}"}}'
    )


def _trade(market: PairMarket, instrument: str, time_ms: int) -> str:
    return (
        f'{{"instId":"{instrument}","tradeId":"{market.trade_id}",'
        f'"px":"{decimal_text(market.last, market.grid.decimals)}",'
        f'"sz":"{decimal_text(market.last_quantity, 8)}",'
        f'"side":"{"buy" if market.taker == "bid" else "sell"}","ts":"{time_ms}","count":"1","source":"0",'
        f'"seqId":{market.update_id}}}'
    )
