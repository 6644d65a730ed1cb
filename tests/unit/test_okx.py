"""OKX: every field of the documented frames, symbols, requests, answers, chains and checksums of books."""

import json
from decimal import Decimal

import pytest

from core.errors import ErrorCode
from core.exchanges.base import BookSettings, Complaint, Confirmed, Refused, SymbolBroken, SymbolWhole, Unparsed
from core.exchanges.okx import Okx
from core.identity import RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from core.session import StreamSession
from tests.frames import frame

RECEIVED_US = 1_793_604_700_000_123


def session_for(
    request_type: RequestType, *symbols: str, depth: int = 1000, exact: bool = False
) -> StreamSession:
    profile = Okx()
    books = BookSettings(depth=depth)
    session = StreamSession(profile, request_type, 7, now_s=0.0, books=books, exact=exact)
    session.subscribe([profile.parse_symbol(symbol) for symbol in symbols], 0.0)
    session.take_outbox()
    return session


def replay() -> StreamSession:
    return StreamSession(Okx(), RequestType.ORDERBOOK, 7, now_s=0.0, accept_all=True)


def test_ticker() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    assert session.receive(frame("okx", "ticker").decode(), RECEIVED_US) == [
        Ticker(
            exchange="okx",
            region="asia",
            symbol="BTC-USDT",
            exchange_symbol="BTC-USDT",
            exchange_ts_ms=1597026383085,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            price=9999.99,
            open=9000.0,
            high=10000.0,
            low=8888.88,
            prev_close=None,
            change_rate=None,
            volume_24h=22.22,
            quote_volume_24h=2222.0,
            bid=8888.88,
            bid_quantity=5.0,
            ask=9999.99,
            ask_quantity=11.0,
            stream_type=StreamType.REALTIME,
        ),
    ]


def test_ticker_with_empty_texts() -> None:
    session = session_for(RequestType.TICKER, "1INCH-USDT")
    (record,) = session.receive(frame("okx", "ticker.quiet"), RECEIVED_US)
    assert isinstance(record, Ticker)
    assert (record.price, record.volume_24h, record.quote_volume_24h) == (0.2114, 0.0, 0.0)
    missing = (
        record.open,
        record.high,
        record.low,
        record.bid,
        record.bid_quantity,
        record.ask,
        record.ask_quantity,
    )
    assert missing == (None,) * 7


def test_trades() -> None:
    session = session_for(RequestType.TRADE, "BTC-USDT", exact=True)
    assert session.receive(frame("okx", "trade"), RECEIVED_US) == [
        Trade(
            exchange="okx",
            region="asia",
            symbol="BTC-USDT",
            exchange_symbol="BTC-USDT",
            exchange_ts_ms=1630048897897,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            price=42219.9,
            quantity=0.12060306,
            side=Side.BUY,
            trade_id="130639474",
            price_exact=Decimal("42219.9"),
            quantity_exact=Decimal("0.12060306"),
        ),
        Trade(
            exchange="okx",
            region="asia",
            symbol="BTC-USDT",
            exchange_symbol="BTC-USDT",
            exchange_ts_ms=1630048897899,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=2,
            price=42219.8,
            quantity=1.0,
            side=Side.SELL,
            trade_id="130639475",
            price_exact=Decimal("42219.8"),
            quantity_exact=Decimal(1),
        ),
    ]


def test_exact_price_of_a_ticker() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT", exact=True)
    (record,) = session.receive(frame("okx", "ticker"), RECEIVED_US)
    assert isinstance(record, Ticker)
    assert record.price_exact == Decimal("9999.99")


def test_order_book() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USDT")
    (snapshot,) = session.receive(frame("okx", "orderbook"), RECEIVED_US)
    assert snapshot == OrderBook(
        exchange="okx",
        region="asia",
        symbol="BTC-USDT",
        exchange_symbol="BTC-USDT",
        exchange_ts_ms=1597026383085,
        received_ts_us=RECEIVED_US,
        session_id=7,
        sequence=1,
        kind=BookKind.SNAPSHOT,
        bids=[
            Level(8476.97, 256.0),
            Level(8475.55, 101.0),
            Level(8475.54, 100.0),
            Level(8475.3, 1.0),
            Level(8447.32, 6.0),
            Level(8447.02, 246.0),
            Level(8446.83, 24.0),
            Level(8446.0, 95.0),
        ],
        asks=[
            Level(8476.98, 415.0),
            Level(8477.0, 7.0),
            Level(8477.34, 85.0),
            Level(8477.56, 1.0),
            Level(8505.84, 8.0),
            Level(8506.37, 85.0),
            Level(8506.49, 2.0),
            Level(8506.96, 100.0),
        ],
        first_update_id=None,
        last_update_id=123456,
        checksum=None,
        valid=True,
    )
    (delta,) = session.receive(frame("okx", "orderbook.delta"), RECEIVED_US + 1)
    assert delta == OrderBook(
        exchange="okx",
        region="asia",
        symbol="BTC-USDT",
        exchange_symbol="BTC-USDT",
        exchange_ts_ms=1597026383185,
        received_ts_us=RECEIVED_US + 1,
        session_id=7,
        sequence=2,
        kind=BookKind.DELTA,
        bids=[Level(8476.97, 250.0), Level(8476.5, 1.5)],
        asks=[Level(8476.98, 0.0)],
        first_update_id=None,
        last_update_id=123459,
        checksum=None,
        valid=True,
    )
    (idle,) = session.receive(frame("okx", "orderbook.idle"), RECEIVED_US + 2)
    assert isinstance(idle, OrderBook)
    assert (idle.bids, idle.asks, idle.valid, idle.last_update_id) == ([], [], True, 123459)


def delta_with(previous_id: int, seq_id: int) -> str:
    text = json.loads(frame("okx", "orderbook.delta"))
    text["data"][0].update(prevSeqId=previous_id, seqId=seq_id)
    return json.dumps(text)


def test_the_chain_goes_on_after_a_reset_of_the_sequence() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USDT")
    session.receive(frame("okx", "orderbook"), 0)
    for previous, seq in ((123456, 123460), (123460, 3), (3, 5)):
        (record,) = session.receive(delta_with(previous, seq), 1)
        assert isinstance(record, OrderBook)
        assert (record.valid, record.last_update_id) == (True, seq)


def test_a_lost_update_is_told_once_and_its_symbol_subscribed_anew() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USDT", "ETH-USDT")
    session.receive(frame("okx", "orderbook"), 0)
    session.take_notices()
    for previous, seq in ((123457, 123460), (123460, 123461)):
        (record,) = session.receive(delta_with(previous, seq), 1)
        assert isinstance(record, OrderBook)
        assert not record.valid
    (broken,) = session.take_notices()
    assert isinstance(broken, SymbolBroken)
    assert (broken.symbol, broken.code) == ("BTC-USDT", ErrorCode.SEQUENCE_GAP)
    session.on_time(1.0)
    args = [{"channel": "books", "instId": "BTC-USDT"}]
    assert [json.loads(text) for text in session.take_outbox()] == [
        {"id": "2", "op": "unsubscribe", "args": args},
        {"id": "3", "op": "subscribe", "args": args},
    ]
    (whole,) = session.receive(frame("okx", "orderbook"), 2)
    assert isinstance(whole, OrderBook)
    assert whole.valid
    assert session.take_notices() == [SymbolWhole("BTC-USDT", 1)]


def test_the_checksum_of_the_documented_examples() -> None:
    """``3366.1:7:3366.8:9:3366:6:3368:8`` and ``3366.1:7:3366.8:9:3368:8:3372:8``, says the document."""
    session = session_for(RequestType.ORDERBOOK, "ETH-USDT")
    (snapshot,) = session.receive(frame("okx", "orderbook.checked"), 0)
    (delta,) = session.receive(frame("okx", "orderbook.checked.delta").decode(), 1)
    assert isinstance(snapshot, OrderBook)
    assert isinstance(delta, OrderBook)
    assert (snapshot.checksum, snapshot.valid) == (-1881014294, True)
    assert (delta.checksum, delta.valid) == (831078360, True)
    assert [(level.price, level.quantity) for level in snapshot.bids] == [(3366.1, 7.0), (3366.0, 6.0)]


def test_a_wrong_checksum_is_told_once() -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USDT")
    session.receive(frame("okx", "orderbook.checked"), 0)
    session.take_notices()
    (record,) = session.receive(frame("okx", "orderbook.checked.delta").replace(b"831078360", b"831078361"), 1)
    assert isinstance(record, OrderBook)
    assert (record.valid, record.checksum) == (False, 831078361)
    (broken,) = session.take_notices()
    assert isinstance(broken, SymbolBroken)
    assert (broken.symbol, broken.code) == ("ETH-USDT", ErrorCode.CHECKSUM_MISMATCH)


@pytest.mark.parametrize(
    ("depth", "channel"), [(1, "bbo-tbt"), (5, "books5"), (6, "books"), (400, "books"), (1000, "books")]
)
def test_the_channel_fits_the_depth(depth: int, channel: str) -> None:
    profile = Okx()
    session = StreamSession(profile, RequestType.ORDERBOOK, 7, now_s=0.0, books=BookSettings(depth=depth))
    session.subscribe([Symbol("BTC", "USDT")], 0.0)
    assert json.loads(session.take_outbox()[0])["args"] == [{"channel": channel, "instId": "BTC-USDT"}]


def test_a_channel_of_whole_books() -> None:
    session = session_for(RequestType.ORDERBOOK, "BCH-USDT", depth=5)
    (record,) = session.receive(frame("okx", "orderbook.five"), 0)
    assert isinstance(record, OrderBook)
    assert (record.kind, record.valid, record.last_update_id) == (BookKind.SNAPSHOT, True, 363996337)
    assert (record.exchange_ts_ms, len(record.bids), record.asks[0]) == (
        1670324386802,
        5,
        Level(111.06, 55154.0),
    )


def test_a_replay_reads_all_kinds() -> None:
    session = replay()
    names = ["ticker", "trade", "orderbook.five", "orderbook", "orderbook.delta", "orderbook.checked"]
    records = [record for name in names for record in session.receive(frame("okx", name), 0)]
    assert [(type(r).__name__, r.exchange_symbol, r.sequence) for r in records] == [
        ("Ticker", "BTC-USDT", 1),
        ("Trade", "BTC-USDT", 1),
        ("Trade", "BTC-USDT", 2),
        ("OrderBook", "BCH-USDT", 1),
        ("OrderBook", "BTC-USDT", 1),
        ("OrderBook", "BTC-USDT", 2),
        ("OrderBook", "ETH-USDT", 1),
    ]
    assert all(record.valid for record in records if isinstance(record, OrderBook))
    assert (session.parse_failed, session.ignored) == (0, {})


def test_other_frames() -> None:
    session = replay()
    for name in ("subscribed", "notice", "pong", "candle", "orderbook.swap"):
        assert session.receive(frame("okx", name), 0) == ()
    assert (session.controls, session.parse_failed) == (3, 0)
    assert session.ignored == {"channel without records": 1, "symbol of another market": 1}


@pytest.mark.parametrize(
    ("message", "controls", "reason"),
    [
        ('{"event":"unsubscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a4d3ae55"}', 1, None),
        ('{"event":"channel-conn-count","channel":"orders","connCount":"2","connId":"a4d3ae55"}', 1, None),
        ('{"event":"login","code":"0","msg":"","connId":"a4d3ae55"}', 1, None),
        ('{"event":"error","code":"60012","msg":"Invalid request","connId":"a4d3ae55"}', 1, None),
        ('{"event":"subscribe","arg":{"channel":"instruments","instType":"SPOT"},"connId":"a"}', 1, None),
        (
            '{"arg":{"channel":"instruments","instType":"SPOT"},"data":[{"instId":"BTC-USDT"}]}',
            0,
            "channel without records",
        ),
        (
            '{"arg":{"channel":"funding-rate","instId":"BTC-USDT-SWAP"},"data":[{"fundingRate":"0.0001"}]}',
            0,
            "channel without records",
        ),
        (
            '{"arg":{"channel":"index-tickers","instId":"BTC-USDT"},"data":[{"idxPx":"1"}]}',
            0,
            "channel without records",
        ),
        (
            '{"arg":{"channel":"books-elp","instId":"BTC-USDT"},"action":"update","data":[{}]}',
            0,
            "channel without records",
        ),
        (
            '{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"last":"","ts":"1597026383085"}]}',
            0,
            "ticker without a price",
        ),
        ('{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[]}', 0, "frame without data"),
        (
            '{"table":"spot/trade","data":[{"instrument_id":"BTC-USDT","price":"1"}]}',
            0,
            "frame of a former version",
        ),
    ],
)
def test_what_brings_no_record(message: str, controls: int, reason: str | None) -> None:
    session = replay()
    assert not session.receive(message, 0)
    assert (session.controls, session.parse_failed) == (controls, 0)
    assert session.ignored == ({} if reason is None else {reason: 1})


@pytest.mark.parametrize("channel", ["books", "books-l2-tbt", "books50-l2-tbt"])
def test_updates_without_ids_are_checked_by_their_checksum(channel: str) -> None:
    """As frames were before OKX numbered them (2021, 2022)."""
    session = replay()
    for name, valid in (("orderbook.checked", True), ("orderbook.checked.delta", True)):
        text = json.loads(frame("okx", name))
        text["arg"]["channel"] = channel
        for data in text["data"]:
            data.pop("seqId", None)
            data.pop("prevSeqId", None)
        (record,) = session.receive(json.dumps(text), 0)
        assert isinstance(record, OrderBook)
        assert (record.valid, record.last_update_id) == (valid, None)
        assert record.checksum
    assert session.take_notices() == []


def test_the_best_level_alone() -> None:
    message = (
        '{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["111.06","55154","0","2"]],'
        '"bids":[],"ts":"1670324386802","seqId":363996337}]}'
    )
    (record,) = replay().receive(message, RECEIVED_US)
    assert record == OrderBook(
        exchange="okx",
        region="asia",
        symbol="BTC-USDT",
        exchange_symbol="BTC-USDT",
        exchange_ts_ms=1670324386802,
        received_ts_us=RECEIVED_US,
        session_id=7,
        sequence=1,
        kind=BookKind.SNAPSHOT,
        bids=[],
        asks=[Level(111.06, 55154.0)],
        first_update_id=None,
        last_update_id=363996337,
        checksum=None,
        valid=True,
    )


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{}", "neither a channel"),
        (b"pang", "malformed"),
        (b'{"arg":{"channel":"tickers","instId":"B-U"},"data":[{"last":"-1"}]}', "$.data[0].last"),
        (b'{"arg":{"channel":"trades","instId":"B-U"},"data":[{"px":"1","sz":"0"}]}', "$.data[0].sz"),
        (b'{"arg":{"channel":"books","instId":"B-U"},"data":[{"bids":[],"asks":[]}]}', "$.action"),
    ],
)
def test_frames_that_cannot_be_read(bad: bytes, reason: str) -> None:
    session = replay()
    assert session.receive(bad, 0) == ()
    (notice,) = session.take_notices()
    assert isinstance(notice, Unparsed)
    assert reason in notice.reason


def test_requests() -> None:
    profile = Okx()
    session = StreamSession(profile, RequestType.TICKER, 7, now_s=0.0)
    session.subscribe([Symbol("BTC", "USDT"), Symbol("1INCH", "USDT")], 0.0)
    assert [json.loads(text) for text in session.take_outbox()] == [
        {
            "id": "1",
            "op": "subscribe",
            "args": [
                {"channel": "tickers", "instId": "BTC-USDT"},
                {"channel": "tickers", "instId": "1INCH-USDT"},
            ],
        }
    ]
    session.receive(frame("okx", "subscribed"), 0)
    assert session.take_notices() == [Confirmed(("BTC-USDT",))]
    session.on_time(20.0)
    assert session.take_outbox() == ["ping"]


def test_a_refusal_that_names_an_instrument_asks_for_the_others_again() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT", "NOTHING-USDT", "ETH-USDT")
    session.receive(frame("okx", "subscribed"), 0)
    session.take_notices()
    session.receive(frame("okx", "refused"), 0)
    (notice,) = session.take_notices()
    assert isinstance(notice, Refused)
    assert (notice.symbols, notice.code) == (("NOTHING-USDT",), ErrorCode.UNKNOWN_SYMBOL)
    (message,) = session.take_outbox()
    assert json.loads(message)["args"] == [{"channel": "tickers", "instId": "ETH-USDT"}]
    # The same instrument once more, answered without an id: nothing is left to refuse.
    session.receive(frame("okx", "refused").replace(b'"id":"1",', b""), 1)
    (notice,) = session.take_notices()
    assert isinstance(notice, Complaint)
    assert session.active_symbols == ["BTC-USDT", "ETH-USDT"]


def test_a_refusal_without_an_id_still_finds_its_instrument() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT", "NOTHING-USDT")
    session.receive(frame("okx", "refused").replace(b'"id":"1",', b""), 0)
    (notice,) = session.take_notices()
    assert isinstance(notice, Refused)
    assert notice.symbols == ("NOTHING-USDT",)
    assert session.active_symbols == ["BTC-USDT"]


def test_too_many_requests_refuse_nobody_and_are_made_again_later() -> None:
    session = session_for(RequestType.TICKER, "BTC-USDT")
    session.receive('{"event":"error","code":"60014","msg":"Requests too frequent","id":"1"}', 0)
    (notice,) = session.take_notices()
    assert isinstance(notice, Complaint)
    assert notice.code is ErrorCode.RATE_LIMITED
    assert session.take_outbox() == []
    session.receive("pong", 1)
    assert json.loads(session.take_outbox()[0])["args"] == [{"channel": "tickers", "instId": "BTC-USDT"}]


@pytest.mark.parametrize("text", ["BTC-USDT", "btc-usdt", "1INCH-USDT", "T-EUR"])
def test_symbols(text: str) -> None:
    symbol = Okx().parse_symbol(text)
    assert Okx().spell_symbol(symbol) == text.upper()


@pytest.mark.parametrize("text", ["", "BTCUSDT", "BTC-", "BTC-USDT-SWAP", "BTC/USDT"])
def test_no_symbols(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Okx().parse_symbol(text)
