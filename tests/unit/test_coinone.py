"""Coinone: every field of the documented frames, symbols, requests, answers; wrong topics found out."""

import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from core.errors import ErrorCode
from core.exchanges.base import Complaint, Confirmed, Refused, Unparsed
from core.exchanges.coinone import Coinone
from core.identity import RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from core.session import StreamSession
from tests.frames import frame

RECEIVED_US = 1_793_604_700_000_123
PING = {"request_type": "PING"}


def session_for(request_type: RequestType, *symbols: str, **options: object) -> StreamSession:
    profile = Coinone()
    session = StreamSession(profile, request_type, 7, now_s=0.0, **options)
    session.subscribe([profile.parse_symbol(symbol) for symbol in symbols], 0.0)
    return session


def sent_by(session: StreamSession) -> list[dict[str, object]]:
    return [json.loads(message) for message in session.take_outbox()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "ticker",
            Ticker(
                exchange="coinone",
                region="korea",
                symbol="BTC-KRW",
                exchange_symbol="KRW-BTC",
                exchange_ts_ms=1793604674044,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=116380000.0,
                open=115650000.0,
                high=116470000.0,
                low=115570000.0,
                prev_close=115640000.0,
                change_rate=None,
                volume_24h=267.27610034,
                quote_volume_24h=30947007404.5912,
                bid=116370000.0,
                bid_quantity=8.60554308,
                ask=116400000.0,
                ask_quantity=0.00562817,
                stream_type=StreamType.REALTIME,
            ),
        ),
        (
            "ticker.short",  # nobody sells
            Ticker(
                exchange="coinone",
                region="korea",
                symbol="XRP-KRW",
                exchange_symbol="KRW-XRP",
                exchange_ts_ms=1793604601272,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=698.7,
                open=701.1,
                high=707.2,
                low=690.4,
                prev_close=701.0,
                change_rate=None,
                volume_24h=79912892.7741579,
                quote_volume_24h=55827441390.8456,
                bid=698.6,
                bid_quantity=12013.1,
                ask=None,
                ask_quantity=None,
                stream_type=StreamType.REALTIME,
            ),
        ),
    ],
)
def test_ticker_in_both_formats(name: str, expected: Ticker) -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW", "XRP-KRW")
    assert session.receive(frame("coinone", name), RECEIVED_US) == (expected,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "trade",
            Trade(
                exchange="coinone",
                region="korea",
                symbol="XRP-KRW",
                exchange_symbol="KRW-XRP",
                exchange_ts_ms=1793604680996,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=688.3,
                quantity=5000.0,
                side=Side.BUY,
                trade_id="1793604680996001",
                price_exact=Decimal("688.3"),
                quantity_exact=Decimal(5000),
            ),
        ),
        (
            "trade.short",
            Trade(
                exchange="coinone",
                region="korea",
                symbol="1INCH-KRW",
                exchange_symbol="KRW-1INCH",
                exchange_ts_ms=1793604681870,
                received_ts_us=RECEIVED_US,
                session_id=7,
                sequence=1,
                price=301.5,
                quantity=290.745,
                side=Side.SELL,
                trade_id="1793604681870003",
                price_exact=Decimal("301.5"),
                quantity_exact=Decimal("290.745"),
            ),
        ),
    ],
)
def test_trade_in_both_formats(name: str, expected: Trade) -> None:
    session = session_for(RequestType.TRADE, "XRP-KRW", "1INCH-KRW", exact=True)
    assert session.receive(frame("coinone", name), RECEIVED_US) == [expected]


@pytest.mark.parametrize(
    ("name", "symbol", "time_ms", "book_id", "bids", "asks"),
    [
        (
            "orderbook",
            "BTC-KRW",
            1793604690015,
            1793604690015001,
            [Level(116450000.0, 0.0118), Level(116440000.0, 0.04695328)],
            [Level(116460000.0, 0.0232), Level(116470000.0, 0.00171821), Level(116650000.0, 0.01198956)],
        ),
        (
            "orderbook.short",
            "XRP-KRW",
            1793604691200,
            1793604691200002,
            [Level(689.1, 5000.0)],
            [Level(690.3, 148087.1739), Level(690.9, 118063.7475)],
        ),
    ],
)
def test_orderbook_in_both_formats_has_the_best_first(
    name: str, symbol: str, time_ms: int, book_id: int, bids: list[Level], asks: list[Level]
) -> None:
    session = session_for(RequestType.ORDERBOOK, symbol)
    assert session.receive(frame("coinone", name), RECEIVED_US) == (
        OrderBook(
            exchange="coinone",
            region="korea",
            symbol=symbol,
            exchange_symbol="-".join(reversed(symbol.split("-"))),
            exchange_ts_ms=time_ms,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            kind=BookKind.SNAPSHOT,
            bids=bids,
            asks=asks,
            first_update_id=None,
            last_update_id=book_id,
            checksum=None,
            valid=True,
        ),
    )


def test_an_older_book_is_passed_over_and_the_same_is_not() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-KRW")
    book = frame("coinone", "orderbook")
    older = book.replace(b'"id":"1793604690015001"', b'"id":"1793604690014009"')
    assert [len(session.receive(one, 1)) for one in (book, older, book)] == [1, 0, 1]
    assert session.ignored == {"older than the book": 1}


def test_what_is_missing_stays_none_and_what_was_never_traded_has_no_ticker() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    head = '{"response_type":"DATA","channel":"TICKER","data":{"quote_currency":"KRW","target_currency":"BTC"'
    (record,) = session.receive(head + ',"last":"1","low":"0","ask_best_price":"0","ask_best_qty":"5"}}', 1)
    assert isinstance(record, Ticker)
    assert record.exchange_ts_ms is record.open is record.low is record.bid is record.volume_24h is None
    assert record.ask is record.ask_quantity is None
    for last in (',"last":"0"', ',"last":null', ""):
        assert session.receive(head + last + "}}", 2) == ()
    assert session.ignored == {"ticker without a price": 3}
    assert session.parse_failed == 0
    assert session.take_notices() == [Confirmed(("BTC-KRW",))]


def test_what_was_never_traded_is_confirmed_without_a_record() -> None:
    session = session_for(RequestType.TICKER, "NEW-KRW")
    assert session.receive(frame("coinone", "ticker.never"), 1) == ()
    assert session.ignored == {"ticker without a price": 1}
    assert session.take_notices() == [Confirmed(("NEW-KRW",))]


def test_the_ticker_of_a_market_that_stands_still() -> None:
    session = session_for(RequestType.TICKER, "1INCH-KRW")
    assert session.receive(frame("coinone", "ticker.stopped"), RECEIVED_US) == (
        Ticker(
            exchange="coinone",
            region="korea",
            symbol="1INCH-KRW",
            exchange_symbol="KRW-1INCH",
            exchange_ts_ms=1793604675001,
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
            stream_type=StreamType.REALTIME,
        ),
    )


def test_a_trade_with_an_id_of_any_length_and_numbers_that_are_no_text() -> None:
    session = session_for(RequestType.TRADE, "BTC-KRW", exact=True)
    assert session.receive(frame("coinone", "trade.wide"), RECEIVED_US) == [
        Trade(
            exchange="coinone",
            region="korea",
            symbol="BTC-KRW",
            exchange_symbol="KRW-BTC",
            exchange_ts_ms=1793604681111,
            received_ts_us=RECEIVED_US,
            session_id=7,
            sequence=1,
            price=116450000.0,
            quantity=1e-08,
            side=Side.UNKNOWN,
            trade_id="98765432109876543210",
            price_exact=Decimal(116450000),
            quantity_exact=Decimal("0.00000001"),
        )
    ]


def test_a_book_with_one_side_and_an_id_beyond_a_long() -> None:
    session = session_for(RequestType.ORDERBOOK, "1INCH-KRW")
    (book,) = session.receive(frame("coinone", "orderbook.empty"), 1)
    assert isinstance(book, OrderBook)
    assert (book.bids, book.asks, book.last_update_id) == ([Level(301.5, 1e-08)], [], None)
    assert (book.exchange_ts_ms, book.kind, book.valid) == (1793604692001, BookKind.SNAPSHOT, True)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("BTC-KRW", "BTC-KRW"),
        ("btc-krw", "BTC-KRW"),
        ("KRW-BTC", "BTC-KRW"),
        ("krw/1inch", "1INCH-KRW"),
        ("1000SATS-KRW", "1000SATS-KRW"),
        ("T-KRW", "T-KRW"),
        ("A" * 20 + "-KRW", "A" * 20 + "-KRW"),
    ],
)
def test_symbols_are_read_in_both_spellings(text: str, canonical: str) -> None:
    symbol = Coinone().parse_symbol(text)
    assert str(symbol) == canonical
    assert Coinone().spell_symbol(symbol) == f"KRW-{symbol.base}"
    assert Coinone().parse_symbol(Coinone().spell_symbol(symbol)) == symbol


@pytest.mark.parametrize("text", ["BTC", "", "KRW-KRW", "KRW-", "A" * 21 + "-KRW", "BTC-KRW-X", "ETH-EUR"])
def test_other_symbols_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a pair|no quote|1 to 20|twice"):
        Coinone().parse_symbol(text)


@pytest.mark.parametrize("wire_format", ["DEFAULT", "SHORT"])
def test_a_request_names_one_topic(wire_format: str) -> None:
    session = StreamSession(Coinone(wire_format), RequestType.TRADE, 1, now_s=0.0)
    session.subscribe([Symbol("BTC", "KRW"), Symbol("1INCH", "KRW")], 0.0)
    session.unsubscribe(["BTC-KRW"], 0.0)
    sent = sent_by(session)
    assert [(m["request_type"], m["topic"]["target_currency"]) for m in sent] == [
        ("SUBSCRIBE", "BTC"),
        ("SUBSCRIBE", "1INCH"),
        ("UNSUBSCRIBE", "BTC"),
    ]
    for message in sent:
        assert message["topic"]["quote_currency"] == "KRW"
        assert (message["channel"], message["format"]) == ("TRADE", wire_format)


def test_controls_and_channels_without_records() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    for name in ("connected", "subscribed", "unsubscribed", "pong"):
        assert session.receive(frame("coinone", name), 1) == ()
    assert session.controls == 4
    assert session.receive(frame("coinone", "chart"), 1) == ()
    assert session.receive(frame("coinone", "my_asset"), 1) == ()
    assert session.ignored == {"channel without records": 2}
    assert session.parse_failed == 0


def test_the_heartbeat_is_a_ping_each_minute() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    session.take_outbox()
    session.receive(frame("coinone", "ticker"), 1)
    for now_s in range(1, 61):
        session.receive(frame("coinone", "ticker"), 1)
        session.on_time(float(now_s))
    assert sent_by(session) == [PING]


class Server:
    """Coinone's side as measured: acknowledges everything, then says that a topic is wrong.

    ``behind``: how many answers an error may come behind its acknowledgement; ``rounds``: how many round trips.
    ``acknowledges`` false is what the documentation alone shows.
    """

    def __init__(
        self,
        session: StreamSession,
        wrong: set[str],
        *,
        behind: int = 0,
        rounds: int = 0,
        acknowledges: bool = True,
    ) -> None:
        self.session, self.wrong, self.acknowledges = session, wrong, acknowledges
        self.behind, self.rounds, self.round = behind, rounds, 0
        self.delayed: list[list[int]] = []  # for each error: answers and round trips left
        self.asked: list[str] = []

    def serve(self) -> None:
        """Answer in order, round trip by round trip, until there is nothing to answer."""
        for self.round in range(200):
            messages = sent_by(self.session)
            if not messages and not self.delayed:
                return
            for message in messages:
                self.handle(message)
            self.pass_errors(lambda error: error[1] == 0)
            for error in self.delayed:
                error[1] -= 1
        raise AssertionError("the exchange is asked without an end")

    def handle(self, message: dict) -> None:
        if message["request_type"] == "PING":
            self.answer({"response_type": "PONG"})
            return
        target = message["topic"]["target_currency"]
        self.asked.append(target)
        if self.acknowledges or target not in self.wrong:
            kind = message["request_type"] + "D"
            self.answer({"response_type": kind, "channel": message["channel"], "data": message["topic"]})
        if target in self.wrong:
            self.delayed.append([self.behind, self.rounds])

    def answer(self, message: dict) -> None:
        self.pass_errors(lambda error: error[0] == error[1] == 0)
        self.session.receive(json.dumps(message), 1)
        for error in self.delayed:
            error[0] = max(0, error[0] - 1)

    def pass_errors(self, due: Callable[[list[int]], bool]) -> None:
        for error in [error for error in self.delayed if due(error)]:
            self.delayed.remove(error)
            self.session.receive(frame("coinone", "error"), 1)


def outcome(session: StreamSession) -> tuple[set[str], set[str]]:
    """(confirmed, refused) symbols."""
    confirmed: set[str] = set()
    refused: set[str] = set()
    for notice in session.take_notices():
        if isinstance(notice, Confirmed):
            assert not confirmed & set(notice.symbols)
            confirmed |= set(notice.symbols)
        elif isinstance(notice, Refused):
            assert notice.code is ErrorCode.UNKNOWN_SYMBOL
            refused |= set(notice.symbols)
        else:
            assert isinstance(notice, Complaint)
    return confirmed, refused


def test_a_subscription_is_confirmed_without_data() -> None:
    """A quiet symbol's trades may not come for hours."""
    session = session_for(RequestType.TRADE, "BTC-KRW", "XRP-KRW", "SOL-KRW")
    server = Server(session, set())
    server.serve()
    assert outcome(session) == ({"BTC-KRW", "XRP-KRW", "SOL-KRW"}, set())
    assert server.asked == ["BTC", "XRP", "SOL"]


EVERYTHING = {"BTC", "NOPE", "XRP", "NONE", "SOL"}
WRONG = [{"NOPE"}, {"NOPE", "NONE"}, {"BTC", "NOPE", "SOL"}, EVERYTHING]


@pytest.mark.parametrize("acknowledges", [True, False])
@pytest.mark.parametrize("behind", [0, 1, 2, 4, 9])
@pytest.mark.parametrize("wrong", WRONG)
def test_exactly_the_wrong_topics_are_refused(wrong: set[str], behind: int, acknowledges: bool) -> None:
    session = session_for(RequestType.TRADE, *(f"{code}-KRW" for code in sorted(EVERYTHING)))
    Server(session, wrong, behind=behind, acknowledges=acknowledges).serve()
    right = {f"{code}-KRW" for code in EVERYTHING - wrong}
    assert outcome(session) == (right, {f"{code}-KRW" for code in wrong})
    assert set(session.active_symbols) == right


@pytest.mark.parametrize("wrong", WRONG)
def test_errors_that_come_a_round_trip_late_refuse_nobody_else(wrong: set[str]) -> None:
    session = session_for(RequestType.TRADE, *(f"{code}-KRW" for code in sorted(EVERYTHING)))
    Server(session, wrong, rounds=1).serve()
    confirmed, refused = outcome(session)
    right = {f"{code}-KRW" for code in EVERYTHING - wrong}
    assert refused <= {f"{code}-KRW" for code in wrong}
    assert right <= confirmed
    assert right <= set(session.active_symbols)


@pytest.mark.parametrize("rounds", [2, 3, 7])
@pytest.mark.parametrize("wrong", WRONG)
def test_finding_out_comes_to_an_end_however_late_errors_are(wrong: set[str], rounds: int) -> None:
    session = session_for(RequestType.TRADE, *(f"{code}-KRW" for code in sorted(EVERYTHING)))
    server = Server(session, wrong, rounds=rounds)
    server.serve()
    assert all(server.asked.count(code) <= 10 for code in EVERYTHING)


def test_one_wrong_topic_alone_is_refused_at_once() -> None:
    session = session_for(RequestType.ORDERBOOK, "BTC-KRW")
    session.receive(frame("coinone", "orderbook"), 1)
    session.take_outbox()
    session.subscribe([Symbol("NOPE", "KRW")], 1.0)
    server = Server(session, {"NOPE"})
    server.serve()
    assert outcome(session) == ({"BTC-KRW"}, {"NOPE-KRW"})
    assert server.asked == ["NOPE"]


def test_what_is_subscribed_while_topics_are_doubted_waits_and_is_asked_for() -> None:
    session = session_for(RequestType.TICKER, "NOPE-KRW", "BTC-KRW")
    session.take_outbox()
    session.receive(frame("coinone", "error"), 1)
    session.subscribe([Symbol("XRP", "KRW")], 1.0)
    session.unsubscribe(["BTC-KRW"], 1.0)
    server = Server(session, {"NOPE"})
    server.serve()
    assert outcome(session) == ({"XRP-KRW"}, {"NOPE-KRW"})
    assert session.active_symbols == ["XRP-KRW"]


def test_data_settles_what_was_doubted() -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW", "NOPE-KRW")
    session.take_outbox()
    session.receive(frame("coinone", "error"), 1)
    assert sent_by(session) == [PING]
    session.receive(frame("coinone", "ticker"), 1)
    session.receive(frame("coinone", "pong"), 1)
    (again,) = sent_by(session)
    assert again["topic"] == {"quote_currency": "KRW", "target_currency": "NOPE"}


@pytest.mark.parametrize("name", ["error.type", "error", "error.short"])
def test_other_errors_are_complaints(name: str) -> None:
    session = session_for(RequestType.TICKER, "BTC-KRW")
    session.receive(frame("coinone", "ticker"), 1)
    session.take_notices()
    session.receive(frame("coinone", name), 1)
    (complaint,) = session.take_notices()
    assert isinstance(complaint, Complaint)
    assert complaint.code is ErrorCode.SUBSCRIBE_REJECTED
    assert session.active_symbols == ["BTC-KRW"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b'"price":"688.3"', b'"price":"-1"'), "price"),
        ((b'"price":"688.3"', b'"price":"0"'), "price"),
        ((b'"price":"688.3"', b'"price":"nan"'), "price"),
        ((b'"price":"688.3",', b""), "missing required field `price`"),
        ((b'"qty":"5000"', b'"qty":"0"'), "qty"),
        ((b'"timestamp":1793604680996', b'"timestamp":1793604680'), "timestamp"),
        ((b'"target_currency":"XRP"', b'"target_currency":7'), "target_currency"),
        ((b'"response_type"', b'"kind"'), "no response type"),
    ],
)
def test_values_that_make_no_sense_are_unparsed(change: tuple[bytes, bytes], reason: str) -> None:
    session = session_for(RequestType.TRADE, "XRP-KRW")
    broken = frame("coinone", "trade").replace(*change)
    assert session.receive(broken, 1) == ()
    assert session.parse_failed == 1
    (unparsed,) = session.take_notices()
    assert isinstance(unparsed, Unparsed)
    assert reason in unparsed.reason
