"""Whatever comes, in whatever order: the session lives, counts every frame, and sequences have no gap."""

import json
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.exchanges.base import Refused, Unparsed
from core.exchanges.table import PROFILES
from core.identity import REGION_OF, Exchange, Region, RequestType, Symbol
from core.session import StreamSession
from tests.frames import all_frames

EXCHANGES = st.sampled_from(list(PROFILES))
KINDS = st.sampled_from(list(RequestType))
WHOLE = {exchange: all_frames(exchange) for exchange in PROFILES}


@given(EXCHANGES, KINDS, st.data())
def test_every_prefix_of_a_frame_is_counted(exchange: Exchange, kind: RequestType, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(WHOLE[exchange]))
    cut = data.draw(st.integers(0, len(whole) - 1))
    session = StreamSession(PROFILES[exchange], kind, 1, now_s=0.0, accept_all=True)
    assert session.receive(whole[:cut], 1) == ()
    assert session.parse_failed == 1
    assert isinstance(session.take_notices()[0], Unparsed)
    session.receive(whole, 2)
    assert (session.frames, session.parse_failed) == (2, 1)


@given(EXCHANGES, KINDS, st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_arbitrary_input_is_counted(exchange: Exchange, kind: RequestType, frame: str | bytes) -> None:
    session = StreamSession(PROFILES[exchange], kind, 1, now_s=0.0)
    assert session.receive(frame, 1) == ()
    assert session.parse_failed + session.controls + sum(session.ignored.values()) == 1


@given(EXCHANGES, KINDS, st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
    | st.sampled_from(["ticker", "trade", "depthUpdate", "KRW-BTC", "BTCUSDT", "book", "subscribe",
                       "subscribed", "snapshot", "l2update", "match", "BTC-USD", "BTC/USD", "tBTCUSD", "te"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["type", "ty", "code", "e", "s", "data", "stream", "result", "id", "error", "msg",
                         "channel", "method", "event", "chanId", "symbol", "product_id", "price", "success",
                         "channels", "bids", "asks", "changes", "message", "reason"]),
        inner, max_size=6,
    ),
    max_leaves=12,
))  # fmt: skip
def test_arbitrary_json_is_counted(exchange: Exchange, kind: RequestType, value: object) -> None:
    session = StreamSession(PROFILES[exchange], kind, 1, now_s=0.0)
    session.receive(json.dumps(value), 1)
    assert session.parse_failed + session.controls + sum(session.ignored.values()) == 1


@given(EXCHANGES, KINDS, st.data())
@settings(max_examples=50)
def test_frames_in_any_order(exchange: Exchange, kind: RequestType, data: st.DataObject) -> None:
    frames = data.draw(st.lists(st.sampled_from(WHOLE[exchange]), max_size=40))
    session = StreamSession(PROFILES[exchange], kind, 1, now_s=0.0, accept_all=True)
    with_records = 0
    last: dict[tuple[str, str], int] = {}
    for frame in frames:
        records = session.receive(frame, 1)
        with_records += bool(records)
        for record in records:
            key = (type(record).__name__, record.symbol)
            assert record.sequence == last.get(key, 0) + 1
            last[key] = record.sequence
    assert session.parse_failed == 0
    assert with_records + session.controls + sum(session.ignored.values()) == len(frames)


CODES = ["BTC", "ETH", "XRP", "SOL"]
NUMBERS = {code: number for number, code in enumerate(CODES)}

# A ticker of a symbol, with the frame before it that names its channel where there are such; and an answer of
# the exchange, good or bad.
TICKERS: dict[Exchange, Callable[[str, str], list[object]]] = {
    Exchange.UPBIT: lambda code, price: [
        {"type": "ticker", "code": f"KRW-{code}", "trade_price": float(price)}
    ],
    Exchange.BINANCE: lambda code, price: [
        {"stream": "x", "data": {"e": "24hrTicker", "s": f"{code}USDT", "c": price}}
    ],
    Exchange.COINBASE: lambda code, price: [{"type": "ticker", "product_id": f"{code}-USDT", "price": price}],
    Exchange.KRAKEN: lambda code, price: [
        {"channel": "ticker", "type": "update", "data": [{"symbol": f"{code}/USDT", "last": float(price)}]}
    ],
    Exchange.BITFINEX: lambda code, price: [
        {"event": "subscribed", "channel": "ticker", "chanId": NUMBERS[code], "symbol": f"t{code}UST"},
        [NUMBERS[code], [1, 1, 1, 1, 1, 0, float(price), 1, 1, 1]],
    ],
    Exchange.BYBIT: lambda code, price: [
        {"topic": f"tickers.{code}USDT", "type": "snapshot", "data": {"symbol": "x", "lastPrice": price}}
    ],
    Exchange.OKX: lambda code, price: [
        {"arg": {"channel": "tickers", "instId": f"{code}-USDT"}, "data": [{"last": price}]}
    ],
    Exchange.HUOBI: lambda code, price: [
        {"ch": f"market.{code.lower()}usdt.ticker", "tick": {"close": float(price)}}
    ],
    Exchange.BITHUMB: lambda code, price: [
        {"type": "ticker", "code": f"KRW-{code}", "trade_price": float(price)}
    ],
    Exchange.COINONE: lambda code, price: [
        {
            "response_type": "DATA",
            "channel": "TICKER",
            "data": {"quote_currency": "KRW", "target_currency": code, "last": price},
        }
    ],
    Exchange.KORBIT: lambda code, price: [
        {"type": "ticker", "symbol": f"{code}_KRW".lower(), "data": {"close": price}}
    ],
}
ANSWERS: dict[Exchange, Callable[[int, bool], object]] = {
    Exchange.UPBIT: lambda _, good: (
        {"status": "UP"} if good else {"error": {"name": "INVALID_PARAM", "message": "codes"}}
    ),
    Exchange.BINANCE: lambda number, good: (
        {"result": None, "id": number} if good else {"code": 2, "msg": "Invalid request", "id": number}
    ),
    Exchange.COINBASE: lambda number, good: (
        {"type": "subscriptions", "channels": [{"name": "ticker", "product_ids": ["BTC-USDT", "ETH-USDT"]}]}
        if good
        else {
            "type": "error",
            "message": "Failed",
            "reason": f"{CODES[number % 4]}-USDT is not a valid product",
        }
    ),
    Exchange.KRAKEN: lambda number, good: {
        "method": "subscribe",
        "success": good,
        "symbol": f"{CODES[number % 4]}/USDT",
        "result": {"channel": "ticker", "symbol": f"{CODES[number % 4]}/USDT"},
        "error": None if good else "Currency pair not supported",
    },
    Exchange.BITFINEX: lambda number, good: (
        {"event": "pong"}
        if good
        else {"event": "error", "code": 10300, "msg": "symbol: invalid", "symbol": f"t{CODES[number % 4]}UST"}
    ),
    Exchange.BYBIT: lambda number, good: {
        "success": good,
        "ret_msg": "subscribe" if good else f"Invalid symbol :[tickers.{CODES[number % 4]}USDT]",
        "req_id": str(number),
        "op": "subscribe",
    },
    Exchange.OKX: lambda number, good: (
        {"event": "subscribe", "arg": {"channel": "tickers", "instId": f"{CODES[number % 4]}-USDT"}}
        if good
        else {
            "event": "error",
            "code": "60018",
            "msg": f"Wrong URL or channel:tickers,instId:{CODES[number % 4]}-USDT doesn't exist.",
            "id": str(number),
        }
    ),
    Exchange.HUOBI: lambda number, good: (
        {"id": str(number), "status": "ok", "subbed": f"market.{CODES[number % 4].lower()}usdt.ticker"}
        if good
        else {"id": str(number), "status": "error", "err-code": "bad-request", "err-msg": "invalid symbol"}
    ),
    Exchange.BITHUMB: lambda _, good: (
        {"status": "UP"} if good else {"error": {"name": "INVALID_PARAM", "message": "codes"}}
    ),
    Exchange.COINONE: lambda number, good: (
        {
            "response_type": "SUBSCRIBED" if number % 2 else "PONG",
            "data": {"quote_currency": "KRW", "target_currency": CODES[number % 4]},
        }
        if good
        else {"response_type": "ERROR", "error_code": 160012, "message": "Invalid Topic"}
    ),
    Exchange.KORBIT: lambda number, good: (
        {"status": "success", "requestId": number}
        if good
        else {"status": "fail", "code": "INVALID_SYMBOL", "message": f"({CODES[number % 4].lower()}_krw)"}
    ),
}


class SubscriptionMachine(RuleBasedStateMachine):
    """Subscribing, unsubscribing, data, errors and time in any order, against what a reader may rely on."""

    @initialize(exchange=st.sampled_from(list(TICKERS)))
    def start(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.quote = "KRW" if REGION_OF[exchange] is Region.KOREA else "USDT"
        self.session = StreamSession(PROFILES[exchange], RequestType.TICKER, 1, now_s=0.0)
        self.now_s = 0.0
        self.wanted: set[str] = set()
        self.sequences: dict[str, int] = {}

    def _symbol(self, code: str) -> Symbol:
        return Symbol(code, self.quote)

    def _settle(self) -> None:
        for notice in self.session.take_notices():
            if isinstance(notice, Refused):
                self.wanted -= set(notice.symbols)

    @rule(codes=st.lists(st.sampled_from(CODES), min_size=1, max_size=4))
    def subscribe(self, codes: list[str]) -> None:
        symbols = [self._symbol(code) for code in codes]
        self.session.subscribe(symbols, self.now_s)
        self.wanted |= {str(symbol) for symbol in symbols}

    @rule(codes=st.lists(st.sampled_from(CODES), min_size=1, max_size=4))
    def unsubscribe(self, codes: list[str]) -> None:
        symbols = {str(self._symbol(code)) for code in codes}
        self.session.unsubscribe(symbols, self.now_s)
        self.wanted -= symbols

    @rule(code=st.sampled_from(CODES), price=st.floats(-1.0, 10.0))
    def data(self, code: str, price: float) -> None:
        symbol = self._symbol(code)
        text = f"{price:.8f}"
        *before, frame = TICKERS[self.exchange](code, text)
        for message in before:
            self.session.receive(json.dumps(message), 1)
        records = self.session.receive(json.dumps(frame), 1)
        readable = float(text) > 0
        assert bool(records) == (str(symbol) in self.wanted and readable)
        for record in records:
            assert record.symbol == str(symbol)
            assert record.sequence == self.sequences.get(record.symbol, 0) + 1
            self.sequences[record.symbol] = record.sequence

    @rule(request_id=st.integers(1, 5), good=st.booleans())
    def answer(self, request_id: int, good: bool) -> None:
        self.session.receive(json.dumps(ANSWERS[self.exchange](request_id, good)), 1)
        self._settle()

    @rule(junk=st.binary(max_size=20))
    def rubbish(self, junk: bytes) -> None:
        assert self.session.receive(junk, 1) == ()

    @rule(passing_s=st.floats(0.0, 30.0))
    def time_passes(self, passing_s: float) -> None:
        self.now_s += passing_s
        self.session.on_time(self.now_s)
        self._settle()
        assert self.session.due_s(self.now_s) > self.now_s

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "session"):
            return
        assert set(self.session.active_symbols) == self.wanted
        sequences = {track.symbol: track.sequence for track in self.session.tracks if track.sequence}
        assert sequences == self.sequences
        outbox = self.session.take_outbox()
        assert len(outbox) <= PROFILES[self.exchange].limits.max_messages


TestSubscriptions = SubscriptionMachine.TestCase
TestSubscriptions.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
