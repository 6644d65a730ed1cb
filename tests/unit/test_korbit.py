"""Korbit: every field of the documented frames, symbols, requests, answers."""

import json
from decimal import Decimal

import pytest

from core.errors import ErrorCode
from core.exchanges.base import Complaint, Confirmed, Refused, Unparsed
from core.exchanges.korbit import Korbit
from core.identity import RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from core.session import StreamSession
from tests.frames import frame

RECEIVED_US = 1_793_604_700_000_123


def session_for(request_type: RequestType, *symbols: str, **options: object) -> StreamSession:
    profile = Korbit()
    session = StreamSession(profile, request_type, 7, now_s=0.0, **options)
    session.subscribe([profile.parse_symbol(symbol) for symbol in symbols], 0.0)
    session.take_outbox()
    return session


def sent_by(session: StreamSession) -> list[list[dict[str, object]]]:
    return [json.loads(message) for message in session.take_outbox()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "ticker",
            Ticker(
                exchange="korbit",
                region="korea",
                symbol="BTC-KRW",
                exchange_symbol="btc_krw",
                exchange_ts_ms=1793604674044,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=116463000.0,
                open=115370000.0,
                high=116765000.0,
                low=114412000.0,
                prev_close=115304000.0,
                change_rate=0.0101,
                volume_24h=39.25266763,
                quote_volume_24h=4549864965.49708,
                bid=116426000.0,
                bid_quantity=None,
                ask=116477000.0,
                ask_quantity=None,
                stream_type=StreamType.SNAPSHOT,
            ),
        ),
        (
            "ticker.realtime",
            Ticker(
                exchange="korbit",
                region="korea",
                symbol="ETH-KRW",
                exchange_symbol="eth_krw",
                exchange_ts_ms=1793604675120,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=4357000.0,
                open=4390000.0,
                high=4390000.0,
                low=4357000.0,
                prev_close=4456000.0,
                change_rate=-0.0222,
                volume_24h=0.1702132,
                quote_volume_24h=744416.83456,
                bid=4324000.0,
                bid_quantity=None,
                ask=4357000.0,
                ask_quantity=None,
                stream_type=StreamType.REALTIME,
            ),
        ),
    ],
)
def test_ticker(name: str, expected: Ticker) -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW", "ETH-KRW")
    (record,) = session.receive(frame("korbit", name), RECEIVED_US)
    assert isinstance(record, Ticker)
    assert record.change_rate == pytest.approx(expected.change_rate, rel=1e-15)
    assert {f: getattr(record, f) for f in record.__struct_fields__ if f != "change_rate"} == {
        f: getattr(expected, f) for f in expected.__struct_fields__ if f != "change_rate"
    }


def test_trade() -> None:
    session = session_for(RequestType.TRADE, "BTC-KRW")
    assert list(session.receive(frame("korbit", "trade"), RECEIVED_US)) == [
        Trade(
            exchange="korbit",
            region="korea",
            symbol="BTC-KRW",
            exchange_symbol="btc_krw",
            exchange_ts_ms=1793604671239,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            price=116439000.0,
            quantity=0.00146702,
            side=Side.BUY,
            trade_id="25441720",
        )
    ]


def test_trades_with_ids_of_any_length_and_numbers_that_are_no_text() -> None:
    session = session_for(RequestType.TRADE, "BTC-KRW", exact=True)
    common = {
        "exchange": "korbit",
        "region": "korea",
        "symbol": "BTC-KRW",
        "exchange_symbol": "btc_krw",
        "exchange_ts_ms": 1793604681999,
        "received_ts_us": RECEIVED_US,
        "session_id": 7,
    }
    assert session.receive(frame("korbit", "trade.wide"), RECEIVED_US) == [
        Trade(
            **common,
            sequence=1,
            price=116439000.0,
            quantity=1e-08,
            side=Side.UNKNOWN,
            trade_id="98765432109876543210",
            price_exact=Decimal(116439000),
            quantity_exact=Decimal("1E-8"),
        ),
        Trade(
            **common,
            sequence=2,
            price=116439000.0,
            quantity=0.5,
            side=Side.SELL,
            trade_id="98765432109876543211",
            price_exact=Decimal("1.16439E8"),
            quantity_exact=Decimal("0.5"),
        ),
    ]


def test_the_ticker_of_a_market_that_stands_still() -> None:
    session = session_for(RequestType.TICKER, "1INCH-KRW")
    assert session.receive(frame("korbit", "ticker.stopped"), RECEIVED_US) == (
        Ticker(
            exchange="korbit",
            region="korea",
            symbol="1INCH-KRW",
            exchange_symbol="1inch_krw",
            exchange_ts_ms=1793604676001,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            price=301.5,
            open=301.5,
            high=301.5,
            low=301.5,
            prev_close=None,
            change_rate=None,
            volume_24h=0.0,
            quote_volume_24h=0.0,
            bid=None,
            bid_quantity=None,
            ask=None,
            ask_quantity=None,
            stream_type=StreamType.SNAPSHOT,
        ),
    )


def test_what_was_never_traded_is_confirmed_without_a_record() -> None:
    session = session_for(RequestType.TICKER, "NEW-KRW")
    assert session.receive(frame("korbit", "ticker.never"), 1) == ()
    assert session.ignored == {"ticker without a price": 1}
    assert session.take_notices() == [Confirmed(("NEW-KRW",))]


def test_every_trade_of_a_frame_is_a_record() -> None:
    session = session_for(RequestType.TRADE, "1INCH-KRW", exact=True)
    records = session.receive(frame("korbit", "trade.several"), RECEIVED_US)
    assert [
        (r.sequence, r.exchange_ts_ms, r.price, r.quantity, r.side, r.trade_id, r.price_exact, r.quantity_exact)
        for r in records
    ] == [
        (1, 1793604681870, 301.5, 12.5, Side.SELL, "771", Decimal("301.5"), Decimal("12.5")),
        (2, 1793604681871, 301.4, 0.75, Side.SELL, "772", Decimal("301.4"), Decimal("0.75")),
        (3, 1793604681902, 301.6, 100.0, Side.BUY, "775", Decimal("301.6"), Decimal(100)),
    ]
    assert {(r.symbol, r.exchange_symbol) for r in records} == {("1INCH-KRW", "1inch_krw")}


def test_a_snapshot_brings_only_the_trades_that_are_new() -> None:
    session = session_for(RequestType.TRADE, "1INCH-KRW", exact=True)
    several = frame("korbit", "trade.several")
    assert len(session.receive(several, 1)) == 3
    snapshot = several.replace(b'"type"', b'"snapshot":true,"type"')
    session.unsubscribe(["1INCH-KRW"], 1.0)
    session.subscribe([Symbol("1INCH", "KRW")], 1.0)
    session.take_notices()
    assert session.receive(snapshot, 2) == ()
    assert session.ignored == {"snapshot of trades already seen": 1}
    assert session.take_notices() == [Confirmed(("1INCH-KRW",))]
    # In any order: the middle one is new.
    (record,) = session.receive(snapshot.replace(b'"tradeId":772', b'"tradeId":776'), 3)
    assert (record.trade_id, record.sequence, record.price_exact) == ("776", 4, Decimal("301.4"))
    assert session.receive(b'{"type":"trade","symbol":"1inch_krw","data":[]}', 4) == ()
    assert session.ignored["frame without trades"] == 1


@pytest.mark.parametrize(
    ("name", "symbol", "own", "time_ms", "bids", "asks"),
    [
        (
            "orderbook",
            "BTC-KRW",
            "btc_krw",
            1793604690015,
            [Level(116455000.0, 0.00499), Level(116453000.0, 0.01919775)],
            [Level(116506000.0, 0.27522), Level(116538000.0, 0.00665633), Level(116542000.0, 0.03897506)],
        ),
        (
            "orderbook.grouped",
            "ETH-KRW",
            "eth_krw",
            1793604691498,
            [Level(3700000.0, 43.33530415)],
            [Level(3800000.0, 179.83267892)],
        ),
        ("orderbook.stopped", "1INCH-KRW", "1inch_krw", 1792918789897, [], []),
        ("orderbook.never", "NEW-KRW", "new_krw", 1793604692999, [Level(0.01, 1500.0)], []),
    ],
)
def test_orderbook(
    name: str, symbol: str, own: str, time_ms: int, bids: list[Level], asks: list[Level]
) -> None:
    session = session_for(RequestType.ORDERBOOK, symbol)
    assert session.receive(frame("korbit", name), RECEIVED_US) == (
        OrderBook(
            exchange="korbit",
            region="korea",
            symbol=symbol,
            exchange_symbol=own,
            exchange_ts_ms=time_ms,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            kind=BookKind.SNAPSHOT,
            bids=bids,
            asks=asks,
            first_update_id=None,
            last_update_id=None,
            checksum=None,
            valid=True,
        ),
    )


def test_what_is_missing_stays_none() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    (record,) = session.receive(b'{"type":"ticker","symbol":"btc_krw","data":{"close":"1","low":"0"}}', 1)
    assert isinstance(record, Ticker)
    assert record.exchange_ts_ms is record.open is record.low is record.bid is record.change_rate is None
    for price in (b'"0"', b"null"):
        empty = b'{"type":"ticker","symbol":"btc_krw","data":{"close":%b}}' % price
        assert session.receive(empty, 2) == ()
    assert session.ignored == {"ticker without a price": 2}
    assert session.parse_failed == 0


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("btc_krw", "BTC-KRW"),
        ("BTC-KRW", "BTC-KRW"),
        ("Btc-Krw", "BTC-KRW"),
        ("1inch_krw", "1INCH-KRW"),
        ("T_KRW", "T-KRW"),
        ("1000SATS-KRW", "1000SATS-KRW"),
        ("a" * 20 + "_krw", "A" * 20 + "-KRW"),
    ],
)
def test_symbols_are_read_in_both_spellings(text: str, canonical: str) -> None:
    symbol = Korbit().parse_symbol(text)
    assert str(symbol) == canonical
    assert Korbit().spell_symbol(symbol) == canonical.lower().replace("-", "_")
    assert Korbit().parse_symbol(Korbit().spell_symbol(symbol)) == symbol


@pytest.mark.parametrize("text", ["BTCKRW", "", "btc_krw_x", "_krw", "btc_", "a" * 21 + "_krw", "btc_krw\n"])
def test_other_symbols_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"BASE-QUOTE|1 to 20"):
        Korbit().parse_symbol(text)


def test_requests_and_their_answers() -> None:
    session = StreamSession(Korbit(), RequestType.ORDERBOOK, 1, now_s=0.0)
    session.subscribe([Symbol("BTC", "KRW"), Symbol("ETH", "KRW")], 0.0)
    session.unsubscribe(["ETH-KRW"], 0.0)
    assert sent_by(session) == [
        [{"requestId": 1, "method": "subscribe", "type": "orderbook", "symbols": ["btc_krw", "eth_krw"]}],
        [{"requestId": 2, "method": "unsubscribe", "type": "orderbook", "symbols": ["eth_krw"]}],
    ]
    session.receive(frame("korbit", "success"), 1)
    assert session.take_notices() == [Confirmed(("BTC-KRW",))]
    session.receive('{"status":"success","requestId":2}', 1)
    session.receive('{"status":"success"}', 1)
    session.receive(frame("korbit", "success.named"), 1)
    assert session.take_notices() == []
    assert session.controls == 4


def test_an_unknown_symbol_is_refused_and_the_rest_asked_for_again() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW", "NOPE-KRW", "ETH-KRW")
    session.receive(frame("korbit", "fail"), 1)
    (refused,) = session.take_notices()
    assert isinstance(refused, Refused)
    assert (refused.symbols, refused.code) == (("NOPE-KRW",), ErrorCode.UNKNOWN_SYMBOL)
    assert "The symbol does not exist" in refused.message
    assert session.active_symbols == ["BTC-KRW", "ETH-KRW"]
    assert sent_by(session) == [
        [{"requestId": 2, "method": "subscribe", "type": "ticker", "symbols": ["btc_krw", "eth_krw"]}]
    ]
    # The same said again of the request that follows refuses nobody else.
    session.receive(frame("korbit", "fail").replace(b'"requestId":1', b'"requestId":2'), 1)
    assert session.take_notices() == []
    session.receive('{"status":"success","requestId":3}', 1)
    assert session.take_notices() == [Confirmed(("BTC-KRW", "ETH-KRW"))]


def test_a_failure_that_names_none_of_several_is_found_out_one_by_one() -> None:
    session = session_for(RequestType.TRADE, "BTC-KRW", "NOPE-KRW")
    session.receive('{"status":"fail","code":"INVALID_SYMBOL","requestId":1}', 1)
    assert session.take_notices() == []
    (requests,) = sent_by(session)
    assert [(r["requestId"], r["symbols"]) for r in requests] == [(2, ["btc_krw"]), (3, ["nope_krw"])]
    session.receive('{"status":"fail","code":"INVALID_SYMBOL","requestId":3}', 1)
    session.receive('{"status":"success","requestId":2}', 1)
    refused, confirmed = session.take_notices()
    assert isinstance(refused, Refused)
    assert refused.symbols == ("NOPE-KRW",)
    assert confirmed == Confirmed(("BTC-KRW",))
    assert sent_by(session) == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("fail.format", ErrorCode.SUBSCRIBE_REJECTED),
        ("error", ErrorCode.SUBSCRIBE_REJECTED),
        ({"status": "fail", "code": "TOO_MANY_REQUESTS", "requestId": 1}, ErrorCode.RATE_LIMITED),
        ({"status": "fail", "code": "INVALID_SYMBOL", "message": "(x)"}, ErrorCode.SUBSCRIBE_REJECTED),
    ],
)
def test_other_failures_are_complaints(answer: str | dict[str, object], code: ErrorCode) -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    session.receive(frame("korbit", answer) if isinstance(answer, str) else json.dumps(answer), 1)
    (complaint,) = session.take_notices()
    assert isinstance(complaint, Complaint)
    assert complaint.code is code
    assert session.active_symbols == ["BTC-KRW"]


def test_the_probe_touches_nothing_that_runs_and_any_answer_will_do() -> None:
    session = session_for(RequestType.TICKER, "ETH-KRW")
    session.receive(frame("korbit", "success"), 1)
    session.take_notices()
    session.on_time(0.0)
    session.on_time(10.0)
    session.on_time(11.0)
    (probe,) = sent_by(session)
    assert probe == [{"requestId": 0, "method": "unsubscribe", "type": "trade", "symbols": ["eth_krw"]}]
    for status in ("success", "fail"):
        session.receive(json.dumps({"status": status, "requestId": 0, "code": "INVALID_SYMBOL"}), 2)
    assert session.take_notices() == []
    assert session.active_symbols == ["ETH-KRW"]


def test_private_channels_are_passed_over() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    assert session.receive(frame("korbit", "my_trade"), 1) == ()
    assert session.ignored == {"type without records": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b'"price":"116439000"', b'"price":"-1"'), "price"),
        ((b'"price":"116439000"', b'"price":"0"'), "price"),
        ((b'"price":"116439000"', b'"price":"nan"'), "price"),
        ((b'"price":"116439000"', b'"price":"a"'), "price"),
        ((b'"price":"116439000",', b""), "missing required field `price`"),
        ((b'"qty":"0.00146702"', b'"qty":"0"'), "qty"),
        ((b'"timestamp":1793604671239', b'"timestamp":1793604671'), "timestamp"),
        ((b'"symbol":"btc_krw"', b'"symbol":7'), "symbol"),
        ((b'"type":"trade"', b'"kind":"trade"'), "neither a type"),
    ],
)
def test_values_that_make_no_sense_are_unparsed(change: tuple[bytes, bytes], reason: str) -> None:
    session = session_for(RequestType.TRADE, "BTC-KRW")
    broken = frame("korbit", "trade").replace(*change)
    assert session.receive(broken, 1) == ()
    assert session.parse_failed == 1
    (unparsed,) = session.take_notices()
    assert isinstance(unparsed, Unparsed)
    assert reason in unparsed.reason
