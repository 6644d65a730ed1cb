"""Every recorded frame becomes records, control, or is counted as ignored with its reason."""

from collections import Counter

import pytest

from core.exchanges.table import PROFILES
from core.identity import Exchange, RequestType
from core.session import StreamSession
from tests.frames import CAPTURES, captured

pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the recorded frames are not at hand")


@pytest.mark.parametrize("request_type", list(RequestType))
@pytest.mark.parametrize(
    ("exchange", "records", "ignored"),
    [
        (Exchange.UPBIT, {"Trade": 186, "OrderBook": 114}, {}),
        (Exchange.BINANCE, {"Trade": 1, "OrderBook": 106}, {"bookTicker": 52, "kline": 1}),
    ],
)
def test_a_replay_reads_every_frame(
    exchange: Exchange, request_type: RequestType, records: dict[str, int], ignored: dict[str, int]
) -> None:
    session = StreamSession(PROFILES[exchange], request_type, 1, now_s=0.0, accept_all=True)
    seen: Counter[str] = Counter()
    last: Counter[tuple[str, str]] = Counter()
    for frame, received_us in captured(CAPTURES / f"{exchange}.jsonl"):
        for record in session.receive(frame, received_us):
            kind = type(record).__name__
            seen[kind] += 1
            assert record.sequence == last[kind, record.symbol] + 1
            last[kind, record.symbol] = record.sequence
            assert PROFILES[exchange].parse_symbol(record.symbol) == PROFILES[exchange].parse_symbol(
                record.exchange_symbol
            )
    assert seen == records
    assert session.ignored == ignored
    assert session.parse_failed == 0
    assert session.take_notices() == []
    assert session.frames == sum(seen.values()) + sum(ignored.values())


@pytest.mark.parametrize("exchange", [Exchange.UPBIT, Exchange.BINANCE])
def test_a_live_session_passes_over_what_it_did_not_ask_for(exchange: Exchange) -> None:
    session = StreamSession(PROFILES[exchange], RequestType.TRADE, 1, now_s=0.0)
    for frame, received_us in captured(CAPTURES / f"{exchange}.jsonl"):
        assert session.receive(frame, received_us) == ()
    assert session.parse_failed == 0
    assert session.ignored["not subscribed"] >= 1
    assert session.ignored["other request type"] >= 100
    assert sum(session.ignored.values()) + session.controls == session.frames
