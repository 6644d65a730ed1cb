"""Coinbase Exchange: every field of the documented frames, symbols, requests, answers, heartbeats, books."""

import json
from decimal import Decimal

import pytest

from core.errors import ErrorCode
from core.exchanges.base import BookSettings, Complaint, Confirmed, Refused, SymbolBroken, SymbolWhole, Unparsed
from core.exchanges.coinbase import Coinbase
from core.identity import RequestType
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from core.session import StreamSession
from tests.frames import frame

US = 1_793_604_700_000_123


def session_for(request_type: RequestType, *symbols: str, books: BookSettings | None = None) -> StreamSession:
    profile = Coinbase()
    session = StreamSession(profile, request_type, 7, now_s=0.0, books=books)
    session.subscribe([profile.parse_symbol(symbol) for symbol in symbols], 0.0)
    session.take_outbox()
    return session


def test_ticker() -> None:
    session = session_for(RequestType.TICKER, "ETH-USD")
    assert session.receive(frame("coinbase", "ticker"), US) == (
        Ticker(
            exchange="coinbase",
            region="na",
            symbol="ETH-USD",
            exchange_symbol="ETH-USD",
            exchange_ts_ms=1666222102061,
            received_ts_us=US,
            session_id=7,
            sequence=1,
            price=1285.22,
            open=1310.79,
            high=1313.8,
            low=1280.52,
            prev_close=None,
            change_rate=None,
            volume_24h=245532.79269678,
            quote_volume_24h=None,
            bid=1285.04,
            bid_quantity=0.46688654,
            ask=1285.27,
            ask_quantity=1.5663704,
            stream_type=StreamType.REALTIME,
        ),
    )


def test_the_ticker_at_subscription_is_a_snapshot_without_a_time() -> None:
    session = session_for(RequestType.TICKER, "1INCH-USD")
    (record,) = session.receive(frame("coinbase", "ticker.first").decode(), US)
    assert record == Ticker(
        exchange="coinbase",
        region="na",
        symbol="1INCH-USD",
        exchange_symbol="1INCH-USD",
        exchange_ts_ms=None,
        received_ts_us=US,
        session_id=7,
        sequence=1,
        price=0.2177,
        open=0.221,
        volume_24h=0.0,
        ask=0.218,
        stream_type=StreamType.SNAPSHOT,
    )


def test_the_taker_is_the_other_side_of_the_maker() -> None:
    session = session_for(RequestType.TRADE, "BTC-USD")
    records = [
        *session.receive(frame("coinbase", "trade.last"), US),
        *session.receive(frame("coinbase", "trade"), US),
    ]
    common = ("coinbase", "na", "BTC-USD", "BTC-USD")
    assert records == [
        Trade(*common, 1415348360999, US, 7, 1, 400.2, 0.015, Side.SELL, "9"),
        Trade(*common, 1415348367028, US, 7, 2, 400.23, 5.23512, Side.BUY, "10"),
    ]


def test_a_renewed_subscription_does_not_double_the_last_trade() -> None:
    session = session_for(RequestType.TRADE, "BTC-USD")
    session.receive(frame("coinbase", "trade"), US)
    again = frame("coinbase", "trade").replace(b'"match"', b'"last_match"')
    assert session.receive(again, US) == ()
    assert session.ignored == {"trade already seen": 1}


def match(trade_id: int, *, product: str = "BTC-USD", kind: str = "match") -> bytes:
    changed = frame("coinbase", "trade").replace(b'"trade_id":10', f'"trade_id":{trade_id}'.encode())
    return changed.replace(b"BTC-USD", product.encode()).replace(b'"match"', f'"{kind}"'.encode())


def told(session: StreamSession) -> list[tuple[str, ErrorCode, str]]:
    return [(n.symbol, n.code, n.message) for n in session.take_notices() if isinstance(n, SymbolBroken)]


def test_trades_that_did_not_come_are_told_once() -> None:
    session = session_for(RequestType.TRADE, "BTC-USD", "ETH-USD")
    records = []
    for trade_id, product in (
        (10, "BTC-USD"),
        (70, "ETH-USD"),
        (11, "BTC-USD"),
        (14, "BTC-USD"),
        (71, "ETH-USD"),
    ):
        records += session.receive(match(trade_id, product=product), US)
    assert [(record.symbol, record.sequence, record.trade_id) for record in records] == [
        ("BTC-USD", 1, "10"),
        ("ETH-USD", 1, "70"),
        ("BTC-USD", 2, "11"),
        ("BTC-USD", 3, "14"),
        ("ETH-USD", 2, "71"),
    ]
    assert told(session) == [
        ("BTC-USD", ErrorCode.SEQUENCE_GAP, "Coinbase: BTC-USD: trades 12 to 13 did not come")
    ]
    session.receive(match(15), US)
    session.receive(match(17), US)
    assert told(session) == [("BTC-USD", ErrorCode.SEQUENCE_GAP, "Coinbase: BTC-USD: trade 16 did not come")]


def test_a_trade_that_comes_late_is_taken_and_one_that_comes_twice_is_not() -> None:
    session = session_for(RequestType.TRADE, "BTC-USD")
    ids = [record.trade_id for n in (11, 10, 14, 13, 13, 14, 15) for record in session.receive(match(n), US)]
    assert ids == ["11", "10", "14", "13", "15"]
    assert len(told(session)) == 1
    assert session.ignored == {"trade already seen": 2}


def test_no_loss_is_told_around_a_subscription() -> None:
    session = session_for(RequestType.TRADE, "BTC-USD")
    session.receive(match(20, kind="last_match"), US)
    session.receive(match(22), US)  # 21 may have been traded while the subscription was set up
    session.unsubscribe(["BTC-USD"], 0.0)
    session.receive(match(23), US)
    session.subscribe([Coinbase().parse_symbol("BTC-USD")], 0.0)
    session.receive(match(40), US)
    session.receive(match(41, kind="last_match"), US)
    session.receive(match(60), US)
    assert told(session) == []
    session.receive(match(62), US)
    assert len(told(session)) == 1


def test_a_recording_may_go_on_with_another_connection() -> None:
    session = StreamSession(Coinbase(), RequestType.TICKER, 1, now_s=0.0, accept_all=True)
    for message in (match(20), frame("coinbase", "subscriptions"), match(30), match(31)):
        session.receive(message, US)
    assert told(session) == []
    session.receive(match(33), US)
    assert len(told(session)) == 1


def test_ids_that_begin_anew_are_taken() -> None:
    session = session_for(RequestType.TRADE, "BTC-USD")
    ids = [record.trade_id for n in (900, 901, 1, 2, 3, 5) for record in session.receive(match(n), US)]
    assert ids == ["900", "901", "1", "2", "3", "5"]
    assert [message for _, _, message in told(session)] == ["Coinbase: BTC-USD: trade 4 did not come"]


def test_a_great_loss_is_told_once_and_not_remembered_by_the_trade() -> None:
    session = session_for(RequestType.TRADE, "BTC-USD")
    for trade_id in (10, 5_000_000_000, 5_000_000_001):
        assert session.receive(match(trade_id), US)
    assert [message for _, _, message in told(session)] == [
        "Coinbase: BTC-USD: trades 11 to 4999999999 did not come"
    ]


def test_tickers_may_pass_over_trades() -> None:
    session = session_for(RequestType.TICKER, "ETH-USD")
    for trade_id in (b"370843401", b"370843409"):
        assert session.receive(frame("coinbase", "ticker").replace(b"370843401", trade_id), US)
    assert session.take_notices() == [Confirmed(("ETH-USD",))]


def test_order_book() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USD")
    (snapshot,) = session.receive(frame("coinbase", "orderbook.snapshot"), US)
    assert snapshot == OrderBook(
        exchange="coinbase",
        region="na",
        symbol="BTC-USD",
        exchange_symbol="BTC-USD",
        exchange_ts_ms=None,
        received_ts_us=US,
        session_id=7,
        sequence=1,
        kind=BookKind.SNAPSHOT,
        bids=[Level(10101.1, 0.4505414), Level(10101.0, 1.2)],
        asks=[Level(10102.55, 0.57753524), Level(10103.0, 2.0)],
        first_update_id=None,
        last_update_id=None,
        checksum=None,
        valid=True,
    )
    (update,) = session.receive(frame("coinbase", "orderbook"), US)
    assert update == OrderBook(
        exchange="coinbase",
        region="na",
        symbol="BTC-USD",
        exchange_symbol="BTC-USD",
        exchange_ts_ms=1565815347966,
        received_ts_us=US,
        session_id=7,
        sequence=2,
        kind=BookKind.DELTA,
        bids=[Level(10101.8, 0.162567)],
        asks=[Level(10102.55, 0.0)],
        valid=True,
    )
    session.on_time(0.0, US)
    session.on_time(61.0, US + 61_000_000)
    (whole,) = session.take_records()
    assert (whole.bids[0], whole.asks) == (Level(10101.8, 0.162567), [Level(10103.0, 2.0)])


def test_an_update_whose_time_was_never_set_has_none() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USD")
    session.receive(frame("coinbase", "orderbook.snapshot"), US)
    (update,) = session.receive(frame("coinbase", "orderbook.timeless"), US)
    assert (update.exchange_ts_ms, update.valid, update.bids) == (None, True, [Level(10101.1, 0.0)])
    (update,) = session.receive(frame("coinbase", "orderbook").replace(b"27.966Z", b"27.966123456Z"), US)
    assert update.exchange_ts_ms == 1565815347966


def test_a_deep_snapshot_is_sorted_and_cut_at_what_the_book_holds() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USD", books=BookSettings(depth=2))
    levels = [[f"{price}", "1"] for price in (3, 9, 5, 7, 1, 8)]
    message = {"type": "snapshot", "product_id": "BTC-USD", "bids": levels, "asks": levels}
    (record,) = session.receive(json.dumps(message), US)
    assert [level.price for level in record.bids] == [9.0, 8.0, 7.0, 5.0]
    assert [level.price for level in record.asks] == [1.0, 3.0, 5.0, 7.0]


def test_an_update_without_a_snapshot_is_repaired_by_a_new_subscription() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USD", "ETH-USD")
    (record,) = session.receive(frame("coinbase", "orderbook"), US)
    assert not record.valid
    for now_s in (1.0, 2.0, 3.5):
        session.on_time(now_s)
    assert [json.loads(message) for message in session.take_outbox()] == [
        {"type": kind, "product_ids": ["BTC-USD"], "channels": ["level2_batch", "heartbeat"]}
        for kind in ("unsubscribe", "subscribe")
    ]
    (record,) = session.receive(frame("coinbase", "orderbook.snapshot"), US)
    assert record.valid


def test_requests_name_the_heartbeat_too() -> None:
    profile = Coinbase()
    for request_type, channel in (
        (RequestType.TICKER, "ticker"),
        (RequestType.TRADE, "matches"),
        (RequestType.ORDERBOOK, "level2_batch"),
    ):
        session = StreamSession(profile, request_type, 1, now_s=0.0)
        session.subscribe([profile.parse_symbol("BTC-USD"), profile.parse_symbol("ETH-USD")], 0.0)
        session.unsubscribe(["ETH-USD"], 0.0)
        assert [json.loads(message) for message in session.take_outbox()] == [
            {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channels": [channel, "heartbeat"]},
            {"type": "unsubscribe", "product_ids": ["ETH-USD"], "channels": [channel, "heartbeat"]},
        ]


def test_the_answer_confirms_what_it_lists_under_our_channel() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USD", "SOL-USD")
    session.receive(frame("coinbase", "subscriptions"), US)
    session.receive(frame("coinbase", "subscriptions"), US)
    assert session.take_notices() == [Confirmed(("BTC-USD",))]
    session = session_for(RequestType.TRADE, "BTC-USD")
    session.receive(frame("coinbase", "subscriptions"), US)
    assert session.take_notices() == []
    assert session.controls == 1


def test_channels_may_be_named_alone() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD", "ETH-USD")
    session.receive(frame("coinbase", "subscriptions.names"), US)
    session.receive('{"type":"subscriptions","channels":null}', US)
    session.receive('{"type":"subscriptions","channels":[{"name":"ticker","product_ids":null}]}', US)
    assert session.take_notices() == [Confirmed(("BTC-USD",))]
    assert (session.controls, session.parse_failed) == (3, 0)


def test_an_unknown_product_is_refused_and_the_others_are_asked_for_again() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD", "GIBBERISH-USD", "ETH-USD")
    session.receive(frame("coinbase", "error"), US)
    (refused,) = session.take_notices()
    assert refused == Refused(
        ("GIBBERISH-USD",),
        ErrorCode.UNKNOWN_SYMBOL,
        "Coinbase: Failed to subscribe: GIBBERISH-USD is not a valid product",
    )
    (message,) = session.take_outbox()
    assert json.loads(message)["product_ids"] == ["BTC-USD", "ETH-USD"]
    assert session.active_symbols == ["BTC-USD", "ETH-USD"]


@pytest.mark.parametrize(
    ("message", "reason", "code"),
    [
        ("rate limit exceeded", "", ErrorCode.RATE_LIMITED),
        ("Failed to subscribe", "Too many requests", ErrorCode.RATE_LIMITED),
        ("Failed to subscribe", "level2 requires authentication", ErrorCode.SUBSCRIBE_REJECTED),
        ("Malformed JSON", "", ErrorCode.SUBSCRIBE_REJECTED),
        ("ErrSlowRead", "", ErrorCode.RATE_LIMITED),
        ("ErrSlowConsume", "", ErrorCode.SUBSCRIBE_REJECTED),
    ],
)
def test_other_errors_concern_the_connection(message: str, reason: str, code: ErrorCode) -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    session.receive(json.dumps({"type": "error", "message": message, "reason": reason}), US)
    (complaint,) = session.take_notices()
    assert isinstance(complaint, Complaint)
    assert complaint.code is code
    assert session.active_symbols == ["BTC-USD"]


def test_a_channel_without_heartbeats_is_found_and_renewed_alone() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD", "ETH-USD")
    listed = {"name": "ticker", "product_ids": ["BTC-USD", "ETH-USD"]}
    session.receive(json.dumps({"type": "subscriptions", "channels": [listed]}), US)
    session.take_notices()
    for second in range(20):
        session.receive(frame("coinbase", "heartbeat"), US)
        session.on_time(float(second))
    broken = [notice for notice in session.take_notices() if isinstance(notice, SymbolBroken)]
    assert [(notice.symbol, notice.code) for notice in broken] == [("ETH-USD", ErrorCode.STREAM_STALE)]
    assert {tuple(json.loads(text)["product_ids"]) for text in session.take_outbox()} == {("ETH-USD",)}
    session.receive(frame("coinbase", "heartbeat").replace(b"BTC-USD", b"ETH-USD"), US)
    session.on_time(22.0)
    assert session.take_notices() == [SymbolWhole("ETH-USD", 1)]


def test_other_types_are_passed_over() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    names = ("status", "received", "level3.schema", "activate", "change", "done", "rfq_match", "auction")
    for name in names:
        assert session.receive(frame("coinbase", name), US) == ()
    assert session.receive('{"type":"news","channels":3,"message":{},"reason":7}', US) == ()
    assert session.receive(frame("coinbase", "level3.open"), US) == ()
    assert session.ignored == {"type without records": len(names) + 1, "order of level 3": 1}
    assert session.parse_failed == 0


@pytest.mark.parametrize("text", ["[]", "[1]", '[["open"]]', "3", '"match"', '{"type":3}'])
def test_what_is_no_frame_is_unparsed(text: str) -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    assert session.receive(text, US) == ()
    assert session.parse_failed == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b'"400.23"', b'"0"'), "price"),
        ((b'"400.23"', b'"nan"'), "price"),
        ((b'"5.23512"', b'"-1"'), "size"),
        ((b'"2014-11-07T08:19:27.028459Z"', b'"yesterday"'), "time"),
        ((b'"2014-11-07T08:19:27.028459Z"', b'"1014-11-07T08:19:27Z"'), "1014"),
        ((b'"type":"match"', b'"kind":"match"'), "no type"),
    ],
)
def test_nonsense_is_unparsed(change: tuple[bytes, bytes], reason: str) -> None:
    session = session_for(RequestType.TRADE, "BTC-USD")
    assert session.receive(frame("coinbase", "trade").replace(*change), US) == ()
    (unparsed,) = session.take_notices()
    assert isinstance(unparsed, Unparsed)
    assert reason in unparsed.reason


@pytest.mark.parametrize("text", ["BTC-USD", "btc-usd", "1INCH-USD", "T-USD", "1000SATS-USDC", "00-USD"])
def test_symbols(text: str) -> None:
    profile = Coinbase()
    symbol = profile.parse_symbol(text)
    assert str(symbol) == profile.spell_symbol(symbol) == text.upper()


@pytest.mark.parametrize("text", ["BTCUSD", "BTC/USD", "", "BTC-", "-", "A" * 21 + "-USD"])
def test_other_symbols_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        Coinbase().parse_symbol(text)


def test_exact_numbers() -> None:
    profile = Coinbase()
    for request_type, name, symbol in (
        (RequestType.TRADE, "trade", "BTC-USD"),
        (RequestType.TICKER, "ticker", "ETH-USD"),
    ):
        session = StreamSession(profile, request_type, 7, now_s=0.0, exact=True)
        session.subscribe([profile.parse_symbol(symbol)], 0.0)
        (record,) = session.receive(frame("coinbase", name), US)
        assert record.price_exact == Decimal("400.23" if name == "trade" else "1285.22")
        if name == "trade":
            assert record.quantity_exact == Decimal("5.23512")
