"""What holds of every exchange that speaks Upbit's protocol; each inherits it, with the frames of its own."""

import json
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from core.errors import ErrorCode
from core.exchanges.base import Complaint, Confirmed, Refused, Unparsed
from core.exchanges.upbit_protocol import UpbitProtocolProfile
from core.identity import RequestType, Symbol
from core.records import BookKind, Level, OrderBook, Record, Side, Ticker, Trade
from core.session import StreamSession
from tests.frames import frame

RECEIVED_US = 1_793_604_700_000_123
KIND_OF: dict[type[Record], RequestType] = {
    Ticker: RequestType.TICKER,
    Trade: RequestType.TRADE,
    OrderBook: RequestType.ORDERBOOK,
}


def common(exchange: str, symbol: str, sequence: int = 1) -> dict[str, Any]:
    """The fields that every record has, but its time."""
    base, quote = symbol.split("-")
    return {
        "exchange": exchange,
        "region": "korea",
        "symbol": symbol,
        "exchange_symbol": f"{quote}-{base}",
        "received_ts_us": RECEIVED_US,
        "session_id": 7,
        "sequence": sequence,
    }


class UpbitProtocolSuite:
    """``profile`` is the exchange; ``trade_id`` and ``trade_price`` stand so in its frame ``trade``."""

    profile: ClassVar[type[UpbitProtocolProfile]]
    trade_id: ClassVar[bytes]
    trade_price: ClassVar[bytes]

    @property
    def exchange(self) -> str:
        return self.profile.exchange.value

    @property
    def title(self) -> str:
        return self.profile.__name__

    def session_for(self, request_type: RequestType, *symbols: str, **options: Any) -> StreamSession:
        profile = self.profile()
        session = StreamSession(profile, request_type, 7, now_s=0.0, **options)
        session.subscribe([profile.parse_symbol(symbol) for symbol in symbols], 0.0)
        session.take_outbox()
        return session

    def frame(self, name: str) -> bytes:
        return frame(self.exchange, name)

    def assert_becomes(self, name: str, record: Record, **options: Any) -> None:
        """A live session that asked for the record's symbol makes this record alone of the frame."""
        session = self.session_for(KIND_OF[type(record)], record.symbol, **options)
        assert list(session.receive(self.frame(name), RECEIVED_US)) == [record]

    # -- values ---------------------------------------------------------------------------------------

    def test_what_is_missing_stays_none_and_zero_prices_are_none(self) -> None:
        session = self.session_for(RequestType.TICKER, "BTC-KRW")
        ticker = b'{"type":"ticker","code":"KRW-BTC","trade_price":1,"low_price":0}'
        assert session.receive(ticker, RECEIVED_US) == (
            Ticker(**common(self.exchange, "BTC-KRW"), exchange_ts_ms=None, price=1.0),
        )

    @pytest.mark.parametrize(
        ("request_type", "name", "reason"),
        [
            (RequestType.TICKER, "ticker.preview", "ticker without a price"),
            (RequestType.TRADE, "trade.never", "snapshot before any trade"),
        ],
    )
    def test_what_was_never_traded_is_listed_and_gives_no_record(
        self, request_type: RequestType, name: str, reason: str
    ) -> None:
        session = self.session_for(request_type, "NEW-KRW")
        assert session.receive(frame("upbit", name), 1) == ()
        assert session.ignored == {reason: 1}
        assert session.take_notices() == [Confirmed(("NEW-KRW",))]
        session.receive(b'{"type":"ticker","code":"KRW-NEW","trade_price":0}', 2)
        assert session.parse_failed == 0

    def test_a_book_is_without_the_zeros_that_fill_it_up(self) -> None:
        session = self.session_for(RequestType.ORDERBOOK, "NEW-BTC")
        (book,) = session.receive(frame("upbit", "orderbook.padded"), 1)
        assert isinstance(book, OrderBook)
        assert (book.bids, book.asks, book.symbol) == ([Level(1.2e-07, 25000.0)], [], "NEW-BTC")
        (book,) = session.receive(b'{"type":"orderbook","code":"BTC-NEW","orderbook_units":null}', 2)
        assert (book.bids, book.asks, book.exchange_ts_ms, book.valid) == ([], [], None, True)

    def test_numbers_as_text_blank_fields_and_ids_of_any_length(self) -> None:
        session = self.session_for(RequestType.TRADE, "ETH-KRW")
        odd = self.frame("trade").replace(b'"trade_price":' + self.trade_price, b'"trade_price":"5.021E6"')
        odd = odd.replace(self.trade_id, b"98765432109876543210").replace(b'"BID"', b'""')
        odd = odd.replace(b'"trade_timestamp":1793604680241', b'"trade_timestamp":""')
        (record,) = session.receive(odd, RECEIVED_US)
        assert record == Trade(
            **common(self.exchange, "ETH-KRW"),
            exchange_ts_ms=None,
            price=5021000.0,
            quantity=0.31970021,
            side=Side.UNKNOWN,
            trade_id="98765432109876543210",
        )
        session.receive(odd.replace(b'"trade_timestamp":""', b'"trade_timestamp":0'), 2)
        assert session.parse_failed == 0

    @pytest.mark.parametrize(
        ("field", "value", "reason"),
        [
            ("trade_price", b"-1", "trade_price"),
            ("trade_price", b"0", "trade_price"),
            ("trade_price", b"1e999", "out of range"),
            ("trade_price", b"1e16", "trade_price"),
            ("trade_price", b"NaN", "malformed"),
            ("trade_price", b'"5,021,000"', "got `str`"),
            ("trade_price", b'""', "missing required field `trade_price`"),
            ("trade_price", b"null", "trade_price"),
            ("trade_price", None, "missing required field `trade_price`"),
            ("trade_volume", b"-0.1", "trade_volume"),
            ("trade_timestamp", b"1793604680", "trade_timestamp"),
            ("code", b"7", "code"),
            ("type", None, "neither a type"),
        ],
    )
    def test_values_that_make_no_sense_are_unparsed(self, field: str, value: bytes | None, reason: str) -> None:
        written = {
            "trade_price": self.trade_price,
            "trade_volume": b"0.31970021",
            "trade_timestamp": b"1793604680241",
            "code": b'"KRW-ETH"',
            "type": b'"trade"',
        }[field]
        old = b'"%b":%b' % (field.encode(), written)
        new = b'"other":1' if value is None else b'"%b":%b' % (field.encode(), value)
        whole = self.frame("trade")
        assert whole.count(old) == 1
        broken = whole.replace(old, new)
        session = self.session_for(RequestType.TRADE, "ETH-KRW")
        assert session.receive(broken, 1) == ()
        assert session.parse_failed == 1
        (unparsed,) = session.take_notices()
        assert isinstance(unparsed, Unparsed)
        assert reason in unparsed.reason
        assert unparsed.frame == broken

    @pytest.mark.parametrize("time", ["17936046900157", "179360469001573", "1793604690", "17936046900157331"])
    def test_a_time_of_another_unit_is_an_error(self, time: str) -> None:
        session = self.session_for(RequestType.ORDERBOOK, "BTC-KRW")
        book = f'{{"type":"orderbook","code":"KRW-BTC","orderbook_units":[],"timestamp":{time}}}'
        assert session.receive(book, 1) == ()
        assert session.receive(f"[{book}]", 1) == ()
        assert session.parse_failed == 2

    @pytest.mark.parametrize("name", ["trade", "trade.simple"])
    def test_exact_numbers_are_those_of_the_text(self, name: str) -> None:
        session = self.session_for(RequestType.TRADE, "ETH-KRW", accept_all=True, exact=True)
        (record,) = session.receive(self.frame(name), 1)
        assert isinstance(record, Trade)
        assert (float(record.price_exact), float(record.quantity_exact)) == (record.price, record.quantity)
        assert str(record.quantity_exact) in self.frame(name).decode()
        assert str(record.price_exact) in self.frame(name).decode()

    # -- lists ----------------------------------------------------------------------------------------

    def test_a_list_of_several_types_and_levels(self) -> None:
        session = self.session_for(RequestType.TRADE, accept_all=True)
        assert session.receive(frame("upbit", "mixed.list.simple"), RECEIVED_US) == [
            OrderBook(
                **common(self.exchange, "SOL-KRW"),
                exchange_ts_ms=1793604722010,
                kind=BookKind.SNAPSHOT,
                bids=[Level(255000.0, 77.1), Level(254900.0, 0.025)],
                asks=[Level(255200.0, 310.2)],
                valid=True,
            ),
            Trade(
                **common(self.exchange, "SOL-KRW"),
                exchange_ts_ms=1793604722085,
                price=255100.0,
                quantity=1.2e-07,
                side=Side.SELL,
                trade_id="17936047220850001",
            ),
            Trade(
                **common(self.exchange, "SOL-KRW", 2),
                exchange_ts_ms=1793604722086,
                price=255200.0,
                quantity=0.5,
                side=Side.BUY,
                trade_id="17936047220860000",
            ),
        ]
        assert (session.controls, session.ignored, session.parse_failed) == (0, {}, 0)

    def test_exact_numbers_of_a_list_are_those_of_its_records(self) -> None:
        session = self.session_for(RequestType.TRADE, "SOL-KRW", exact=True)
        records = session.receive(frame("upbit", "mixed.list.simple"), 1)
        assert [(r.price_exact, r.quantity_exact, r.sequence) for r in records] == [
            (Decimal("2.551E5"), Decimal("1.2E-7"), 1),
            (Decimal("2.552E5"), Decimal("0.5"), 2),
        ]

    @pytest.mark.parametrize(
        ("items", "controls", "ignored", "failed"),
        [
            ("", 0, {}, 1),
            ('{"status":"UP"},{"method":"LIST_SUBSCRIPTIONS","result":[]}', 1, {}, 0),
            ('{"type":"candle.1s"},{"type":"candle.1m"}', 0, {"type without records": 1}, 0),
            ('{"type":"ticker","code":"KRW-BTC","trade_price":1},{"type":"ticker"}', 0, {}, 1),
            ('{"type":"ticker","code":"KRW-BTC","trade_price":1},7', 0, {}, 1),
            ('{"type":"ticker","code":"BTC","trade_price":1}', 0, {"symbol of another market": 1}, 0),
            ('[{"type":"ticker","code":"KRW-BTC","trade_price":1}]', 0, {}, 1),
        ],
    )
    def test_a_list_is_one_frame(self, items: str, controls: int, ignored: dict[str, int], failed: int) -> None:
        session = self.session_for(RequestType.TICKER, accept_all=True)
        assert session.receive(f" [{items}]", 1) == ()
        assert (session.controls, session.ignored, session.parse_failed) == (controls, ignored, failed)
        (record,) = session.receive(b'{"type":"ticker","code":"KRW-BTC","trade_price":1}', 2)
        assert record.sequence == 1

    # -- symbols --------------------------------------------------------------------------------------

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
            ("BTC-ETH", "ETH-BTC"),
            ("ETH-BTC", "ETH-BTC"),
            ("T-KRW", "T-KRW"),
            ("USDT-T", "T-USDT"),
            ("krw-1inch", "1INCH-KRW"),
            ("KRW-1000SATS", "1000SATS-KRW"),
            ("KRW-" + "A" * 20, "A" * 20 + "-KRW"),
        ],
    )
    def test_symbols_are_read_in_both_spellings(self, text: str, canonical: str) -> None:
        symbol = self.profile().parse_symbol(text)
        assert str(symbol) == canonical
        assert self.profile().spell_symbol(symbol) == "-".join(reversed(canonical.split("-")))
        assert self.profile().parse_symbol(self.profile().spell_symbol(symbol)) == symbol

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
    def test_other_symbols_are_refused_with_a_reason(self, text: str, reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            self.profile().parse_symbol(text)

    # -- requests and their answers -------------------------------------------------------------------

    @pytest.mark.parametrize("wire_format", ["DEFAULT", "SIMPLE"])
    def test_a_request_lists_all_active_codes(self, wire_format: str) -> None:
        session = StreamSession(self.profile(wire_format), RequestType.TRADE, 42, now_s=0.0)
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

    def test_controls_and_types_without_records(self) -> None:
        session = self.session_for(RequestType.TICKER, "BTC-KRW")
        for name in ("status", "subscriptions", "subscriptions.simple"):
            assert session.receive(frame("upbit", name), 1) == ()
        assert session.controls == 3
        assert session.receive(frame("upbit", "candle"), 1) == ()
        assert session.receive(frame("bithumb", "my_order"), 1) == ()
        assert session.receive(b'{"type":"myAsset","code":["KRW-BTC"],"tp":{"of":"another type"}}', 1) == ()
        assert session.ignored == {"type without records": 3}
        assert session.parse_failed == 0
        assert self.profile().dialect(RequestType.TICKER, 1).probe() == "PING"

    def test_an_unknown_code_is_refused_by_silence_alone(self) -> None:
        session = self.session_for(RequestType.TICKER, "BTC-KRW", "NOPE-KRW")
        session.receive(self.frame("ticker"), 1)
        session.on_time(1.0)
        assert session.take_notices() == [Confirmed(("BTC-KRW",))]
        for now_s in range(2, 15):
            session.receive(self.frame("ticker"), 2)
            session.on_time(float(now_s))
        (refused,) = session.take_notices()
        assert isinstance(refused, Refused)
        assert (refused.symbols, refused.code) == (("NOPE-KRW",), ErrorCode.UNKNOWN_SYMBOL)
        assert session.active_symbols == ["BTC-KRW"]

    @pytest.mark.parametrize("name", ["error", "error.list"])
    def test_an_error_that_names_a_waiting_code_refuses_it_alone(self, name: str) -> None:
        session = self.session_for(RequestType.TICKER, "BTC-KRW", "NOPE-KRW")
        session.receive(frame("upbit", name), 1)
        assert session.take_notices() == [
            Refused(
                ("NOPE-KRW",),
                ErrorCode.SUBSCRIBE_REJECTED,
                f"{self.title}: INVALID_PARAM: codes: KRW-NOPE",
            )
        ]
        assert session.active_symbols == ["BTC-KRW"]
        assert session.controls == 1

    def test_an_error_that_names_another_code_refuses_nobody(self) -> None:
        session = self.session_for(RequestType.TICKER, "NO-KRW")
        session.receive(frame("upbit", "error"), 1)
        assert [type(notice) for notice in session.take_notices()] == [Complaint]
        assert session.active_symbols == ["NO-KRW"]

    def test_an_error_that_names_nothing_refuses_only_a_single_waiting_symbol(self) -> None:
        error = b'{"error":{"name":"NO_CODES","message":"no codes"}}'
        alone = self.session_for(RequestType.TICKER, "NOPE-KRW")
        alone.receive(error, 1)
        assert [type(notice) for notice in alone.take_notices()] == [Refused]
        several = self.session_for(RequestType.TICKER, "BTC-KRW", "NOPE-KRW")
        several.receive(error, 1)
        assert several.take_notices() == [
            Complaint(ErrorCode.SUBSCRIBE_REJECTED, f"{self.title}: NO_CODES: no codes")
        ]
        assert several.active_symbols == ["BTC-KRW", "NOPE-KRW"]

    @pytest.mark.parametrize(
        ("error", "code", "message"),
        [
            ({"name": "TOO_MANY_REQUESTS", "message": "m"}, ErrorCode.RATE_LIMITED, "TOO_MANY_REQUESTS: m"),
            ({"name": "too_many_requests", "message": "m"}, ErrorCode.RATE_LIMITED, "too_many_requests: m"),
            ({"name": "INVALID_AUTH", "message": "m"}, ErrorCode.SUBSCRIBE_REJECTED, "INVALID_AUTH: m"),
            ({"name": "NO_TICKET", "message": "m"}, ErrorCode.SUBSCRIBE_REJECTED, "NO_TICKET: m"),
            ({"name": 404, "message": None}, ErrorCode.SUBSCRIBE_REJECTED, "404: "),
            ({"message": "m"}, ErrorCode.SUBSCRIBE_REJECTED, "error: m"),
            ("gone", ErrorCode.SUBSCRIBE_REJECTED, "error: gone"),
        ],
    )
    def test_errors_about_the_connection_are_complaints(
        self, error: object, code: ErrorCode, message: str
    ) -> None:
        session = self.session_for(RequestType.TICKER, "BTC-KRW")
        session.receive(json.dumps({"error": error}), 1)
        assert session.take_notices() == [Complaint(code, f"{self.title}: {message}")]
        assert session.active_symbols == ["BTC-KRW"]

    def test_the_snapshot_of_a_known_trade_is_no_second_record_and_still_confirms(self) -> None:
        session = self.session_for(RequestType.TRADE, "ETH-KRW")
        trade = self.frame("trade")
        again = trade.replace(b"REALTIME", b"SNAPSHOT")
        assert len(session.receive(trade, 1)) == 1
        assert session.take_notices() == [Confirmed(("ETH-KRW",))]
        assert session.receive(again, 2) == ()
        assert session.ignored == {"snapshot of a trade already seen": 1}
        session.unsubscribe(["ETH-KRW"], 1.0)
        session.subscribe([Symbol("ETH", "KRW")], 1.0)
        assert session.receive(again, 3) == ()
        assert session.take_notices() == [Confirmed(("ETH-KRW",))]
        later = b"%d" % (int(self.trade_id) + 1)
        (record,) = session.receive(again.replace(self.trade_id, later), 4)
        assert isinstance(record, Trade)
        assert (record.trade_id, record.sequence) == (later.decode(), 2)
