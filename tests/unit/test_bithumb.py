"""Bithumb: every field of the documented frames, symbols, requests, answers."""

import json
from decimal import Decimal

import pytest

from core.errors import ErrorCode
from core.exchanges.base import Complaint, Confirmed, Refused, Unparsed
from core.exchanges.bithumb import Bithumb
from core.identity import RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from core.session import StreamSession
from tests.frames import frame

RECEIVED_US = 1_793_604_700_000_123


def session_for(request_type: RequestType, *symbols: str, **options: object) -> StreamSession:
    profile = Bithumb()
    session = StreamSession(profile, request_type, 7, now_s=0.0, **options)
    session.subscribe([profile.parse_symbol(symbol) for symbol in symbols], 0.0)
    session.take_outbox()
    return session


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "ticker",
            Ticker(
                exchange="bithumb",
                region="korea",
                symbol="BTC-KRW",
                exchange_symbol="KRW-BTC",
                exchange_ts_ms=1793604674044,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=116208000.0,
                open=115640000.0,
                high=116470000.0,
                low=115570000.0,
                prev_close=115640000.0,
                change_rate=0.00491179,
                volume_24h=413.20519034,
                quote_volume_24h=47870015224.1903,
                bid=None,
                bid_quantity=None,
                ask=None,
                ask_quantity=None,
                stream_type=StreamType.SNAPSHOT,
            ),
        ),
        (
            "ticker.simple",
            Ticker(
                exchange="bithumb",
                region="korea",
                symbol="ETH-BTC",
                exchange_symbol="BTC-ETH",
                exchange_ts_ms=1793604601272,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=0.03182,
                open=0.03189,
                high=0.03231,
                low=0.0317,
                prev_close=0.03189,
                change_rate=-0.00219504,
                volume_24h=19771.65533322,
                quote_volume_24h=629.1340724,
                bid=None,
                bid_quantity=None,
                ask=None,
                ask_quantity=None,
                stream_type=StreamType.REALTIME,
            ),
        ),
    ],
)
def test_ticker_in_both_formats(name: str, expected: Ticker) -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW", "ETH-BTC")
    assert session.receive(frame("bithumb", name), RECEIVED_US) == (expected,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "trade",
            Trade(
                exchange="bithumb",
                region="korea",
                symbol="ETH-KRW",
                exchange_symbol="KRW-ETH",
                exchange_ts_ms=1793604680241,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=3715000.0,
                quantity=0.31970021,
                side=Side.BUY,
                trade_id="1079953210371761703",
            ),
        ),
        (
            "trade.simple",
            Trade(
                exchange="bithumb",
                region="korea",
                symbol="1INCH-KRW",
                exchange_symbol="KRW-1INCH",
                exchange_ts_ms=1793604681870,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=301.5,
                quantity=0.0009,
                side=Side.SELL,
                trade_id="1079953210371761811",
            ),
        ),
    ],
)
def test_trade_in_both_formats(name: str, expected: Trade) -> None:
    session = session_for(RequestType.TRADE, "ETH-KRW", "1INCH-KRW")
    assert session.receive(frame("bithumb", name), RECEIVED_US) == (expected,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "orderbook",  # times in microseconds, a side that is shorter, a level below the printed precision
            OrderBook(
                exchange="bithumb",
                region="korea",
                symbol="BTC-KRW",
                exchange_symbol="KRW-BTC",
                exchange_ts_ms=1793604690015,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                kind=BookKind.SNAPSHOT,
                bids=[Level(116204000.0, 0.0037), Level(116203000.0, 0.0025)],
                asks=[Level(116208000.0, 0.3313), Level(116209000.0, 0.0001)],
                first_update_id=None,
                last_update_id=None,
                checksum=None,
                valid=True,
            ),
        ),
        (
            "orderbook.simple",  # times in milliseconds, as formerly
            OrderBook(
                exchange="bithumb",
                region="korea",
                symbol="1INCH-KRW",
                exchange_symbol="KRW-1INCH",
                exchange_ts_ms=1793604691200,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                kind=BookKind.SNAPSHOT,
                bids=[Level(300.0, 900.5)],
                asks=[Level(301.0, 1200.0)],
                first_update_id=None,
                last_update_id=None,
                checksum=None,
                valid=True,
            ),
        ),
    ],
)
def test_orderbook_in_both_formats(name: str, expected: OrderBook) -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-KRW", "1INCH-KRW")
    assert session.receive(frame("bithumb", name), RECEIVED_US) == (expected,)


def test_what_is_missing_stays_none_and_zero_prices_are_none() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    (record,) = session.receive(b'{"type":"ticker","code":"KRW-BTC","trade_price":1,"low_price":0}', 1)
    assert isinstance(record, Ticker)
    assert record.price == 1.0
    assert record.exchange_ts_ms is record.open is record.low is record.volume_24h is None
    assert record.stream_type is StreamType.UNKNOWN


def test_what_was_never_traded_has_no_ticker() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    assert session.receive(b'{"type":"ticker","code":"KRW-BTC","trade_price":0}', 1) == ()
    assert session.ignored == {"ticker without a price": 1}
    assert session.take_notices() == [Confirmed(("BTC-KRW",))]
    assert session.parse_failed == 0


def test_a_trade_below_the_printed_precision_confirms_and_is_no_record() -> None:
    session = session_for(RequestType.TRADE, "BTC-KRW")
    assert session.receive(frame("bithumb", "trade.dust"), 1) == ()
    assert session.take_notices() == [Confirmed(("BTC-KRW",))]
    assert session.ignored == {"trade below the printed precision": 1}


@pytest.mark.parametrize("time", ["17936046900157", "179360469001573", "1793604690", "17936046900157331"])
def test_a_time_of_another_unit_is_an_error(time: str) -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-KRW")
    book = f'{{"type":"orderbook","code":"KRW-BTC","orderbook_units":[],"timestamp":{time}}}'
    assert session.receive(book, 1) == ()
    assert session.parse_failed == 1


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("KRW-BTC", "BTC-KRW"),
        ("BTC-KRW", "BTC-KRW"),
        ("btc-krw", "BTC-KRW"),
        ("KRW-USDT", "USDT-KRW"),
        ("BTC-ETH", "ETH-BTC"),
        ("ETH-BTC", "ETH-BTC"),
        ("T-KRW", "T-KRW"),
        ("krw-1inch", "1INCH-KRW"),
        ("KRW-1000SATS", "1000SATS-KRW"),
        ("KRW-" + "A" * 20, "A" * 20 + "-KRW"),
    ],
)
def test_symbols_are_read_in_both_spellings(text: str, canonical: str) -> None:
    symbol = Bithumb().parse_symbol(text)
    assert str(symbol) == canonical
    assert Bithumb().parse_symbol(Bithumb().spell_symbol(symbol)) == symbol


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("BTCKRW", "not a pair"),
        ("", "not a pair"),
        ("ETH-EUR", "no quote currency"),
        ("KRW-KRW", "twice"),
        ("KRW-", "1 to 20 characters"),
        ("KRW-" + "A" * 21, "1 to 20 characters"),
    ],
)
def test_other_symbols_are_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Bithumb().parse_symbol(text)


@pytest.mark.parametrize("wire_format", ["DEFAULT", "SIMPLE"])
def test_a_request_lists_all_active_codes(wire_format: str) -> None:
    session = StreamSession(Bithumb(wire_format), RequestType.TRADE, 42, now_s=0.0)
    session.subscribe([Symbol("BTC", "KRW"), Symbol("ETH", "KRW")], 0.0)
    session.subscribe([Symbol("XRP", "KRW")], 0.0)
    session.unsubscribe(["ETH-KRW"], 0.0)
    sent = [json.loads(message) for message in session.take_outbox()]
    assert [request[1]["codes"] for request in sent] == [
        ["KRW-BTC", "KRW-ETH"],
        ["KRW-BTC", "KRW-ETH", "KRW-XRP"],
        ["KRW-BTC", "KRW-XRP"],
    ]
    for request in sent:
        assert "42" in request[0]["ticket"]
        assert request[1]["type"] == "trade"
        assert request[2] == {"format": wire_format}
    session.unsubscribe(["BTC-KRW", "XRP-KRW"], 0.0)
    assert session.take_outbox() == []


def test_controls_and_types_without_records() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    assert session.receive(frame("bithumb", "status"), 1) == ()
    assert session.receive(frame("bithumb", "my_order"), 1) == ()
    assert (session.controls, session.ignored) == (1, {"type without records": 1})
    assert session.receive(frame("bithumb", "former"), 1) == ()
    assert session.ignored["frame of the former API"] == 1
    assert session.parse_failed == 0
    assert Bithumb().dialect(RequestType.TICKER, 1).probe() == "PING"


def test_an_unknown_code_is_refused_by_silence_alone() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW", "NOPE-KRW")
    session.receive(frame("bithumb", "ticker"), 1)
    session.on_time(1.0)
    assert session.take_notices() == [Confirmed(("BTC-KRW",))]
    for now_s in range(2, 15):
        session.receive(frame("bithumb", "ticker"), 2)
        session.on_time(float(now_s))
    (refused,) = session.take_notices()
    assert isinstance(refused, Refused)
    assert (refused.symbols, refused.code) == (("NOPE-KRW",), ErrorCode.UNKNOWN_SYMBOL)
    assert session.active_symbols == ["BTC-KRW"]


def test_an_error_refuses_what_is_certain() -> None:
    named = session_for(RequestType.TICKER, "BTC-KRW", "NOPE-KRW")
    named.receive('{"error":{"name":"INVALID_PARAM","message":"KRW-NOPE 은 지원하지 않습니다."}}', 1)
    (refused,) = named.take_notices()
    assert isinstance(refused, Refused)
    assert (refused.symbols, refused.code) == (("NOPE-KRW",), ErrorCode.SUBSCRIBE_REJECTED)
    alone = session_for(RequestType.TICKER, "NOPE-KRW")
    alone.receive(frame("bithumb", "error"), 1)
    assert [type(notice) for notice in alone.take_notices()] == [Refused]
    several = session_for(RequestType.TICKER, "BTC-KRW", "NOPE-KRW")
    several.receive(frame("bithumb", "error"), 1)
    assert [type(notice) for notice in several.take_notices()] == [Complaint]
    assert several.active_symbols == ["BTC-KRW", "NOPE-KRW"]


@pytest.mark.parametrize(
    ("name", "code"),
    [("TOO_MANY_REQUESTS", ErrorCode.RATE_LIMITED), ("NO_TICKET", ErrorCode.SUBSCRIBE_REJECTED)],
)
def test_errors_about_the_connection_are_complaints(name: str, code: ErrorCode) -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    session.receive(json.dumps({"error": {"name": name, "message": "m"}}), 1)
    assert session.take_notices() == [Complaint(code, f"Bithumb: {name}: m")]
    assert session.active_symbols == ["BTC-KRW"]


def test_the_snapshot_of_a_known_trade_is_no_second_record_and_still_confirms() -> None:
    session = session_for(RequestType.TRADE, "ETH-KRW")
    trade = frame("bithumb", "trade")
    again = trade.replace(b"REALTIME", b"SNAPSHOT")
    assert len(session.receive(trade, 1)) == 1
    assert session.take_notices() == [Confirmed(("ETH-KRW",))]
    session.unsubscribe(["ETH-KRW"], 1.0)
    session.subscribe([Symbol("ETH", "KRW")], 1.0)
    assert session.receive(again, 3) == ()
    assert session.ignored == {"snapshot of a trade already seen": 1}
    assert session.take_notices() == [Confirmed(("ETH-KRW",))]
    (record,) = session.receive(again.replace(b"761703", b"761704"), 4)
    assert (record.trade_id, record.sequence) == ("1079953210371761704", 2)


@pytest.mark.parametrize("name", ["trade", "trade.simple"])
def test_exact_numbers_are_those_of_the_text(name: str) -> None:
    session = session_for(RequestType.TRADE, "ETH-KRW", "1INCH-KRW", exact=True)
    (record,) = session.receive(frame("bithumb", name), 1)
    assert isinstance(record, Trade)
    text = frame("bithumb", name).decode()
    assert record.quantity_exact in (Decimal("0.31970021"), Decimal("0.0009"))
    assert str(record.quantity_exact) in text
    assert str(record.price_exact) in text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b'"trade_price":3715000', b'"trade_price":-1'), "trade_price"),
        ((b'"trade_price":3715000', b'"trade_price":0'), "trade_price"),
        ((b'"trade_price":3715000', b'"trade_price":1e999'), "out of range"),
        ((b'"trade_price":3715000,', b""), "missing required field `trade_price`"),
        ((b'"trade_volume":0.31970021', b'"trade_volume":-0.1'), "trade_volume"),
        ((b'"trade_timestamp":1793604680241', b'"trade_timestamp":1793604680'), "trade_timestamp"),
        ((b'"code":"KRW-ETH"', b'"code":7'), "code"),
        ((b'"type":"trade"', b'"kind":"trade"'), "neither a type"),
    ],
)
def test_values_that_make_no_sense_are_unparsed(change: tuple[bytes, bytes], reason: str) -> None:
    session = session_for(RequestType.TRADE, "ETH-KRW")
    broken = frame("bithumb", "trade").replace(*change)
    assert session.receive(broken, 1) == ()
    assert session.parse_failed == 1
    (unparsed,) = session.take_notices()
    assert isinstance(unparsed, Unparsed)
    assert reason in unparsed.reason
