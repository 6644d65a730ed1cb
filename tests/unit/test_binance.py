"""Binance: every field of the documented frames, symbols, requests, answers, the chain of updates."""

import json

import pytest

from core.errors import ErrorCode
from core.exchanges.base import Confirmed, Refused, SymbolBroken, Unparsed
from core.exchanges.binance import Binance
from core.identity import RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from core.session import StreamSession
from tests.frames import frame

RECEIVED_US = 1_793_604_700_000_123


def session_for(request_type: RequestType, *symbols: str) -> StreamSession:
    profile = Binance()
    session = StreamSession(profile, request_type, 7, now_s=0.0)
    session.subscribe([profile.parse_symbol(symbol) for symbol in symbols], 0.0)
    session.take_outbox()
    return session


def test_ticker() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    assert session.receive(frame("binance", "ticker").decode(), RECEIVED_US) == (
        Ticker(
            exchange="binance",
            region="asia",
            symbol="BTC-USDT",
            exchange_symbol="BTCUSDT",
            exchange_ts_ms=1793604700017,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            price=103417.46,
            open=103929.9,
            high=104480.0,
            low=102871.01,
            prev_close=103929.9,
            change_rate=-0.493 / 100,
            volume_24h=14902.84011,
            quote_volume_24h=1544755619.40193812,
            bid=103417.45,
            bid_quantity=4.11902,
            ask=103417.46,
            ask_quantity=1.37281,
            stream_type=StreamType.REALTIME,
        ),
    )


def test_ticker_of_a_market_without_orders() -> None:
    session = session_for(RequestType.TICKER, "1000SATS-FDUSD")
    (record,) = session.receive(frame("binance", "ticker.quiet"), RECEIVED_US)
    assert record == Ticker(
        exchange="binance",
        region="asia",
        symbol="1000SATS-FDUSD",
        exchange_symbol="1000SATSFDUSD",
        exchange_ts_ms=1793604700911,
        received_ts_us=RECEIVED_US,
        session_id=7,
        sequence=1,
        price=0.000412,
        open=0.000412,
        high=None,
        low=None,
        prev_close=0.000412,
        change_rate=0.0,
        volume_24h=0.0,
        quote_volume_24h=0.0,
        bid=None,
        bid_quantity=None,
        ask=None,
        ask_quantity=None,
        stream_type=StreamType.REALTIME,
    )


def test_a_ticker_before_the_first_trade_is_ignored() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    never_traded = frame("binance", "ticker").replace(b'"c":"103417.46000000"', b'"c":"0.00000000"')
    assert session.receive(never_traded, 1) == ()
    assert session.ignored == {"ticker without a price": 1}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "trade",
            Trade(
                exchange="binance",
                region="asia",
                symbol="ETH-BTC",
                exchange_symbol="ETHBTC",
                exchange_ts_ms=1793604701222,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=0.03511,
                quantity=1.482,
                side=Side.SELL,
                trade_id="518820194",
            ),
        ),
        (
            "trade.aggregate",
            Trade(
                exchange="binance",
                region="asia",
                symbol="1INCH-USDT",
                exchange_symbol="1INCHUSDT",
                exchange_ts_ms=1793604702000,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=0.2177,
                quantity=310.5,
                side=Side.BUY,
                trade_id="77810442",
            ),
        ),
    ],
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_trade(name: str, expected: Trade, wrapped: bool) -> None:
    session = session_for(RequestType.TRADE, "ETH-BTC", "1INCH-USDT")
    message = frame("binance", name)
    if not wrapped:
        message = json.dumps(json.loads(message)["data"]).encode()
    assert session.receive(message, RECEIVED_US) == (expected,)


@pytest.mark.parametrize(
    ("request_type", "name", "symbol", "exchange_ts_ms"),
    [
        (RequestType.TICKER, "ticker", "BTC-USDT", 1793604700017),
        (RequestType.TRADE, "trade", "ETH-BTC", 1793604701222),
        (RequestType.TRADE, "trade.aggregate", "1INCH-USDT", 1793604702000),
        (RequestType.ORDERBOOK, "orderbook", "BTC-USDT", 1793604703100),
    ],
)
def test_microseconds_give_the_same_record(
    request_type: RequestType, name: str, symbol: str, exchange_ts_ms: int
) -> None:
    message = json.loads(frame("binance", name))
    (usual,) = session_for(request_type, symbol).receive(json.dumps(message), RECEIVED_US)
    assert usual.exchange_ts_ms == exchange_ts_ms
    for key in ("E", "T"):
        if key in message["data"]:
            message["data"][key] = message["data"][key] * 1000 + 999
    (record,) = session_for(request_type, symbol).receive(json.dumps(message), RECEIVED_US)
    assert record == usual


def test_orderbook() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USDT")
    assert session.receive(frame("binance", "orderbook"), RECEIVED_US) == (
        OrderBook(
            exchange="binance",
            region="asia",
            symbol="BTC-USDT",
            exchange_symbol="BTCUSDT",
            exchange_ts_ms=1793604703100,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            kind=BookKind.DELTA,
            bids=[Level(103417.45, 4.10002), Level(103415.0, 0.0)],
            asks=[Level(103417.46, 1.02281)],
            first_update_id=80123456701,
            last_update_id=80123456709,
            checksum=None,
            valid=False,
        ),
    )


def depth(first_id: int, last_id: int) -> bytes:
    message = json.loads(frame("binance", "orderbook"))
    message["data"] |= {"U": first_id, "u": last_id}
    return json.dumps(message).encode()


def test_a_gap_in_the_update_ids_is_told_once_and_the_changes_go_on() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USDT")
    for first_id, last_id in [(1, 5), (6, 6), (9, 12), (13, 14), (20, 21)]:
        (record,) = session.receive(depth(first_id, last_id), 1)
        assert not record.valid
    (gap,) = [notice for notice in session.take_notices() if isinstance(notice, SymbolBroken)]
    assert (gap.symbol, gap.code) == ("BTC-USDT", ErrorCode.SEQUENCE_GAP)
    assert "follows 8 came after 6" in gap.message


def test_where_an_update_names_the_one_before_that_is_the_chain() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USDT")
    for first_id, last_id, previous_id in [(10, 15, 8), (21, 22, 15), (30, 31, 22)]:
        message = json.loads(depth(first_id, last_id))
        message["data"]["pu"] = previous_id
        (record,) = session.receive(json.dumps(message), 1)
        assert (record.first_update_id, record.last_update_id) == (first_id, last_id)
    assert [notice for notice in session.take_notices() if isinstance(notice, SymbolBroken)] == []


def test_an_unsubscription_starts_a_new_chain() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USDT")
    session.receive(depth(1, 5), 1)
    session.unsubscribe(["BTC-USDT"], 1.0)
    session.subscribe([Symbol("BTC", "USDT")], 1.0)
    (record,) = session.receive(depth(90, 95), 1)
    assert record.sequence == 2
    assert [type(notice) for notice in session.take_notices()] == [Confirmed, Confirmed]


def test_update_ids_that_run_backwards_are_unparsed() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USDT")
    assert session.receive(depth(5, 1), 1) == ()
    assert "backwards" in session.take_notices()[0].reason


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("btcusdt", "BTC-USDT"),
        ("BTCUSDT", "BTC-USDT"),
        ("BTC-USDT", "BTC-USDT"),
        ("btc-usdt", "BTC-USDT"),
        ("1inchusdt", "1INCH-USDT"),
        ("TUSDT", "T-USDT"),
        ("1000SATSFDUSD", "1000SATS-FDUSD"),
        ("ETHTUSD", "ETH-TUSD"),
        ("TUSDUSDT", "TUSD-USDT"),
        ("RUNEEUR", "RUNE-EUR"),
        ("BTCEURI", "BTC-EURI"),
        ("BTCU", "BTC-U"),
        ("XRPRLUSD", "XRP-RLUSD"),
        ("USDTCZK", "USDT-CZK"),
        ("USDTTRY", "USDT-TRY"),
        ("A" * 20 + "BTC", "A" * 20 + "-BTC"),
        ("BTC-NEWQUOTE", "BTC-NEWQUOTE"),
    ],
)
def test_symbols_are_read_in_both_spellings(text: str, canonical: str) -> None:
    assert str(Binance().parse_symbol(text)) == canonical


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("BTCNOPE", "no known quote"),
        ("USDT", "no known quote"),
        ("", "no known quote"),
        ("A" * 21 + "BTC", "1 to 20 characters"),
        ("币安人生USDT", "1 to 20 characters"),
        ("BTC-", "1 to 20 characters"),
    ],
)
def test_other_symbols_are_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Binance().parse_symbol(text)


def test_a_symbol_is_canonical_as_it_was_asked_for() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    session.subscribe([Symbol("XA", "EUR")], 0.0)
    message = frame("binance", "ticker").replace(b"BTCUSDT", b"XAEUR")
    (record,) = session.receive(message, 1)
    assert record.symbol == "XA-EUR"


def test_two_symbols_with_one_spelling_cannot_run_together() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    session.subscribe([Symbol("BTCU", "SDT")], 0.0)
    (refused,) = session.take_notices()
    assert isinstance(refused, Refused)
    assert refused.symbols == ("BTCU-SDT",)
    assert refused.code is ErrorCode.UNKNOWN_SYMBOL
    assert session.active_symbols == ["BTC-USDT"]


@pytest.mark.parametrize(
    ("request_type", "suffix"),
    [
        (RequestType.TICKER, "@ticker"),
        (RequestType.TRADE, "@trade"),
        (RequestType.ORDERBOOK, "@depth@100ms"),
    ],
)
def test_requests(request_type: RequestType, suffix: str) -> None:
    session = StreamSession(Binance(), request_type, 1, now_s=0.0)
    session.subscribe([Symbol("BTC", "USDT"), Symbol("ETH", "USDT")], 0.0)
    session.unsubscribe(["ETH-USDT"], 0.0)
    session.unsubscribe(["BTC-USDT"], 0.0)
    assert [json.loads(message) for message in session.take_outbox()] == [
        {"method": "SUBSCRIBE", "params": ["btcusdt" + suffix, "ethusdt" + suffix], "id": 1},
        {"method": "UNSUBSCRIBE", "params": ["ethusdt" + suffix], "id": 2},
        {"method": "UNSUBSCRIBE", "params": ["btcusdt" + suffix], "id": 3},
    ]


def test_a_large_subscription_is_split_and_paced() -> None:
    session = StreamSession(Binance(), RequestType.TRADE, 1, now_s=0.0)
    session.subscribe([Symbol(f"C{number}", "USDT") for number in range(1024)], 0.0)
    now_s, sent = 0.0, []
    while len(sent) < 6:
        taken = session.take_outbox()
        assert len(taken) <= 3
        sent += [json.loads(message) for message in taken]
        now_s = session.due_s(now_s)
        session.on_time(now_s)
    assert [len(request["params"]) for request in sent] == [200] * 5 + [24]
    assert 1.0 <= now_s <= 2.0


def test_an_acknowledgement_confirms_the_symbols_of_its_request() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT", "ETH-USDT")
    session.subscribe([Symbol("BNB", "USDT")], 0.0)
    session.receive('{"result":null,"id":2}', 1)
    assert session.take_notices() == [Confirmed(("BNB-USDT",))]
    session.receive(frame("binance", "acknowledged"), 1)
    assert session.take_notices() == [Confirmed(("BTC-USDT", "ETH-USDT"))]
    session.receive(frame("binance", "acknowledged"), 1)
    session.receive('{"result":null,"id":"of-somebody-else"}', 1)
    assert session.take_notices() == []
    assert session.controls == 4


@pytest.mark.parametrize("name", ["error", "error.wrapped"])
def test_an_error_refuses_the_symbols_of_its_request(name: str) -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    session.receive(frame("binance", name), 1)
    (refused,) = session.take_notices()
    assert refused == Refused(
        ("BTC-USDT",), ErrorCode.SUBSCRIBE_REJECTED, "Binance: 2: Invalid request: too many parameters"
    )
    assert session.active_symbols == []


def test_an_error_without_our_id_is_a_complaint() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    session.receive('{"code":3,"msg":"Invalid JSON","id":null}', 1)
    session.receive('{"error":{"code":-1003,"msg":"Too many requests"}}', 1)
    session.receive('{"code":2,"msg":"Invalid request: too many parameters","id":"theirs"}', 1)
    assert [notice.code for notice in session.take_notices()] == [
        ErrorCode.SUBSCRIBE_REJECTED,
        ErrorCode.RATE_LIMITED,
        ErrorCode.SUBSCRIBE_REJECTED,
    ]
    assert session.active_symbols == ["BTC-USDT"]


def test_controls_and_events_without_records() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    for name in ("subscriptions", "server_shutdown", "book_ticker", "kline"):
        assert session.receive(frame("binance", name), 1) == ()
    session.receive('{"stream":"btcusdt@avgPrice","data":{"e":"avgPrice","w":"1"}}', 1)
    assert session.controls == 2
    assert session.ignored == {"bookTicker": 1, "kline": 1, "event without records": 1}
    assert session.parse_failed == 0


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('{"stream":"!ticker@arr","data":[{"e":"24hrTicker","s":"BTCUSDT","c":"1"}]}', "events of all markets"),
        ('[{"e":"24hrMiniTicker","s":"BTCUSDT","c":"1"}]', "events of all markets"),
        ('{"u":4,"s":"BTCUSDT","b":"1.5","B":"2","a":"1.6","A":"3"}', "bookTicker"),
        ('{"e":"bookTicker","u":4,"s":"BTCUSDT","b":"1.5","B":"2","a":"1.6","A":"3"}', "bookTicker"),
        ('{"stream":"btcusdt@depth20@100ms","data":{"lastUpdateId":1,"bids":[],"asks":[]}}', "partial book"),
        ('{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}', "partial book"),
        ('{"stream":"btcusdt@kline_1d@+08:00","data":{"e":"kline","s":"BTCUSDT"}}', "kline"),
        ('{"e":"1hTicker","E":1793604700017,"s":"BTCUSDT","c":"1"}', "event without records"),
        ('{"stream":"btcusdt@miniTicker","data":{"e":"24hrMiniTicker","c":"1"}}', "event without records"),
        ('{"e":"markPriceUpdate","E":1793604700017,"s":"BTCUSDT","p":"1"}', "event without records"),
    ],
)
def test_what_the_gateway_does_not_ask_for_is_ignored_with_a_reason(message: str, reason: str) -> None:
    session = StreamSession(Binance(), RequestType.TICKER, 7, now_s=0.0, accept_all=True)
    assert session.receive(message, 1) == ()
    assert session.ignored == {reason: 1}
    assert session.parse_failed == 0


def test_a_replay_keeps_one_of_two_streams_of_a_book() -> None:
    session = StreamSession(Binance(), RequestType.TICKER, 7, now_s=0.0, accept_all=True)
    fast, slow = b"btcusdt@depth@100ms", b"btcusdt@depth"
    records = []
    for stream, first_id, last_id in [(fast, 1, 5), (fast, 6, 9), (slow, 1, 9), (fast, 10, 10), (slow, 10, 10)]:
        records += session.receive(depth(first_id, last_id).replace(fast, stream), 1)
    assert [record.last_update_id for record in records if isinstance(record, OrderBook)] == [5, 9, 10]
    assert session.ignored == {"book of another stream": 2}
    assert session.take_notices() == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b'"p":"0.03511000"', b'"p":"-0.03511000"'), "data.p"),
        ((b'"p":"0.03511000"', b'"p":"0.00000000"'), "data.p"),
        ((b'"p":"0.03511000"', b'"p":"nan"'), "data.p"),
        ((b'"p":"0.03511000"', b'"p":"inf"'), "data.p"),
        ((b'"p":"0.03511000"', b'"p":"1e999"'), "out of range"),
        ((b'"p":"0.03511000"', b'"p":"0x1"'), "data.p"),
        ((b'"p":"0.03511000"', b'"p":""'), "data.p"),
        ((b'"p":"0.03511000"', b'"p":null'), "data.p"),
        ((b'"q":"1.48200000",', b""), "missing required field `q`"),
        ((b'"T":1793604701222', b'"T":1793604701'), "data.T"),
        ((b'"T":1793604701222', b'"T":17936047012220'), "neither in milliseconds nor in microseconds"),
        ((b'"T":1793604701222', b'"T":1793604701222000000'), "data.T"),
        ((b'"e":"trade",', b""), ""),
        ((b'{"stream"', b'[{"stream"'), ""),
    ],
)
def test_values_that_make_no_sense_are_unparsed(change: tuple[bytes, bytes], reason: str) -> None:
    session = session_for(RequestType.TRADE, "ETH-BTC")
    broken = frame("binance", "trade").replace(*change)
    assert session.receive(broken, 1) == ()
    if b'"e"' in broken:
        assert session.parse_failed == 1
        (unparsed,) = session.take_notices()
        assert isinstance(unparsed, Unparsed)
        assert reason in unparsed.reason
    else:
        assert session.ignored == {"event without records": 1}


def test_the_probe_asks_for_the_subscriptions() -> None:
    dialect = Binance().dialect(RequestType.TICKER, 1)
    assert json.loads(str(dialect.probe())) == {"method": "LIST_SUBSCRIPTIONS", "id": 1}
