"""Bitfinex, version 2: every field of documented frames, channels, sequence, checksums, symbols, errors."""

import json
import zlib
from decimal import Decimal
from itertools import count

import pytest

from core.errors import ErrorCode
from core.exchanges.base import (
    BookSettings,
    Complaint,
    Confirmed,
    Interrupted,
    Refused,
    SymbolBroken,
    SymbolWhole,
    Unparsed,
)
from core.exchanges.bitfinex import Bitfinex
from core.identity import RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from core.session import StreamSession
from tests.frames import frame

US = 1_793_604_700_000_123
CHANNELS = {
    RequestType.TICKER: "subscribed.ticker",
    RequestType.TRADE: "subscribed.trades",
    RequestType.ORDERBOOK: "subscribed.book",
}


def session_for(request_type: RequestType, *symbols: str) -> StreamSession:
    """Subscribed, and the documented channel confirmed."""
    profile = Bitfinex()
    session = StreamSession(profile, request_type, 7, now_s=0.0, books=BookSettings(depth=25))
    session.subscribe([profile.parse_symbol(symbol) for symbol in symbols], 0.0)
    session.take_outbox()
    session.receive(frame("bitfinex", CHANNELS[request_type]), US)
    session.take_notices()
    return session


def pairs(levels: list[Level]) -> list[tuple[float, float]]:
    return [(level.price, level.quantity) for level in levels]


def test_ticker() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    expected = Ticker(
        exchange="bitfinex",
        region="europe",
        symbol="BTC-USD",
        exchange_symbol="tBTCUSD",
        exchange_ts_ms=1574694478808,
        received_ts_us=US,
        session_id=7,
        sequence=1,
        price=7617.1,
        open=None,
        high=8257.8,
        low=7500.0,
        prev_close=None,
        change_rate=-0.0674,
        volume_24h=8314.71200815,
        quote_volume_24h=None,
        bid=7616.5,
        bid_quantity=None,
        ask=7617.5,
        ask_quantity=None,
        stream_type=StreamType.SNAPSHOT,
    )
    assert session.receive(frame("bitfinex", "ticker"), US) == (expected,)
    (record,) = session.receive(frame("bitfinex", "ticker.plain").decode(), US)
    assert (record.exchange_ts_ms, record.stream_type) == (None, StreamType.REALTIME)


def test_trades_each_once_in_order_of_time() -> None:
    session = session_for(RequestType.TRADE, "BTC-USD")
    common = ("bitfinex", "europe", "BTC-USD", "tBTCUSD")
    assert session.receive(frame("bitfinex", "trade.snapshot"), US) == [
        Trade(*common, 1574694475039, US, 7, 1, 7244.9, 0.005, Side.BUY, "401597393"),
        Trade(*common, 1574694476100, US, 7, 2, 7244.9, 0.25, Side.SELL, "401597394"),
        Trade(*common, 1574694478808, US, 7, 3, 7245.3, 0.005, Side.BUY, "401597395"),
    ]
    assert session.receive(frame("bitfinex", "trade"), US) == (
        Trade(*common, 1574694479001, US, 7, 4, 7245.2, 0.0125, Side.SELL, "401597396"),
    )
    assert session.receive(frame("bitfinex", "trade.stored"), US) == ()
    assert session.ignored == {"trades already seen": 1}


def test_a_trade_that_only_comes_when_it_is_stored_is_taken() -> None:
    session = session_for(RequestType.TRADE, "BTC-USD")
    (record,) = session.receive(frame("bitfinex", "trade.stored"), US)
    assert record.trade_id == "401597396"


def test_a_renewed_channel_does_not_double_its_last_trades() -> None:
    session = session_for(RequestType.TRADE, "BTC-USD")
    session.receive(frame("bitfinex", "trade.snapshot"), US)
    renewed = frame("bitfinex", "subscribed.trades").replace(b"19111", b"19112")
    session.receive(renewed, US)
    text = "[19112,[[401597396,1574694479001,-0.0125,7245.2],[401597395,1574694478808,0.005,7245.3]]]"
    (record,) = session.receive(text, US)
    assert (record.trade_id, record.sequence) == ("401597396", 4)
    # The channel that it took the place of is gone.
    session.receive(frame("bitfinex", "trade"), US)
    assert session.ignored == {"channel that is not subscribed": 1}


def test_a_trade_of_a_derivative_with_a_whole_amount() -> None:
    session = StreamSession(Bitfinex(), RequestType.TRADE, 7, now_s=0.0, accept_all=True)
    opened = frame("bitfinex", "subscribed.trades").replace(b"BTCUSD", b"BTCF0:USTF0").replace(b"19111", b"88")
    session.receive(opened, US)
    common = ("bitfinex", "europe", "BTCF0-USTF0", "tBTCF0:USTF0")
    assert session.receive('[88,"te",[402088407,1574963975602,3,7440.1],10,1574963975650]', US) == (
        Trade(*common, 1574963975602, US, 7, 1, 7440.1, 3.0, Side.BUY, "402088407"),
    )


def test_a_ticker_without_most_of_its_figures() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    (record,) = session.receive(frame("bitfinex", "ticker.nulls"), US)
    assert record == Ticker(
        exchange="bitfinex",
        region="europe",
        symbol="BTC-USD",
        exchange_symbol="tBTCUSD",
        exchange_ts_ms=1574694478840,
        received_ts_us=US,
        session_id=7,
        sequence=1,
        price=7617.1,
        ask=7617.5,
        stream_type=StreamType.SNAPSHOT,
    )


def test_decimals_may_come_as_text() -> None:
    session = StreamSession(Bitfinex(), RequestType.TICKER, 7, now_s=0.0, exact=True)
    session.subscribe([Symbol("BTC", "USD")], 0.0)
    session.receive(frame("bitfinex", "subscribed.ticker"), US)
    (record,) = session.receive(frame("bitfinex", "ticker.text"), US)
    assert (record.price, record.bid, record.ask, record.change_rate) == (7617.2, 7616.5, 7617.5, -0.0674)
    assert (record.volume_24h, record.high, record.low) == (8314.71200815, 8257.8, 7500.0)
    assert record.price_exact == Decimal("7617.2")
    session = session_for(RequestType.ORDERBOOK, "ETH-USD")
    session.receive("[10092,[[7254.7,3,3.3],[7254.8,3,-0.25]],4]", US)
    (update,) = session.receive(frame("bitfinex", "orderbook.text"), US)
    assert (update.valid, pairs(update.bids), update.asks) == (True, [(7254.7, 3.31)], [])
    (checked,) = session.receive(f'[10092,"cs",{checksum_of("7254.7:3.31:7254.8:-0.25")},6]', US)
    assert checked.valid


def test_what_gives_no_records_still_counts_in_the_sequence() -> None:
    session = StreamSession(Bitfinex(), RequestType.TRADE, 7, now_s=0.0, accept_all=True)
    for text in (
        '{"event":"subscribed","channel":"trades","chanId":1,"symbol":"tBTCUSD"}',
        '{"event":"subscribed","channel":"trades","chanId":71,"symbol":"fUSD"}',
        '{"event":"subscribed","channel":"status","chanId":3,"key":"liq:global"}',
        '[1,"te",[5,1574694479001,1,7],1,1574694479015]',
        '[71,"fte",[6,1574694478808,-2101.5,0.0002,2],2,1574694478820]',
        '[71,"ftu",[6,1574694478808,-2101.5,0.0002,2],3,1574694478821]',
        "[71,[0.1,2,30],4,1574694478821]",
        '[3,[["pos",1,1574694478821,null,"tBTCUSD",1,2]],5,1574694478822]',
        '[9,"hb",6,1574694478823]',
        '[9,"xyz",7,1574694478823]',
        '[1,"tu",[5,1574694479001,1,7],8,1574694479015]',
        '[1,"te",[7,1574694479001,1,7],9,1574694479015]',
    ):
        session.receive(text, US)
    assert session.take_notices() == []
    assert session.parse_failed == 0
    assert session.ignored == {
        "word without records": 2,
        "channel without records": 2,
        "channel that is not subscribed": 1,
        "trades already seen": 1,
    }
    session.receive('[71,"fte",[8,1574694478808,-1,0.0002,2],11,1574694478820]', US)
    assert [notice.code for notice in session.take_notices()] == [ErrorCode.SEQUENCE_GAP]


def test_a_number_that_comes_twice_is_no_loss() -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD")
    for name in ("orderbook.snapshot", "orderbook", "orderbook.ask"):
        session.receive(frame("bitfinex", name), US)
    (record,) = session.receive(frame("bitfinex", "orderbook.checksum").replace(b",4,", b",3,"), US)
    (after,) = session.receive("[10092,[7254.8,2,-0.5],4,1574694475190]", US)
    assert (record.valid, after.valid) == (True, True)
    assert [notice for notice in session.take_notices() if isinstance(notice, SymbolBroken)] == []


def test_a_checksum_that_looks_like_the_sequence_is_compared() -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD")
    session.receive("[10092,[[5,1,1],[6,1,-1]],1]", US)
    (record,) = session.receive('[10092,"cs",2]', US)
    assert (record.checksum, record.valid) == (2, False)
    (broken,) = [notice for notice in session.take_notices() if isinstance(notice, SymbolBroken)]
    assert broken.code is ErrorCode.CHECKSUM_MISMATCH
    session.receive("[10092,[5,1,2],2]", US)
    assert session.take_notices() == []


def test_the_best_book_of_a_pair_is_read() -> None:
    session = StreamSession(Bitfinex(), RequestType.TRADE, 7, now_s=0.0, accept_all=True)
    opened = frame("bitfinex", "subscribed.book")
    for number, former, other in ((b"1", b"P0", b"P1"), (b"2", b"", b""), (b"3", b'"25"', b'"1"')):
        session.receive(opened.replace(b"10092", number).replace(former, other), US)
    levels = "[[7250,12,40.5],[7260,3,-9]]"
    assert session.receive(f"[1,{levels},1,1574694475101]", US) == ()
    (record,) = session.receive(f"[2,{levels},2,1574694475101]", US)
    assert (record.kind, record.valid, pairs(record.bids)) == (BookKind.SNAPSHOT, True, [(7250.0, 40.5)])
    assert session.receive(f"[3,{levels},3,1574694475101]", US) == ()
    assert session.receive('[1,"cs",5,4,1574694475101]', US) == ()
    # A deeper one takes its place; its book begins with its snapshot.
    session.receive(opened.replace(b"10092", b"4").replace(b'"25"', b"100"), US)
    assert session.receive("[2,[7250,12,40.5],5,1574694475101]", US) == ()
    (record,) = session.receive("[4,[7250,12,40.5],6,1574694475101]", US)
    assert not record.valid
    (record,) = session.receive(f"[4,{levels},7,1574694475101]", US)
    assert record.valid
    assert session.ignored == {"other book of the pair": 4}
    session.receive('{"event":"unsubscribed","status":"OK","chanId":4}', US)
    session.receive(opened.replace(b"10092", b"5"), US)
    assert session.receive(f"[5,{levels},8,1574694475101]", US)[0].valid
    assert session.take_notices() == []


def test_order_book_with_its_checksum() -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD")
    (snapshot,) = session.receive(frame("bitfinex", "orderbook.snapshot"), US)
    assert isinstance(snapshot, OrderBook)
    assert (snapshot.symbol, snapshot.exchange_symbol, snapshot.region) == ("ETH-USD", "tETHUSD", "europe")
    assert (snapshot.kind, snapshot.valid, snapshot.sequence) == (BookKind.SNAPSHOT, True, 1)
    assert (snapshot.exchange_ts_ms, snapshot.received_ts_us) == (1574694475100, US)
    assert (snapshot.first_update_id, snapshot.last_update_id, snapshot.checksum) == (None, None, None)
    assert pairs(snapshot.bids) == [(7254.7, 3.3), (7254.6, 0.5), (7250.0, 1e-7)]
    assert pairs(snapshot.asks) == [(7254.8, 0.25), (7255.0, 12.50317), (7260.1, 2.0)]
    (removed,) = session.receive(frame("bitfinex", "orderbook"), US)
    assert (removed.kind, pairs(removed.bids), removed.asks) == (BookKind.DELTA, [(7254.6, 0.0)], [])
    (changed,) = session.receive(frame("bitfinex", "orderbook.ask"), US)
    assert (changed.bids, pairs(changed.asks), changed.valid) == ([], [(7254.8, 0.75)], True)
    (checked,) = session.receive(frame("bitfinex", "orderbook.checksum"), US)
    assert (checked.kind, checked.bids, checked.asks) == (BookKind.DELTA, [], [])
    assert (checked.checksum, checked.valid, checked.sequence) == (684810852, True, 4)
    assert session.take_notices() == []


def test_a_wrong_checksum_is_repaired_by_a_new_subscription_of_that_pair() -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD", "BTC-USD")
    session.receive(frame("bitfinex", "orderbook.snapshot"), US)
    (record,) = session.receive('[10092,"cs",-1,2,1574694475182]', US)
    assert (record.valid, record.checksum) == (False, -1)
    (broken,) = session.take_notices()
    assert isinstance(broken, SymbolBroken)
    assert (broken.symbol, broken.code) == ("ETH-USD", ErrorCode.CHECKSUM_MISMATCH)
    session.on_time(1.0)
    assert [json.loads(message) for message in session.take_outbox()] == [
        {"event": "unsubscribe", "chanId": 10092},
        {
            "event": "subscribe",
            "channel": "book",
            "symbol": "tETHUSD",
            "prec": "P0",
            "freq": "F0",
            "len": "25",
        },
    ]
    # What is still under way on the former channel is read, until the exchange has ended it.
    (record,) = session.receive(frame("bitfinex", "orderbook.ask"), US)
    assert (record.valid, record.sequence) == (False, 3)
    session.receive('{"event":"unsubscribed","status":"OK","chanId":10092}', US)
    assert session.receive("[10092,[7254.8,2,-0.5],4]", US) == ()
    assert session.ignored == {"channel that is not subscribed": 1}
    session.receive(frame("bitfinex", "subscribed.book").replace(b"10092", b"10093"), US)
    (record,) = session.receive(frame("bitfinex", "orderbook.snapshot").replace(b"10092", b"10093"), US)
    assert (record.valid, record.sequence) == (True, 4)
    assert SymbolWhole("ETH-USD", 1) in session.take_notices()


def test_a_repair_that_has_to_be_tried_again_ends_the_channel_once() -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD")
    session.receive(frame("bitfinex", "orderbook.snapshot"), US)
    session.receive('[10092,"cs",-1,2]', US)
    for now_s in range(1, 10):
        session.on_time(float(now_s))
    sent = [json.loads(message)["event"] for message in session.take_outbox()]
    assert sent.count("unsubscribe") == 1
    assert sent.count("subscribe") > 1
    assert len(session.receive("[10092,[7254.8,2,-0.5],3]", US)) == 1


@pytest.mark.parametrize("repaired", [False, True])
def test_data_of_a_pair_that_nobody_wants_any_more_is_ignored(repaired: bool) -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD")
    session.receive(frame("bitfinex", "orderbook.snapshot"), US)
    if repaired:
        session.receive('[10092,"cs",-1,2]', US)
        session.on_time(1.0)
    session.unsubscribe(["ETH-USD"], 1.0)
    sent = [json.loads(message)["event"] for message in session.take_outbox()]
    assert sent.count("unsubscribe") == 1
    assert session.receive("[10092,[7254.8,2,-0.5],3]", US) == ()
    # Nor is it data of the pair's next subscription.
    session.subscribe([Symbol("ETH", "USD")], 2.0)
    assert session.receive("[10092,[7254.8,2,-0.5],4]", US) == ()
    assert session.ignored == {"channel that is not subscribed": 2}


def test_a_gap_in_the_sequence_breaks_every_book_of_the_connection() -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD", "BTC-USD")
    other = frame("bitfinex", "subscribed.book").replace(b"10092", b"7").replace(b"ETH", b"BTC")
    session.receive(other, US)
    session.receive(frame("bitfinex", "orderbook.snapshot"), US)
    session.receive("[7,[[5,1,1]],2,1574694475100]", US)
    session.take_notices()
    session.receive('[7,"hb",2,1574694475101]', US)
    assert session.take_notices() == []
    (record,) = session.receive("[7,[5,1,2],4,1574694475102]", US)
    assert not record.valid
    broken = session.take_notices()
    assert [(notice.symbol, notice.code) for notice in broken] == [
        ("ETH-USD", ErrorCode.SEQUENCE_GAP),
        ("BTC-USD", ErrorCode.SEQUENCE_GAP),
    ]


def checksum_of(text: str) -> int:
    crc = zlib.crc32(text.encode())
    return crc - 2**32 if crc >= 2**31 else crc


def two_books(length: str = "25", *, checked: bool = True) -> StreamSession:
    """ETH on channel 10092 and BTC on 7, each with a bid and an ask, the last frame being number 4."""
    session = session_for(RequestType.ORDERBOOK, "ETH-USD", "BTC-USD")
    for number, pair in (("10092", "ETH"), ("7", "BTC")):
        text = frame("bitfinex", "subscribed.book").decode().replace("10092", number)
        session.receive(text.replace("ETH", pair).replace('"25"', f'"{length}"'), US)
    word = f'"cs",{checksum_of("5:1:6:-1")}' if checked else '"hb"'
    for number in ("10092", "7"):
        session.receive(f"[{number},[[5,1,1],[6,1,-1]],{1 if number == '10092' else 3}]", US)
        session.receive(f"[{number},{word},{2 if number == '10092' else 4}]", US)
    session.take_notices()
    return session


def test_a_lost_frame_leaves_books_whole_whose_checksum_agrees() -> None:
    session = two_books()
    (record,) = session.receive("[7,[5,1,2],6]", US)
    assert (record.valid, record.kind) == (False, BookKind.DELTA)
    (complaint,) = session.take_notices()
    assert isinstance(complaint, Complaint)
    assert complaint.code is ErrorCode.SEQUENCE_GAP
    # BTC lost nothing. The record is the book itself, from which a reader may go on.
    (record,) = session.receive(f'[7,"cs",{checksum_of("5:2:6:-1")},7,1574694475180]', US)
    assert record == OrderBook(
        exchange="bitfinex",
        region="europe",
        symbol="BTC-USD",
        exchange_symbol="tBTCUSD",
        exchange_ts_ms=1574694475180,
        received_ts_us=US,
        session_id=7,
        sequence=4,
        kind=BookKind.SNAPSHOT,
        bids=record.bids,
        asks=record.asks,
        checksum=checksum_of("5:2:6:-1"),
        valid=True,
    )
    assert (pairs(record.bids), pairs(record.asks)) == ([(5.0, 2.0)], [(6.0, 1.0)])
    # ETH did: its own checksum shows it, and it alone is subscribed anew.
    (record,) = session.receive(f'[10092,"cs",{checksum_of("5:1:6:-3")},8]', US)
    assert not record.valid
    (broken,) = session.take_notices()
    assert isinstance(broken, SymbolBroken)
    assert (broken.symbol, broken.code) == ("ETH-USD", ErrorCode.CHECKSUM_MISMATCH)
    session.on_time(1.0)
    assert [json.loads(m).get("symbol", m) for m in session.take_outbox()] == [
        '{"event":"unsubscribe","chanId":10092}',
        "tETHUSD",
    ]
    (record,) = session.receive("[7,[5,1,3],9]", US)
    assert (record.valid, session.take_notices()) == (True, [])


def test_a_level_left_behind_by_a_lost_removal_is_gone_with_the_proof() -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD")

    def checksum(best: int) -> int:
        first, *others = [f"{price}:1" for price in range(best, best - 25, -1)]
        return checksum_of(":".join([first, "40:-1", *others]))

    bids = ",".join(f"[{price},1,1]" for price in range(30, 5, -1))
    session.receive(f"[10092,[{bids},[40,1,-1]],1]", US)
    (record,) = session.receive(f'[10092,"cs",{checksum(30)},2]', US)
    assert record.valid
    session.receive("[10092,[31,1,1],3]", US)
    # The removal of the 26th, number 4, was lost.
    (record,) = session.receive(f'[10092,"cs",{checksum(31)},5]', US)
    assert (record.valid, record.kind) == (True, BookKind.SNAPSHOT)
    assert pairs(record.bids) == [(float(price), 1.0) for price in range(31, 6, -1)]
    session.on_time(0.0, US)
    session.on_time(61.0, US + 61_000_000)
    (whole,) = session.take_records()
    assert pairs(whole.bids) == pairs(record.bids)


def test_a_quiet_doubted_book_is_subscribed_anew() -> None:
    session = two_books()
    session.receive('[7,"hb",6]', US)
    assert [type(notice) for notice in session.take_notices()] == [Complaint]
    for now_s in (1.0, 2.0, 3.5):
        session.on_time(now_s)
    sent = [json.loads(message) for message in session.take_outbox()]
    assert [m["event"] for m in sent if m["event"] != "ping"] == ["unsubscribe", "subscribe"]
    assert sent[0]["chanId"] == 10092
    (record,) = session.receive("[7,[5,1,2],7]", US)
    assert not record.valid
    session.receive(frame("bitfinex", "subscribed.book").replace(b"10092", b"10093"), US)
    (record,) = session.receive("[10093,[[5,1,1],[6,1,-1]],8]", US)
    assert (record.valid, record.kind) == (True, BookKind.SNAPSHOT)
    assert session.take_notices() == []


@pytest.mark.parametrize(("length", "checked"), [("100", True), ("250", True), ("25", False)])
def test_a_lost_frame_breaks_books_that_no_checksum_proves(length: str, checked: bool) -> None:
    session = two_books(length, checked=checked)
    (record,) = session.receive("[7,[5,1,2],6]", US)
    assert not record.valid
    assert [(n.symbol, n.code) for n in session.take_notices() if isinstance(n, SymbolBroken)] == [
        ("ETH-USD", ErrorCode.SEQUENCE_GAP),
        ("BTC-USD", ErrorCode.SEQUENCE_GAP),
    ]
    (record,) = session.receive(f'[7,"cs",{checksum_of("5:2:6:-1")},7]', US)
    assert not record.valid


def test_a_gap_without_books_is_a_complaint() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    session.receive(frame("bitfinex", "ticker"), US)
    session.receive(frame("bitfinex", "heartbeat").replace(b'"hb",4', b'"hb",9'), US)
    assert [notice.code for notice in session.take_notices() if isinstance(notice, Complaint)] == [
        ErrorCode.SEQUENCE_GAP
    ]


@pytest.mark.parametrize("flags", ["536870912", '"536870912"'])
def test_bulk_updates_are_told_by_their_flag(flags: str) -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD")
    session.receive(f'{{"event":"conf","status":"OK","flags":{flags}}}', US)
    session.receive("[10092,[[10,1,1],[11,1,-1]]]", US)
    (record,) = session.receive("[10092,[[10,0,1],[9,1,1]]]", US)
    assert (record.kind, pairs(record.bids)) == (BookKind.DELTA, [(10.0, 0.0), (9.0, 1.0)])
    session.receive('{"event":"conf","status":"OK"}', US)
    (record,) = session.receive("[10092,[[10,1,1],[11,1,-1]]]", US)
    assert record.kind is BookKind.SNAPSHOT


def test_bulk_updates_are_no_snapshot() -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD")
    session.receive('{"event":"conf","status":"OK","flags":536870912}', US)
    kinds = [session.receive("[10092,[[10,1,1],[11,1,-1]]]", US)[0].kind for _ in range(2)]
    assert kinds == [BookKind.SNAPSHOT, BookKind.DELTA]


def test_an_empty_snapshot_and_spaces() -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD")
    (record,) = session.receive(frame("bitfinex", "orderbook.empty"), US)
    assert (record.kind, record.bids, record.asks, record.valid) == (BookKind.SNAPSHOT, [], [], True)
    (record,) = session.receive("[ 10092 , [ 7254.7 , 3 , 3.3 ] , 2 , 1574694475100 ]", US)
    assert (record.kind, pairs(record.bids)) == (BookKind.DELTA, [(7254.7, 3.3)])


@pytest.mark.parametrize(
    "entry",
    [
        "[7254.8,2,-0.5]", "[7254.8,2,0.5]", "[7254.8,0,-1]", "[7254,1,-1e-7]", '["7254.80",2,"-0.50"]',
        "[ 7254.8 , 2 , 0.5 ]", "[7254.8,2,-0.5,7]",
    ],
)  # fmt: skip
def test_an_entry_is_the_same_level_read_at_once_and_by_its_parts(entry: str) -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD")
    session.receive("[10092,[],1]", US)
    for text in (f"[10092,{entry},2]", f"[10092,{entry},2,1574694475100]"):
        # The second comes out of its turn.
        (at_once,) = session.receive(text, US)
        (by_parts,) = session.receive(text.encode(), US)
        # With their text.
        assert (at_once.bids, at_once.asks) == (by_parts.bids, by_parts.asks)
        assert len(at_once.bids) + len(at_once.asks) == 1
        session.receive('[10092,"hb",1]', US)


def test_requests() -> None:
    session = StreamSession(Bitfinex(), RequestType.TICKER, 1, now_s=0.0)
    session.subscribe([Symbol("BTC", "USD"), Symbol("DOGE", "USD")], 0.0)
    session.subscribe([Symbol("ETH", "USDT")], 0.0)
    assert [json.loads(message) for message in session.take_outbox()] == [
        {"event": "conf", "flags": 32768 + 65536},
        {"event": "subscribe", "channel": "ticker", "symbol": "tBTCUSD"},
        {"event": "subscribe", "channel": "ticker", "symbol": "tDOGE:USD"},
        {"event": "subscribe", "channel": "ticker", "symbol": "tETHUST"},
    ]
    # The number of DOGE's channel is not known yet: it is ended when it is.
    session.receive(frame("bitfinex", "subscribed.ticker"), US)
    session.unsubscribe(["BTC-USD", "DOGE-USD"], 0.0)
    assert [json.loads(message) for message in session.take_outbox()] == [
        {"event": "unsubscribe", "chanId": 224555}
    ]
    late = frame("bitfinex", "subscribed.ticker").replace(b"224555", b"9").replace(b"tBTCUSD", b"tDOGE:USD")
    session.receive(late, US)
    assert [json.loads(message) for message in session.take_outbox()] == [{"event": "unsubscribe", "chanId": 9}]


@pytest.mark.parametrize(("depth", "length"), [(1, "1"), (20, "25"), (26, "100"), (101, "250"), (1000, "250")])
def test_the_length_of_a_book(depth: int, length: str) -> None:
    session = StreamSession(Bitfinex(), RequestType.ORDERBOOK, 1, now_s=0.0, books=BookSettings(depth=depth))
    session.subscribe([Symbol("BTC", "USD")], 0.0)
    conf, subscribe = (json.loads(message) for message in session.take_outbox())
    assert conf == {"event": "conf", "flags": 32768 + 65536 + 131072}
    assert subscribe["len"] == length


def test_events_are_controls_and_confirm() -> None:
    profile = Bitfinex()
    session = StreamSession(profile, RequestType.TICKER, 7, now_s=0.0)
    session.subscribe([profile.parse_symbol("tBTCUSD")], 0.0)
    for name in ("info", "conf", "subscribed.ticker", "pong", "unsubscribed", "heartbeat"):
        assert session.receive(frame("bitfinex", name), US) == ()
    assert session.controls == 6
    assert session.take_notices() == [Confirmed(("BTC-USD",))]


def test_a_channel_without_heartbeats_is_found() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    other = frame("bitfinex", "subscribed.ticker").replace(b"224555", b"9").replace(b"BTC", b"ETH")
    session.subscribe([Symbol("ETH", "USD")], 0.0)
    session.receive(other, US)
    session.take_notices()
    for second in range(0, 120, 5):
        session.receive('[224555,"hb"]', US)
        session.on_time(float(second))
    broken = [notice for notice in session.take_notices() if isinstance(notice, SymbolBroken)]
    assert [(notice.symbol, notice.code) for notice in broken] == [("ETH-USD", ErrorCode.STREAM_STALE)]


def test_an_error_refuses_the_pair_it_names() -> None:
    profile = Bitfinex()
    session = StreamSession(profile, RequestType.TICKER, 7, now_s=0.0)
    session.subscribe([Symbol("GIB", "USD"), Symbol("BTC", "USD")], 0.0)
    session.receive(frame("bitfinex", "error"), US)
    assert session.take_notices() == [
        Refused(("GIB-USD",), ErrorCode.UNKNOWN_SYMBOL, "Bitfinex: 10300: symbol: invalid")
    ]
    assert session.active_symbols == ["BTC-USD"]


@pytest.mark.parametrize(
    ("code", "msg", "expected"),
    [
        (10305, "Reached limit of open channels", [ErrorCode.RATE_LIMITED]),
        (10000, "Unknown event", [ErrorCode.SUBSCRIBE_REJECTED]),
        ("10001", "unknown", [ErrorCode.SUBSCRIBE_REJECTED]),
        (10301, "dup subscription", []),
        (10401, "not subscribed", []),
        (20000, "rate limit: too many requests", [ErrorCode.RATE_LIMITED]),
    ],
)
def test_other_errors(code: object, msg: str, expected: list[ErrorCode]) -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    session.receive(json.dumps({"event": "error", "code": code, "msg": msg}), US)
    assert [notice.code for notice in session.take_notices()] == expected
    assert session.active_symbols == ["BTC-USD"]


def test_after_maintenance_everything_is_subscribed_anew() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    session.receive(frame("bitfinex", "maintenance"), US)
    (notice,) = session.take_notices()
    assert isinstance(notice, Interrupted)
    assert ("20060" in notice.message, notice.reconnect) == (True, False)
    session.receive('{"event":"info","code":20061,"msg":"Maintenance ended"}', US)
    assert [json.loads(message) for message in session.take_outbox()] == [
        {"event": "unsubscribe", "chanId": 224555},
        {"event": "subscribe", "channel": "ticker", "symbol": "tBTCUSD"},
    ]


def test_channels_that_nobody_asked_for_are_not_opened() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    before = session.controls
    for number in range(1_000):
        text = (
            f'{{"event":"subscribed","channel":"ticker","chanId":{number},"symbol":"tX{number}USD","pair":"X"}}'
        )
        assert session.receive(text, US) == ()
    for text in (
        '{"event":"subscribed","channel":"trades","chanId":7,"symbol":"tBTCUSD","pair":"BTCUSD"}',
        '{"event":"subscribed","channel":"book","chanId":8,"symbol":"tBTCUSD","prec":"R0","len":"25"}',
        '{"event":"subscribed","channel":"candles","chanId":9,"key":"trade:1m:tBTCUSD"}',
    ):
        session.receive(text, US)
    assert session.ignored == {"channel that nobody asked for": 1_003}
    assert (session.controls, session.pending) == (before, False)
    assert list(session._dialect._by_number) == [224555]  # type: ignore[attr-defined]
    session.receive(frame("bitfinex", "ticker"), US)
    assert session.parse_failed == 0


def test_a_channel_that_comes_late_is_ended_once() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD", "ETH-USD")
    session.unsubscribe(["ETH-USD"], 1.0)
    session.take_outbox()
    for number in range(1_000):
        text = (
            f'{{"event":"subscribed","channel":"ticker","chanId":{number},"symbol":"tETHUSD","pair":"ETHUSD"}}'
        )
        session.receive(text, US)
    sent = session.take_outbox()
    for second in range(2, 10):
        session.on_time(float(second))
        sent += session.take_outbox()
    events = [json.loads(text) for text in sent]
    assert [e for e in events if e["event"] != "ping"] == [{"event": "unsubscribe", "chanId": 0}]
    assert session.ignored == {"channel that nobody asked for": 999}


def test_a_channel_of_ever_new_numbers_is_one_channel() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    for number in range(1, 1_000):
        session.receive(
            f'{{"event":"subscribed","channel":"ticker","chanId":{number},"symbol":"tBTCUSD","pair":"BTCUSD"}}',
            US,
        )
    assert list(session._dialect._by_number) == [999]  # type: ignore[attr-defined]
    session.unsubscribe(["BTC-USD"], 1.0)
    assert [json.loads(text) for text in session.take_outbox()] == [{"event": "unsubscribe", "chanId": 999}]


def test_an_end_of_maintenance_told_a_thousand_times_renews_once() -> None:
    symbols = [f"A{number:02}-USD" for number in range(25)]
    session = session_for(RequestType.TICKER, *symbols)

    def subscribed(first_number: int) -> None:
        for number, symbol in enumerate(symbols, first_number):
            pair = symbol.replace("-", "")
            text = {
                "event": "subscribed",
                "channel": "ticker",
                "chanId": number,
                "symbol": f"t{pair}",
                "pair": pair,
            }
            session.receive(json.dumps(text), US)

    clock = count(1)

    def renewed(times: int) -> list[str]:
        for _ in range(times):
            session.receive('{"event":"info","code":20061,"msg":"Maintenance ended"}', US)
        sent = session.take_outbox()
        for _ in range(6):  # at ten messages a second
            session.on_time(float(next(clock)))
            sent += session.take_outbox()
        return [event for event in (json.loads(message)["event"] for message in sent) if event != "ping"]

    renewed(0)
    subscribed(100)
    assert renewed(1_000) == ["unsubscribe"] * 25 + ["subscribe"] * 25
    assert renewed(1_000) == []
    # The next maintenance, after the first renewal was answered; and one symbol asked for meanwhile.
    subscribed(200)
    assert renewed(1) == ["unsubscribe"] * 25 + ["subscribe"] * 25
    session.unsubscribe([symbols[0]], 20.0)
    session.subscribe([Symbol.parse(symbols[0])], 20.0)
    session.take_outbox()
    assert renewed(1) == ["subscribe"]


def test_a_restart_that_is_announced_asks_for_a_new_connection() -> None:
    session = session_for(RequestType.TICKER, "BTC-USD")
    session.receive('{"event":"info","code":"20051","msg":"Stopping, please reconnect"}', US)
    assert session.take_notices() == [
        Interrupted("Bitfinex: 20051: Stopping, please reconnect", reconnect=True)
    ]


def test_a_replay_of_two_connections() -> None:
    session = StreamSession(Bitfinex(), RequestType.TICKER, 1, now_s=0.0, accept_all=True)
    names = ["info", "conf", "subscribed.ticker", "subscribed.trades", "subscribed.book", "subscribed.candles"]
    names += ["subscribed.raw_book", "orderbook.snapshot", "orderbook", "orderbook.ask", "orderbook.checksum"]
    names += ["candle", "trade", "trade.stored"]
    records = []
    for name in names * 2:
        records += session.receive(frame("bitfinex", name), US)
    assert [type(record).__name__ for record in records] == ["OrderBook"] * 4 + ["Trade"] + ["OrderBook"] * 4
    assert all(record.valid for record in records if isinstance(record, OrderBook))
    assert session.take_notices() == []
    assert session.parse_failed == 0
    assert session.ignored == {"channel without records": 2, "trades already seen": 3}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[10092,[0,1,1]]", "out of range"),
        ("[10092,[1,1]]", "length 3"),
        ("[10092,[null,1,1]]", "no level"),
        ('[10092,"te",[1,1574694479001,1,1]]', "belongs to no"),
        ('[10092,"cs"]', "has none"),
        ("[10092,5]", "neither data nor a word"),
        ('["a"]', "object"),
        ("{}", "event"),
        ('{"event":"subscribed","channel":"book"}', "number"),
        ('{"event":"subscribed","channel":"book","chanId":1,"symbol":"tBTCUSD","len":"all"}', "length"),
    ],
)
def test_nonsense_is_unparsed(text: str, reason: str) -> None:
    session = session_for(RequestType.ORDERBOOK, "ETH-USD")
    assert session.receive(text, US) == ()
    (unparsed,) = session.take_notices()
    assert isinstance(unparsed, Unparsed)
    assert reason in unparsed.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [("[19111,[[1,1574694479001,0,5]]]", "amount 0"), ('[19111,"te",[1,5,1,5]]', ">= 1000000000000")],
)
def test_nonsense_in_trades_is_unparsed(text: str, reason: str) -> None:
    session = session_for(RequestType.TRADE, "BTC-USD")
    assert session.receive(text, US) == ()
    assert reason in session.take_notices()[0].reason


@pytest.mark.parametrize(
    ("text", "canonical", "spelled"),
    [
        ("BTC-USD", "BTC-USD", "tBTCUSD"),
        ("tBTCUSD", "BTC-USD", "tBTCUSD"),
        ("tbtcusd", "BTC-USD", "tBTCUSD"),
        ("TRXUSD", "TRX-USD", "tTRXUSD"),
        ("tTRXUSD", "TRX-USD", "tTRXUSD"),
        ("tDOGE:USD", "DOGE-USD", "tDOGE:USD"),
        ("TDOGE:USD", "DOGE-USD", "tDOGE:USD"),
        ("doge-usd", "DOGE-USD", "tDOGE:USD"),
        ("tUSTUSD", "USDT-USD", "tUSTUSD"),
        ("USDT-USD", "USDT-USD", "tUSTUSD"),
        ("tBTCUST", "BTC-USDT", "tBTCUST"),
        ("tLINK:UST", "LINK-USDT", "tLINK:UST"),
        ("tDSHUSD", "DASH-USD", "tDSHUSD"),
        ("t1INCH:USD", "1INCH-USD", "t1INCH:USD"),
        ("T-USD", "T-USD", "tT:USD"),
        ("tT:USD", "T-USD", "tT:USD"),
        ("tBTCF0:USTF0", "BTCF0-USTF0", "tBTCF0:USTF0"),
    ],
)
def test_symbols(text: str, canonical: str, spelled: str) -> None:
    profile = Bitfinex()
    symbol = profile.parse_symbol(text)
    assert (str(symbol), profile.spell_symbol(symbol)) == (canonical, spelled)


@pytest.mark.parametrize("text", ["fUSD", "BTCUSDT", "", "t", ":", "tBTC:"])
def test_other_symbols_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no pair|not 1 to 20"):
        Bitfinex().parse_symbol(text)


def test_exact_numbers() -> None:
    for request_type, name, expected in (
        (RequestType.TRADE, "trade", [(Decimal("7245.2"), Decimal("0.0125"))]),
        (
            RequestType.TRADE,
            "trade.snapshot",
            [
                (Decimal("7244.9"), Decimal("0.005")),
                (Decimal("7244.9"), Decimal("0.25")),
                (Decimal("7245.3"), Decimal("0.005")),
            ],
        ),
        (RequestType.TICKER, "ticker", [(Decimal("7617.1"), None)]),
    ):
        session = StreamSession(Bitfinex(), request_type, 7, now_s=0.0, exact=True)
        session.subscribe([Symbol("BTC", "USD")], 0.0)
        session.receive(frame("bitfinex", CHANNELS[request_type]), US)
        records = session.receive(frame("bitfinex", name), US)
        assert [(r.price_exact, getattr(r, "quantity_exact", None)) for r in records] == expected
