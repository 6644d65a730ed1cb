"""Binance's spot market streams from the exchange's side: its markets and the frames they make.

Written from https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams (payloads of
``@ticker``, ``@trade``, ``@aggTrade``, ``@bookTicker``, ``@depth`` and ``@depth@100ms``; limits; pings every
20 s). The conversation stands in ``binance_requests.py``. Everything comes in text frames.

Times a record is matched by (``exchange_ts_ms``): ``E`` of ticker and depth, ``T`` of trade and aggTrade,
none for bookTicker, which has no time. ``E`` of a trade lies a few milliseconds after its ``T``. aggTrade
counts as request type trade and depth at either speed as orderbook, so their times grow together; bookTicker
is logged under its own name. How often a stream comes is the simulator's rate, not the documented update
speed.

Each depth stream is a chain of its own: ``U`` is the ``u`` of its event before plus one, and its levels are
all that changed in between. Not simulated: klines, partial books, all-market streams (acknowledged and
silent), and ``timeUnit``.
"""

import math
from collections.abc import Hashable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from core.identity import Exchange, RequestType, Symbol
from infra.simulator.binance_requests import BinanceConversation, streams_of_path
from infra.simulator.market import QUANTITY_SCALE, LevelChange, PairMarket, PriceGrid, decimal_text
from infra.simulator.venue import Conversation, Feed, FrameIdentity, Limits, Update, Venue

_DAY_MS: Final = 86_400_000
_REQUEST_TYPES: Final = {
    "ticker": "ticker",
    "trade": "trade",
    "aggTrade": "trade",
    "depth": "orderbook",
    "depth@100ms": "orderbook",
    "bookTicker": "bookTicker",
}
_EVENTS: Final = {"24hrTicker": "ticker", "trade": "trade", "aggTrade": "trade", "depthUpdate": "orderbook"}
# Quote assets by which a recorded symbol is taken apart, longer ones first.
_QUOTES: Final = ("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "USD")


class _DepthChain:
    """What a depth stream has yet to tell: the levels that changed since its last event."""

    def __init__(self, update_id: int) -> None:
        self.told_update_id = update_id
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def note(self, changes: list[LevelChange]) -> None:
        for side, price, quantity in changes:
            (self.bids if side == "bid" else self.asks)[price] = quantity


class BinanceVenue(Venue):
    """Binance spot."""

    exchange = Exchange.BINANCE
    path = "/stream"
    binary = False
    limits = Limits(
        ping_interval_s=20.0,
        ping_timeout_s=60.0,
        max_messages=((5, 1.0),),
        count_control_frames=True,
        max_lifetime_s=86_400.0,
    )
    default_symbols = (
        "BTC-USDT", "ETH-USDT", "XRP-USDT", "SOL-USDT", "BNB-USDT", "DOGE-USDT", "ADA-USDT", "TRX-USDT",
        "LINK-USDT", "AVAX-USDT", "DOT-USDT", "BCH-USDT", "LTC-USDT", "ETC-USDT", "XLM-USDT", "HBAR-USDT",
        "SUI-USDT", "APT-USDT", "NEAR-USDT", "ATOM-USDT", "ALGO-USDT", "AAVE-USDT", "UNI-USDT", "FIL-USDT",
        "ARB-USDT", "OP-USDT", "INJ-USDT", "TON-USDT", "ETH-BTC", "BNB-BTC", "BTC-USDC", "BTC-EUR",
    )  # fmt: skip

    def __init__(self, symbols: Any, seed: int) -> None:
        super().__init__(symbols, seed)
        self._chains: dict[str, dict[str, _DepthChain]] = {symbol: {} for symbol in self.markets}

    def spell(self, symbol: Symbol) -> str:
        """``BTCUSDT``, as in the payloads; stream names have it in lower case."""
        return f"{symbol.base}{symbol.quote}"

    def price_grid(self, symbol: Symbol, price: float) -> PriceGrid:
        """Hundredths or finer, down to 1e-8; a tick moves the fifth digit, so that the walk can be seen."""
        digits = min(4 - math.floor(math.log10(price)), 8)
        decimals = max(2, digits)
        return PriceGrid(decimals, 10 ** (decimals - digits))

    def converse(self, path: str) -> Conversation | None:
        """``/ws…`` and ``/stream…``."""
        asked = streams_of_path(path)
        return None if asked is None else BinanceConversation(self.markets.keys(), *asked)

    def advance(self, feed: Feed, now_ms: int) -> Update:
        """A trade for what reports trades; some orders for what reports the book."""
        market, chains = self.markets[feed.exchange_symbol], self._chains[feed.exchange_symbol]
        request_type = _REQUEST_TYPES[feed.channel]
        time_ms, n = self.stamp(request_type, feed.exchange_symbol, now_ms)
        if feed.channel in ("depth", "depth@100ms"):
            chains.setdefault(feed.channel, _DepthChain(market.update_id))
        if request_type in (RequestType.ORDERBOOK, "bookTicker"):
            changes = market.churn()
        elif feed.channel == "trade" or not market.take_unseen_trade(feed.channel):
            changes = market.trade()
            market.take_unseen_trade(feed.channel)
        else:
            changes = []
        for chain in chains.values():
            chain.note(changes)
        stamped = None if feed.channel == "bookTicker" else time_ms
        identity = FrameIdentity(request_type, str(market.symbol), feed.exchange_symbol, stamped, n)
        payload = self._payload(feed, market, time_ms)
        stream = f"{feed.exchange_symbol.lower()}@{feed.channel}"
        return self.remember(Update(feed, identity, _Render(stream, payload)))

    def rest(self, path: str) -> tuple[HTTPStatus, str] | None:
        """``GET /api/v3/depth`` (rest-api/market-data-endpoints, "Order book"): the book as it stands now."""
        url = urlsplit(path)
        if url.path != "/api/v3/depth":
            return None
        query = dict(parse_qsl(url.query))
        symbol, limit = query.get("symbol"), query.get("limit", "100")
        if symbol is None:
            text = "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
            return HTTPStatus.BAD_REQUEST, f'{{"code":-1102,"msg":"{text}"}}'
        if symbol not in self.markets:
            return HTTPStatus.BAD_REQUEST, '{"code":-1121,"msg":"Invalid symbol."}'
        if not limit.isdecimal() or int(limit) < 1:
            text = "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'."
            return HTTPStatus.BAD_REQUEST, f'{{"code":-1100,"msg":"{text}"}}'
        market, most = self.markets[symbol], min(int(limit), 5000)
        tick = market.grid.tick_units
        bids = [(market.bid - i * tick, quantity) for i, quantity in enumerate(market.bid_quantities[:most])]
        asks = [(market.ask + i * tick, quantity) for i, quantity in enumerate(market.ask_quantities[:most])]
        return HTTPStatus.OK, (
            f'{{"lastUpdateId":{market.update_id},"bids":[{_levels(market, bids)}],'
            f'"asks":[{_levels(market, asks)}]}}'
        )

    def identify(self, payload: bytes) -> FrameIdentity | None:
        """Raw or combined; the events that become ticker, trade and order book."""
        try:
            frame = _RECORDED.decode(payload)
            event = frame.data or frame
            request_type = _EVENTS.get(event.e or "")
            if request_type is None or event.s is None:
                return None
            market = self.markets.get(event.s)
            symbol = str(market.symbol) if market else _canonical(event.s)
        except ValueError:
            return None
        time_ms = event.T if request_type == RequestType.TRADE else event.E
        return FrameIdentity(request_type, symbol, event.s, time_ms, 0)

    def default_form(self) -> bool:
        """Combined."""
        return True

    def unknown_type(self) -> bytes:
        """A stream that does not exist."""
        return b'{"stream":"btcusdt@weather","data":{"e":"weather","E":1700000000000,"s":"BTCUSDT"}}'

    def _payload(self, feed: Feed, market: PairMarket, time_ms: int) -> str:
        if feed.channel == "ticker":
            return _ticker(market, feed.exchange_symbol, time_ms)
        if feed.channel in ("trade", "aggTrade"):
            return _trade(market, feed.exchange_symbol, time_ms, aggregated=feed.channel == "aggTrade")
        if feed.channel == "bookTicker":
            return (
                f'{{"u":{market.update_id},"s":"{feed.exchange_symbol}",'
                f'"b":{_price(market, market.bid)},"B":{_quantity(market.bid_quantities[0])},'
                f'"a":{_price(market, market.ask)},"A":{_quantity(market.ask_quantities[0])}}}'
            )
        chain = self._chains[feed.exchange_symbol][feed.channel]
        first, chain.told_update_id = chain.told_update_id + 1, market.update_id
        bids, chain.bids = chain.bids, {}
        asks, chain.asks = chain.asks, {}
        return (
            f'{{"e":"depthUpdate","E":{time_ms},"s":"{feed.exchange_symbol}","U":{first},"u":{market.update_id},'
            f'"b":[{_levels(market, sorted(bids.items(), reverse=True))}],'
            f'"a":[{_levels(market, sorted(asks.items()))}]}}'
        )


class _Render:
    """Raw, or wrapped with the stream's name."""

    def __init__(self, stream: str, payload: str) -> None:
        self._stream = stream
        self._payload = payload

    def __call__(self, form: Hashable, snapshot: bool) -> bytes:
        if form is not True:
            return self._payload.encode()
        return f'{{"stream":"{self._stream}","data":{self._payload}}}'.encode()


class _Recorded(msgspec.Struct):
    """What tells a recorded frame from another."""

    data: "_Recorded | None" = None
    e: str | None = None
    s: str | None = None
    E: int | None = None
    T: int | None = None


_RECORDED = msgspec.json.Decoder(_Recorded)


def _canonical(exchange_symbol: str) -> str:
    quote = next((q for q in _QUOTES if exchange_symbol.endswith(q)), "")
    return str(Symbol(exchange_symbol.removesuffix(quote), quote))


def _price(market: PairMarket, units: int) -> str:
    return f'"{decimal_text(units * 10 ** (8 - market.grid.decimals), 8)}"'


def _quantity(units: int) -> str:
    return f'"{decimal_text(units, 8)}"'


def _levels(market: PairMarket, levels: list[tuple[int, int]]) -> str:
    return ",".join(f"[{_price(market, price)},{_quantity(quantity)}]" for price, quantity in levels)


def _ticker(market: PairMarket, symbol: str, time_ms: int) -> str:
    change = market.last - market.open
    average = round(market.turnover / market.volume)
    turnover = market.turnover / (10**market.grid.decimals * QUANTITY_SCALE)
    return (
        f'{{"e":"24hrTicker","E":{time_ms},"s":"{symbol}","p":{_price(market, change)},'
        f'"P":"{change / market.open * 100:.3f}","w":{_price(market, average)},'
        f'"x":{_price(market, market.previous_close)},"c":{_price(market, market.last)},'
        f'"Q":{_quantity(market.last_quantity)},"b":{_price(market, market.bid)},'
        f'"B":{_quantity(market.bid_quantities[0])},"a":{_price(market, market.ask)},'
        f'"A":{_quantity(market.ask_quantities[0])},"o":{_price(market, market.open)},'
        f'"h":{_price(market, market.high)},"l":{_price(market, market.low)},"v":{_quantity(market.volume)},'
        f'"q":"{turnover:.8f}","O":{time_ms - _DAY_MS},"C":{time_ms},"F":{market.first_trade_id},'
        f'"L":{market.trade_id},"n":{market.trade_id - market.first_trade_id + 1}}}'
    )


def _trade(market: PairMarket, symbol: str, time_ms: int, *, aggregated: bool) -> str:
    event_ms, trade = time_ms + 1 + market.trade_id % 5, market.trade_id
    if aggregated:
        kind, ids = "aggTrade", f'"a":{trade - market.first_trade_id // 2}'
        span = f'"f":{trade},"l":{trade},'
    else:
        kind, ids, span = "trade", f'"t":{trade}', ""
    return (
        f'{{"e":"{kind}","E":{event_ms},"s":"{symbol}",{ids},"p":{_price(market, market.last)},'
        f'"q":{_quantity(market.last_quantity)},{span}"T":{time_ms},'
        f'"m":{"true" if market.taker == "ask" else "false"},"M":true}}'
    )
