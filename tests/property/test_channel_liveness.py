"""Silent channels are found, quiet ones are let be."""

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from core.channel_liveness import ChannelBeats, ChannelPulse
from core.exchanges.symbol_track import SymbolTrack


def times_of(source: random.Random, mean_s: float, until_s: float) -> list[float]:
    """Arrivals at random, one every ``mean_s`` on average."""
    times, at_s = [], 0.0
    while at_s < until_s:
        at_s += source.expovariate(1 / mean_s)
        times.append(at_s)
    return times


def watch(pulse: ChannelPulse, times: list[float], until_s: float, tick_s: float = 1.0) -> list[float]:
    """The times of the alarms."""
    alarms, seen, now_s = [], 0, 0.0
    pulse.begin(0.0)
    while now_s < until_s:
        now_s += tick_s
        while seen < len(times) and times[seen] <= now_s:
            seen += 1
        if pulse.check(now_s, seen, watched=True) is not None:
            alarms.append(now_s)
    return alarms


@given(st.integers(0, 2**32), st.floats(0.01, 120.0))
@settings(max_examples=60, deadline=None)
def test_data_that_comes_at_random_raises_no_alarm(seed: int, mean_s: float) -> None:
    source = random.Random(seed)
    until_s = min(max(200 * mean_s, 600.0), 8000.0)
    assert watch(ChannelPulse(), times_of(source, mean_s, until_s), until_s) == []


@given(st.integers(0, 2**32), st.floats(0.01, 20.0))
@settings(max_examples=40, deadline=None)
def test_a_channel_that_falls_silent_is_found_and_told_ever_more_rarely(seed: int, mean_s: float) -> None:
    source = random.Random(seed)
    spoke_s = max(60 * mean_s, 100.0)
    pulse = ChannelPulse()
    times = times_of(source, mean_s, spoke_s)
    alarms = watch(pulse, times, times[-1] + 20_000.0)
    assert alarms
    assert alarms[0] - times[-1] <= max(60.0, 30 * 2.5 * max(mean_s, 1.0), 4 * 15 * max(mean_s, 1.0)) + 2
    assert len(alarms) <= 20_000 / 60
    if mean_s < 1:
        waits = [later - earlier for earlier, later in itertools.pairwise(alarms)]
        assert waits == sorted(waits)


def test_nothing_is_concluded_before_enough_is_known_nor_from_a_standstill_nor_while_not_watched() -> None:
    pulse = ChannelPulse()
    assert watch(pulse, [1.0, 2.0, 3.0], 10_000.0) == []
    pulse = ChannelPulse()
    assert watch(pulse, [float(second) for second in range(100)], 100.0) == []
    assert pulse.check(900.0, 100, watched=True) is None
    assert pulse.check(930.0, 100, watched=True) is None
    for second in range(931, 985):
        assert pulse.check(float(second), 100, watched=True) is None
    assert pulse.check(1200.0, 100, watched=False) is None
    for second in range(1201, 1259):
        assert pulse.check(float(second), 100, watched=True) is None
    assert [s for s in range(1259, 1270) if pulse.check(float(s), 100, watched=True)] == [1260]


def track(number: int) -> SymbolTrack:
    return SymbolTrack(f"C{number}-USD", f"C{number}", 1, confirmed=True)


def test_the_one_channel_without_a_heartbeat_is_told_once_and_renewed_until_it_is_back() -> None:
    beats, tracks = ChannelBeats(10.0), [track(0), track(1)]
    told, renewed, back = [], [], []
    for second in range(200):
        tracks[0].beats += second % 10 == 0
        if second < 50 or second > 150:
            tracks[1].sequence += second % 10 == 0
        if beats.due(float(second)):
            found = beats.check(float(second), tracks)
            told += [(second, t.symbol) for t in found.fell_silent]
            renewed += [(second, t.symbol) for t in found.renew]
            back += [(second, t.symbol) for t in found.recovered]
    assert [symbol for _, symbol in told] == ["C1-USD"]
    assert 70 <= told[0][0] <= 75
    assert {symbol for _, symbol in renewed} == {"C1-USD"}
    assert 2 <= len(renewed) <= 4
    assert [symbol for _, symbol in back] == ["C1-USD"]


@given(st.lists(st.tuples(st.floats(0.1, 40.0), st.booleans(), st.booleans()), max_size=60))
def test_a_channel_that_beats_in_time_is_never_told(steps: list[tuple[float, bool, bool]]) -> None:
    beats, it, now_s, since_s = ChannelBeats(10.0), track(0), 0.0, 0.0
    for passed_s, data, beat in steps:
        now_s += passed_s
        since_s += passed_s
        if data or beat or since_s > 25.0:
            it.sequence += data
            it.beats += not data
            since_s = 0.0
        if beats.due(now_s):
            found = beats.check(now_s, [it])
            assert found.fell_silent == []
