"""HTX: every field of the documented frames, compressed and not; symbols, requests, answers, books."""

import gzip
import json
from decimal import Decimal

import pytest

from core.errors import ErrorCode
from core.exchanges.base import Complaint, Confirmed, Refused, SymbolBroken, SymbolWhole, Unparsed
from core.exchanges.huobi import Huobi
from core.identity import RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from core.session import StreamSession
from tests.frames import FRAMES, frame

RECEIVED_US = 1_793_604_700_000_123


def session_for(request_type: RequestType, *symbols: str, exact: bool = False) -> StreamSession:
    profile = Huobi()
    session = StreamSession(profile, request_type, 7, now_s=0.0, exact=exact)
    session.subscribe([profile.parse_symbol(symbol) for symbol in symbols], 0.0)
    session.take_outbox()
    return session


def replay() -> StreamSession:
    return StreamSession(Huobi(), RequestType.ORDERBOOK, 7, now_s=0.0, accept_all=True)


def ticker(**changes: object) -> Ticker:
    fields = {
        "exchange": "huobi",
        "region": "asia",
        "symbol": "BTC-USDT",
        "exchange_symbol": "btcusdt",
        "exchange_ts_ms": 1630982370526,
        "received_ts_us": RECEIVED_US,
        "session_id": 7,
        "sequence": 1,
        "price": 52735.63,
        "open": 51732.0,
        "high": 52785.64,
        "low": 51000.0,
        "prev_close": None,
        "change_rate": None,
        "volume_24h": 13259.24137056181,
        "quote_volume_24h": 687640987.4125315,
        "bid": 52732.88,
        "bid_quantity": 0.036,
        "ask": 52732.89,
        "ask_quantity": 0.583653,
        "stream_type": StreamType.REALTIME,
        "price_exact": None,
    }
    return Ticker(**(fields | changes))


@pytest.mark.parametrize("compressed", [True, False])
def test_ticker(compressed: bool) -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT", exact=True)
    data = frame("huobi", "ticker")
    records = session.receive(gzip.compress(data) if compressed else data.decode(), RECEIVED_US)
    assert list(records) == [ticker(price_exact=Decimal("52735.63"))]


def test_market_details() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    assert session.receive(frame("huobi", "detail"), RECEIVED_US) == (
        ticker(
            exchange_ts_ms=1494496390001,
            price=10195.0,
            open=9790.52,
            high=10300.0,
            low=9657.0,
            volume_24h=12224.2922,
            quote_volume_24h=121906001.754751,
            bid=None,
            bid_quantity=None,
            ask=None,
            ask_quantity=None,
        ),
    )


def test_ticker_of_a_market_without_orders() -> None:
    session = session_for(RequestType.TICKER, "1INCH-USDT")
    (record,) = session.receive(frame("huobi", "ticker.quiet"), RECEIVED_US)
    assert isinstance(record, Ticker)
    assert (record.symbol, record.price, record.volume_24h) == ("1INCH-USDT", 0.2114, 0.0)
    assert (record.high, record.low, record.bid, record.bid_quantity, record.ask, record.ask_quantity) == (
        None,
    ) * 6


@pytest.mark.parametrize("compressed", [True, False])
def test_trades(compressed: bool) -> None:
    session = session_for(RequestType.TRADE, "BTC-USDT", exact=True)
    data = (FRAMES / "huobi" / "trade.gz").read_bytes() if compressed else frame("huobi", "trade")
    assert session.receive(data, RECEIVED_US) == [
        Trade(
            exchange="huobi",
            region="asia",
            symbol="BTC-USDT",
            exchange_symbol="btcusdt",
            exchange_ts_ms=1533265950234,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            price=401.74,
            quantity=0.0099,
            side=Side.BUY,
            trade_id="102043495674",
            price_exact=Decimal("401.74"),
            quantity_exact=Decimal("0.0099"),
        ),
        Trade(
            exchange="huobi",
            region="asia",
            symbol="BTC-USDT",
            exchange_symbol="btcusdt",
            exchange_ts_ms=1533265950235,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=2,
            price=401.73,
            quantity=2.5,
            side=Side.SELL,
            trade_id="102043495675",
            price_exact=Decimal("401.73"),
            quantity_exact=Decimal("2.5"),
        ),
    ]


def test_a_trade_with_the_older_id_alone() -> None:
    session = session_for(RequestType.TRADE, "ETH-BTC")
    (record,) = session.receive(frame("huobi", "trade.old"), RECEIVED_US)
    assert isinstance(record, Trade)
    assert record.trade_id == "146507451359183894799"


def subscribed_book() -> StreamSession:
    session = session_for(RequestType.ORDERBOOK, "BTC-USDT")
    session.receive('{"id":"1","status":"ok","subbed":"market.btcusdt.mbp.150","ts":1489474081631}', 0)
    session.take_notices()
    session.on_time(1.0)
    assert session.take_outbox() == ['{"req":"market.btcusdt.mbp.150","id":"2"}']
    return session


def test_a_book_is_asked_for_and_joined_with_the_changes_that_came_meanwhile() -> None:
    session = subscribed_book()
    (delta,) = session.receive(frame("huobi", "orderbook.delta"), RECEIVED_US)
    assert delta == OrderBook(
        exchange="huobi",
        region="asia",
        symbol="BTC-USDT",
        exchange_symbol="btcusdt",
        exchange_ts_ms=1573199608679,
        received_ts_us=RECEIVED_US,
        session_id=7,
        sequence=1,
        kind=BookKind.DELTA,
        bids=[],
        asks=[Level(645.14, 26.75597395914065)],
        first_update_id=None,
        last_update_id=100020146795,
        checksum=None,
        valid=False,
    )
    (whole,) = session.receive(gzip.compress(frame("huobi", "orderbook.answer")), RECEIVED_US + 1)
    assert whole == OrderBook(
        exchange="huobi",
        region="asia",
        symbol="BTC-USDT",
        exchange_symbol="btcusdt",
        exchange_ts_ms=None,
        received_ts_us=RECEIVED_US + 1,
        session_id=7,
        sequence=2,
        kind=BookKind.SNAPSHOT,
        bids=[
            Level(618.37, 71.594),
            Level(423.33, 77.726),
            Level(223.18, 47.997),
            Level(219.34, 24.82),
            Level(210.34, 94.463),
        ],
        asks=[
            Level(645.14, 26.75597395914065),
            Level(650.63, 97.996),
            Level(650.77, 97.465),
            Level(651.23, 83.973),
            Level(651.42, 34.465),
        ],
        first_update_id=None,
        last_update_id=100020146795,
        checksum=None,
        valid=True,
    )
    (idle,) = session.receive(frame("huobi", "orderbook.idle"), RECEIVED_US + 2)
    assert isinstance(idle, OrderBook)
    assert (idle.valid, idle.bids, idle.asks, idle.last_update_id) == (True, [], [], 100020146797)


def test_a_lost_update_is_told_once_and_the_book_asked_for_again() -> None:
    session = subscribed_book()
    session.receive(frame("huobi", "orderbook.delta"), 0)
    session.receive(frame("huobi", "orderbook.answer"), 0)
    session.take_notices()
    lost = frame("huobi", "orderbook.idle").replace(b'"prevSeqNum":100020146795', b'"prevSeqNum":100020146796')
    (record,) = session.receive(lost, 1)
    assert isinstance(record, OrderBook)
    assert not record.valid
    (broken,) = session.take_notices()
    assert isinstance(broken, SymbolBroken)
    assert (broken.symbol, broken.code) == ("BTC-USDT", ErrorCode.SEQUENCE_GAP)
    session.on_time(10.0)
    (request,) = session.take_outbox()
    assert json.loads(request)["req"] == "market.btcusdt.mbp.150"
    answer = frame("huobi", "orderbook.answer").replace(b"100020146794", b"100020146797")
    (whole,) = session.receive(answer, 2)
    assert isinstance(whole, OrderBook)
    assert whole.valid
    assert [type(notice) for notice in session.take_notices()] == [SymbolWhole]


def test_an_answer_that_came_too_fast_is_asked_for_again() -> None:
    session = subscribed_book()
    session.receive('{"id":"2","status":"error","err-code":"bad-request","err-msg":"429 too many request"}', 0)
    (notice,) = session.take_notices()
    assert isinstance(notice, Complaint)
    assert notice.code is ErrorCode.RATE_LIMITED
    session.on_time(2.0)
    session.on_time(5.0)
    (request,) = session.take_outbox()
    assert json.loads(request)["req"] == "market.btcusdt.mbp.150"


def test_whole_books() -> None:
    session = replay()
    (refresh,) = session.receive(frame("huobi", "orderbook.refresh"), RECEIVED_US)
    assert refresh == OrderBook(
        exchange="huobi",
        region="asia",
        symbol="ETH-USDT",
        exchange_symbol="ethusdt",
        exchange_ts_ms=1573199608679,
        received_ts_us=RECEIVED_US,
        session_id=7,
        sequence=1,
        kind=BookKind.SNAPSHOT,
        bids=[Level(618.37, 71.594), Level(423.33, 77.726)],
        asks=[Level(650.59, 14.909733438479636), Level(650.63, 97.996)],
        first_update_id=None,
        last_update_id=100020142010,
        checksum=None,
        valid=True,
    )
    (depth,) = session.receive(frame("huobi", "orderbook.depth"), RECEIVED_US)
    assert isinstance(depth, OrderBook)
    assert (depth.symbol, depth.last_update_id, depth.valid) == ("HT-USDT", 100434317651, True)


def test_a_replay_joins_a_recorded_answer_with_the_changes_before_it() -> None:
    session = replay()
    records = []
    for name in ("orderbook.delta", "orderbook.answer", "orderbook.idle", "ticker", "trade", "orderbook.five"):
        records += session.receive(frame("huobi", name), 0)
    books = [record for record in records if isinstance(record, OrderBook)]
    assert [(book.exchange_symbol, book.kind.value, book.valid) for book in books] == [
        ("btcusdt", "DELTA", False),
        ("btcusdt", "SNAPSHOT", True),
        ("btcusdt", "DELTA", True),
        ("xrpusdt", "DELTA", False),
    ]
    assert len(records) == 7
    assert session.parse_failed == 0


def test_a_replay_that_begins_with_the_answer() -> None:
    session = replay()
    names = ("orderbook.answer", "orderbook.delta", "orderbook.idle")
    records = [record for name in names for record in session.receive(frame("huobi", name), 0)]
    assert [record.valid for record in records if isinstance(record, OrderBook)] == [True, True, True]


def test_other_frames() -> None:
    session = replay()
    for name in ("subscribed", "unsubscribed", "bbo", "ping"):
        assert session.receive(frame("huobi", name), 0) == ()
    session.receive('{"ch":"market.overview","ts":1489474082831,"data":[]}', 0)
    session.receive('{"rep":"market.btcusdt.trade.detail","status":"ok","id":"id11","data":[]}', 0)
    session.receive('{"ch":"market.hb10.detail","ts":1489474082831,"tick":{"close":1.5}}', 0)
    assert (session.controls, session.parse_failed) == (3, 0)
    assert session.ignored == {
        "topic without records": 2,
        "answer that nobody waits for": 1,
        "symbol of another market": 1,
    }


@pytest.mark.parametrize(
    ("message", "controls", "reason"),
    [
        ('{"op":"ping","ts":"1492420473027"}', 1, None),
        ('{"action":"ping","data":{"ts":1492420473027}}', 1, None),
        ('{"status":"error","ts":1494326028889,"err-code":"bad-request","err-msg":"invalid topic"}', 1, None),
        ('{"action":"sub","code":200,"ch":null,"data":{}}', 0, "frame of another interface"),
        (
            '{"id":"id1","status":"ok","rep":"market.btcusdt.trade.detail",'
            '"data":[{"id":10005030534813602133972711715,"price":1.5,"amount":2,"direction":"buy"}]}',
            0,
            "answer that nobody waits for",
        ),
        (
            '{"id":"id2","status":"ok","rep":"market.btcusdt.kline.1min","data":[]}',
            0,
            "answer that nobody waits for",
        ),
        (
            '{"ch":"market.btcusdt.kline.1min","ts":1489474082831,"tick":{"id":1,"close":1}}',
            0,
            "topic without records",
        ),
        (
            '{"ch":"market.btcusdt.depth.step5","ts":1489474082831,"tick":{"bids":[],"asks":[]}}',
            0,
            "topic without records",
        ),
        ('{"ch":"market.BTC-USDT.depth.step0","tick":{"bids":[],"asks":[]}}', 0, "symbol of another market"),
        ('{"ch":"market.BTC_CQ.trade.detail","tick":{"data":[]}}', 0, "symbol of another market"),
    ],
)
@pytest.mark.parametrize("compressed", [True, False])
def test_what_brings_no_record(message: str, controls: int, reason: str | None, compressed: bool) -> None:
    session = replay()
    data = message.encode()
    assert session.receive(gzip.compress(data) if compressed else data, 0) == ()
    assert (session.controls, session.parse_failed) == (controls, 0)
    assert session.ignored == ({} if reason is None else {reason: 1})


@pytest.mark.parametrize("levels", [5, 10, 20, 150, 400])
def test_changes_of_every_depth_follow_one_another(levels: int) -> None:
    session = replay()
    ids = ((3, 1), (7, 3), (8, 7))
    topic = f"market.btcusdt.mbp.{levels}"
    for seq, previous in ids:
        # One side alone, as the shallow books have it, and prices below a ten-thousandth.
        tick = {"seqNum": seq, "prevSeqNum": previous, "asks": [[9.486e-11, 5.4329174972728e12]]}
        (record,) = session.receive(json.dumps({"ch": topic, "ts": 1489474082831, "tick": tick}), 0)
        assert isinstance(record, OrderBook)
        assert (record.kind, record.bids, record.last_update_id) == (BookKind.DELTA, [], seq)
        assert record.asks == [Level(9.486e-11, 5432917497272.8)]
    assert session.take_notices() == []
    assert session.parse_failed == 0


def test_pings_are_answered_at_once() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    session.receive(gzip.compress(frame("huobi", "ping")), 0)
    assert session.take_outbox() == ['{"pong":1492420473027}']


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{}", "neither a topic"),
        (b"\x1f\x8b\x08\x00 no gzip", "inflated"),
        (gzip.compress(b" " * (5 * 1024 * 1024), mtime=0), "more than"),
        (b'{"ch":"market.btcusdt.ticker","tick":{"close":-1}}', "$.tick.close"),
        (
            b'{"ch":"market.btcusdt.trade.detail","tick":{"data":[{"price":1,"amount":0}]}}',
            "$.tick.data[0].amount",
        ),
        (b'{"ch":"market.btcusdt.depth.step0","tick":{"bids":[]}}', "one side"),
    ],
)
def test_frames_that_cannot_be_read(bad: bytes, reason: str) -> None:
    session = replay()
    assert session.receive(bad, 0) == ()
    (notice,) = session.take_notices()
    assert isinstance(notice, Unparsed)
    assert reason in notice.reason


def test_requests() -> None:
    session = StreamSession(Huobi(), RequestType.TICKER, 7, now_s=0.0)
    session.subscribe([Symbol("BTC", "USDT"), Symbol("1INCH", "USDT")], 0.0)
    assert session.take_outbox() == ['{"sub":"market.btcusdt.ticker","id":"1"}']
    session.on_time(0.1)
    assert session.take_outbox() == ['{"sub":"market.1inchusdt.ticker","id":"2"}']
    session.receive(frame("huobi", "subscribed"), 0)
    assert session.take_notices() == [Confirmed(("BTC-USDT",))]
    session.unsubscribe(["BTC-USDT"], 1.0)
    assert session.take_outbox() == ['{"unsub":"market.btcusdt.ticker","id":"3"}']


def test_a_refusal() -> None:
    session = session_for(RequestType.TICKER, "NOTHING-USDT", "BTC-USDT")
    session.receive(frame("huobi", "refused"), 0)
    (notice,) = session.take_notices()
    assert isinstance(notice, Refused)
    assert (notice.symbols, notice.code) == (("NOTHING-USDT",), ErrorCode.UNKNOWN_SYMBOL)
    assert session.active_symbols == ["BTC-USDT"]


def test_too_many_requests_refuse_nobody_and_are_made_again_later() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    session.receive('{"id":"1","status":"error","err-code":"bad-request","err-msg":"429 too many request"}', 0)
    (notice,) = session.take_notices()
    assert isinstance(notice, Complaint)
    assert notice.code is ErrorCode.RATE_LIMITED
    session.receive(frame("huobi", "ping"), 0)
    assert session.take_outbox() == ['{"pong":1492420473027}', '{"sub":"market.btcusdt.ticker","id":"2"}']


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTC-USDT", Symbol("BTC", "USDT")),
        ("btcusdt", Symbol("BTC", "USDT")),
        ("1inchusdt", Symbol("1INCH", "USDT")),
        ("tusdt", Symbol("T", "USDT")),
        ("ethbtc", Symbol("ETH", "BTC")),
        ("htxtrx", Symbol("HTX", "TRX")),
        ("usdthusd", Symbol("USDT", "HUSD")),
    ],
)
def test_symbols(text: str, symbol: Symbol) -> None:
    assert Huobi().parse_symbol(text) == symbol
    assert Huobi().parse_symbol(Huobi().spell_symbol(symbol)) == symbol


@pytest.mark.parametrize("text", ["", "usdt", "hb10", "BTC-", "btc_usdt"])
def test_no_symbols(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Huobi().parse_symbol(text)


def test_order_books_have_an_address_of_their_own() -> None:
    profile = Huobi()
    assert profile.url_for(RequestType.TICKER) == "wss://api.huobi.pro/ws"
    assert profile.url_for(RequestType.ORDERBOOK) == "wss://api.huobi.pro/feed"
    assert profile.url_for(RequestType.ORDERBOOK, "ws://127.0.0.1:1/ws") == "ws://127.0.0.1:1/feed"
    assert profile.url_for(RequestType.ORDERBOOK, "ws://127.0.0.1:1/feed") == "ws://127.0.0.1:1/feed"
