"""Records a second and core of the stream session, by exchange and request type.

Compared with the plain way: orjson into a dict, values picked from it into the same record, without ranges,
subscriptions, sequences, counts or a kept book. "exact": with GATEWAY_NUMBERS=exact. With ``--cryptofeed`` also
with cryptofeed, fed the same frames (``make bench-cryptofeed``). CPU time, the ways in turn in each round,
medians; in brackets how many times as fast the session is. Before that each way reads all frames once, and what
they made of them is compared.
Usage: ``python -m benchmarks.session [--frames 3000] [--rounds 7] [--only NAME] [--cryptofeed PYTHON]``.
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

_CASES = (*korean_frames.CASES, *asia_frames.CASES, *western_frames.CASES)


def session_for(case: Case, *, exact: bool = False) -> StreamSession:
    """A session that has subscribed to the case's symbol and has had what comes first."""
    profile = PROFILES[Exchange(case.exchange)]
    whole_topic = "market.btcusdt.depth.step0" if case.name == "orderbook.whole" else None
    session = StreamSession(
        profile,
        RequestType(case.kind),
        1,
        now_s=0.0,
        exact=exact,
        socket_params=whole_topic and {"sub": whole_topic},
    )
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


def _checked(case: Case, frames: Sequence[bytes]) -> tuple[StreamSession, list[Record]]:
    """What the session makes of the frames, after comparing it with the plain way's records."""
    session = session_for(case)
    records = [record for frame in frames for record in session.receive(frame, NOW_US)]
    plain = [record for frame in frames for record in case.plain(frame)]
    invalid = any(isinstance(record, OrderBook) and not record.valid for record in records)
    if session.parse_failed or session.ignored or invalid:
        raise SystemExit(
            f"{case.exchange} {case.name}: {session.parse_failed} failed, ignored {session.ignored}"
        )
    if len(records) < len(frames) or [_facts(x) for x in records] != [_facts(x) for x in plain]:
        raise SystemExit(f"{case.exchange} {case.name}: the plain way has other records")
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
        raise SystemExit(f"{case.exchange} {case.name}: {track.sequence - before} records, not {records}")
    return took_s


def measure(case: Case, count: int, rounds: int, cryptofeed: Cryptofeed | None) -> dict[str, Any]:
    """One row: records/s of each way."""
    frames = case.frames(count)
    session, records = _checked(case, frames)
    ways: dict[str, Callable[[], float]] = {
        "session": lambda: _session_cpu_s(case, frames, len(records)),
        "plain": lambda: _cpu_s(case.plain, frames),
    }
    if case.kind != "orderbook":
        ways["exact"] = lambda: _session_cpu_s(case, frames, len(records), exact=True)
    reads_instead = unread(case)
    if cryptofeed is not None and reads_instead is None:
        cryptofeed.open(case, frames, session, records)
        ways["cryptofeed"] = cryptofeed.cpu_s
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, cpu_s in ways.items():
            times[way].append(cpu_s())
    row: dict[str, Any] = {"exchange": case.exchange, "case": case.name, "bytes": len(frames[-1])}
    row |= {way: round(len(records) / statistics.median(taken)) for way, taken in times.items()}
    if cryptofeed is not None and reads_instead is not None:
        row["unread"] = reads_instead
    return row | {f"to_{way}": round(row["session"] / row[way], 2) for way in ways if way != "session"}


def _line(row: dict[str, Any]) -> str:
    text = f"{row['exchange']:8} {row['case']:18} {row['bytes']:5} bytes   session {row['session']:7,} /s"
    for way in ("plain", "exact", "cryptofeed"):
        text += f"   {way} {row[way]:7,} ({row[f'to_{way}']:.2f})" if way in row else ""
    return text + (f"   cryptofeed: {row['unread']}" if "unread" in row else "") + "\n"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=3_000, help="frames a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--only", default="", help="cases whose exchange and name begin so: bitfinex, 'okx trade'"
    )
    parser.add_argument("--cryptofeed", metavar="PYTHON", help="an interpreter with cryptofeed 2.4.1")
    parser.add_argument("--json", action="store_true", help="one JSON object a case")
    options = parser.parse_args()
    cryptofeed = Cryptofeed(options.cryptofeed) if options.cryptofeed else None
    for case in _CASES:
        if f"{case.exchange} {case.name}".startswith(options.only):
            row = measure(case, options.frames, options.rounds, cryptofeed)
            sys.stdout.write(json.dumps(row) + "\n" if options.json else _line(row))
            sys.stdout.flush()
    if cryptofeed is not None:
        cryptofeed.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
