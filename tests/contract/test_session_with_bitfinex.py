"""The gateway's session against the simulated Bitfinex: what is lost is noticed, repaired, and proven."""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect

from core.audit import Auditor
from core.audit_report import SourceReport
from core.errors import ErrorCode
from core.exchanges.base import Complaint, Interrupted, Refused, SymbolBroken, SymbolWhole
from core.identity import RequestType, Symbol
from core.source_log import SentFrame, SourceLog
from infra.simulator.bitfinex import BitfinexVenue
from infra.simulator.faults import FaultPlan
from infra.simulator.log import FrameLogEntry
from tests.book_client import Client, offered, rebuilt
from tests.simulated_exchange import SYMBOLS, SimulatedExchange

FIRST, *OTHERS = SYMBOLS["bitfinex"]


@asynccontextmanager
async def subscribed(
    exchange: SimulatedExchange, request_type: RequestType = RequestType.ORDERBOOK
) -> AsyncIterator[Client]:
    """A session with every symbol of the exchange."""
    async with exchange, connect(exchange.sim.url, max_queue=None) as socket:
        client = Client("bitfinex", request_type, socket)
        client.session.subscribe([Symbol.parse(symbol) for symbol in SYMBOLS["bitfinex"]], time.monotonic())
        await client.drive_until(lambda: all(client.of(symbol) for symbol in SYMBOLS["bitfinex"]))
        yield client


def whole(client: Client) -> bool:
    return all(client.valid(symbol) for symbol in SYMBOLS["bitfinex"])


def said(client: Client, kind: type) -> list[Any]:
    return [notice for notice in client.notices if isinstance(notice, kind)]


async def same_as_offered(client: Client, exchange: SimulatedExchange) -> None:
    """The books that a reader has are in the end the exchange's own, with every sequence there."""
    exchange.sim.pause()
    await client.drive_until(
        lambda: all(rebuilt(client.of(s)) == offered(exchange, s) for s in SYMBOLS["bitfinex"])
    )
    for symbol in SYMBOLS["bitfinex"]:
        assert [record.sequence for record in client.of(symbol)] == list(range(1, len(client.of(symbol)) + 1))


def proof(client: Client, log: list[FrameLogEntry], request_type: RequestType) -> SourceReport:
    """What the auditor says of the records when it has the simulator's log."""
    auditor = Auditor(keep_exchange_times=True)
    for r in client.records:
        auditor.record(
            request_type, r.exchange, r.region, r.symbol, r.session_id, r.sequence, 0, r.exchange_ts_ms,
            r.received_ts_us,
        )  # fmt: skip
    encoded = msgspec.json.encode(log)
    source = SourceLog(msgspec.json.decode(encoded, type=list[SentFrame]))
    return source.compare(auditor.tracks(), exact=True)


@pytest.mark.parametrize("request_type", list(RequestType))
async def test_the_auditor_proves_every_record_of_updates_with_several_frames(
    request_type: RequestType,
) -> None:
    exchange = SimulatedExchange("bitfinex", rate=300)
    async with subscribed(exchange, request_type) as client:
        await client.drive_until(lambda: len(client.records) >= 400)
        exchange.sim.pause()
        told = [entry for entry in exchange.log if entry.kind != "repeat"]
        await client.drive_until(lambda: len(client.records) == len(told))
    report = proof(client, exchange.log, request_type)
    assert report.ok
    assert sum(track.matched for track in report.tracks) == len(client.records) == len(told)
    per_update = Counter((e.symbol, e.n) for e in told if e.kind == "realtime")
    assert (max(per_update.values()) > 1) is (request_type is RequestType.ORDERBOOK)
    assert (len(exchange.log) > len(told)) is (request_type is RequestType.TRADE)
    assert not [n for n in client.notices if isinstance(n, SymbolBroken | Complaint)]


async def test_a_frame_that_never_arrived_shows_in_the_proof() -> None:
    exchange = SimulatedExchange("bitfinex", rate=300)
    async with subscribed(exchange, RequestType.TRADE) as client:
        lost: list[Any] = []

        def lose_one_trade(frame: str | bytes) -> str | bytes | None:
            """Both frames of it."""
            content = json.loads(frame)
            if content[1] in ("te", "tu") and (not lost or content[2][0] == lost[0]):
                lost.append(content[2][0])
                return None
            return frame

        client.meddle = lose_one_trade
        await client.drive_until(lambda: len(client.records) >= 200)
        exchange.sim.pause()
        told = [entry for entry in exchange.log if entry.kind != "repeat"]
        await client.drive_until(lambda: len(client.records) == len(told) - 1)
    report = proof(client, exchange.log, RequestType.TRADE)
    assert not report.ok
    assert sum(track.lost for track in report.tracks) == 1
    assert [n.code for n in said(client, Complaint)] == [ErrorCode.SEQUENCE_GAP]


async def test_a_trade_whose_first_frame_is_lost_is_had_from_the_second() -> None:
    exchange = SimulatedExchange("bitfinex", rate=300)
    async with subscribed(exchange, RequestType.TRADE) as client:
        lost: list[int] = []

        def lose_some(frame: str | bytes) -> str | bytes | None:
            content = json.loads(frame)
            if content[1] == "te" and len(lost) < 5 and content[2][0] % 3 == 0:
                lost.append(content[2][0])
                return None
            return frame

        client.meddle = lose_some
        await client.drive_until(lambda: len(lost) == 5)
        exchange.sim.pause()
        told = [entry for entry in exchange.log if entry.kind != "repeat"]
        await client.drive_until(lambda: len(client.records) == len(told))
    assert proof(client, exchange.log, RequestType.TRADE).ok


async def test_a_frame_lost_on_the_connection_breaks_its_books_once_and_all_are_repaired() -> None:
    exchange = SimulatedExchange("bitfinex", rate=150)
    async with subscribed(exchange) as client:
        await client.drive_until(lambda: whole(client))
        lost: list[str | bytes] = []

        def lose_a_change(frame: str | bytes) -> str | bytes | None:
            if not lost and '"cs"' not in str(frame) and str(frame).startswith("["):
                lost.append(frame)
                return None
            return frame

        client.meddle = lose_a_change
        await client.drive_until(lambda: len(said(client, SymbolWhole)) == 3)
        broken = said(client, SymbolBroken)
        assert sorted(n.symbol for n in broken) == sorted(SYMBOLS["bitfinex"])
        assert {n.code for n in broken} == {ErrorCode.SEQUENCE_GAP}
        await client.drive_until(lambda: whole(client))
        await same_as_offered(client, exchange)
        assert len(said(client, SymbolBroken)) == 3
        assert client.session.parse_failed == 0


async def test_a_book_that_its_checksum_contradicts_is_broken_once_and_repaired_alone() -> None:
    exchange = SimulatedExchange("bitfinex", rate=150)
    async with subscribed(exchange) as client:
        await client.drive_until(lambda: whole(client))
        spoilt: list[str | bytes] = []

        def spoil_a_checksum(frame: str | bytes) -> str | bytes | None:
            """One frame, in its place in the sequence, that says something else than the book."""
            content = json.loads(frame)
            if spoilt or content[1] != "cs":
                return frame
            spoilt.append(frame)
            return json.dumps([content[0], "cs", content[2] ^ 1, *content[3:]])

        client.meddle = spoil_a_checksum
        before = len(client.records)
        await client.drive_until(lambda: said(client, SymbolWhole) != [])
        (broken,) = said(client, SymbolBroken)
        assert (broken.code, [n.symbol for n in said(client, SymbolWhole)]) == (
            ErrorCode.CHECKSUM_MISMATCH,
            [broken.symbol],
        )
        await client.drive_until(lambda: whole(client))
        assert {r.symbol for r in client.records[before:] if not r.valid} == {broken.symbol}
        await same_as_offered(client, exchange)
        assert len(said(client, SymbolBroken)) == 1


async def test_what_a_frozen_connection_did_not_get_shows_in_the_sequence() -> None:
    exchange = SimulatedExchange("bitfinex", rate=150)
    async with subscribed(exchange) as client:
        await client.drive_until(lambda: whole(client))
        made = exchange.sim.stats.updates
        exchange.sim.freeze()
        await client.drive_until(lambda: exchange.sim.stats.updates >= made + 20)
        assert not said(client, SymbolBroken)
        exchange.sim.resume()
        await client.drive_until(lambda: len(said(client, SymbolWhole)) == 3)
        assert {n.code for n in said(client, SymbolBroken)} == {ErrorCode.SEQUENCE_GAP}
        await same_as_offered(client, exchange)


async def test_a_stall_loses_nothing() -> None:
    exchange = SimulatedExchange("bitfinex", rate=150)
    async with subscribed(exchange) as client:
        exchange.sim.stall(0.5)
        await client.drive_until(lambda: len(client.records) >= 300)
        await same_as_offered(client, exchange)
        assert not said(client, SymbolBroken)


async def test_rubbish_between_the_frames_is_counted_and_breaks_nothing() -> None:
    plan = FaultPlan(rubbish_every=7)
    exchange = SimulatedExchange("bitfinex", rate=200, faults=plan, huge_bytes=400_000)
    async with subscribed(exchange) as client:
        await client.drive_until(lambda: client.session.parse_failed >= 12)
        exchange.sim.send_rubbish(1, "huge")
        failed = client.session.parse_failed
        await client.drive_until(lambda: client.session.parse_failed > failed)
        await same_as_offered(client, exchange)
        assert whole(client)
        assert not said(client, SymbolBroken)


async def test_after_maintenance_every_channel_is_subscribed_anew() -> None:
    exchange = SimulatedExchange("bitfinex", rate=150)
    async with subscribed(exchange) as client:
        exchange.sim.begin_maintenance()
        await client.drive_until(lambda: said(client, Interrupted) != [])
        snapshots = sum(entry.kind == "snapshot" for entry in exchange.log)
        exchange.sim.end_maintenance()
        await client.drive_until(
            lambda: sum(e.kind == "snapshot" for e in exchange.log) == snapshots + 3 and whole(client)
        )
        await same_as_offered(client, exchange)
        assert ["20060" in n.message for n in said(client, Interrupted)] == [True]


@pytest.mark.parametrize("generic", [False, True])
async def test_a_pair_that_is_unknown_is_refused_by_either_code(generic: bool) -> None:
    exchange = SimulatedExchange("bitfinex", rate=50)
    venue = exchange.sim.venue
    assert isinstance(venue, BitfinexVenue)
    venue.generic_codes = generic
    async with exchange, connect(exchange.sim.url, max_queue=None) as socket:
        client = Client("bitfinex", RequestType.TICKER, socket)
        client.session.subscribe([Symbol.parse(symbol) for symbol in (FIRST, "NOPE-USD")], time.monotonic())
        await client.drive_until(lambda: bool(client.of(FIRST)) and said(client, Refused) != [])
        (refused,) = said(client, Refused)
        assert (refused.symbols, refused.code) == (("NOPE-USD",), ErrorCode.UNKNOWN_SYMBOL)
        assert client.session.active_symbols == [FIRST]


async def test_a_recording_is_recognised_by_the_numbers_that_it_gives_its_channels(tmp_path: Path) -> None:
    recorded: list[str] = []
    live = SimulatedExchange("bitfinex", rate=200)
    async with live, connect(live.sim.url) as socket:
        await socket.send('{"event":"conf","flags":98304}')
        for channel in ("ticker", "trades", "book"):
            await socket.send(json.dumps({"event": "subscribe", "channel": channel, "symbol": "tBTCUSD"}))
        while len(recorded) < 120:
            recorded.append(str(await socket.recv()))
    path = tmp_path / "bitfinex.jsonl"
    path.write_text("".join(json.dumps({"t": n / 1000, "frame": f}) + "\n" for n, f in enumerate(recorded)))
    replayed = SimulatedExchange("bitfinex", replay=path, replay_speed=None)
    async with replayed, connect(replayed.sim.url) as socket:
        await socket.send('{"event":"subscribe","channel":"ticker","symbol":"tBTCUSD"}')
        received: list[str] = []
        while len(received) < 122:  # with the greeting and the answer to the request
            received.append(str(await socket.recv()))
    assert received[2:] == recorded
    once = {(e.request_type, e.symbol, e.exchange_ts_ms) for e in live.log}
    seen = {(e.request_type, e.symbol, e.exchange_ts_ms) for e in replayed.log if e.request_type}
    assert {request_type for request_type, _, _ in seen} == set(RequestType)
    assert seen <= once
    others = [frame for e, frame in zip(replayed.log, recorded, strict=True) if e.request_type is None]
    assert all(frame.startswith("{") or '"tu"' in frame for frame in others)
