"""Coinbase Exchange's public feed from the exchange's side: its markets and the frames they make.

Written from https://docs.cdp.coinbase.com/exchange/websocket-feed (overview, channels; excerpts
read 2026-11, frame fields otherwise as commonly known): the channels
``ticker``, ``matches`` and ``level2_batch``; the conversation stands in ``coinbase_requests.py``.
Everything comes in text frames.

Times a record is matched by (``exchange_ts_ms``): ``time``, RFC 3339 with microseconds. The documentation's
example of a book's ``snapshot`` shows none; here it has the time of the update that it repeats.

``matches`` begins with the ``last_match``, and its trade ids have no gaps: a trade that a ticker makes up by
itself, because none came since its last frame, has the id of the one before. ``side`` of a match is the
maker's, ``side`` of a ticker the taker's. A book begins with a ``snapshot`` and goes on with ``l2update``; it
has neither sequence nor checksum.
Not simulated: the channels for members, ``status``, ``auction``, ``rfq_matches`` and ``ticker_batch``.
"""

from collections.abc import Hashable, Sequence
from typing import Final

import msgspec

from core.identity import Exchange, RequestType, Symbol
from infra.simulator.book_chain import BookChain, Levels
from infra.simulator.coinbase_requests import CoinbaseConversation
from infra.simulator.market import LEVELS, PairMarket, PriceGrid, decimal_text
from infra.simulator.spelling import five_digit_grid, iso_time, iso_time_ms
from infra.simulator.venue import Conversation, Feed, FrameIdentity, Limits, Update, Venue

_REQUEST_TYPES: Final = {
    "ticker": RequestType.TICKER,
    "matches": RequestType.TRADE,
    "level2_batch": RequestType.ORDERBOOK,
}
_FRAME_TYPES: Final = {
    "ticker": RequestType.TICKER,
    "match": RequestType.TRADE,
    "last_match": RequestType.TRADE,
    "snapshot": RequestType.ORDERBOOK,
    "l2update": RequestType.ORDERBOOK,
}


class CoinbaseVenue(Venue):
    """Coinbase Exchange, spot."""

    exchange = Exchange.COINBASE
    path = "/"
    binary = False
    # 100 messages a second. The 8 connects a second are left to whoever asks, as all share one address.
    limits = Limits(max_messages=((100, 1.0),))
    default_symbols = (
        "BTC-USD", "ETH-USD", "XRP-USD", "SOL-USD", "DOGE-USD", "ADA-USD", "LINK-USD", "AVAX-USD", "DOT-USD",
        "BCH-USD", "LTC-USD", "ETC-USD", "XLM-USD", "HBAR-USD", "SUI-USD", "APT-USD", "NEAR-USD", "ATOM-USD",
        "ALGO-USD", "AAVE-USD", "UNI-USD", "FIL-USD", "ARB-USD", "OP-USD", "INJ-USD", "STX-USD", "SEI-USD",
        "ETH-BTC", "BTC-USDT", "ETH-USDT", "BTC-EUR",
    )  # fmt: skip

    def __init__(self, symbols: Sequence[str] | None, seed: int) -> None:
        super().__init__(symbols, seed)
        self._chains: dict[Feed, BookChain] = {}

    def spell(self, symbol: Symbol) -> str:
        """``BTC-USD``."""
        return str(symbol)

    def price_grid(self, symbol: Symbol, price: float) -> PriceGrid:
        """Hundredths or finer."""
        return five_digit_grid(price)

    def converse(self, path: str) -> Conversation | None:
        """Only the root path, whatever its query."""
        return CoinbaseConversation(self.markets) if path.partition("?")[0] == self.path else None

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
            market.trade(numbered=request_type is RequestType.TRADE)
            market.take_unseen_trade(feed.channel)
        if request_type is RequestType.TICKER:
            text = _ticker(market, feed.exchange_symbol, time_ms)
            return self.remember(Update(feed, identity, _Render(text, text)))
        last, match = (_trade(kind, market, feed.exchange_symbol, time_ms) for kind in ("last_match", "match"))
        return self.remember(Update(feed, identity, _Render(last, match)))

    def _book(self, feed: Feed, market: PairMarket, time_ms: int) -> "_Render":
        step = self._chains.setdefault(feed, BookChain(LEVELS)).step(market)
        decimals = market.grid.decimals
        tail = f'"time":"{iso_time(time_ms)}"}}'
        changes = [
            f'["{side}",{_level(price, quantity, decimals)}]'
            for side, levels in (("buy", step.changed_bids), ("sell", step.changed_asks))
            for price, quantity in levels
        ]
        product = feed.exchange_symbol
        return _Render(
            f'{{"type":"snapshot","product_id":"{product}","asks":[{_side(step.asks, decimals)}],'
            f'"bids":[{_side(step.bids, decimals)}],{tail}',
            f'{{"type":"l2update","product_id":"{product}","changes":[{",".join(changes)}],{tail}',
        )

    def identify(self, payload: bytes) -> FrameIdentity | None:
        """The types that become ticker, trade and order book."""
        try:
            frame = _RECORDED.decode(payload)
            request_type = _FRAME_TYPES[frame.type]
            symbol = str(Symbol.parse(frame.product_id))
            time_ms = None if frame.time is None else iso_time_ms(frame.time)
        except (ValueError, KeyError):
            return None
        return FrameIdentity(request_type, symbol, frame.product_id, time_ms, 0)

    def default_form(self) -> None:
        """There is one form."""
        return

    def unknown_type(self) -> bytes:
        """A type that does not exist."""
        return b'{"type":"weather","product_id":"BTC-USD","time":"2026-11-01T00:00:00.000000Z"}'


class _Recorded(msgspec.Struct):
    """What tells a recorded frame from another."""

    type: str
    product_id: str
    time: str | None = None


_RECORDED = msgspec.json.Decoder(_Recorded)


class _Render:
    """The frame as a snapshot, and as an update."""

    def __init__(self, snapshot: str, update: str) -> None:
        self._snapshot, self._update = snapshot, update

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        return (self._snapshot if snapshot else self._update).encode()


def _level(price: int, quantity: int, decimals: int) -> str:
    return f'"{decimal_text(price, decimals)}","{decimal_text(quantity, 8)}"'


def _side(levels: Levels, decimals: int) -> str:
    return ",".join(f"[{_level(price, quantity, decimals)}]" for price, quantity in levels)


def _ticker(market: PairMarket, product: str, time_ms: int) -> str:
    decimals = market.grid.decimals

    def price(units: int) -> str:
        return f'"{decimal_text(units, decimals)}"'

    def quantity(units: int) -> str:
        return f'"{decimal_text(units, 8)}"'

    return (
        f'{{"type":"ticker","sequence":{market.update_id},"product_id":"{product}",'
        f'"price":{price(market.last)},"open_24h":{price(market.open)},"volume_24h":{quantity(market.volume)},'
        f'"low_24h":{price(market.low)},"high_24h":{price(market.high)},'
        f'"volume_30d":{quantity(market.volume * 30)},"best_bid":{price(market.bid)},'
        f'"best_bid_size":{quantity(market.bid_quantities[0])},"best_ask":{price(market.ask)},'
        f'"best_ask_size":{quantity(market.ask_quantities[0])},'
        f'"side":"{"buy" if market.taker == "bid" else "sell"}","time":"{iso_time(time_ms)}",'
        f'"trade_id":{market.trade_id},"last_size":{quantity(market.last_quantity)}}}'
    )


def _trade(kind: str, market: PairMarket, product: str, time_ms: int) -> str:
    return (
        f'{{"type":"{kind}","trade_id":{market.trade_id},'
        f'"maker_order_id":"ac928c66-0000-4000-8000-{market.trade_id:012x}",'
        f'"taker_order_id":"132fb6ae-0000-4000-8000-{market.trade_id:012x}",'
        f'"side":"{"sell" if market.taker == "bid" else "buy"}",'
        f'"size":"{decimal_text(market.last_quantity, 8)}",'
        f'"price":"{decimal_text(market.last, market.grid.decimals)}","product_id":"{product}",'
        f'"sequence":{market.update_id},"time":"{iso_time(time_ms)}"}}'
    )
