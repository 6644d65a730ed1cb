"""The benchmark's feed is what it claims to be: frames that the gateway's own parts read, every one of them."""

import asyncio

import pytest

from benchmarks import session, stages
from benchmarks.feeder import Feeder
from benchmarks.market_frames import SYMBOLS, frames
from benchmarks.plain_path import as_message
from benchmarks.session_case import Case
from core.exchanges.table import PROFILES
from core.identity import Exchange, RequestType
from core.session import StreamSession
from infra.websocket.connector import WebsocketsConnector
from tests.waiting import until

UPBIT = PROFILES[Exchange.UPBIT]


class Reader:
    """Counts frames and reads them like a stream would."""

    def __init__(self, kind: str) -> None:
        self.session = StreamSession(UPBIT, RequestType(kind), 1, now_s=0.0)
        self.session.subscribe([UPBIT.parse_symbol(symbol) for symbol in SYMBOLS], 0.0)
        self.records = 0

    def on_frame(self, frame: str | bytes, received_us: int) -> None:
        self.records += len(self.session.receive(frame, received_us))


@pytest.mark.parametrize("kind", ["ticker", "trade", "orderbook"])
def test_every_frame_is_one_record(kind: str) -> None:
    reader = Reader(kind)
    for frame in frames(kind):
        reader.on_frame(frame, 1_793_604_700_000_000)
    assert reader.records == len(frames(kind)) == len(set(frames(kind)))


def test_the_plain_way_has_the_records_fields() -> None:
    key, value = as_message(frames("ticker")[0])
    assert key == b"upbit|BTC-KRW"
    assert b'"price":' in value


@pytest.mark.parametrize("deflate", [False, True])
async def test_what_the_feeder_says_it_sent_arrives(deflate: bool) -> None:
    feeder, reader = await asyncio.to_thread(Feeder, deflate=deflate), Reader("ticker")
    connection = await WebsocketsConnector().connect(feeder.url, reader, max_frame_bytes=1 << 20)
    try:
        for message in reader.session.take_outbox():
            connection.send(message)
        await until(lambda: reader.records == len(SYMBOLS), 10.0)
        sent = 0
        for rate_per_s in (500.0, None):
            feeder.go({"ticker": 1}, rate_per_s)
            before = reader.records
            await until(lambda before=before: reader.records > before + 200, 10.0)
            # In a thread: the feeder may be waiting for this loop to read.
            sent = await asyncio.to_thread(feeder.halt)
        await until(lambda: reader.records == sent, 10.0)
        assert reader.session.parse_failed == 0
    finally:
        await connection.close()
        feeder.end()


async def test_the_stages_are_those_of_a_running_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_ROUNDS", 2)
    monkeypatch.setattr(stages, "_FRAMES_A_ROUND", 200)
    rows = await stages.measure("ticker", deflate=False)
    assert len(rows) == 6
    assert all(until_us > 0 for _, _, until_us in rows)


@pytest.mark.parametrize("case", session.CASES, ids=str)
def test_the_session_and_the_plain_way_make_the_same_records(case: Case) -> None:
    made = case.frames(40)
    of_the_session, records = session.checked(case, made)
    assert of_the_session.frames == len(made) + len(case.before)
    assert len(records) >= len(made)
