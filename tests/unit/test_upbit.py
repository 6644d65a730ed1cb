"""Upbit: every field of the documented frames, symbols, requests, answers."""

import json
from decimal import Decimal

import pytest

from core.errors import ErrorCode
from core.exchanges.base import Complaint, Confirmed, Refused, Unparsed
from core.exchanges.upbit import Upbit
from core.identity import RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from core.session import StreamSession
from tests.frames import frame

RECEIVED_US = 1_793_604_700_000_123


def session_for(request_type: RequestType, *symbols: str, **options: object) -> StreamSession:
    profile = Upbit()
    session = StreamSession(profile, request_type, 7, now_s=0.0, **options)
    session.subscribe([profile.parse_symbol(symbol) for symbol in symbols], 0.0)
    session.take_outbox()
    return session


def test_ticker_default_format() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    assert session.receive(frame("upbit", "ticker"), RECEIVED_US) == (
        Ticker(
            exchange="upbit",
            region="korea",
            symbol="BTC-KRW",
            exchange_symbol="KRW-BTC",
            exchange_ts_ms=1793604674428,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            price=143102000.0,
            open=142305000.0,
            high=143880000.0,
            low=141990000.0,
            prev_close=142297000.0,
            change_rate=0.0056571818,
            volume_24h=1418.53701466,
            quote_volume_24h=202718406215.11074,
            bid=None,
            bid_quantity=None,
            ask=None,
            ask_quantity=None,
            stream_type=StreamType.SNAPSHOT,
        ),
    )


def test_ticker_simple_format_on_a_session_that_asked_for_the_default() -> None:
    session = session_for(RequestType.TICKER, "XRP-BTC")
    (record,) = session.receive(frame("upbit", "ticker.simple"), RECEIVED_US)
    assert record == Ticker(
        exchange="upbit",
        region="korea",
        symbol="XRP-BTC",
        exchange_symbol="BTC-XRP",
        exchange_ts_ms=1793604601160,
        received_ts_us=RECEIVED_US,
        session_id=7,
        sequence=1,
        price=0.00002243,
        open=0.00002251,
        high=0.00002293,
        low=0.0000224,
        prev_close=0.00002251,
        change_rate=-0.003553976,
        volume_24h=111842.7331,
        quote_volume_24h=2.51830177,
        bid=None,
        bid_quantity=None,
        ask=None,
        ask_quantity=None,
        stream_type=StreamType.REALTIME,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "trade",
            Trade(
                exchange="upbit",
                region="korea",
                symbol="ETH-KRW",
                exchange_symbol="KRW-ETH",
                exchange_ts_ms=1793604680241,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=5021000.0,
                quantity=0.31970021,
                side=Side.BUY,
                trade_id="17936046802410000",
            ),
        ),
        (
            "trade.simple",
            Trade(
                exchange="upbit",
                region="korea",
                symbol="BTC-USDT",
                exchange_symbol="USDT-BTC",
                exchange_ts_ms=1793604681870,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=103417.512,
                quantity=0.001,
                side=Side.SELL,
                trade_id="17936046818700000",
            ),
        ),
    ],
)
def test_trade(name: str, expected: Trade) -> None:
    session = session_for(RequestType.TRADE, "ETH-KRW", "BTC-USDT")
    assert session.receive(frame("upbit", name), RECEIVED_US) == (expected,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "orderbook",
            OrderBook(
                exchange="upbit",
                region="korea",
                symbol="BTC-KRW",
                exchange_symbol="KRW-BTC",
                exchange_ts_ms=1793604690015,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                kind=BookKind.SNAPSHOT,
                bids=[Level(143101000.0, 0.75), Level(143100000.0, 2.0), Level(143090000.0, 1.5)],
                asks=[Level(143110000.0, 0.3), Level(143119000.0, 0.8)],
                first_update_id=None,
                last_update_id=None,
                checksum=None,
                valid=True,
            ),
        ),
        (
            "orderbook.simple",
            OrderBook(
                exchange="upbit",
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
def test_orderbook(name: str, expected: OrderBook) -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-KRW", "1INCH-KRW")
    assert session.receive(frame("upbit", name), RECEIVED_US) == (expected,)


def test_what_is_missing_stays_none_and_zero_prices_are_none() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    (record,) = session.receive(b'{"type":"ticker","code":"KRW-BTC","trade_price":1,"low_price":0}', 1)
    assert isinstance(record, Ticker)
    assert record.price == 1.0
    assert record.exchange_ts_ms is record.open is record.low is record.volume_24h is None
    assert record.stream_type is StreamType.UNKNOWN


def test_a_list_is_read_item_by_item() -> None:
    session = session_for(RequestType.TICKER, "SOL-KRW", exact=True)
    assert session.receive(frame("upbit", "ticker.list"), RECEIVED_US) == [
        Ticker(
            exchange="upbit",
            region="korea",
            symbol="SOL-KRW",
            exchange_symbol="KRW-SOL",
            exchange_ts_ms=1793604721402,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            price=255100.0,
            open=251500.0,
            high=256200.0,
            low=248000.0,
            prev_close=251500.0,
            change_rate=0.0143141153,
            volume_24h=203118.77,
            quote_volume_24h=51270004110.0,
            bid=None,
            bid_quantity=None,
            ask=None,
            ask_quantity=None,
            stream_type=StreamType.SNAPSHOT,
            price_exact=Decimal("2.551E5"),
        )
    ]


def test_a_list_of_several_types_and_levels() -> None:
    session = session_for(RequestType.TRADE, accept_all=True)
    common = {
        "exchange": "upbit",
        "region": "korea",
        "symbol": "SOL-KRW",
        "exchange_symbol": "KRW-SOL",
        "received_ts_us": RECEIVED_US,
        "session_id": 7,
    }
    assert session.receive(frame("upbit", "mixed.list.simple"), RECEIVED_US) == [
        OrderBook(
            **common,
            exchange_ts_ms=1793604722010,
            sequence=1,
            kind=BookKind.SNAPSHOT,
            bids=[Level(255000.0, 77.1), Level(254900.0, 0.025)],
            asks=[Level(255200.0, 310.2)],
            valid=True,
        ),
        Trade(
            **common,
            exchange_ts_ms=1793604722085,
            sequence=1,
            price=255100.0,
            quantity=1.2e-07,
            side=Side.SELL,
            trade_id="17936047220850001",
        ),
        Trade(
            **common,
            exchange_ts_ms=1793604722086,
            sequence=2,
            price=255200.0,
            quantity=0.5,
            side=Side.BUY,
            trade_id="17936047220860000",
        ),
    ]
    assert (session.controls, session.ignored, session.parse_failed) == (0, {}, 0)


def test_exact_numbers_of_a_list_are_those_of_its_records() -> None:
    session = session_for(RequestType.TRADE, "SOL-KRW", exact=True)
    records = session.receive(frame("upbit", "mixed.list.simple"), 1)
    assert [(r.price_exact, r.quantity_exact, r.sequence) for r in records] == [
        (Decimal("2.551E5"), Decimal("1.2E-7"), 1),
        (Decimal("2.552E5"), Decimal("0.5"), 2),
    ]


@pytest.mark.parametrize(
    ("items", "controls", "ignored", "failed"),
    [
        ("[]", 0, {"empty list": 1}, 0),
        ('[{"status":"UP"},{"method":"LIST_SUBSCRIPTIONS","result":[]}]', 1, {}, 0),
        ('[{"type":"candle.1s"},{"type":"candle.1m"}]', 0, {"type without records": 1}, 0),
        (
            ' [{"type":"ticker","code":"KRW-BTC","trade_price":1},{"type":"ticker","trade_price":1}]',
            0,
            {},
            1,
        ),
        ('[{"type":"ticker","code":"KRW-BTC","trade_price":1},7]', 0, {}, 1),
        ('[{"type":"ticker","code":"KRW-BTC","trade_price":1},{"type":"ticker","code":"BTC"}]', 0, {}, 1),
        ('[[{"type":"ticker","code":"KRW-BTC","trade_price":1}]]', 0, {}, 1),
    ],
)
def test_a_list_is_one_frame(items: str, controls: int, ignored: dict[str, int], failed: int) -> None:
    session = session_for(RequestType.TICKER, accept_all=True)
    assert session.receive(items, 1) == ()
    assert (session.controls, session.ignored, session.parse_failed) == (controls, ignored, failed)
    (record,) = session.receive(b'{"type":"ticker","code":"KRW-BTC","trade_price":1}', 2)
    assert record.sequence == 1


def test_an_error_in_a_list_is_an_error() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW", "NOPE-KRW")
    session.receive(frame("upbit", "error.list"), 1)
    (refused,) = session.take_notices()
    assert isinstance(refused, Refused)
    assert refused.symbols == ("NOPE-KRW",)
    assert session.controls == 1


@pytest.mark.parametrize(
    ("request_type", "name", "reason"),
    [
        (RequestType.TICKER, "ticker.preview", "ticker without a price"),
        (RequestType.TRADE, "trade.never", "snapshot before any trade"),
    ],
)
def test_what_was_never_traded_is_listed_and_gives_no_record(
    request_type: RequestType, name: str, reason: str
) -> None:
    session = session_for(request_type, "NEW-KRW")
    assert session.receive(frame("upbit", name), 1) == ()
    assert session.ignored == {reason: 1}
    assert session.take_notices() == [Confirmed(("NEW-KRW",))]


def test_a_book_is_without_the_zeros_that_fill_it_up() -> None:
    session = session_for(RequestType.ORDERBOOK, "NEW-BTC")
    (book,) = session.receive(frame("upbit", "orderbook.padded"), 1)
    assert isinstance(book, OrderBook)
    assert (book.bids, book.asks, book.symbol) == ([Level(1.2e-07, 25000.0)], [], "NEW-BTC")
    (book,) = session.receive(b'{"type":"orderbook","code":"BTC-NEW","orderbook_units":null}', 2)
    assert (book.bids, book.asks, book.exchange_ts_ms, book.valid) == ([], [], None, True)


def test_numbers_as_text_blank_fields_and_ids_of_any_length() -> None:
    session = session_for(RequestType.TRADE, "ETH-KRW")
    odd = frame("upbit", "trade").replace(b'"trade_price":5021000.0', b'"trade_price":"5.021E6"')
    odd = odd.replace(b"17936046802410000", b"98765432109876543210")
    odd = odd.replace(b'"trade_timestamp":1793604680241', b'"trade_timestamp":""').replace(b'"BID"', b'""')
    (record,) = session.receive(odd, 1)
    assert isinstance(record, Trade)
    assert (record.price, record.trade_id, record.side) == (5021000.0, "98765432109876543210", Side.UNKNOWN)
    assert record.exchange_ts_ms is None
    session.receive(odd.replace(b'"trade_timestamp":""', b'"trade_timestamp":0'), 2)
    assert session.parse_failed == 0


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("KRW-BTC", "BTC-KRW"),
        ("BTC-KRW", "BTC-KRW"),
        ("btc-krw", "BTC-KRW"),
        ("USDT-KRW", "USDT-KRW"),
        ("KRW-USDT", "USDT-KRW"),
        ("BTC-USDT", "BTC-USDT"),
        ("USDT-BTC", "BTC-USDT"),
        ("BTC-XRP", "XRP-BTC"),
        ("XRP-BTC", "XRP-BTC"),
        ("T-KRW", "T-KRW"),
        ("krw-1inch", "1INCH-KRW"),
    ],
)
def test_symbols_are_read_in_both_spellings(text: str, canonical: str) -> None:
    symbol = Upbit().parse_symbol(text)
    assert str(symbol) == canonical
    assert Upbit().parse_symbol(Upbit().spell_symbol(symbol)) == symbol


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("BTCKRW", "not a pair"),
        ("", "not a pair"),
        ("ETH-EUR", "no quote currency"),
        ("KRW-KRW", "twice"),
        ("KRW-", "1 to 20 characters"),
        ("KRW-BTC-X", "1 to 20 characters"),
        ("KRW-" + "A" * 21, "1 to 20 characters"),
        ("KRW-ＢＴＣ", "1 to 20 characters"),
        ("KRW-BTC\n", "1 to 20 characters"),
    ],
)
def test_other_symbols_are_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Upbit().parse_symbol(text)


@pytest.mark.parametrize("wire_format", ["DEFAULT", "SIMPLE"])
def test_a_request_lists_all_active_codes(wire_format: str) -> None:
    profile = Upbit(wire_format)
    session = StreamSession(profile, RequestType.TRADE, 42, now_s=0.0)
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
    assert session.receive(frame("upbit", "status"), 1) == ()
    assert session.receive(frame("upbit", "subscriptions"), 1) == ()
    assert session.receive(frame("upbit", "subscriptions.simple"), 1) == ()
    assert session.controls == 3
    assert session.receive(frame("upbit", "candle"), 1) == ()
    assert session.ignored == {"type without records": 1}
    assert session.parse_failed == 0


def test_an_error_that_names_a_waiting_code_refuses_it_alone() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW", "NOPE-KRW")
    session.receive(frame("upbit", "error"), 1)
    (refused,) = session.take_notices()
    assert isinstance(refused, Refused)
    assert refused.symbols == ("NOPE-KRW",)
    assert refused.code is ErrorCode.SUBSCRIBE_REJECTED
    assert "INVALID_PARAM" in refused.message
    assert session.active_symbols == ["BTC-KRW"]


def test_an_error_that_names_nothing_refuses_only_a_single_waiting_symbol() -> None:
    error = b'{"error":{"name":"NO_CODES","message":"no codes"}}'
    alone = session_for(RequestType.TICKER, "NOPE-KRW")
    alone.receive(error, 1)
    assert [type(notice) for notice in alone.take_notices()] == [Refused]
    several = session_for(RequestType.TICKER, "BTC-KRW", "NOPE-KRW")
    several.receive(error, 1)
    (complaint,) = several.take_notices()
    assert complaint == Complaint(ErrorCode.SUBSCRIBE_REJECTED, "Upbit: NO_CODES: no codes")
    assert several.active_symbols == ["BTC-KRW", "NOPE-KRW"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("TOO_MANY_REQUESTS", ErrorCode.RATE_LIMITED),
        ("too_many_requests", ErrorCode.RATE_LIMITED),
        ("INVALID_AUTH", ErrorCode.SUBSCRIBE_REJECTED),
        (404, ErrorCode.SUBSCRIBE_REJECTED),
        (None, ErrorCode.SUBSCRIBE_REJECTED),
    ],
)
def test_errors_about_the_connection_are_complaints(name: str | int | None, code: ErrorCode) -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    session.receive(json.dumps({"error": {"name": name, "message": "m"}}), 1)
    (complaint,) = session.take_notices()
    assert isinstance(complaint, Complaint)
    assert complaint.code is code
    assert session.active_symbols == ["BTC-KRW"]


def test_an_error_in_words_alone_is_a_complaint() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    session.receive(b'{"error":"gone"}', 1)
    assert session.take_notices() == [Complaint(ErrorCode.SUBSCRIBE_REJECTED, "Upbit: error: gone")]


def test_the_snapshot_of_a_known_trade_is_no_second_record_and_still_confirms() -> None:
    session = session_for(RequestType.TRADE, "ETH-KRW")
    trade = frame("upbit", "trade")
    again = trade.replace(b"REALTIME", b"SNAPSHOT")
    assert len(session.receive(trade, 1)) == 1
    assert session.take_notices() == [Confirmed(("ETH-KRW",))]
    assert session.receive(again, 2) == ()
    assert session.ignored == {"snapshot of a trade already seen": 1}
    session.unsubscribe(["ETH-KRW"], 1.0)
    session.subscribe([Symbol("ETH", "KRW")], 1.0)
    assert session.receive(again, 3) == ()
    assert session.take_notices() == [Confirmed(("ETH-KRW",))]
    missed = again.replace(b"17936046802410000", b"17936046802410001")
    (record,) = session.receive(missed, 4)
    assert (record.trade_id, record.sequence) == ("17936046802410001", 2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b'"trade_price":5021000.0', b'"trade_price":-1'), "trade_price"),
        ((b'"trade_price":5021000.0', b'"trade_price":0'), "trade_price"),
        ((b'"trade_price":5021000.0', b'"trade_price":1e999'), "out of range"),
        ((b'"trade_price":5021000.0', b'"trade_price":1e16'), "trade_price"),
        ((b'"trade_price":5021000.0', b'"trade_price":NaN'), "malformed"),
        ((b'"trade_price":5021000.0', b'"trade_price":"5,021,000"'), "got `str`"),
        ((b'"trade_price":5021000.0', b'"trade_price":""'), "missing required field `trade_price`"),
        ((b'"trade_price":5021000.0', b'"trade_price":null'), "trade_price"),
        ((b'"trade_price":5021000.0,', b""), "missing required field `trade_price`"),
        ((b'"trade_volume":0.31970021', b'"trade_volume":-0.1'), "trade_volume"),
        ((b'"trade_timestamp":1793604680241', b'"trade_timestamp":1793604680'), "trade_timestamp"),
        ((b'"code":"KRW-ETH"', b'"code":7'), "code"),
        ((b'"type":"trade"', b'"kind":"trade"'), "neither a type"),
    ],
)
def test_values_that_make_no_sense_are_unparsed(change: tuple[bytes, bytes], reason: str) -> None:
    session = session_for(RequestType.TRADE, "ETH-KRW")
    broken = frame("upbit", "trade").replace(*change)
    assert session.receive(broken, 1) == ()
    assert session.parse_failed == 1
    (unparsed,) = session.take_notices()
    assert isinstance(unparsed, Unparsed)
    assert reason in unparsed.reason
    assert unparsed.frame == broken


def test_the_probe_is_answered_by_a_status() -> None:
    assert Upbit().dialect(RequestType.TICKER, 1).probe() == "PING"
