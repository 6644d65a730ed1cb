"""Bitfinex's public channels, version 2, from the exchange's side: its spot markets and the frames they make.

Written from https://docs.bitfinex.com/reference (ws-public-ticker, -trades, -books) and
https://docs.bitfinex.com/docs/ws-websocket-checksum (read 2026-11), and where they are silent from a public
protocol survey of 2026-09; the conversation stands in ``bitfinex_requests.py``, which also puts each frame into
its array. Everything comes in text frames; numbers are written as JavaScript writes them, without zeros at the
end and with an exponent below 1e-6, as the checksum is made of the text.

One update may be several frames: a trade is ``te`` and then ``tu`` with the same id; the change of a book is a
frame for each entry (one for all with BULK_UPDATES) and then, with OB_CHECKSUM, ``cs``. The snapshot of trades
has the last 30 (how many is not documented), the newest first. A book is told to its length: what leaves it is
told as removed.

Times a record is matched by (``exchange_ts_ms``): of a trade its own; of a ticker and of each frame of a book
the time that TIMESTAMP appends, which here is that of the update, also in a snapshot that repeats it.
"""

import zlib
from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from typing import Final

from core.identity import Exchange, RequestType, Symbol
from infra.simulator.bitfinex_recorded import RecordedChannels
from infra.simulator.bitfinex_requests import BitfinexConversation, BitfinexForm
from infra.simulator.book_chain import BookChain, BookStep, Levels
from infra.simulator.market import PairMarket, PriceGrid
from infra.simulator.spelling import five_digit_grid, shortest_number
from infra.simulator.venue import (
    Conversation,
    Feed,
    Frame,
    FrameIdentity,
    Limits,
    ManyFrames,
    Update,
    Venue,
)

_REQUEST_TYPES: Final = {
    "ticker": RequestType.TICKER,
    "trades": RequestType.TRADE,
    "book": RequestType.ORDERBOOK,
}
_OWN_CODES: Final = {"USDT": "UST", "USDC": "UDC"}
_SUMMED_LEVELS: Final = 25
_CHECKSUM_LEVELS: Final = 25
_REMEMBERED_TRADES: Final = 30
_TRADE_EVERY_MS: Final = 1_000
"""How far apart the trades before the first one lie."""
_CHANNELS_A_CONNECTION: Final = 1_000
"""Numbers of channels that a connection has for itself: those of an earlier one are no good on it."""

_Trade = tuple[FrameIdentity, bytes]


class BitfinexVenue(Venue):
    """Bitfinex spot."""

    exchange = Exchange.BITFINEX
    path = "/ws/2"
    binary = False
    # A connection that asks for nothing is ended after a minute (survey). The 20 connects a minute are left to
    # whoever asks, as all share the loopback address.
    limits = Limits(idle_timeout_s=60.0)
    default_symbols = (
        "BTC-USD", "ETH-USD", "XRP-USD", "SOL-USD", "DOGE-USD", "ADA-USD", "TRX-USD", "LINK-USD", "AVAX-USD",
        "DOT-USD", "LTC-USD", "ETC-USD", "XLM-USD", "SUI-USD", "APT-USD", "NEAR-USD", "AAVE-USD", "UNI-USD",
        "FIL-USD", "ARB-USD", "TON-USD", "SEI-USD", "XTZ-USD", "XRP-BTC", "LTC-BTC", "ETH-BTC", "BTC-USDT",
        "ETH-USDT", "SOL-USDT", "BTC-EUR", "ETH-EUR",
    )  # fmt: skip

    def __init__(self, symbols: Sequence[str] | None, seed: int) -> None:
        super().__init__(symbols, seed)
        self.heartbeat_s = 15.0
        self.generic_codes = False
        """Whether refusals have the general codes that the exchange was seen to send."""
        self._chains: dict[Feed, BookChain] = {}
        self._trades: defaultdict[str, deque[_Trade]] = defaultdict(lambda: deque(maxlen=_REMEMBERED_TRADES))
        self._recorded = RecordedChannels()
        self._connections = 0

    def spell(self, symbol: Symbol) -> str:
        """``tBTCUSD``, and with a colon where a code is not of three letters: ``tDOGE:USD``."""
        base, quote = (_OWN_CODES.get(code, code) for code in (symbol.base, symbol.quote))
        return f"t{base}{'' if len(base) == len(quote) == 3 else ':'}{quote}"

    def price_grid(self, symbol: Symbol, price: float) -> PriceGrid:
        """Five significant digits."""
        return five_digit_grid(price)

    def converse(self, path: str) -> Conversation | None:
        """Only the path of the second version, whatever its query."""
        if path.partition("?")[0] != self.path:
            return None
        self._connections += 1
        return BitfinexConversation(
            self.markets.keys(),
            self._connections * _CHANNELS_A_CONNECTION + 1,
            operative=self.operative,
            heartbeat_s=self.heartbeat_s,
            generic_codes=self.generic_codes,
        )

    def advance(self, feed: Feed, now_ms: int) -> Update:
        """A trade for what reports trades; some orders for an order book."""
        market = self.markets[feed.exchange_symbol]
        request_type = _REQUEST_TYPES[feed.channel.partition(".")[0]]
        if request_type is RequestType.TRADE:
            return self.remember(self._trade(feed, market, now_ms))
        identity = self._identity(request_type, feed.exchange_symbol, now_ms)
        if request_type is RequestType.ORDERBOOK:
            market.churn()
            depth = int(feed.channel.partition(".")[2])
            step = self._chains.setdefault(feed, BookChain(depth)).step(market)
            return self.remember(ManyFrames(feed, identity, _Book(step, market.grid.decimals, identity)))
        if not market.take_unseen_trade(feed.channel):
            market.trade()
            market.take_unseen_trade(feed.channel)
        ticker = _ticker(market)
        return self.remember(Update(feed, identity, lambda form, snapshot: ticker))

    def _identity(self, request_type: RequestType, own: str, now_ms: int) -> FrameIdentity:
        time_ms, n = self.stamp(request_type, own, now_ms)
        return FrameIdentity(request_type, str(self.markets[own].symbol), own, time_ms, n)

    def _trade(self, feed: Feed, market: PairMarket, now_ms: int) -> Update:
        """One trade; before the first there were some already, for whoever asks for the last ones."""
        own = feed.exchange_symbol
        trades = self._trades[own]
        for ago in range(0 if trades else _REMEMBERED_TRADES - 1, -1, -1):
            market.trade()
            market.take_unseen_trade(feed.channel)
            identity = self._identity(RequestType.TRADE, own, now_ms - ago * _TRADE_EVERY_MS)
            trades.append((identity, _trade(market, identity)))
        return ManyFrames(feed, identity, _Trades(tuple(trades)))

    def identify(self, payload: bytes) -> FrameIdentity | None:
        """By the number that an earlier frame of the recording gave the channel."""
        return self._recorded.identify(payload)

    def sample(self, feed: Feed | None, form: Hashable, now_ms: int) -> bytes:
        """In an array of some channel, as the number of a connection's own is not to be had here."""
        return b"[17,%s]" % super().sample(feed, form, now_ms)

    def default_form(self) -> BitfinexForm:
        """Nothing was asked for by ``conf``."""
        return BitfinexForm(checksums=False, bulk=False)

    def unknown_type(self) -> bytes:
        """An event that does not exist."""
        return b'{"event":"weather","symbol":"tBTCUSD","code":1}'


class _Trades:
    """The last trades: the newest as it happens, twice over, or all of them, the newest first."""

    def __init__(self, trades: tuple[_Trade, ...]) -> None:
        self._trades = trades

    def __call__(self, form: Hashable, snapshot: bool) -> tuple[Frame, ...]:
        if snapshot:
            body = b",".join(trade for _, trade in reversed(self._trades))
            return (Frame(b"[%s]" % body, tuple([identity for identity, _ in self._trades])),)
        identity, trade = self._trades[-1]
        return tuple([Frame(b'"%s",%s' % (word, trade), (identity,)) for word in (b"te", b"tu")])


class _Book:
    """A step of a book: all its levels, or what changed."""

    def __init__(self, step: BookStep, decimals: int, identity: FrameIdentity) -> None:
        self._step = step
        self._decimals = decimals
        self._told = (identity,)

    def __call__(self, form: Hashable, snapshot: bool) -> tuple[Frame, ...]:
        assert isinstance(form, BitfinexForm)
        step, decimals = self._step, self._decimals
        if snapshot:
            bodies = [_array(_entries(step.bids, 1, decimals) + _entries(step.asks, -1, decimals))]
        else:
            bodies = _entries(step.changed_bids, 1, decimals) + _entries(step.changed_asks, -1, decimals)
            if form.bulk:
                bodies = [_array(bodies)]
            if form.checksums:
                bodies.append(f'"cs",{_checksum(step.bids, step.asks, decimals)}')
        return tuple([Frame(body.encode(), self._told) for body in bodies])


def _array(items: Sequence[str]) -> str:
    return f"[{','.join(items)}]"


def _entries(levels: Levels, sign: int, decimals: int) -> list[str]:
    """``[price, count, amount]``: amounts of asks are below 0; count 0 removes, the amount tells the side."""
    return [
        f"[{shortest_number(price, decimals)},{1 + quantity % 5},{shortest_number(sign * quantity, 8)}]"
        if quantity
        else f"[{shortest_number(price, decimals)},0,{sign}]"
        for price, quantity in levels
    ]


def _checksum(bids: Levels, asks: Levels, decimals: int) -> int:
    """CRC32, signed, of ``price:amount`` of the best 25 of both sides in turn; a shorter side has fewer."""
    texts = []
    for place in range(_CHECKSUM_LEVELS):
        for levels, sign in ((bids, 1), (asks, -1)):
            if place < len(levels):
                price, quantity = levels[place]
                texts.append(f"{shortest_number(price, decimals)}:{shortest_number(sign * quantity, 8)}")
    crc = zlib.crc32(":".join(texts).encode())
    return crc - 2**32 if crc >= 2**31 else crc


def _ticker(market: PairMarket) -> bytes:
    """Best bid and ask, each with the sum of the 25 best; the change; last price, volume, high and low."""
    decimals = market.grid.decimals
    change = market.last - market.open
    return _array(
        [
            shortest_number(market.bid, decimals),
            shortest_number(sum(market.bid_quantities[:_SUMMED_LEVELS]), 8),
            shortest_number(market.ask, decimals),
            shortest_number(sum(market.ask_quantities[:_SUMMED_LEVELS]), 8),
            shortest_number(change, decimals),
            shortest_number(round(change * 10**8 / market.open), 8),
            shortest_number(market.last, decimals),
            shortest_number(market.volume, 8),
            shortest_number(market.high, decimals),
            shortest_number(market.low, decimals),
        ]
    ).encode()


def _trade(market: PairMarket, identity: FrameIdentity) -> bytes:
    """``[id, time, amount, price]``: above 0 the taker bought."""
    amount = market.last_quantity if market.taker == "bid" else -market.last_quantity
    price = shortest_number(market.last, market.grid.decimals)
    return f"[{market.trade_id},{identity.exchange_ts_ms},{shortest_number(amount, 8)},{price}]".encode()
