"""Kraken, version 2: every field of the documented frames, symbols, requests, answers, books and checksums."""

import json
import random
import re
import tracemalloc
import zlib
from decimal import Decimal

import pytest

from core.errors import ErrorCode
from core.exchanges.base import BookSettings, Complaint, Confirmed, Refused, SymbolBroken, SymbolWhole, Unparsed
from core.exchanges.kraken import Kraken
from core.identity import RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from core.session import StreamSession
from tests.frames import frame

US = 1_793_604_700_000_123


def session_for(request_type: RequestType, *symbols: str, depth: int = 10) -> StreamSession:
    profile = Kraken()
    session = StreamSession(profile, request_type, 7, now_s=0.0, books=BookSettings(depth=depth))
    session.subscribe([profile.parse_symbol(symbol) for symbol in symbols], 0.0)
    session.take_outbox()
    return session


def pairs(levels: list[Level]) -> list[tuple[float, float]]:
    return [(level.price, level.quantity) for level in levels]


def test_ticker() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    assert session.receive(frame("kraken", "ticker"), US) == [
        Ticker(
            exchange="kraken",
            region="na",
            symbol="BTC-USD",
            exchange_symbol="BTC/USD",
            exchange_ts_ms=1695632671742,
            received_ts_us=US,
            session_id=7,
            sequence=1,
            price=45285.2,
            open=None,
            high=45911.3,
            low=44100.0,
            prev_close=None,
            change_rate=0.92 / 100,
            volume_24h=1893.31872013,
            quote_volume_24h=None,
            bid=45283.5,
            bid_quantity=0.1,
            ask=45285.2,
            ask_quantity=0.001,
            stream_type=StreamType.REALTIME,
        )
    ]


def test_the_ticker_at_subscription_is_a_snapshot() -> None:
    session = session_for(RequestType.TICKER, "ALGO-USD")
    assert session.receive(frame("kraken", "ticker.snapshot").decode(), US) == [
        Ticker(
            exchange="kraken",
            region="na",
            symbol="ALGO-USD",
            exchange_symbol="ALGO/USD",
            exchange_ts_ms=None,
            received_ts_us=US,
            session_id=7,
            sequence=1,
            price=0.10035,
            high=0.10285,
            low=0.09979,
            change_rate=-0.17 / 100,
            volume_24h=997038.98383185,
            bid=0.10025,
            bid_quantity=740.0,
            ask=0.10036,
            ask_quantity=1361.44813783,
            stream_type=StreamType.SNAPSHOT,
        )
    ]


def test_every_trade_of_a_frame() -> None:
    session = session_for(RequestType.TRADE, "MATIC-USD")
    common = ("kraken", "na", "MATIC-USD", "MATIC/USD")
    assert session.receive(frame("kraken", "trade"), US) == [
        Trade(*common, 1695628177708, US, 7, 1, 0.5117, 40.0, Side.SELL, "4665906"),
        Trade(*common, 1695628177999, US, 7, 2, 0.5118, 1250.5, Side.BUY, "4665907"),
    ]


def test_a_snapshot_in_a_recording_doubles_no_trade() -> None:
    session = StreamSession(Kraken(), RequestType.TICKER, 1, now_s=0.0, accept_all=True)
    message = json.loads(frame("kraken", "trade"))
    first, second = message["data"]
    third = second | {"trade_id": second["trade_id"] + 1}
    ids = []
    for kind, trades in (
        ("snapshot", [first]),
        ("update", [second]),
        ("snapshot", [first, second, third]),
        ("snapshot", [second, third]),
    ):
        records = session.receive(json.dumps(message | {"type": kind, "data": trades}), US)
        ids += [record.trade_id for record in records]
    assert ids == ["4665906", "4665907", "4665908"]
    assert session.ignored == {"trades already seen": 1}


def test_trades_of_several_pairs_in_one_frame() -> None:
    session = session_for(RequestType.TRADE, "BTC-USD", "MATIC-USD")
    message = json.loads(frame("kraken", "trade"))
    message["data"] += json.loads(frame("kraken", "trade.snapshot"))["data"]
    records = session.receive(json.dumps(message), US)
    assert [(r.symbol, r.sequence, r.trade_id) for r in records] == [
        ("MATIC-USD", 1, "4665906"),
        ("MATIC-USD", 2, "4665907"),
        ("BTC-USD", 1, "4665846"),
    ]


def test_order_book_with_the_documented_checksum() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USD")
    (snapshot,) = session.receive(frame("kraken", "orderbook.snapshot"), US)
    assert isinstance(snapshot, OrderBook)
    assert (snapshot.kind, snapshot.valid, snapshot.checksum) == (BookKind.SNAPSHOT, True, 3310070434)
    assert (snapshot.symbol, snapshot.exchange_symbol) == ("BTC-USD", "BTC/USD")
    assert (snapshot.exchange_ts_ms, snapshot.received_ts_us, snapshot.session_id) == (None, US, 7)
    assert (snapshot.first_update_id, snapshot.last_update_id, snapshot.sequence) == (None, None, 1)
    assert pairs(snapshot.bids)[:2] == [(45283.5, 0.1), (45283.4, 1.54582015)]
    assert pairs(snapshot.asks)[-1:] == [(45299.5, 0.18772827)]
    # One bid in the middle pushes the eleventh out; the best ask goes, and the next from below comes in.
    (update,) = session.receive(frame("kraken", "orderbook"), US)
    assert isinstance(update, OrderBook)
    assert (update.kind, update.valid, update.checksum) == (BookKind.DELTA, True, 2991080639)
    assert (update.sequence, update.exchange_ts_ms) == (2, 1696613755440)
    assert pairs(update.bids) == [(45283.45, 0.02)]
    assert pairs(update.asks) == [(45285.2, 0.0), (45300.1, 0.7)]


def test_a_wrong_checksum_is_told_once_and_repaired_by_a_new_subscription_of_that_pair() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USD", "ETH-USD")
    session.receive(frame("kraken", "orderbook.snapshot"), US)
    session.receive(frame("kraken", "orderbook.snapshot").replace(b"BTC/USD", b"ETH/USD"), US)
    session.take_notices()
    wrong = frame("kraken", "orderbook").replace(b"2991080639", b"1")
    assert [session.receive(wrong, US)[0].valid for _ in range(3)] == [False] * 3
    (other,) = session.receive(frame("kraken", "orderbook").replace(b"BTC/USD", b"ETH/USD"), US)
    assert other.valid
    (broken,) = session.take_notices()
    assert isinstance(broken, SymbolBroken)
    assert (broken.symbol, broken.code) == ("BTC-USD", ErrorCode.CHECKSUM_MISMATCH)
    session.on_time(1.0)
    sent = [json.loads(message) for message in session.take_outbox()]
    assert [(m["method"], m["params"]) for m in sent] == [
        ("unsubscribe", {"channel": "book", "symbol": ["BTC/USD"], "depth": 10}),
        ("subscribe", {"channel": "book", "symbol": ["BTC/USD"], "depth": 10}),
    ]
    (record,) = session.receive(frame("kraken", "orderbook.snapshot"), US)
    assert record.valid
    assert session.take_notices() == [SymbolWhole("BTC-USD", 1)]


def test_numbers_as_text_and_with_exponents_give_the_same_checksum() -> None:
    message = frame("kraken", "orderbook.snapshot")
    for former, other in (
        (b"45283.5,", b'"45283.5",'),
        (b"0.00100000", b"1.00000e-3"),
        (b"0.00100000", b"1.00000E-03"),
    ):
        session = session_for(RequestType.ORDERBOOK, "BTC-USD")
        (record,) = session.receive(message.replace(former, other), US)
        assert record.valid


@pytest.mark.parametrize("quantity", ["0e-900000000", "0E900000000", "1e-400000000", "1e-320"])
def test_an_exponent_of_any_size_does_not_write_a_number_out(quantity: str) -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USD")
    session.receive(frame("kraken", "orderbook"), US)
    session.take_notices()
    level = f'{{"price":1e0,"qty":{quantity}}}'
    data = f'[{{"symbol":"BTC/USD","bids":[{level}],"asks":[]}}]'
    tracemalloc.start()
    session.receive(f'{{"channel":"book","type":"update","data":{data}}}', US)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
    assert session.parse_failed == (quantity[0] == "1")


def test_a_replay_takes_the_depth_from_the_acknowledgement_or_the_snapshot() -> None:
    for frames in (["subscribed", "orderbook.snapshot", "orderbook"], ["orderbook.snapshot", "orderbook"]):
        session = StreamSession(Kraken(), RequestType.TICKER, 1, now_s=0.0, accept_all=True)
        records = [record for name in frames for record in session.receive(frame("kraken", name), US)]
        assert [record.valid for record in records] == [True, True]
        assert session.take_notices() == []


@pytest.mark.parametrize(
    ("depth", "asked"), [(1, 10), (10, 10), (11, 25), (400, 500), (1000, 1000), (5000, 1000)]
)
def test_the_next_larger_depth_is_asked_for(depth: int, asked: int) -> None:
    session = StreamSession(Kraken(), RequestType.ORDERBOOK, 1, now_s=0.0, books=BookSettings(depth=depth))
    session.subscribe([Symbol("BTC", "USD")], 0.0)
    (message,) = session.take_outbox()
    assert json.loads(message)["params"] == {"channel": "book", "symbol": ["BTC/USD"], "depth": asked}


def test_requests() -> None:
    session = StreamSession(Kraken(), RequestType.TRADE, 1, now_s=0.0)
    session.subscribe([Symbol("BTC", "USD"), Symbol("ETH", "EUR")], 0.0)
    session.unsubscribe(["ETH-EUR"], 0.0)
    assert [json.loads(message) for message in session.take_outbox()] == [
        {
            "method": "subscribe",
            "params": {"channel": "trade", "symbol": ["BTC/USD", "ETH/EUR"], "snapshot": False},
            "req_id": 1,
        },
        {"method": "unsubscribe", "params": {"channel": "trade", "symbol": ["ETH/EUR"]}, "req_id": 2},
    ]


def test_acknowledgements_and_heartbeats_are_controls() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-USD")
    for name in ("status", "subscribed", "heartbeat", "pong", "unsubscribed"):
        assert session.receive(frame("kraken", name), US) == ()
    assert session.controls == 5
    assert session.take_notices() == [Confirmed(("BTC-USD",))]


def test_channels_that_were_not_asked_for_are_ignored() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    session.receive(frame("kraken", "ohlc"), US)
    session.receive('{"channel":"trade","type":"update","data":[]}', US)
    session.receive(frame("kraken", "orderbook"), US)
    assert session.ignored == {
        "channel without records": 1,
        "frame without data": 1,
        "other request type": 1,
    }


def test_frames_of_version_1_are_passed_over() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    names = ("book", "ticker", "heartbeat", "subscribed")
    for name in names:
        assert session.receive(frame("kraken", f"version1.{name}"), US) == ()
    assert session.ignored == {"frame of version 1": len(names)}
    assert (session.parse_failed, session.take_notices()) == (0, [])


def test_other_channels_and_warnings_in_a_replay() -> None:
    session = StreamSession(Kraken(), RequestType.TICKER, 1, now_s=0.0, accept_all=True)
    for name in ("level3", "instrument", "ohlc", "warning"):
        assert session.receive(frame("kraken", name), US) == ()
    assert session.ignored == {"channel without records": 3}
    assert (session.controls, session.parse_failed) == (1, 0)


def test_a_pair_without_a_canonical_form_is_passed_over() -> None:
    session = StreamSession(Kraken(), RequestType.TICKER, 1, now_s=0.0, accept_all=True)
    message = json.loads(frame("kraken", "trade"))
    message["data"] += json.loads(frame("kraken", "trade.staked"))["data"]
    assert [record.symbol for record in session.receive(json.dumps(message), US)] == ["MATIC-USD"] * 2
    assert session.ignored == {"symbol of another market": 1}
    assert session.parse_failed == 0


def test_names_that_are_spelled_otherwise_are_read_in_a_replay() -> None:
    session = StreamSession(Kraken(), RequestType.TICKER, 1, now_s=0.0, accept_all=True)
    for former, canonical in ((b"ABBVx/USD", "ABBVX-USD"), (b"XBT/USD", "BTC-USD")):
        (record,) = session.receive(frame("kraken", "ticker.stock").replace(b"AAPLx/USD", former), US)
        assert (record.symbol, record.exchange_symbol) == (canonical, former.decode())


@pytest.mark.parametrize("accept_all", [False, True])
def test_a_tokenised_stock_keeps_its_lower_case(accept_all: bool) -> None:
    profile = Kraken()
    session = StreamSession(profile, RequestType.TICKER, 7, now_s=0.0, accept_all=accept_all)
    if not accept_all:
        session.subscribe([profile.parse_symbol("AAPLX-USD")], 0.0)
        (request,) = session.take_outbox()
        assert json.loads(request)["params"]["symbol"] == ["AAPLx/USD"]
    assert session.receive(frame("kraken", "ticker.stock"), US) == [
        Ticker(
            exchange="kraken",
            region="na",
            symbol="AAPLX-USD",
            exchange_symbol="AAPLx/USD",
            exchange_ts_ms=1755698531123,
            received_ts_us=US,
            session_id=7,
            sequence=1,
            price=231.15,
            high=232.04,
            low=229.5,
            change_rate=0.48 / 100,
            volume_24h=812.4,
            bid=231.11,
            bid_quantity=4.1,
            ask=231.2,
            ask_quantity=0.5,
            stream_type=StreamType.REALTIME,
        )
    ]


def test_a_ping_goes_out_in_time() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    acknowledged = {"channel": "ticker", "snapshot": True, "symbol": "BTC/USD"}
    answer = {"method": "subscribe", "req_id": 1, "success": True, "result": acknowledged}
    session.receive(json.dumps(answer), US)
    for second in range(1, 31):
        session.receive(frame("kraken", "heartbeat"), US)
        session.on_time(float(second))
    assert [json.loads(message) for message in session.take_outbox()] == [{"method": "ping", "req_id": 2}]


def test_an_error_refuses_the_pair_it_names() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD", "GIBBERISH-USD")
    session.receive(frame("kraken", "error"), US)
    assert session.take_notices() == [
        Refused(
            ("GIBBERISH-USD",),
            ErrorCode.UNKNOWN_SYMBOL,
            "Kraken: Currency pair not supported GIBBERISH/USD",
        )
    ]
    assert session.active_symbols == ["BTC-USD"]
    without_symbol = frame("kraken", "error").replace(b'"symbol":"GIBBERISH/USD",', b"")
    session = session_for(RequestType.TICKER, "GIBBERISH-USD")
    session.receive(without_symbol, US)
    assert session.take_notices()[0].symbols == ("GIBBERISH-USD",)


@pytest.mark.parametrize(
    ("error", "code"),
    [("Exceeded msg rate", ErrorCode.RATE_LIMITED), ("Malformed request", ErrorCode.SUBSCRIBE_REJECTED)],
)
def test_other_errors_concern_the_connection(error: str, code: ErrorCode) -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    session.receive(json.dumps({"error": error, "method": "subscribe", "success": False}), US)
    (complaint,) = session.take_notices()
    assert isinstance(complaint, Complaint)
    assert complaint.code is code


@pytest.mark.parametrize(
    "error",
    [
        {"error": "Already subscribed to this feed", "method": "subscribe", "symbol": "BTC/USD"},
        {"error": "Subscription Not Found", "method": "unsubscribe", "symbol": "BTC/USD"},
    ],
)
def test_errors_that_leave_things_as_wanted_are_controls(error: dict[str, object]) -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    session.receive(json.dumps(error | {"success": False}), US)
    assert (session.take_notices(), session.controls) == ([], 1)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("trade", (b"0.5117", b"-0.5117"), "price"),
        ("trade", (b"40.0", b"0"), "qty"),
        ("trade", (b"2023-09-25T07:49:37.708706Z", b"2023-09-25T07:49:37"), "timestamp"),
        ("orderbook", (b"45283.45", b"null"), "no level"),
        ("orderbook", (b"45283.45", b"0"), "out of range"),
        ("orderbook", (b'"update"', b'"other"'), "type"),
        ("heartbeat", (b'"channel"', b'"c"'), "neither"),
        ("version1.book", (b',"book-10","XBT/USD"', b""), "object"),
        ("version1.book", (b"[336", b'["a"'), "object"),
    ],
)
def test_nonsense_is_unparsed(name: str, change: tuple[bytes, bytes], reason: str) -> None:
    session = session_for(RequestType.TRADE, "MATIC-USD", "BTC-USD")
    assert session.receive(frame("kraken", name).replace(*change), US) == ()
    (unparsed,) = session.take_notices()
    assert isinstance(unparsed, Unparsed)
    assert reason in unparsed.reason


@pytest.mark.parametrize(
    ("text", "canonical", "spelled"),
    [
        ("BTC-USD", "BTC-USD", "BTC/USD"),
        ("btc/usd", "BTC-USD", "BTC/USD"),
        ("XBT/EUR", "BTC-EUR", "BTC/EUR"),
        ("ETH-XBT", "ETH-BTC", "ETH/BTC"),
        ("XDG-USD", "DOGE-USD", "DOGE/USD"),
        ("1INCH/USD", "1INCH-USD", "1INCH/USD"),
        ("T/USD", "T-USD", "T/USD"),
        ("USDT/USD", "USDT-USD", "USDT/USD"),
        ("AAPLx/USD", "AAPLX-USD", "AAPLx/USD"),
        ("tslax-usd", "TSLAX-USD", "TSLAx/USD"),
        ("SNX/USD", "SNX-USD", "SNX/USD"),
    ],
)
def test_symbols(text: str, canonical: str, spelled: str) -> None:
    profile = Kraken()
    symbol = profile.parse_symbol(text)
    assert (str(symbol), profile.spell_symbol(symbol)) == (canonical, spelled)
    assert profile.spell_symbol(Symbol("XBT", "USD")) == "BTC/USD"


@pytest.mark.parametrize("text", ["XXBTZUSD", "", "BTC/", "EUR.M/USD"])
def test_other_symbols_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        Kraken().parse_symbol(text)


def test_exact_numbers_of_what_was_asked_for() -> None:
    profile = Kraken()
    session = StreamSession(profile, RequestType.TRADE, 7, now_s=0.0, exact=True)
    session.subscribe([Symbol("MATIC", "USD")], 0.0)
    message = json.loads(frame("kraken", "trade"))
    message["data"][:0] = json.loads(frame("kraken", "trade.snapshot"))["data"]
    records = session.receive(json.dumps(message), US)
    assert [(r.price_exact, r.quantity_exact) for r in records] == [
        (Decimal("0.5117"), Decimal(40)),
        (Decimal("0.5118"), Decimal("1250.5")),
    ]
    session = StreamSession(profile, RequestType.TICKER, 7, now_s=0.0, exact=True)
    session.subscribe([Symbol("BTC", "USD")], 0.0)
    (ticker,) = session.receive(frame("kraken", "ticker"), US)
    assert ticker.price_exact == Decimal("45285.2")


def test_what_was_refused_for_the_rate_is_asked_for_again_with_the_heartbeat() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD", "ETH-USD")
    error = {"error": "Exceeded msg rate", "method": "subscribe", "success": False, "req_id": 1}
    session.receive(json.dumps(error), US)
    assert [notice.code for notice in session.take_notices()] == [ErrorCode.RATE_LIMITED]
    result = {"channel": "ticker", "symbol": "BTC/USD"}
    session.receive(json.dumps({"method": "subscribe", "success": True, "result": result}), US)
    session.on_time(31.0)
    sent = [json.loads(message) for message in session.take_outbox()]
    assert [m["params"]["symbol"] for m in sent if m["method"] == "subscribe"] == [["ETH/USD"]]
    session.on_time(62.0)
    assert {json.loads(message)["method"] for message in session.take_outbox()} == {"ping"}


def written(levels: dict[int, int]) -> list[dict[str, float]]:
    """Levels of tenths and hundred-millionths as the exchange writes them, its zeros put in afterwards."""
    return [
        {"price": f"{price / 10:.1f}", "qty": f"{quantity / 1e8:.8f}"} for price, quantity in levels.items()
    ]


def test_a_walk_of_a_deep_book_cut_at_the_subscribed_depth() -> None:
    source, depth = random.Random(5), 10
    bids = {price: source.randrange(1, 10**9) for price in range(960, 1000)}
    asks = {price: source.randrange(1, 10**9) for price in range(1001, 1041)}
    shown: list[dict[int, int]] = [{}, {}]
    session = session_for(RequestType.ORDERBOOK, "BTC-USD", depth=depth)
    for step in range(1000):
        side = bids if source.random() < 0.5 else asks
        lowest = 960 if side is bids else 1001
        for _ in range(source.randint(1, 4)):
            price = source.randrange(lowest, lowest + 40)
            if source.random() < 0.4 and len(side) > depth + 5:
                side.pop(price, None)
            else:
                side[price] = source.randrange(1, 10**9)
        now = [dict(sorted(bids.items(), reverse=True)[:depth]), dict(sorted(asks.items())[:depth])]
        # Told are removals of what was there, never of what the cut pushed out; and what comes into view.
        changes = [
            {price: whole.get(price, 0) for price in {*before, *after} if before.get(price) != after.get(price)}
            for whole, before, after in zip((bids, asks), shown, now, strict=True)
        ]
        told = [
            {price: q for price, q in change.items() if price in after or not q}
            for change, after in zip(changes, now, strict=True)
        ]
        text = "".join(
            f"{price}{quantity}" for side_now in (now[1], now[0]) for price, quantity in side_now.items()
        )
        data = {
            "symbol": "BTC/USD",
            "bids": written(told[0]),
            "asks": written(told[1]),
            "checksum": zlib.crc32(text.encode()),
        }
        kind = "snapshot" if step == 0 else "update"
        message = json.dumps({"channel": "book", "type": kind, "data": [data]})
        (record,) = session.receive(re.sub(r'"([0-9]+[.][0-9]+)"', r"\1", message), US)
        assert record.valid, (step, told)
        shown = now
    assert not [notice for notice in session.take_notices() if isinstance(notice, SymbolBroken)]
