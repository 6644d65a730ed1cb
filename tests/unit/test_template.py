"""The template of an exchange works: it is read by everyone who adds one."""

import gzip
import json
import zlib

from core.errors import ErrorCode
from core.exchanges._template import Template
from core.exchanges.base import Complaint, Confirmed, Refused, SymbolBroken, SymbolWhole, Unparsed
from core.identity import RequestType, Symbol
from core.order_books import TextLevel
from core.records import BookKind, OrderBook, Side, StreamType, Ticker, Trade
from core.session import StreamSession

BTC, ETH = Symbol("BTC", "USD"), Symbol("ETH", "USD")
MS, US = 1_793_604_700_000, 1_793_604_700_000_123


def session_for(request_type: RequestType, *symbols: Symbol) -> StreamSession:
    session = StreamSession(Template(), request_type, 7, now_s=0.0)
    session.subscribe(symbols or [BTC], 0.0)
    return session


def send(session: StreamSession, frame: object) -> list:
    return list(session.receive(json.dumps(frame), US))


def test_subscription_is_asked_for_and_confirmed() -> None:
    session = session_for(RequestType.TRADE, BTC, ETH)
    assert session.take_outbox() == ['{"op":"subscribe","args":["trades:BTC_USD","trades:ETH_USD"],"id":1}']
    assert send(session, {"id": 1, "ok": True}) == []
    assert session.take_notices() == [Confirmed(("BTC-USD", "ETH-USD"))]
    session.unsubscribe(["ETH-USD"], 1.0)
    assert session.take_outbox() == ['{"op":"unsubscribe","args":["trades:ETH_USD"],"id":2}']


def test_errors_that_name_symbols_refuse_them_and_others_concern_the_connection() -> None:
    session = session_for(RequestType.TRADE, BTC)
    send(session, {"id": 1, "error": "unknown market", "args": ["trades:BTC_USD"]})
    send(session, {"error": "internal"})
    assert session.take_notices() == [
        Refused(("BTC-USD",), ErrorCode.UNKNOWN_SYMBOL, "Example: unknown market"),
        Complaint(ErrorCode.SUBSCRIBE_REJECTED, "Example: internal"),
    ]
    assert session.active_symbols == []


def test_ticker() -> None:
    session = session_for(RequestType.TICKER)
    data = {"last": "103417.46", "open": "0", "volume": "14902.5"}
    assert send(session, {"ch": "ticker", "m": "BTC_USD", "ts": MS, "d": data}) == [
        Ticker(
            exchange="kraken",
            region="na",
            symbol="BTC-USD",
            exchange_symbol="BTC_USD",
            exchange_ts_ms=MS,
            received_ts_us=US,
            session_id=7,
            sequence=1,
            price=103417.46,
            open=None,
            volume_24h=14902.5,
            stream_type=StreamType.REALTIME,
        )
    ]


def test_every_trade_of_a_compressed_frame() -> None:
    session = session_for(RequestType.TRADE)
    trades = [
        {"price": "10.5", "quantity": "2", "side": "buy", "id": "t1", "ts": MS - 1},
        {"price": "10.4", "quantity": "1"},
    ]
    frame = gzip.compress(json.dumps({"ch": "trades", "m": "BTC_USD", "ts": MS, "d": trades}).encode())
    common = ("kraken", "na", "BTC-USD", "BTC_USD")
    assert session.receive(frame, US) == [
        Trade(*common, MS - 1, US, 7, 1, 10.5, 2.0, Side.BUY, "t1"),
        Trade(*common, MS, US, 7, 2, 10.4, 1.0, Side.UNKNOWN, None),
    ]


def book(kind: str, bids: list, asks: list, last: int, prev: int | None, checksum: int | None = None) -> dict:
    data = {"kind": kind, "bids": bids, "asks": asks, "id": last, "prev": prev, "checksum": checksum}
    return {"ch": "book", "m": "BTC_USD", "ts": MS, "d": data}


def test_order_book_its_chain_and_its_checksum() -> None:
    session = session_for(RequestType.ORDERBOOK)
    session.take_outbox()
    (snapshot,) = send(session, book("full", [["9.0", "1"]], [["10.50", "2.0"]], 5, None))
    assert snapshot == OrderBook(
        exchange="kraken",
        region="na",
        symbol="BTC-USD",
        exchange_symbol="BTC_USD",
        exchange_ts_ms=MS,
        received_ts_us=US,
        session_id=7,
        sequence=1,
        kind=BookKind.SNAPSHOT,
        bids=[TextLevel(9.0, 1.0, "9.0", "1")],
        asks=[TextLevel(10.5, 2.0, "10.50", "2.0")],
        last_update_id=5,
        valid=True,
    )
    good = zlib.crc32(b"9.0:1|8.00:3|10.50:2.0")
    (delta,) = send(session, book("part", [["8.00", "3"]], [], 8, 5, good))
    assert (delta.kind, delta.valid, delta.last_update_id, delta.checksum) == (BookKind.DELTA, True, 8, good)
    assert session.take_notices() == [Confirmed(("BTC-USD",))]

    (wrong,) = send(session, book("part", [["8.00", "4"]], [], 9, 8, good))
    (later,) = send(session, book("part", [["8.00", "5"]], [], 10, 9, good))
    assert not wrong.valid
    assert not later.valid
    (broken,) = session.take_notices()
    assert isinstance(broken, SymbolBroken)
    assert (broken.symbol, broken.code) == ("BTC-USD", ErrorCode.CHECKSUM_MISMATCH)

    session.on_time(1.0)
    assert session.take_outbox() == [
        '{"op":"unsubscribe","args":["book:BTC_USD"],"id":2}',
        '{"op":"subscribe","args":["book:BTC_USD"],"id":3}',
    ]
    (again,) = send(session, book("full", [["9.0", "1"]], [], 20, None))
    assert again.valid
    assert session.take_notices() == [SymbolWhole("BTC-USD", 1)]


def test_heartbeats_both_ways() -> None:
    session = session_for(RequestType.TICKER)
    session.take_outbox()
    send(session, {"id": 1, "ok": True})
    send(session, {"ping": 17})
    assert session.take_outbox() == ['{"pong":17}']
    now_s = 0.0
    sent = []
    while now_s < 60.0:
        now_s = session.due_s(now_s)
        session.receive("pong", US)
        session.on_time(now_s)
        sent += [(round(now_s), message) for message in session.take_outbox()]
    assert sent == [(20, "ping"), (40, "ping"), (60, "ping")]


def test_what_is_not_data_is_counted_and_what_cannot_be_read_is_told() -> None:
    session = session_for(RequestType.TICKER)
    send(session, {"ch": "candles", "m": "BTC_USD", "d": {}})
    send(session, {"ch": "ticker", "m": "BTC_USD", "d": {"last": "-1"}})
    send(session, {"hello": 1})
    assert session.ignored == {"channel without records": 1}
    assert session.parse_failed == 2
    assert [type(notice) for notice in session.take_notices()] == [Unparsed, Unparsed]


def test_spelling() -> None:
    for text in ("BTC-USD", "btc_usd"):
        assert Template().parse_symbol(text) == BTC
    assert Template().spell_symbol(BTC) == "BTC_USD"
