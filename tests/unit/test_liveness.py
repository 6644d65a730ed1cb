"""Silence: asked once, given up once, and nobody is given up who was not asked."""

from math import inf

import pytest

from core.liveness import Liveness, LivenessSettings, Pulse

SETTINGS = LivenessSettings(probe_after_s=10.0, stale_after_s=25.0)


def test_silence_is_probed_then_given_up_each_once() -> None:
    liveness = Liveness(SETTINGS, 100.0)
    assert liveness.due_s() == 110.0
    assert liveness.check(109.9) is Pulse.FINE
    assert liveness.check(110.0) is Pulse.PROBE
    assert liveness.check(110.0) is Pulse.FINE
    assert liveness.due_s() == 125.0
    assert liveness.check(125.0) is Pulse.STALE
    assert liveness.check(126.0) is Pulse.FINE
    assert liveness.due_s() == inf


def test_a_frame_starts_over() -> None:
    liveness = Liveness(SETTINGS, 0.0)
    assert liveness.check(10.0) is Pulse.PROBE
    liveness.heard(12.0)
    assert liveness.check(25.0) is Pulse.PROBE
    assert liveness.due_s() == 40.0


def test_a_process_that_stood_still_asks_before_it_gives_up() -> None:
    liveness = Liveness(SETTINGS, 0.0)
    assert liveness.check(300.0) is Pulse.PROBE
    assert liveness.check(314.9) is Pulse.FINE
    assert liveness.check(315.0) is Pulse.STALE


@pytest.mark.parametrize("now_s", [0.1, 1e9 + 0.3, 123456.789])
def test_at_the_due_time_something_is_due_whatever_the_rounding(now_s: float) -> None:
    liveness = Liveness(LivenessSettings(probe_after_s=0.1, stale_after_s=0.3), now_s)
    assert liveness.check(liveness.due_s()) is Pulse.PROBE
    assert liveness.check(liveness.due_s()) is Pulse.STALE


@pytest.mark.parametrize(("probe_after_s", "stale_after_s"), [(0, 1), (-1, 1), (2, 2), (3, 2)])
def test_settings_that_cannot_work_are_refused(probe_after_s: float, stale_after_s: float) -> None:
    with pytest.raises(ValueError, match="probe_after_s"):
        LivenessSettings(probe_after_s=probe_after_s, stale_after_s=stale_after_s)
