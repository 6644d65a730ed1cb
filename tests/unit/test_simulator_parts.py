"""The simulator's parts without a socket: the market, the pace, the log, the requests' own clocks."""

import itertools
import json
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from core.exchanges.table import PROFILES
from core.identity import Symbol
from infra.simulator.bithumb_requests import BithumbForm
from infra.simulator.faults import rubbish
from infra.simulator.gate import too_many
from infra.simulator.log import FrameLogEntry, FrameLogFile, read_frame_log
from infra.simulator.market import LEVELS, PairMarket, PriceGrid, decimal_text
from infra.simulator.pace import Pace
from infra.simulator.upbit import UpbitVenue
from infra.simulator.upbit_requests import UpbitConversation, UpbitForm
from infra.simulator.venue import Answer, Feed, Venue
from infra.simulator.venues import VENUES
from tests.simulated_exchange import inflated

CHANNELS = {
    "binance": ("ticker", "trade", "depth"),
    "bybit": ("tickers", "publicTrade", "orderbook.50"),
    "okx": ("tickers", "trades", "books"),
    "huobi": ("ticker", "trade.detail", "mbp.150"),
    "kraken": ("ticker", "trade", "book.25"),
    "coinbase": ("ticker", "matches", "level2_batch"),
}


def test_every_exchange_that_is_served_can_be_simulated() -> None:
    assert VENUES.keys() == {str(exchange) for exchange in PROFILES}


def market(seed: int = 1) -> PairMarket:
    return PairMarket(Symbol("BTC", "USDT"), 91_250.0, PriceGrid(2, 100), seed)


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [(0, 0, "0.0"), (126, 0, "126.0"), (115, 8, "0.00000115"), (-150, 2, "-1.50"), (-5, 2, "-0.05")],
)
def test_numbers_are_printed_exactly_and_without_exponent(units: int, decimals: int, text: str) -> None:
    assert decimal_text(units, decimals) == text
    assert json.loads(text) == pytest.approx(units / 10**decimals)


def test_the_changes_of_a_book_rebuild_it() -> None:
    walk = market()
    tick = walk.grid.tick_units

    def ladder() -> tuple[dict[int, int], dict[int, int]]:
        bids = {walk.bid - i * tick: q for i, q in enumerate(walk.bid_quantities)}
        asks = {walk.ask + i * tick: q for i, q in enumerate(walk.ask_quantities)}
        return bids, asks

    bids, asks = ladder()
    update_id = walk.update_id
    for step in range(3_000):
        changes = walk.trade() if step % 3 == 0 else walk.churn()
        update_id += len(changes)
        for side, price, quantity in changes:
            book = bids if side == "bid" else asks
            book[price] = quantity
            if not quantity:
                del book[price]
        assert (bids, asks) == ladder()
        assert len(bids) == len(asks) == LEVELS
        assert max(bids) < min(asks)
        assert walk.update_id == update_id
        assert walk.low <= walk.last <= walk.high


def frames(exchange: str, seed: int, feeds: list[Feed], form: Any, count: int = 60) -> list[bytes]:
    venue = VENUES[exchange](None, seed)
    turns = itertools.islice(itertools.cycle(feeds), count)
    return [venue.advance(feed, 1_700_000_000_000 + i).payload(form) for i, feed in enumerate(turns)]


@pytest.mark.parametrize(
    ("exchange", "feeds", "form"),
    [
        ("upbit", [Feed(k, "KRW-BTC") for k in ("ticker", "trade", "orderbook")], UpbitForm(False, False)),
        ("binance", [Feed(k, "BTCUSDT") for k in ("ticker", "trade", "depth", "bookTicker")], True),
        ("bithumb", [Feed(k, "KRW-BTC") for k in ("ticker", "trade", "orderbook")], BithumbForm(False)),
        ("coinone", [Feed(k, "KRW-BTC") for k in ("ticker", "trade", "orderbook")], False),
        ("korbit", [Feed(k, "btc_krw") for k in ("ticker", "trade", "orderbook")], None),
    ],
)
def test_the_same_seed_makes_the_same_frames(exchange: str, feeds: list[Feed], form: Any) -> None:
    first = frames(exchange, 5, feeds, form)
    assert first == frames(exchange, 5, feeds, form)
    other = frames(exchange, 6, feeds, form)
    assert sum(a != b for a, b in zip(first, other, strict=True)) > 50


# Bitfinex's frames name their channel by its number on a connection: test_simulator_bitfinex.py.
@pytest.mark.parametrize("exchange", sorted(VENUES.keys() - {"bitfinex"}))
def test_every_built_in_symbol_makes_frames_that_are_json_and_recognised(exchange: str) -> None:
    venue: Venue = VENUES[exchange](None, 3)
    assert len(venue.markets) >= 30
    for exchange_symbol, pair in venue.markets.items():
        for channel in CHANNELS.get(exchange, ("ticker", "trade", "orderbook")):
            update = venue.advance(Feed(channel, exchange_symbol), 1_700_000_000_000)
            payload = update.payload(venue.default_form())
            inflated(payload)
            seen = venue.identify(payload)
            assert seen is not None
            assert (seen.request_type, seen.symbol, seen.exchange_symbol, seen.exchange_ts_ms) == (
                update.identity.request_type,
                str(pair.symbol),
                exchange_symbol,
                update.identity.exchange_ts_ms,
            )
    assert venue.identify(venue.unknown_type()) is None
    assert venue.identify(b"{") is None


def test_a_symbol_nobody_knows_gets_a_price_of_its_own() -> None:
    venue = UpbitVenue(["FOO-KRW", "BAR-KRW", "1INCH-BTC"], 1)
    assert list(venue.markets) == ["KRW-FOO", "KRW-BAR", "BTC-1INCH"]
    assert all(pair.bid > 0 for pair in venue.markets.values())
    assert venue.markets["KRW-FOO"].bid != venue.markets["KRW-BAR"].bid


def test_times_grow_strictly_even_within_a_millisecond() -> None:
    venue = UpbitVenue(["BTC-KRW"], 1)
    feed = Feed("ticker", "KRW-BTC")
    updates = [venue.advance(feed, now_ms) for now_ms in (1_000, 1_000, 999, 5_000)]
    assert [u.identity.exchange_ts_ms for u in updates] == [1_000, 1_001, 1_002, 5_000]
    assert [u.identity.n for u in updates] == [1, 2, 3, 4]
    assert venue.latest(feed, 9_000) is updates[-1]


@pytest.mark.parametrize("rate", [0.5, 7.0, 1_000.0, 12_345.0])
@pytest.mark.parametrize("step_s", [0.001, 0.013, 0.4])
def test_the_pace_is_kept_by_counting(rate: float, step_s: float) -> None:
    pace, now_s, given = Pace(rate), 100.0, 0
    for _ in range(1_000):
        given += pace.due(now_s)
        now_s += step_s
    assert abs(given - rate * 999 * step_s) <= 1


def test_a_standstill_is_made_up_for_a_second_at_most() -> None:
    pace = Pace(100.0)
    assert pace.due(0.0) == 0
    assert pace.due(0.5) == 50
    assert pace.due(60.0) == 100
    assert pace.due(60.1) == 10
    pace.set_rate(0.0)
    assert pace.due(70.0) == pace.due(80.0) == 0


def test_events_are_counted_over_a_sliding_window() -> None:
    past: deque[float] = deque()
    limits = ((2, 1.0), (3, 10.0))
    verdicts = [too_many(past, limits, at_s) for at_s in (0.0, 0.5, 1.1, 2.5, 20.0)]
    assert verdicts == [False, False, False, True, False]
    assert not any(too_many(past, (), at_s) for at_s in range(100))


def test_a_log_file_holds_what_was_given_to_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = FrameLogFile(path)
    entries = [
        FrameLogEntry(1, "upbit", "ticker", "BTC-KRW", "KRW-BTC", n, "realtime", n) for n in range(3_000)
    ]
    for entry in entries:
        log(entry)
    log.flush()
    assert read_frame_log(path) == entries
    log(FrameLogEntry(1, "upbit", None, None, None, None, "rubbish", 1))
    log.close()
    log.close()
    assert json.loads(path.read_bytes().splitlines()[-1]) == {
        "connection": 1, "exchange": "upbit", "request_type": None, "symbol": None, "exchange_symbol": None,
        "exchange_ts_ms": None, "kind": "rubbish", "n": 1,
    }  # fmt: skip


def test_upbit_repeats_up_every_ten_seconds_after_a_ping() -> None:
    conversation = UpbitConversation(frozenset())
    assert conversation.tick(1_000.0) == ()
    up = Answer('{"status":"UP"}')
    assert conversation.receive(b"PING", 1_000.0) == [up]
    said = {at_s: conversation.tick(float(at_s)) for at_s in (1_005, 1_009, 1_010, 1_011, 1_019, 1_020)}
    assert [at_s for at_s, replies in said.items() if replies == [up]] == [1_010, 1_020]


@pytest.mark.parametrize(
    "good", [b'{"type":"ticker","price":1}', b'[17,"te",[5,1700000000000,-0.5,91250]]', b"[17,[91250,1,0.5],3]"]
)
def test_rubbish_is_none_of_it_good_whether_frames_are_objects_or_arrays(good: bytes) -> None:
    for kind in ("broken_json", "truncated", "invalid_utf8"):
        with pytest.raises(ValueError):  # noqa: PT011 - what JSON and UTF-8 have in common
            json.loads(rubbish(kind, good, b"{}", 1).decode())
    spoilt = json.loads(rubbish("wrong_types", good, b"{}", 1))
    assert type(spoilt) is type(json.loads(good))
    assert spoilt != json.loads(good)


def test_rubbish_of_an_unknown_kind_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="truncated"):
        rubbish("nonsense", b"{}", b"{}", 1)  # type: ignore[arg-type]
