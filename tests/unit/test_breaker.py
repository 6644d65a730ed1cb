"""The circuit breaker's rules, one by one."""

import pytest

from core.breaker import BreakerLimits, BreakerState, CircuitBreaker


def opened(now_s: float = 0.0, **limits) -> CircuitBreaker:
    breaker = CircuitBreaker(BreakerLimits(**limits))
    breaker.trip(now_s, "for the test")
    return breaker


def half_open() -> CircuitBreaker:
    breaker = opened()
    assert breaker.allow(60.0)
    breaker.abandoned()
    return breaker


def test_five_failures_in_a_row_open_it():
    breaker = CircuitBreaker()
    for _ in range(4):
        breaker.failed(1.0)
    breaker.succeeded(1.0)
    for _ in range(4):
        breaker.failed(1.0)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.allow(1.0)
    breaker.failed(1.0, "timed out")
    assert breaker.state is BreakerState.OPEN
    assert breaker.reason == "5 failures in a row: timed out"
    assert not breaker.allow(1.0)


def test_half_open_after_sixty_seconds_with_three_trials_at_a_time():
    breaker = opened(10.0)
    assert not breaker.allow(69.9)
    assert [breaker.allow(70.0) for _ in range(4)] == [True, True, True, False]
    assert breaker.state is BreakerState.HALF_OPEN


def test_two_successes_close_it():
    breaker = half_open()
    assert breaker.allow(61.0)
    breaker.succeeded(61.0)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.allow(61.0)
    breaker.succeeded(61.0)
    assert breaker.state is BreakerState.CLOSED


def test_one_failed_trial_opens_it_for_the_whole_time_again():
    breaker = half_open()
    assert breaker.allow(61.0)
    breaker.failed(61.0)
    assert breaker.state is BreakerState.OPEN
    assert not breaker.allow(120.9)
    assert breaker.allow(121.0)


def test_trials_without_outcome_do_not_block_for_ever():
    breaker = opened()
    assert [breaker.allow(60.0) for _ in range(4)] == [True, True, True, False]
    assert not breaker.allow(119.0)
    assert breaker.allow(120.0)


def test_an_abandoned_trial_is_given_back():
    breaker = opened()
    assert [breaker.allow(60.0) for _ in range(3)] == [True] * 3
    breaker.abandoned()
    assert breaker.allow(60.0)
    assert not breaker.allow(60.0)


def test_evidence_of_delivery_ends_the_wait_early():
    breaker = opened()
    breaker.delivery_seen(5.0)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.allow(5.0)


def test_failures_while_open_do_not_prolong_it():
    breaker = opened()
    breaker.failed(59.0)
    breaker.trip(59.0, "again")
    assert breaker.reason == "for the test"
    assert breaker.allow(60.0)


@pytest.mark.parametrize("state", ["open", "half_open", "closed", "something else"])
def test_a_remote_state_never_stops_an_instance_that_can_deliver(state):
    breaker = CircuitBreaker()
    breaker.merge({"state": state}, 1.0)
    assert breaker.allow(1.0)
    assert breaker.state is BreakerState.CLOSED


def test_a_remote_open_makes_watchful_until_it_is_gone():
    breaker = CircuitBreaker()
    breaker.merge({"state": "open"}, 1.0)
    breaker.merge(None, 2.0)
    breaker.failed(2.0)
    assert breaker.state is BreakerState.CLOSED
    breaker.merge({"state": "open"}, 3.0)
    breaker.failed(3.0)
    assert breaker.state is BreakerState.OPEN


def test_a_remote_recovery_lets_an_open_breaker_try_at_once():
    breaker = opened()
    breaker.merge({"state": "closed"}, 3.0)
    assert breaker.allow(3.0)
    assert breaker.state is BreakerState.HALF_OPEN


def test_the_snapshot_says_state_reason_and_for_how_long():
    assert CircuitBreaker().snapshot(5.0) == {"state": "closed", "reason": "", "for_s": "0.0"}
    assert opened(1.0).snapshot(3.5) == {"state": "open", "reason": "for the test", "for_s": "2.5"}
