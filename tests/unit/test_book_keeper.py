"""Books kept by a session: Binance's (snapshot by REST), and those of an exchange that subscribes anew."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import pytest

from core.errors import ErrorCode
from core.exchanges._template import Template
from core.exchanges.base import (
    BookSettings,
    Confirmed,
    Refused,
    SnapshotWanted,
    SymbolBroken,
    SymbolTrack,
    SymbolWhole,
    Unparsed,
)
from core.exchanges.binance import Binance
from core.exchanges.upbit import Upbit
from core.identity import RequestType, Symbol
from core.records import BookKind, OrderBook, Record
from core.session import Stale, StreamSession
from tests.frames import frame

BTC, ETH = Symbol("BTC", "USDT"), Symbol("ETH", "USDT")
PATH = "/api/v3/depth?symbol=BTCUSDT&limit=20"


@dataclass
class Client:
    """A Binance session, its clock, and what it said."""

    session: StreamSession
    now_s: float = 0.0

    def delta(
        self, first: int, last: int, bids: Sequence[Sequence[str]] = (), symbol: str = "BTCUSDT"
    ) -> Record:
        event = {"e": "depthUpdate", "E": 1793604700000, "s": symbol, "U": first, "u": last, "b": bids, "a": []}
        (record,) = self.session.receive(json.dumps({"stream": "x", "data": event}), self.us)
        return record

    def snapshot(self, last: int, bids: Sequence[Sequence[str]] = ()) -> list[Record]:
        body = {"lastUpdateId": last, "bids": bids, "asks": [["100.0", "1.0"]]}
        return list(self.session.snapshot("BTC-USDT", json.dumps(body).encode(), self.us))

    def notices(self) -> list:
        """What it has said of books."""
        return [n for n in self.session.take_notices() if not isinstance(n, Confirmed | Stale)]

    def pass_time(self, seconds: float) -> list:
        """The notices of that time, looked at each quarter of a second."""
        notices = []
        for _ in range(round(seconds * 4)):
            self.now_s += 0.25
            self.session.on_time(self.now_s, self.us)
            self.session.take_outbox()
            notices += self.notices()
        return notices

    @property
    def us(self) -> int:
        return round(self.now_s * 1e6)


def client(*symbols: Symbol, every_s: float = 0.0) -> Client:
    books = BookSettings(depth=20, snapshot_every_s=every_s)
    session = StreamSession(Binance(), RequestType.ORDERBOOK, 7, now_s=0.0, books=books)
    session.subscribe(symbols or [BTC], 0.0)
    session.take_outbox()
    session.receive('{"result":null,"id":1}', 0)
    assert session.take_notices() == []
    return Client(session)


def whole(last: int = 10) -> Client:
    """A client with a whole book at ``last``."""
    it = client()
    assert it.pass_time(0.25) == [SnapshotWanted("BTC-USDT", PATH)]
    assert len(it.snapshot(last, [["9.0", "1.0"]])) == 1
    return it


def prices(levels: Sequence) -> list[float]:
    return [level.price for level in levels]


# -- the first snapshot --------------------------------------------------------------------------------


def test_the_snapshot_is_wanted_once_the_exchange_confirmed_also_where_nothing_moves() -> None:
    it = client(BTC, ETH)
    assert it.pass_time(1.0) == [
        SnapshotWanted("BTC-USDT", PATH),
        SnapshotWanted("ETH-USDT", "/api/v3/depth?symbol=ETHUSDT&limit=20"),
    ]


def test_deltas_put_by_are_applied_on_top_and_published_as_one_book() -> None:
    it = client()
    it.pass_time(0.25)
    assert not it.delta(1, 5, [["9.0", "7.0"]]).valid
    assert not it.delta(6, 12, [["8.0", "2.0"]]).valid
    assert not it.delta(13, 14, [["9.0", "0.0"]]).valid
    (record,) = it.snapshot(10, [["9.0", "1.0"], ["7.0", "1.0"]])
    assert isinstance(record, OrderBook)
    assert (record.kind, record.valid, record.sequence) == (BookKind.SNAPSHOT, True, 4)
    assert (record.first_update_id, record.last_update_id, record.exchange_ts_ms) == (None, 14, None)
    assert prices(record.bids) == [8.0, 7.0]
    assert prices(record.asks) == [100.0]
    assert it.delta(15, 15).valid
    assert it.notices() == []


def test_the_first_delta_after_a_quiet_snapshot_may_overlap_it_and_older_ones_are_no_gap() -> None:
    it = whole(10)
    assert not it.delta(3, 9).valid
    assert it.delta(10, 12).valid
    assert it.delta(13, 13).valid
    assert it.notices() == []


def test_a_snapshot_older_than_what_is_put_by_is_asked_for_again() -> None:
    it = client()
    it.pass_time(0.25)
    it.delta(21, 25)
    assert it.snapshot(10) == []
    assert it.pass_time(1.5) == []
    assert it.pass_time(1.0) == [SnapshotWanted("BTC-USDT", PATH)]
    it.delta(26, 30)
    assert len(it.snapshot(27)) == 1
    assert it.delta(31, 31).valid
    assert it.notices() == []


def test_a_snapshot_older_than_deltas_seen_before_it_was_wanted_does_not_fit() -> None:
    it = client()
    it.delta(21, 25)
    it.pass_time(0.25)
    assert it.snapshot(24) == []
    it.pass_time(3.0)
    assert len(it.snapshot(25)) == 1


def test_fetches_that_fail_are_tried_again_later_each_time() -> None:
    it = client()
    times = []
    for _ in range(300 * 4):
        for _notice in it.pass_time(0.25):
            times.append(it.now_s)
            it.session.snapshot_failed("BTC-USDT")
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits[0] < 3
    assert waits == sorted(waits)
    assert 55 < waits[-1] < 62


def test_a_snapshot_that_cannot_be_read_is_told_and_tried_again() -> None:
    it = client()
    it.pass_time(0.25)
    assert it.session.snapshot("BTC-USDT", b"<html>", it.us) == ()
    assert [type(notice) for notice in it.notices()] == [Unparsed]
    assert it.pass_time(3.0) == [SnapshotWanted("BTC-USDT", PATH)]


def test_what_is_put_by_for_a_snapshot_is_bounded_also_when_each_update_is_large() -> None:
    it = client()
    it.pass_time(0.25)
    levels = [[f"{price / 100}", "1.0"] for price in range(1, 20_001)]
    for number in range(11, 51):
        it.delta(number, number, levels)
    book = next(iter(it.session.tracks)).book
    assert book is not None
    assert [delta.last_id for delta in book.pending] == list(range(39, 51))
    # Those lost were needed for an old snapshot, which is asked for again; a newer one fits.
    assert it.snapshot(20) == []
    assert SnapshotWanted("BTC-USDT", PATH) in it.pass_time(3.0)
    (record,) = it.snapshot(50)
    assert isinstance(record, OrderBook)
    assert (record.valid, record.last_update_id) == (True, 50)


def test_rest_knows_an_unknown_symbol_where_the_stream_is_silent() -> None:
    it = client()
    it.pass_time(0.25)
    assert it.session.snapshot("BTC-USDT", b'{"code":-1121,"msg":"Invalid symbol."}', it.us) == ()
    (refused,) = it.notices()
    assert isinstance(refused, Refused)
    assert (refused.symbols, refused.code) == (("BTC-USDT",), ErrorCode.UNKNOWN_SYMBOL)
    assert it.session.active_symbols == []
    assert it.pass_time(60.0) == []


def test_no_more_than_a_few_snapshots_are_under_way() -> None:
    it = client(*(Symbol(f"C{number}", "USDT") for number in range(10)))
    wanted = it.pass_time(20.0)
    assert len(wanted) == 4
    it.session.snapshot(wanted[0].symbol, b'{"lastUpdateId":1,"bids":[],"asks":[]}', 1)
    assert [notice.symbol for notice in it.pass_time(1.0)] == ["C4-USDT"]


def test_what_is_fetched_for_a_symbol_that_ended_meanwhile_is_left() -> None:
    it = client()
    it.pass_time(0.25)
    it.session.unsubscribe(["BTC-USDT"], it.now_s)
    assert it.snapshot(10) == []
    it.session.snapshot_failed("BTC-USDT")
    assert it.session.snapshot("XRP-USDT", b"{}", 1) == ()
    assert it.pass_time(30.0) == []


# -- broken and whole again ----------------------------------------------------------------------------


def test_a_gap_is_told_once_repaired_by_a_new_snapshot_and_no_other_symbol_is_touched() -> None:
    it = client(BTC, ETH)
    it.pass_time(0.25)
    it.snapshot(10)
    it.session.snapshot("ETH-USDT", b'{"lastUpdateId":50,"bids":[],"asks":[]}', it.us)
    assert it.delta(11, 12).valid
    assert not it.delta(15, 16).valid
    assert not it.delta(19, 20).valid
    assert it.delta(51, 52, symbol="ETHUSDT").valid
    broken, *more = it.pass_time(0.25)
    assert isinstance(broken, SymbolBroken)
    assert (broken.symbol, broken.code) == ("BTC-USDT", ErrorCode.SEQUENCE_GAP)
    assert more == [SnapshotWanted("BTC-USDT", PATH)]
    assert not it.delta(21, 22).valid
    (record,) = it.snapshot(21)
    assert (record.valid, record.last_update_id) == (True, 22)
    assert it.notices() == [SymbolWhole("BTC-USDT", 1)]
    assert it.delta(23, 23).valid
    assert it.delta(53, 53, symbol="ETHUSDT").valid


def test_a_book_that_keeps_breaking_is_repaired_ever_later_until_it_has_held_for_a_while() -> None:
    it = whole(10)
    waits = []
    for number in range(1, 5):
        it.delta(10_000 * number, 10_000 * number)
        began_s = it.now_s
        while not any(isinstance(notice, SnapshotWanted) for notice in it.pass_time(0.25)):
            pass
        waits.append(it.now_s - began_s)
        it.snapshot(10_000 * number)
    assert waits == sorted(waits)
    assert waits[-1] > 8
    it.pass_time(100.0)
    it.delta(90_000, 90_001)
    assert any(isinstance(notice, SnapshotWanted) for notice in it.pass_time(0.5))


def test_a_new_subscription_starts_anew() -> None:
    it = whole(10)
    it.session.unsubscribe(["BTC-USDT"], it.now_s)
    it.session.subscribe([BTC], it.now_s)
    record = it.delta(90, 95)
    assert not record.valid
    assert record.sequence == 2
    assert SnapshotWanted("BTC-USDT", PATH) in it.pass_time(0.5)


def test_an_update_that_comes_twice_changes_nothing_and_breaks_nothing() -> None:
    it = whole(10)
    assert it.delta(11, 12, [["9.0", "5.0"]]).valid
    again = it.delta(11, 12, [["9.0", "5.0"]])
    assert (again.valid, again.sequence) == (True, 3)
    assert it.delta(13, 13).valid
    assert it.pass_time(0.5) == []


@pytest.mark.parametrize(("first", "last"), [(11, 11), (11, 12), (12, 12), (15, 15), (11, 15)])
def test_an_older_or_reordered_update_is_a_gap(first: int, last: int) -> None:
    it = whole(10)
    for number in (11, 12, 13):
        assert it.delta(number, number).valid
    assert not it.delta(first, last).valid
    broken, *_ = it.pass_time(0.25)
    assert isinstance(broken, SymbolBroken)
    assert broken.code is ErrorCode.SEQUENCE_GAP


def test_an_update_that_comes_twice_while_a_snapshot_is_awaited_breaks_no_chain() -> None:
    it = client()
    it.pass_time(0.25)
    for first, last in ((11, 12), (11, 12), (13, 14)):
        assert not it.delta(first, last, [["8.0", str(last)]]).valid
    (record,) = it.snapshot(10, [["9.0", "1.0"]])
    assert isinstance(record, OrderBook)
    assert (record.valid, record.last_update_id) == (True, 14)
    assert [(level.price, level.quantity) for level in record.bids] == [(9.0, 1.0), (8.0, 14.0)]
    assert it.session.take_notices() == [Confirmed(("BTC-USDT",))]


# -- by subscribing anew -------------------------------------------------------------------------------


def book(kind: str, last: int, prev: int | None, market: str = "BTC_USDT") -> str:
    data = {"kind": kind, "bids": [["9.0", "1"]], "asks": [], "id": last, "prev": prev}
    return json.dumps({"ch": "book", "m": market, "ts": 1793604700000, "d": data})


def test_symbols_that_broke_together_are_subscribed_anew_in_one_message_each_way() -> None:
    session = StreamSession(Template(), RequestType.ORDERBOOK, 7, now_s=0.0)
    session.subscribe([BTC, ETH, Symbol("XRP", "USDT")], 0.0)
    session.take_outbox()
    for market in ("BTC_USDT", "ETH_USDT", "XRP_USDT"):
        session.receive(book("full", 5, None, market), 1)
    for market in ("BTC_USDT", "ETH_USDT"):
        session.receive(book("part", 9, 8, market), 1)
    session.on_time(0.25)
    assert session.take_outbox() == [
        '{"op":"unsubscribe","args":["book:BTC_USDT","book:ETH_USDT"],"id":2}',
        '{"op":"subscribe","args":["book:BTC_USDT","book:ETH_USDT"],"id":3}',
    ]
    session.on_time(0.5)
    assert session.take_outbox() == []
    assert session.receive(book("part", 6, 5, "XRP_USDT"), 1)[0].valid


def test_a_stream_that_does_not_begin_with_its_snapshot_is_subscribed_anew_after_a_while() -> None:
    session = StreamSession(Template(), RequestType.ORDERBOOK, 7, now_s=0.0)
    session.subscribe([BTC], 0.0)
    session.take_outbox()
    session.receive(book("part", 9, 8), 1)
    session.on_time(1.0)
    assert session.take_outbox() == []
    session.on_time(3.5)
    assert [json.loads(message)["op"] for message in session.take_outbox()] == ["unsubscribe", "subscribe"]


def test_a_subscription_that_a_command_gave_is_not_touched() -> None:
    session = StreamSession(Template(), RequestType.ORDERBOOK, 7, now_s=0.0, socket_params={"op": "own"})
    session.subscribe([BTC], 0.0)
    session.take_outbox()
    session.receive(book("full", 5, None), 1)
    session.receive(book("part", 9, 8), 1)
    for second in range(1, 15):
        session.on_time(float(second))
        assert set(session.take_outbox()) <= {"ping"}


def test_a_gap_that_the_dialect_finds_breaks_the_books_it_names() -> None:
    session = StreamSession(Template(), RequestType.ORDERBOOK, 7, now_s=0.0)
    session.subscribe([BTC, ETH], 0.0)
    session.receive(book("full", 5, None), 1)
    session.take_notices()
    tracks: list[SymbolTrack] = list(session.tracks)
    session._dialect.books.gap(tracks, "a number is missing", 2)
    session.on_time(0.25)
    (broken,) = session.take_notices()
    assert isinstance(broken, SymbolBroken)
    assert (broken.symbol, broken.message) == ("BTC-USDT", "a number is missing")


# -- published whole -----------------------------------------------------------------------------------


def test_a_kept_book_is_published_whole_every_so_often_with_its_own_sequence() -> None:
    it = client(every_s=10.0)
    it.pass_time(0.25)
    it.snapshot(10, [["9.0", "1.0"]])
    it.delta(11, 12, [["8.0", "3.0"]])
    found = []
    for _ in range(31 * 4):
        it.pass_time(0.25)
        found += [(it.now_s, record) for record in it.session.take_records()]
    assert [record.sequence for _, record in found] == [3, 4, 5]
    assert [later[0] - earlier[0] for earlier, later in pairwise(found)] == [10.0, 10.0]
    at_s, record = found[0]
    assert record.received_ts_us == round(at_s * 1e6)
    assert (record.kind, record.valid, record.last_update_id) == (BookKind.SNAPSHOT, True, 12)
    assert prices(record.bids) == [9.0, 8.0]
    it.delta(50, 51)
    it.pass_time(20.0)
    assert it.session.take_records() == []


def test_many_books_come_a_few_at_a_time_and_none_without_a_time_to_date_them() -> None:
    session = StreamSession(Template(), RequestType.ORDERBOOK, 7, now_s=0.0)
    symbols = [Symbol(f"C{number}", "USD") for number in range(20)]
    session.subscribe(symbols, 0.0)
    for symbol in symbols:
        session.receive(book("full", 5, None, f"{symbol.base}_USD"), 1)
    session.on_time(0.0, 1)
    session.on_time(61.0)
    assert session.take_records() == []
    seen = []
    for tick in range(3):
        session.on_time(62.0 + tick / 4, 62_000_000)
        seen.append([record.symbol for record in session.take_records()])
    assert [len(symbols) for symbols in seen] == [8, 8, 4]
    assert len(set(chain(*seen))) == 20


def test_hundreds_of_books_each_come_about_as_often_as_they_should() -> None:
    books = BookSettings(depth=20, snapshot_every_s=2.0)
    session = StreamSession(Template(), RequestType.ORDERBOOK, 7, now_s=0.0, books=books)
    symbols = [Symbol(f"C{number}", "USD") for number in range(200)]
    session.subscribe(symbols, 0.0)
    for symbol in symbols:
        session.receive(book("full", 5, None, f"{symbol.base}_USD"), 1)
    seen: dict[str, list[float]] = {str(symbol): [0.0] for symbol in symbols}
    at_once = []
    for tick in range(60 * 4):
        session.on_time(tick / 4, tick * 250_000)
        records = session.take_records()
        at_once.append(len(records))
        for record in records:
            seen[record.symbol].append(tick / 4)
    waits = [after - before for times in seen.values() for before, after in pairwise([*times, 60.0])]
    assert max(waits) <= 2 * 2.0 + 0.25
    assert max(max(after - before for before, after in pairwise(times[1:])) for times in seen.values()) <= 2.5
    assert max(at_once) == 200 * 0.25 / 2.0
    # After a standstill they do not all come at once.
    session.on_time(120.0, 120_000_000)
    assert len(session.take_records()) == 100


def test_a_clock_that_is_set_back_holds_no_book_up() -> None:
    session = StreamSession(Template(), RequestType.ORDERBOOK, 7, now_s=0.0)
    session.subscribe([BTC], 0.0)
    session.receive(book("full", 5, None), 7_200_000_000)
    session.on_time(0.0, 7_200_000_000)
    times = []
    for second in range(1, 200):
        session.on_time(float(second), (3_600 + second) * 1_000_000)
        times += [second] * len(session.take_records())
    assert times == [60, 120, 180]


def test_what_is_unsubscribed_and_subscribed_again_has_one_turn() -> None:
    it = client(every_s=10.0)
    for _ in range(20):
        it.pass_time(0.25)
        it.session.unsubscribe(["BTC-USDT"], it.now_s)
        it.session.subscribe([BTC], it.now_s)
        it.delta(1, 2)
    it.pass_time(3.0)
    it.snapshot(10)
    it.session.take_records()
    times = []
    for _ in range(31 * 4):
        it.pass_time(0.25)
        times += [it.now_s] * len(it.session.take_records())
    assert [after - before for before, after in pairwise(times)] == [10.0, 10.0]
    assert len(it.session._dialect.books._turns) == 1


def test_an_exchange_of_whole_books_is_repeated_only_while_it_is_quiet() -> None:
    session = StreamSession(Upbit(), RequestType.ORDERBOOK, 7, now_s=0.0)
    session.subscribe([Symbol("BTC", "KRW")], 0.0)
    session.receive(frame("upbit", "orderbook"), 0)
    session.on_time(0.0, 0)
    (last,) = session.receive(frame("upbit", "orderbook"), 30_000_000)
    for second in (59, 61, 89):
        session.on_time(float(second), second * 1_000_000)
    assert session.take_records() == []
    session.on_time(90.5, 90_500_000)
    (record,) = session.take_records()
    assert (record.bids, record.asks, record.valid) == (last.bids, last.asks, True)
    assert (record.sequence, record.received_ts_us, record.exchange_ts_ms) == (3, 90_500_000, None)


def test_nobody_repairs_a_replay_so_each_gap_is_told() -> None:
    session = StreamSession(Template(), RequestType.TRADE, 7, now_s=0.0, accept_all=True)
    for last, prev in ((5, 4), (6, 5), (9, 8), (10, 9), (20, 19)):
        session.receive(book("part", last, prev), 1)
    notices = [notice for notice in session.take_notices() if isinstance(notice, SymbolBroken)]
    assert len(notices) == 2
