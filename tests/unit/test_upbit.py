"""Upbit: every field of the documented frames, and all that its protocol says."""

from decimal import Decimal

import pytest

from core.exchanges.upbit import Upbit
from core.records import BookKind, Level, OrderBook, Record, Side, StreamType, Ticker, Trade
from tests.unit.upbit_protocol_suite import UpbitProtocolSuite, common

RECORDS: dict[str, Record] = {
    "ticker": Ticker(
        **common("upbit", "BTC-KRW"),
        exchange_ts_ms=1793604674428,
        price=143102000.0,
        open=142305000.0,
        high=143880000.0,
        low=141990000.0,
        prev_close=142297000.0,
        change_rate=0.0056571818,
        volume_24h=1418.53701466,
        quote_volume_24h=202718406215.11074,
        bid=None,
        bid_quantity=None,
        ask=None,
        ask_quantity=None,
        stream_type=StreamType.SNAPSHOT,
    ),
    "ticker.simple": Ticker(
        **common("upbit", "XRP-BTC"),
        exchange_ts_ms=1793604601160,
        price=0.00002243,
        open=0.00002251,
        high=0.00002293,
        low=0.0000224,
        prev_close=0.00002251,
        change_rate=-0.003553976,
        volume_24h=111842.7331,
        quote_volume_24h=2.51830177,
        bid=None,
        bid_quantity=None,
        ask=None,
        ask_quantity=None,
        stream_type=StreamType.REALTIME,
    ),
    "trade": Trade(
        **common("upbit", "ETH-KRW"),
        exchange_ts_ms=1793604680241,
        price=5021000.0,
        quantity=0.31970021,
        side=Side.BUY,
        trade_id="17936046802410000",
    ),
    "trade.simple": Trade(
        **common("upbit", "BTC-USDT"),
        exchange_ts_ms=1793604681870,
        price=103417.512,
        quantity=0.001,
        side=Side.SELL,
        trade_id="17936046818700000",
    ),
    "orderbook": OrderBook(
        **common("upbit", "BTC-KRW"),
        exchange_ts_ms=1793604690015,
        kind=BookKind.SNAPSHOT,
        bids=[Level(143101000.0, 0.75), Level(143100000.0, 2.0), Level(143090000.0, 1.5)],
        asks=[Level(143110000.0, 0.3), Level(143119000.0, 0.8)],
        first_update_id=None,
        last_update_id=None,
        checksum=None,
        valid=True,
    ),
    "orderbook.simple": OrderBook(
        **common("upbit", "1INCH-KRW"),
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


class TestUpbit(UpbitProtocolSuite):
    profile = Upbit
    trade_id = b"17936046802410000"
    trade_price = b"5021000.0"

    @pytest.mark.parametrize("name", RECORDS)
    def test_a_frame_becomes_its_record(self, name: str) -> None:
        self.assert_becomes(name, RECORDS[name])

    def test_a_list_becomes_the_records_of_its_items(self) -> None:
        ticker = Ticker(
            **common("upbit", "SOL-KRW"),
            exchange_ts_ms=1793604721402,
            price=255100.0,
            open=251500.0,
            high=256200.0,
            low=248000.0,
            prev_close=251500.0,
            change_rate=0.0143141153,
            volume_24h=203118.77,
            quote_volume_24h=51270004110.0,
            bid=None,
            bid_quantity=None,
            ask=None,
            ask_quantity=None,
            stream_type=StreamType.SNAPSHOT,
            price_exact=Decimal("2.551E5"),
        )
        self.assert_becomes("ticker.list", ticker, exact=True)
