"""Records a second and core of the stream session, by exchange and request type.

Compared with the plain way: orjson into a dict, values picked from it into the same record, without ranges,
subscriptions, sequences, counts or a kept book. "exact": with GATEWAY_NUMBERS=exact. With ``--cryptofeed`` also
with cryptofeed, fed the same frames (``make bench-cryptofeed``). CPU time, the ways in turn in each round,
medians; in brackets how many times as fast the session is, the median of the rounds' ratios. Before that each
way reads all frames once, and what they made of them is compared.
Usage: ``python -m benchmarks.session [--frames 1000] [--rounds 21] [--only NAME] [--cryptofeed PYTHON]``.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from time import process_time
from typing import Any

import msgspec

from benchmarks import asia_frames, korean_frames, western_frames
from benchmarks.beside_cryptofeed import Cryptofeed, unread
from benchmarks.session_case import NOW_US, Case
from core.exchanges.table import PROFILES
from core.identity import Exchange, RequestType
from core.records import OrderBook, Record
from core.session import StreamSession

CASES = (*korean_frames.CASES, *asia_frames.CASES, *western_frames.CASES)


def session_for(case: Case, *, exact: bool = False) -> StreamSession:
    """A session that has subscribed to the case's symbol and has had what comes first."""
    profile = PROFILES[Exchange(case.exchange)]
    params = {"sub": "market.btcusdt.depth.step0"} if case.name == "orderbook.whole" else None
    kind = RequestType(case.kind)
    session = StreamSession(profile, kind, 1, now_s=0.0, exact=exact, socket_params=params)
    symbol = profile.parse_symbol(case.symbol)
    session.subscribe([symbol], 0.0)
    for frame in case.before:
        session.receive(frame, NOW_US)
        session.on_time(1.0)
    if case.rest is not None:
        session.snapshot(str(symbol), case.rest, NOW_US)
    return session


def _facts(record: Record) -> dict[str, Any]:
    """What a record says, without what the plain way does not know."""
    facts = msgspec.structs.asdict(record) | {"sequence": 0, "valid": None}
    if isinstance(record, OrderBook):
        facts |= {side: [(x.price, x.quantity) for x in facts[side]] for side in ("bids", "asks")}
    return facts


def checked(case: Case, frames: Sequence[bytes]) -> tuple[StreamSession, list[Record]]:
    """What the session makes of the frames; raises ``SystemExit`` unless it is what the plain way does."""
    session = session_for(case)
    records = [record for frame in frames for record in session.receive(frame, NOW_US)]
    plain = [record for frame in frames for record in case.plain(frame)]
    broken = any(isinstance(record, OrderBook) and not record.valid for record in records)
    if session.parse_failed or session.ignored or broken:
        raise SystemExit(f"{case}: {session.parse_failed} failed, ignored {session.ignored}")
    if len(records) < len(frames) or [_facts(x) for x in records] != [_facts(x) for x in plain]:
        raise SystemExit(f"{case}: the plain way has other records")
    return session, records


def _cpu_s(work: Callable[[bytes], object], frames: Sequence[bytes]) -> float:
    start_s = process_time()
    for frame in frames:
        work(frame)
    return process_time() - start_s


def _session_cpu_s(case: Case, frames: Sequence[bytes], records: int, *, exact: bool = False) -> float:
    session = session_for(case, exact=exact)
    (track,) = session.tracks
    before = track.sequence
    receive = session.receive
    start_s = process_time()
    for frame in frames:
        receive(frame, NOW_US)
    took_s = process_time() - start_s
    if track.sequence - before != records:
        raise SystemExit(f"{case}: {track.sequence - before} records, not {records}")
    return took_s


def _ways(case: Case, count: int, cryptofeed: Cryptofeed | None) -> tuple[int, dict[str, Callable[[], float]]]:
    """How many records the frames are, and what takes the CPU seconds of each way to read them once."""
    frames = case.frames(count)
    session, records = checked(case, frames)
    ways: dict[str, Callable[[], float]] = {
        "session": lambda: _session_cpu_s(case, frames, len(records)),
        "plain": lambda: _cpu_s(case.plain, frames),
    }
    if case.kind != "orderbook":
        ways["exact"] = lambda: _session_cpu_s(case, frames, len(records), exact=True)
    if cryptofeed is not None and unread(case) is None:
        ways["cryptofeed"] = cryptofeed.open(case, frames, session, records)
    return len(records), ways


def measure(
    cases: Sequence[Case], count: int, rounds: int, cryptofeed: Cryptofeed | None
) -> list[dict[str, Any]]:
    """A row a case: records/s of each way, and how many times as fast the session is."""
    prepared = [_ways(case, count, cryptofeed) for case in cases]
    times = [{way: list[float]() for way in ways} for _, ways in prepared]
    for _ in range(rounds):
        # All cases in each round: the machine is faster at one time than at another.
        for (_, ways), taken in zip(prepared, times, strict=True):
            for way, cpu_s in ways.items():
                taken[way].append(cpu_s())
    rows = []
    for case, (records, ways), taken in zip(cases, prepared, times, strict=True):
        row: dict[str, Any] = {"exchange": case.exchange, "case": case.name, "bytes": len(case.frames(1)[0])}
        row |= {way: round(records / statistics.median(taken[way])) for way in ways}
        for way in ways:
            ratios = [theirs / ours for theirs, ours in zip(taken[way], taken["session"], strict=True)]
            row[f"to_{way}"] = round(statistics.median(ratios), 2)
        reads_instead = unread(case)
        if cryptofeed is not None and reads_instead is not None:
            row["unread"] = reads_instead
        rows.append(row)
    return rows


def _line(row: dict[str, Any]) -> str:
    text = f"{row['exchange']:8} {row['case']:18} {row['bytes']:5} bytes   session {row['session']:7,} /s"
    for way in ("plain", "exact", "cryptofeed"):
        text += f"   {way} {row[way]:7,} ({row[f'to_{way}']:.2f})" if way in row else ""
    return text + (f"   cryptofeed: {row['unread']}" if "unread" in row else "")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000, help="frames a round")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument(
        "--only", default="", help="cases whose exchange and name begin so: bitfinex, 'okx trade'"
    )
    parser.add_argument("--cryptofeed", metavar="PYTHON", help="an interpreter with cryptofeed 2.4.1")
    parser.add_argument("--json", action="store_true", help="one JSON object a case")
    options = parser.parse_args()
    cases = [case for case in CASES if str(case).startswith(options.only)]
    cryptofeed = Cryptofeed(options.cryptofeed) if options.cryptofeed else None
    for row in measure(cases, options.frames, options.rounds, cryptofeed):
        sys.stdout.write((json.dumps(row) if options.json else _line(row)) + "\n")
    if cryptofeed is not None:
        cryptofeed.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
