"""Subscriptions without an answer: asked for again; refused only where silence says so; what runs goes on."""

import json

import pytest

from core.channel_liveness import ChannelPulse
from core.errors import ErrorCode
from core.exchanges.base import Complaint, Confirmed, Refused, SymbolBroken, SymbolWhole
from core.exchanges.table import PROFILES
from core.identity import Exchange, RequestType, Symbol
from core.session import Stale, StreamSession

US = 1_793_604_700_000_000
ALIVE: dict[Exchange, object] = {
    Exchange.UPBIT: {"status": "UP"},
    Exchange.BITHUMB: {"status": "UP"},
    Exchange.COINONE: {"response_type": "CONNECTED"},
    Exchange.KORBIT: {"status": "success", "requestId": 0},
    Exchange.BINANCE: {"result": [], "id": 1_000_000},
    Exchange.BYBIT: {"op": "ping", "success": True, "ret_msg": "pong"},
    Exchange.OKX: {"event": "channel-conn-count", "connCount": "1"},
    Exchange.HUOBI: {"ping": 1},
    Exchange.COINBASE: {"type": "heartbeat", "product_id": "ZZZ-USD"},
    Exchange.KRAKEN: {"channel": "heartbeat"},
    Exchange.BITFINEX: {"event": "pong", "cid": 1},
}
"""A frame that shows that the connection lives, and says nothing of a symbol."""
REFUSING_BY_SILENCE = (Exchange.UPBIT, Exchange.BITHUMB)


def symbol_of(exchange: Exchange, base: str = "BTC") -> Symbol:
    quote = {"korea": "KRW", "asia": "USDT"}.get(PROFILES[exchange].region, "USD")
    return Symbol(base, quote)


class Client:
    """A session of one exchange, its clock, and all that it sent and said."""

    def __init__(self, exchange: Exchange, *bases: str, kind: RequestType = RequestType.TICKER, **more) -> None:
        self.exchange = exchange
        self.session = StreamSession(PROFILES[exchange], kind, 1, now_s=0.0, **more)
        self.now_s = 0.0
        self.sent: list[tuple[float, str]] = []
        self.said: list[tuple[float, object]] = []
        self.session.subscribe([symbol_of(exchange, base) for base in bases or ("BTC",)], 0.0)
        self._look()

    def receive(self, message: object) -> None:
        self.session.receive(json.dumps(message), US)
        self._look()

    def live(self, seconds: int) -> None:
        """So many seconds on a connection that lives."""
        for _ in range(seconds):
            self.receive(ALIVE[self.exchange])
            for _ in range(4):
                self.now_s += 0.25
                self.session.on_time(self.now_s)
                self._look()

    def asked(self, base: str = "BTC") -> list[float]:
        """When the symbol was asked for."""
        return [now_s for now_s, text in self.sent if base in text.upper() and "unsub" not in text.lower()]

    @property
    def notices(self) -> list[object]:
        return [notice for _, notice in self.said]

    def _look(self) -> None:
        self.sent += [(self.now_s, str(message)) for message in self.session.take_outbox()]
        self.said += [(self.now_s, notice) for notice in self.session.take_notices()]


@pytest.mark.parametrize("exchange", [name for name in PROFILES if name not in REFUSING_BY_SILENCE])
def test_what_is_not_answered_is_told_once_and_asked_for_again(exchange: Exchange) -> None:
    client = Client(exchange)
    client.live(900)
    told = [notice for notice in client.notices if isinstance(notice, SymbolBroken)]
    assert [(broken.symbol, broken.code) for broken in told] == [
        (str(symbol_of(exchange)), ErrorCode.STREAM_STALE)
    ]
    assert not [notice for notice in client.notices if isinstance(notice, Refused)]
    times = client.asked()
    assert 5 <= len(times) <= 7
    assert 30.0 <= times[1] < 35.0
    assert client.session.active_symbols == [str(symbol_of(exchange))]


@pytest.mark.parametrize("exchange", REFUSING_BY_SILENCE)
def test_a_symbol_that_ran_before_is_never_refused_for_silence(exchange: Exchange) -> None:
    ran = str(symbol_of(exchange))
    client = Client(exchange, "BTC", "ETH", proven={ran})
    client.live(100)
    refused = [symbol for notice in client.notices if isinstance(notice, Refused) for symbol in notice.symbols]
    assert refused == [str(symbol_of(exchange, "ETH"))]
    assert len(client.asked()) >= 4
    client.receive({"type": "ticker", "code": "KRW-BTC", "trade_price": 1})
    assert client.notices[-2:] == [SymbolWhole(ran, 1), Confirmed((ran,))]
    client.live(300)
    assert isinstance(client.notices[-1], Confirmed)


@pytest.mark.parametrize("exchange", REFUSING_BY_SILENCE)
def test_silence_after_a_limit_on_requests_is_no_refusal_yet(exchange: Exchange) -> None:
    client = Client(exchange)
    client.receive({"error": {"name": "TOO_MANY_REQUEST", "message": "slow down"}})
    client.live(15)
    assert not [notice for notice in client.notices if isinstance(notice, Refused)]
    assert len(client.asked()) == 2
    client.live(30)
    assert [type(notice) for notice in client.notices] == [Complaint, SymbolBroken, Refused]


@pytest.mark.parametrize(
    ("exchange", "error", "code"),
    [
        (
            Exchange.KRAKEN,
            {"method": "subscribe", "success": False, "error": "EService:Unavailable", "symbol": "BTC/USD"},
            ErrorCode.SUBSCRIBE_REJECTED,
        ),
        (Exchange.BINANCE, {"code": 3, "msg": "Too many requests", "id": 1}, ErrorCode.RATE_LIMITED),
        (Exchange.BINANCE, {"code": -1001, "msg": "Internal error", "id": 1}, ErrorCode.SUBSCRIBE_REJECTED),
        (
            Exchange.KORBIT,
            {"status": "fail", "code": "TOO_MANY_REQUESTS", "message": "slow", "requestId": 1},
            ErrorCode.RATE_LIMITED,
        ),
        (
            Exchange.COINBASE,
            {"type": "error", "message": "Failed to subscribe", "reason": "rate limit exceeded"},
            ErrorCode.RATE_LIMITED,
        ),
        (
            Exchange.BITFINEX,
            {"event": "error", "code": 10305, "msg": "Reached limit", "symbol": "tBTCUSD"},
            ErrorCode.RATE_LIMITED,
        ),
    ],
)
def test_a_refusal_that_passes_ends_no_stream(exchange: Exchange, error: object, code: ErrorCode) -> None:
    client = Client(exchange)
    client.receive(error)
    client.live(40)
    complaint, *rest = client.notices
    assert isinstance(complaint, Complaint)
    assert complaint.code is code
    assert [type(notice) for notice in rest] == [SymbolBroken]
    assert len(client.asked()) == 2


@pytest.mark.parametrize(
    ("exchange", "confirmed", "error"),
    [
        (
            Exchange.KRAKEN,
            {"channel": "ticker", "type": "update", "data": [{"symbol": "BTC/USD", "last": 1.0}]},
            {"method": "subscribe", "success": False, "error": "Currency pair not supported BTC/USD"},
        ),
        (
            Exchange.KORBIT,
            {"type": "ticker", "symbol": "btc_krw", "data": {"close": "1"}},
            {"status": "fail", "code": "INVALID_SYMBOL", "message": "(btc_krw)", "requestId": 99},
        ),
        (
            Exchange.BINANCE,
            {"e": "24hrTicker", "s": "BTCUSDT", "c": "1"},
            {"code": 2, "msg": "Invalid request", "id": 1},
        ),
    ],
)
def test_an_error_ends_no_symbol_that_runs(exchange: Exchange, confirmed: object, error: object) -> None:
    client = Client(exchange)
    client.receive(confirmed)
    client.receive(error)
    assert [type(notice) for notice in client.notices] == [Confirmed, Complaint]
    assert client.session.active_symbols == [str(symbol_of(exchange))]


def test_a_refusal_that_comes_late_says_nothing_of_wholeness() -> None:
    client = Client(Exchange.KORBIT)
    client.live(40)
    client.receive({"status": "fail", "code": "INVALID_SYMBOL", "message": "(btc_krw)", "requestId": 1})
    assert [type(notice) for notice in client.notices] == [SymbolBroken, Refused]


def test_one_unanswered_symbol_does_not_hide_silent_channels() -> None:
    client = Client(Exchange.BYBIT, "BTC", "ETH", channels=ChannelPulse())
    for _ in range(120):
        client.receive(
            {"topic": "tickers.BTCUSDT", "type": "snapshot", "data": {"symbol": "x", "lastPrice": "1"}}
        )
        client.live(1)
    client.live(120)
    assert [notice.data_only for notice in client.notices if isinstance(notice, Stale)] == [True]


def test_a_channel_is_not_blamed_for_a_connection_that_is_silent() -> None:
    client = Client(Exchange.COINBASE, "BTC", "ETH", "XRP")
    for base in ("BTC", "ETH", "XRP"):
        client.receive({"type": "ticker", "product_id": f"{base}-USD", "price": "1"})
    for _ in range(60):
        client.now_s += 1.0
        client.session.on_time(client.now_s)
        client._look()
    assert [type(notice) for notice in client.notices[3:]] == [Stale]


def test_when_all_channels_fall_silent_it_is_told_once() -> None:
    client = Client(Exchange.COINBASE, "BTC", "ETH", "XRP")
    for base in ("BTC", "ETH", "XRP"):
        client.receive({"type": "ticker", "product_id": f"{base}-USD", "price": "1"})
    client.live(17)
    assert [type(notice) for notice in client.notices[3:]] == [Stale]


def test_a_symbol_binance_does_not_list_has_one_outcome() -> None:
    client = Client(Exchange.BINANCE, kind=RequestType.ORDERBOOK)
    client.receive({"result": None, "id": 1})
    client.live(1)
    client.session.snapshot("BTC-USDT", b'{"code":-1121,"msg":"Invalid symbol."}', US)
    client._look()
    assert [type(notice).__name__ for notice in client.notices] == ["SnapshotWanted", "Refused"]


def test_a_book_that_binance_has_confirms_it_also_where_nothing_moves() -> None:
    client = Client(Exchange.BINANCE, kind=RequestType.ORDERBOOK)
    client.receive({"result": None, "id": 1})
    client.live(1)
    client.session.snapshot("BTC-USDT", b'{"lastUpdateId":7,"bids":[],"asks":[]}', US)
    client._look()
    assert client.notices[-1] == Confirmed(("BTC-USDT",))


def test_asking_again_keeps_to_the_rate_and_holds_no_heartbeat_back() -> None:
    bases = [f"C{number}" for number in range(20)]
    client = Client(Exchange.OKX, *bases)
    client.receive({"event": "error", "code": "60012", "msg": "Invalid request", "id": "1"})
    limits = PROFILES[Exchange.OKX].limits
    assert len(client.sent) <= limits.max_messages
    client.live(60)
    pings = [now_s for now_s, text in client.sent if text == "ping"]
    assert pings
    assert pings[0] <= 31.0
    for start, _ in client.sent:
        window = [now_s for now_s, _ in client.sent if start <= now_s < start + limits.message_window_s]
        assert len(window) <= limits.max_messages
