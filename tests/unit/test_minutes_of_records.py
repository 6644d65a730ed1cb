"""A record is counted in the minute of its ``received_ts_us``, whichever way it came."""

import json
from collections import Counter

from core.exchanges.base import BookSettings
from infra.manual_clock import ManualClock
from tests.hand_run_stream import HandRunStream, hand_run

MINUTE_US = 60_000_000
START_US = 1_700_000_000_000_000 // MINUTE_US * MINUTE_US + 100_000
"""A tenth of a second into a minute: a connection that looks every quarter meets no minute exactly."""

BYBIT_BOOK = {
    "topic": "orderbook.200.BTCUSDT",
    "type": "snapshot",
    "ts": 1_700_000_000_000,
    "data": {"s": "BTCUSDT", "b": [["1", "1"]], "a": [["2", "1"]], "u": 5, "seq": 5},
}


def by_minute(world: HandRunStream) -> dict[int, int]:
    return dict(Counter(r.received_ts_us // MINUTE_US * 60_000 for r in world.sink.records))


def counted(world: HandRunStream) -> dict[int, int]:
    items = world.stream.accounting.minutes.take(current=True)
    return {item.minute_start_ms: item.total for item in items if item.total}


async def test_a_book_that_is_published_whole() -> None:
    books = BookSettings(depth=200, snapshot_every_s=1.0)
    clock = ManualClock(START_US)
    async with hand_run("bybit|asia|orderbook", "BTC-USDT", clock=clock, books=books) as world:
        world.connection.receive(json.dumps(BYBIT_BOOK))
        await clock.advance(200)
        assert len(world.sink.records) > 190
        assert len(by_minute(world)) == 4
        assert counted(world) == by_minute(world)


async def test_a_book_that_comes_by_rest() -> None:
    clock = ManualClock(START_US + 50_000_000)

    class JustAfterTheMinute:
        async def fetch(self, _exchange: str, _path: str) -> bytes:
            await clock.sleep((MINUTE_US - clock.epoch_us() % MINUTE_US + 1_000) / 1e6)
            return b'{"lastUpdateId":6,"bids":[["1.0","1"]],"asks":[["2.0","1"]]}'

    key, snapshots = "binance|asia|orderbook", JustAfterTheMinute()
    async with hand_run(key, "BTC-USDT", clock=clock, snapshots=snapshots) as world:
        data = {"e": "depthUpdate", "E": 1_700_000_000_000, "s": "BTCUSDT", "U": 4, "u": 6, "b": [], "a": []}
        world.connection.receive(json.dumps({"stream": "btcusdt@depth@100ms", "data": data}))
        await clock.advance(11)
        assert [r.received_ts_us % MINUTE_US for r in world.sink.records][-1] == 1_000
        assert counted(world) == by_minute(world)
        assert len(by_minute(world)) == 2
