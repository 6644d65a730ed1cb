"""Random histories with known faults: the auditor names exactly these, and clean ones pass."""

from hypothesis import given
from hypothesis import strategies as st

from core.audit import Auditor
from core.ranges import RangeSet
from core.source_log import SentFrame, SourceLog

SYMBOLS = ("BTC-KRW", "ETH-KRW", "XRP-KRW")
T0_US = 1_700_000_040 * 1_000_000

ranges = st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(ranges), ranges)
def test_a_range_set_is_a_set(parts, window):
    made, plain = RangeSet(), set()
    for first, last in parts:
        made.add_range(first, last)
        plain |= set(range(first, last + 1))
    assert [n for a, b in made for n in range(a, b + 1)] == sorted(plain)
    assert len(made) == len(plain)
    inside = set(range(window[0], window[1] + 1))
    assert made.count(*window) == len(plain & inside)
    assert {n for a, b in made.missing(*window) for n in range(a, b + 1)} == inside - plain
    starts = [a for a, _ in made]
    assert all(a > b + 1 for a, (_, b) in zip(starts[1:], made, strict=False))


@given(st.lists(st.integers(0, 30)))
def test_adding_says_whether_it_was_new(numbers):
    made, plain = RangeSet(), set()
    for number in numbers:
        assert made.add(number) is (number not in plain)
        plain.add(number)


@st.composite
def histories(draw):
    """Sessions with their symbols' lengths, and what is done to each: dropped, shed, repeated, delayed."""
    history = {}
    for session in range(1, draw(st.integers(1, 3)) + 1):
        for symbol in draw(st.sets(st.sampled_from(SYMBOLS), min_size=1)):
            length = draw(st.integers(1, 60))
            some = st.sets(st.integers(1, length), max_size=6)
            dropped = draw(some)
            shed = draw(some) - dropped
            left = sorted(set(range(1, length + 1)) - dropped - shed)
            repeated = draw(some) & set(left)
            late = draw(some) & set(left[:-1])
            history[session, symbol] = (length, dropped, shed, repeated, late)
    return history


def order_of(length, dropped, shed, repeated, late):
    """Sequences as they stand in the partition: late ones come last, repeats right behind their first."""
    out = []
    left = [n for n in range(1, length + 1) if n not in dropped and n not in shed]
    for n in [n for n in left if n not in late] + sorted(late):
        out += [n, n] if n in repeated else [n]
    return out


def ranges_of(numbers, session, symbol):
    return [{"session_id": session, "symbol": symbol, "first": a, "last": b} for a, b in numbers]


def report_of(history, auditor):
    sequences, shed_ranges, minutes = [], [], {}
    for (session, symbol), (length, dropped, shed, repeated, late) in history.items():
        for n in order_of(length, dropped, shed, repeated, late):
            auditor.record(
                "ticker", "upbit", "korea", symbol, session, n, hash(symbol) % 3, n, T0_US + n * 5_000_000
            )
        sequences += ranges_of([(1, length)], session, symbol)
        shed_ranges += ranges_of(RangeSet((n, n) for n in shed), session, symbol)
        for n in range(1, length + 1):
            if n not in shed:
                minute = (T0_US + n * 5_000_000) // 60_000_000
                counts = minutes.setdefault(minute, {})
                counts[f"{symbol}_COUNT"] = counts.get(f"{symbol}_COUNT", 0) + 1
    items = [
        {"minute_start_ts_kst": minute * 60_000, "total": sum(counts.values()), "details": counts}
        for minute, counts in minutes.items()
    ]
    event = {"exchange": "upbit", "region": "korea", "request_type": "ticker"}
    batch = {"range_start_ts_kst": T0_US // 1000, "range_end_ts_kst": T0_US // 1000 + 60_000, "items": items}
    auditor.metrics({**event, "batch": batch, "sequences": sequences, "shed": shed_ranges})
    return auditor.report()


def numbers(parts):
    return {n for a, b in parts for n in range(a, b + 1)}


@given(histories())
def test_faults_are_found_exactly(history):
    report = report_of(history, Auditor())
    found = {(s.session_id, t.symbol): t for s in report.sessions for t in s.tracks}
    assert found.keys() == history.keys()
    for key, (length, dropped, shed, repeated, late) in history.items():
        track = found[key]
        assert numbers(track.missing) | numbers(track.tail_missing) == dropped
        assert numbers(track.shed) == shed
        assert numbers(track.doubled) == repeated
        assert track.doubled_count == len(repeated)
        left = [n for n in range(1, length + 1) if n not in dropped and n not in shed and n not in late]
        behind = {n for n in late if n < max(left, default=0)}
        assert track.out_of_order == len(behind)
    faults = any(dropped or repeated for _, dropped, _, repeated, _ in history.values())
    reordered = any(t.out_of_order for t in found.values())
    assert report.ok is not (faults or reordered)
    assert bool(report.mismatches) is any(dropped for _, dropped, _, _, _ in history.values())


@given(histories())
def test_clean_histories_pass(history):
    clean = {key: (length, set(), set(), set(), set()) for key, (length, *_) in history.items()}
    report = report_of(clean, Auditor())
    assert report.ok
    assert report.totals.tails["proven"] == len(clean)


@st.composite
def connections(draw):
    """One connection's times of a symbol: rising, a snapshot repeating the last one here and there."""
    times, now = [], 0
    for snapshot in draw(st.lists(st.booleans(), min_size=1, max_size=40)):
        now = now if snapshot and times else now + 1
        times.append(now)
    return times


@given(connections(), st.sets(st.integers(0, 39), max_size=4), st.sets(st.integers(0, 39), max_size=4))
def test_the_source_log_tells_loss_before_from_loss_behind_the_gateway(times, unread, lost):
    """``unread`` frames never reached the gateway, ``lost`` ones it counted and the topic lacks."""
    log = SourceLog(SentFrame("c", "upbit", "ticker", "realtime", "BTC-KRW", "KRW-BTC", ts) for ts in times)
    auditor = Auditor(keep_exchange_times=True)
    sequence, kept = 0, []
    for at, ts in enumerate(times):
        if at in unread:
            continue
        sequence += 1
        if at not in lost:
            kept.append(ts)
            auditor.record("ticker", "upbit", "korea", "BTC-KRW", 1, sequence, 0, ts, T0_US + at)
    source = log.compare(auditor.tracks(), exact=True)
    (track,) = source.tracks
    gone = {at for at in unread if at < len(times)}
    assert track.matched == len(kept)
    assert track.invented == 0
    if not kept:
        return
    missing = len(times) - len(kept)
    told = track.lost + track.unread_head + track.unread_tail
    assert told <= missing
    if not lost:
        assert told == missing
        assert source.ok is not bool(gone)
    if not gone:
        assert track.lost == 0
