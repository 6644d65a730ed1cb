"""Bithumb: every field of the documented frames, all that Upbit's protocol says, and what differs from it."""

import pytest

from core.errors import ErrorCode
from core.exchanges.base import Complaint, Confirmed, Refused
from core.exchanges.bithumb import Bithumb
from core.identity import RequestType
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade
from tests.unit.upbit_protocol_suite import UpbitProtocolSuite, common

RECORDS: dict[str, Record] = {
    "ticker": Ticker(
        **common("bithumb", "BTC-KRW"),
        exchange_ts_ms=1793604674044,
        price=116208000.0,
        open=115640000.0,
        high=116470000.0,
        low=115570000.0,
        prev_close=115640000.0,
        change_rate=0.00491179,
        volume_24h=413.20519034,
        quote_volume_24h=47870015224.1903,
        bid=None,
        bid_quantity=None,
        ask=None,
        ask_quantity=None,
        stream_type=StreamType.SNAPSHOT,
    ),
    "ticker.simple": Ticker(
        **common("bithumb", "ETH-BTC"),
        exchange_ts_ms=1793604601272,
        price=0.03182,
        open=0.03189,
        high=0.03231,
        low=0.0317,
        prev_close=0.03189,
        change_rate=-0.00219504,
        volume_24h=19771.65533322,
        quote_volume_24h=629.1340724,
        bid=None,
        bid_quantity=None,
        ask=None,
        ask_quantity=None,
        stream_type=StreamType.REALTIME,
    ),
    "trade": Trade(
        **common("bithumb", "ETH-KRW"),
        exchange_ts_ms=1793604680241,
        price=3715000.0,
        quantity=0.31970021,
        side=Side.BUY,
        trade_id="1079953210371761703",
    ),
    "trade.simple": Trade(
        **common("bithumb", "1INCH-KRW"),
        exchange_ts_ms=1793604681870,
        price=301.5,
        quantity=0.0009,
        side=Side.SELL,
        trade_id="1079953210371761811",
    ),
    "orderbook": OrderBook(  # times in microseconds, a side that is shorter, a level below the precision
        **common("bithumb", "BTC-KRW"),
        exchange_ts_ms=1793604690015,
        kind=BookKind.SNAPSHOT,
        bids=[Level(116204000.0, 0.0037), Level(116203000.0, 0.0025)],
        asks=[Level(116208000.0, 0.3313), Level(116209000.0, 0.0001)],
        first_update_id=None,
        last_update_id=None,
        checksum=None,
        valid=True,
    ),
    "orderbook.simple": OrderBook(  # times in milliseconds, as formerly
        **common("bithumb", "1INCH-KRW"),
        exchange_ts_ms=1793604691200,
        kind=BookKind.SNAPSHOT,
        bids=[Level(300.0, 900.5)],
        asks=[Level(301.0, 1200.0)],
        first_update_id=None,
        last_update_id=None,
        checksum=None,
        valid=True,
    ),
}


class TestBithumb(UpbitProtocolSuite):
    profile = Bithumb
    trade_id = b"1079953210371761703"
    trade_price = b"3715000"

    @pytest.mark.parametrize("name", RECORDS)
    def test_a_frame_becomes_its_record(self, name: str) -> None:
        self.assert_becomes(name, RECORDS[name])

    def test_a_trade_below_the_printed_precision_confirms_and_is_no_record(self) -> None:
        session = self.session_for(RequestType.TRADE, "BTC-KRW")
        assert session.receive(self.frame("trade.dust"), 1) == ()
        assert session.take_notices() == [Confirmed(("BTC-KRW",))]
        assert session.ignored == {"trade below the printed precision": 1}

    @pytest.mark.parametrize("listed", [b"%b", b"[%b]"])
    def test_a_frame_of_the_former_api_is_passed_over(self, listed: bytes) -> None:
        session = self.session_for(RequestType.TICKER, "BTC-KRW")
        assert session.receive(listed % self.frame("former"), 1) == ()
        assert session.ignored == {"frame of the former API": 1}
        assert session.receive(self.frame("status"), 1) == ()
        assert (session.controls, session.parse_failed) == (1, 0)

    @pytest.mark.parametrize(
        ("name", "symbols", "notice"),
        [
            ("error", ["NOPE-KRW"], Refused),
            ("error", ["BTC-KRW", "NOPE-KRW"], Complaint),
            ("error.ticket", ["NOPE-KRW"], Complaint),
        ],
    )
    def test_an_error_in_korean_refuses_what_is_certain(
        self, name: str, symbols: list[str], notice: type
    ) -> None:
        session = self.session_for(RequestType.TICKER, *symbols)
        session.receive(self.frame(name), 1)
        (told,) = session.take_notices()
        assert (type(told), told.code) == (notice, ErrorCode.SUBSCRIBE_REJECTED)
        assert session.active_symbols == ([] if notice is Refused else symbols)

    def test_an_error_that_names_a_code_in_a_korean_sentence(self) -> None:
        session = self.session_for(RequestType.TICKER, "BTC-KRW", "NOPE-KRW")
        session.receive('{"error":{"name":"INVALID_PARAM","message":"KRW-NOPE은 지원하지 않습니다."}}', 1)
        (refused,) = session.take_notices()
        assert isinstance(refused, Refused)
        assert (refused.symbols, refused.code) == (("NOPE-KRW",), ErrorCode.SUBSCRIBE_REJECTED)
