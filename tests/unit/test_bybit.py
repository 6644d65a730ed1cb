"""Bybit: every field of the documented frames, symbols, requests, answers, books."""

import json
from decimal import Decimal

import pytest

from core.errors import ErrorCode
from core.exchanges.base import BookSettings, Complaint, Confirmed, Refused, SymbolBroken, SymbolWhole, Unparsed
from core.exchanges.bybit import Bybit
from core.identity import RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from core.session import StreamSession
from tests.frames import frame

RECEIVED_US = 1_793_604_700_000_123


def session_for(request_type: RequestType, *symbols: str, exact: bool = False) -> StreamSession:
    profile = Bybit()
    session = StreamSession(profile, request_type, 7, now_s=0.0, exact=exact)
    session.subscribe([profile.parse_symbol(symbol) for symbol in symbols], 0.0)
    session.take_outbox()
    return session


def replay() -> StreamSession:
    return StreamSession(Bybit(), RequestType.ORDERBOOK, 7, now_s=0.0, accept_all=True)


def test_ticker() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    assert session.receive(frame("bybit", "ticker").decode(), RECEIVED_US) == (
        Ticker(
            exchange="bybit",
            region="asia",
            symbol="BTC-USDT",
            exchange_symbol="BTCUSDT",
            exchange_ts_ms=1673853746003,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            price=21109.77,
            open=20704.93,
            high=21426.99,
            low=20575.0,
            prev_close=20704.93,
            change_rate=0.0196,
            volume_24h=6780.866843,
            quote_volume_24h=141946527.22907118,
            bid=None,
            bid_quantity=None,
            ask=None,
            ask_quantity=None,
            stream_type=StreamType.SNAPSHOT,
        ),
    )


def test_ticker_with_texts_that_are_empty_or_zero() -> None:
    session = session_for(RequestType.TICKER, "1inch-usdt")
    (record,) = session.receive(frame("bybit", "ticker.quiet"), RECEIVED_US)
    assert isinstance(record, Ticker)
    assert (record.symbol, record.price, record.open) == ("1INCH-USDT", 0.2114, 0.2114)
    assert (record.high, record.low, record.change_rate, record.volume_24h) == (None, None, 0.0, 0.0)


def test_trades() -> None:
    session = session_for(RequestType.TRADE, "BTC-USDT")
    assert session.receive(frame("bybit", "trade"), RECEIVED_US) == [
        Trade(
            exchange="bybit",
            region="asia",
            symbol="BTC-USDT",
            exchange_symbol="BTCUSDT",
            exchange_ts_ms=1672304486865,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            price=16578.5,
            quantity=0.001,
            side=Side.BUY,
            trade_id="20f43950-d8dd-5b31-9112-a178eb6023af",
        ),
        Trade(
            exchange="bybit",
            region="asia",
            symbol="BTC-USDT",
            exchange_symbol="BTCUSDT",
            exchange_ts_ms=1672304486866,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=2,
            price=16578.49,
            quantity=0.25,
            side=Side.SELL,
            trade_id="2290000000061666327",
        ),
    ]


def test_exact_numbers() -> None:
    session = session_for(RequestType.TRADE, "BTC-USDT", exact=True)
    trades = session.receive(frame("bybit", "trade"), RECEIVED_US)
    assert [(t.price_exact, t.quantity_exact) for t in trades if isinstance(t, Trade)] == [
        (Decimal("16578.50"), Decimal("0.001")),
        (Decimal("16578.49"), Decimal("0.25")),
    ]
    session = session_for(RequestType.TICKER, "BTC-USDT", exact=True)
    (ticker,) = session.receive(frame("bybit", "ticker"), RECEIVED_US)
    assert isinstance(ticker, Ticker)
    assert ticker.price_exact == Decimal("21109.77")


def test_order_book() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USDT")
    (snapshot,) = session.receive(frame("bybit", "orderbook"), RECEIVED_US)
    assert snapshot == OrderBook(
        exchange="bybit",
        region="asia",
        symbol="BTC-USDT",
        exchange_symbol="BTCUSDT",
        exchange_ts_ms=1672304484978,
        received_ts_us=RECEIVED_US,
        session_id=7,
        sequence=1,
        kind=BookKind.SNAPSHOT,
        bids=[Level(16493.5, 0.006), Level(16493.0, 0.1)],
        asks=[Level(16611.0, 0.029), Level(16612.0, 0.213)],
        first_update_id=None,
        last_update_id=18521288,
        checksum=None,
        valid=True,
    )
    (delta,) = session.receive(frame("bybit", "orderbook.delta"), RECEIVED_US + 1)
    assert delta == OrderBook(
        exchange="bybit",
        region="asia",
        symbol="BTC-USDT",
        exchange_symbol="BTCUSDT",
        exchange_ts_ms=1687940967466,
        received_ts_us=RECEIVED_US + 1,
        session_id=7,
        sequence=2,
        kind=BookKind.DELTA,
        bids=[Level(16493.0, 0.0), Level(16492.5, 0.2)],
        asks=[Level(16611.0, 2.5), Level(16612.0, 0.0)],
        first_update_id=None,
        last_update_id=18521289,
        checksum=None,
        valid=True,
    )


def delta_with(update_id: int, kind: str = "delta") -> bytes:
    text = json.loads(frame("bybit", "orderbook.delta"))
    text["data"]["u"], text["type"] = update_id, kind
    return json.dumps(text).encode()


def test_a_lost_update_is_told_once_and_only_its_symbol_subscribed_anew() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USDT", "ETH-USDT")
    session.receive(frame("bybit", "orderbook"), 0)
    session.take_notices()
    (first,) = session.receive(delta_with(18521290), 1)
    (second,) = session.receive(delta_with(18521291), 2)
    assert isinstance(first, OrderBook)
    assert isinstance(second, OrderBook)
    assert (first.valid, second.valid) == (False, False)
    (broken,) = session.take_notices()
    assert isinstance(broken, SymbolBroken)
    assert (broken.symbol, broken.code) == ("BTC-USDT", ErrorCode.SEQUENCE_GAP)
    session.on_time(1.0)
    assert [json.loads(text) for text in session.take_outbox()] == [
        {"req_id": "2", "op": "unsubscribe", "args": ["orderbook.1000.BTCUSDT"]},
        {"req_id": "3", "op": "subscribe", "args": ["orderbook.1000.BTCUSDT"]},
    ]
    (whole,) = session.receive(frame("bybit", "orderbook"), 3)
    assert isinstance(whole, OrderBook)
    assert whole.valid
    assert session.take_notices() == [SymbolWhole("BTC-USDT", 1)]


def test_the_first_update_after_a_restart_is_a_whole_book() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USDT")
    session.receive(frame("bybit", "orderbook"), 0)
    (record,) = session.receive(delta_with(1), 1)
    assert isinstance(record, OrderBook)
    assert (record.kind, record.valid, record.last_update_id) == (BookKind.SNAPSHOT, True, 1)
    (record,) = session.receive(delta_with(2), 2)
    assert isinstance(record, OrderBook)
    assert record.valid


def test_a_level_beyond_the_depth_is_forgotten() -> None:
    profile = Bybit()
    session = StreamSession(profile, RequestType.ORDERBOOK, 7, now_s=0.0, books=BookSettings(depth=40))
    session.subscribe([Symbol("BTC", "USDT")], 0.0)
    assert json.loads(session.take_outbox()[0])["args"] == ["orderbook.50.BTCUSDT"]
    bids = [[str(1000 - i), "1"] for i in range(50)]
    text = {"topic": "orderbook.50.BTCUSDT", "type": "snapshot", "ts": 1672304484978}
    data = {"s": "BTCUSDT", "b": bids, "a": [], "u": 5, "seq": 1}
    session.receive(json.dumps({**text, "data": data}), 0)
    data = {"s": "BTCUSDT", "b": [["1001", "1"]], "a": [], "u": 6, "seq": 2}
    session.receive(json.dumps({**text, "type": "delta", "data": data}), 1)
    (track,) = session.tracks
    assert track.book is not None
    best = track.book.book.bids.best(100)
    assert (len(best), best[0].price, best[-1].price) == (50, 1001.0, 952.0)


def test_a_replay_keeps_the_deepest_book_and_reads_all_kinds() -> None:
    session = replay()
    names = ["orderbook.fifty", "orderbook", "orderbook.fifty", "orderbook.one", "ticker", "trade"]
    records = [record for name in names for record in session.receive(frame("bybit", name), 0)]
    assert [(type(r).__name__, r.exchange_symbol, r.sequence) for r in records] == [
        ("OrderBook", "BTCUSDT", 1),
        ("OrderBook", "BTCUSDT", 2),
        ("OrderBook", "ETHUSDT", 1),
        ("Ticker", "BTCUSDT", 1),
        ("Trade", "BTCUSDT", 1),
        ("Trade", "BTCUSDT", 2),
    ]
    assert session.ignored == {"book of another depth": 1}
    assert session.parse_failed == 0


def test_other_frames() -> None:
    session = replay()
    for name in ("subscribed", "pong", "kline"):
        assert session.receive(frame("bybit", name), 0) == ()
    option = (
        b'{"topic":"tickers.BTC-6JAN23-17500-C","ts":1672917511074,"type":"snapshot","data":{"symbol":"x"}}'
    )
    assert session.receive(option, 0) == ()
    assert (session.controls, session.parse_failed) == (2, 0)
    assert session.ignored == {"topic without records": 1, "symbol of another market": 1}


@pytest.mark.parametrize(
    ("message", "controls", "reason"),
    [
        # Answers and heartbeats, of the options' stream and of former versions too.
        (
            '{"success":true,"ret_msg":"","conn_id":"a","request":{"op":"subscribe","args":["trade.BTCUSD"]}}',
            1,
            None,
        ),
        ('{"success":true,"conn_id":"a","data":{"failTopics":[]},"type":"COMMAND_RESP"}', 1, None),
        ('{"op":"pong","args":["1672916271846"],"conn_id":"a"}', 1, None),
        ('{"pong":1661741630642}', 1, None),
        ('{"topic":"kline.1.BTCUSDT","type":"snapshot","data":[]}', 0, "topic without records"),
        ('{"topic":"orderbook.full.BTCUSDT","type":"delta","data":{"u":2}}', 0, "topic without records"),
        ('{"topic":"orderbook.rpi.BTCUSDT","type":"delta","data":{"u":2}}', 0, "topic without records"),
        ('{"topic":"trade","params":{"symbol":"BTCUSDT"},"data":[{"v":"1"}]}', 0, "topic without records"),
        ('{"topic":"orderBookL2_25.BTCUSDT","type":"delta","data":{}}', 0, "topic without records"),
        (
            '{"topic":"tickers.BTCUSDT","type":"delta","data":{"t":1,"s":"BTCUSDT","c":"1"}}',
            0,
            "frame of a former version",
        ),
        (
            '{"topic":"orderbook.40.BTCUSDT","data":{"t":1,"s":"BTCUSDT","b":[],"a":[]}}',
            0,
            "frame of a former version",
        ),
        (
            '{"topic":"tickers.BTCUSDT","type":"delta","ts":1673853746003,"data":{"symbol":"BTCUSDT","fundingRate":"0.01"}}',
            0,
            "ticker without a price",
        ),
    ],
)
def test_what_brings_no_record(message: str, controls: int, reason: str | None) -> None:
    session = replay()
    assert not session.receive(message, 0)
    assert (session.controls, session.parse_failed) == (controls, 0)
    assert session.ignored == ({} if reason is None else {reason: 1})


def test_the_first_level_again_without_a_change_is_whole() -> None:
    session = replay()
    for _ in range(2):
        (record,) = session.receive(frame("bybit", "orderbook.one"), 0)
        assert isinstance(record, OrderBook)
        assert (record.kind, record.valid) == (BookKind.SNAPSHOT, True)
    assert session.take_notices() == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{}", "neither a topic"),
        (b"[]", "Expected `object`"),
        (b'{"topic":"tickers.BTCUSDT","data":{"symbol":"BTCUSDT","lastPrice":"-1"}}', "$.data.lastPrice"),
        (b'{"topic":"publicTrade.BTCUSDT","data":[{"p":"1","v":"0","s":"BTCUSDT"}]}', "$.data[0].v"),
        (b'{"topic":"orderbook.50.BTCUSDT","type":"news","data":{}}', "$.type"),
        (b'{"topic":"orderbook.50.BTCUSDT","type":"delta","data":{"s":"BTCUSDT","b":[],"a":[]}}', "`u`"),
        (b'{"topic":"publicTrade.BTCUSDT","data":[{"p":"1","v":"1","s":"BTCUSDT","T":9}]}', "$.data[0].T"),
    ],
)
def test_frames_that_cannot_be_read(bad: bytes, reason: str) -> None:
    session = replay()
    assert session.receive(bad, 0) == ()
    (notice,) = session.take_notices()
    assert isinstance(notice, Unparsed)
    assert reason in notice.reason


def test_requests() -> None:
    profile = Bybit()
    session = StreamSession(profile, RequestType.TICKER, 7, now_s=0.0)
    session.subscribe([Symbol(f"COIN{i}", "USDT") for i in range(12)], 0.0)
    first, second = [json.loads(text) for text in session.take_outbox()]
    assert first == {"req_id": "1", "op": "subscribe", "args": [f"tickers.COIN{i}USDT" for i in range(10)]}
    assert second == {"req_id": "2", "op": "subscribe", "args": ["tickers.COIN10USDT", "tickers.COIN11USDT"]}
    session.receive(frame("bybit", "subscribed"), 0)
    assert session.take_notices() == [Confirmed(tuple(f"COIN{i}-USDT" for i in range(10)))]
    session.unsubscribe(["COIN11-USDT"], 1.0)
    (message,) = session.take_outbox()
    assert json.loads(message) == {"req_id": "3", "op": "unsubscribe", "args": ["tickers.COIN11USDT"]}
    session.on_time(20.0)
    assert session.take_outbox() == ['{"op":"ping"}']


def refusal(request_id: str, message: str) -> str:
    return json.dumps({"success": False, "ret_msg": message, "req_id": request_id, "op": "subscribe"})


def test_a_refusal_that_names_a_symbol_asks_for_the_others_again() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT", "NOTHING-USDT", "ETH-USDT")
    session.receive(frame("bybit", "refused"), 0)
    (notice,) = session.take_notices()
    assert isinstance(notice, Refused)
    assert (notice.symbols, notice.code) == (("NOTHING-USDT",), ErrorCode.UNKNOWN_SYMBOL)
    (message,) = session.take_outbox()
    assert json.loads(message) == {
        "req_id": "2",
        "op": "subscribe",
        "args": ["tickers.BTCUSDT", "tickers.ETHUSDT"],
    }
    session.receive(refusal("2", "error:already subscribed,topic:tickers.BTCUSDT"), 1)
    assert session.take_notices() == [Confirmed(("BTC-USDT",))]
    assert json.loads(session.take_outbox()[0])["args"] == ["tickers.ETHUSDT"]
    assert session.active_symbols == ["BTC-USDT", "ETH-USDT"]


def test_a_refusal_that_names_nobody_is_narrowed_down() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT", "NOTHING-USDT")
    session.receive(refusal("1", "error: something is wrong"), 0)
    assert session.take_notices() == []
    asked = [json.loads(text) for text in session.take_outbox()]
    assert [request["args"] for request in asked] == [["tickers.BTCUSDT"], ["tickers.NOTHINGUSDT"]]
    session.receive(refusal("3", "error: something is wrong"), 0)
    (notice,) = session.take_notices()
    assert isinstance(notice, Refused)
    assert notice.symbols == ("NOTHING-USDT",)


def test_too_many_requests_refuse_nobody_and_are_made_again_later() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    session.receive(refusal("1", "Too many visits. Exceeded the API Rate Limit."), 0)
    (notice,) = session.take_notices()
    assert isinstance(notice, Complaint)
    assert notice.code is ErrorCode.RATE_LIMITED
    assert session.take_outbox() == []
    session.receive(frame("bybit", "pong"), 1)
    assert json.loads(session.take_outbox()[0])["args"] == ["tickers.BTCUSDT"]
    assert session.active_symbols == ["BTC-USDT"]


def test_what_was_given_up_meanwhile_is_not_asked_for_again() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT", "ETH-USDT")
    session.receive(refusal("1", "Too many visits. Exceeded the API Rate Limit."), 0)
    session.unsubscribe(["BTC-USDT"], 1.0)
    session.take_outbox()
    session.receive(frame("bybit", "pong"), 2)
    assert [json.loads(text)["args"] for text in session.take_outbox()] == [["tickers.ETHUSDT"]]


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTC-USDT", Symbol("BTC", "USDT")),
        ("btcusdt", Symbol("BTC", "USDT")),
        ("1INCHUSDT", Symbol("1INCH", "USDT")),
        ("1000SATSUSDT", Symbol("1000SATS", "USDT")),
        ("TUSDT", Symbol("T", "USDT")),
        ("T-USDT", Symbol("T", "USDT")),
        ("USDCUSDT", Symbol("USDC", "USDT")),
        ("USDTBRL", Symbol("USDT", "BRL")),
        ("ETHBTC", Symbol("ETH", "BTC")),
        ("BTCEUR", Symbol("BTC", "EUR")),
    ],
)
def test_symbols(text: str, symbol: Symbol) -> None:
    assert Bybit().parse_symbol(text) == symbol
    assert Bybit().parse_symbol(Bybit().spell_symbol(symbol)) == symbol


@pytest.mark.parametrize("text", ["", "USDT", "BTC", "BTC-", "BTC_USDT", "BTC-USD-T"])
def test_no_symbols(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Bybit().parse_symbol(text)
