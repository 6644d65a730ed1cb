"""The circuit breaker against a model that knows only its history."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.breaker import BreakerLimits, BreakerState, CircuitBreaker

OPEN_S = 10.0


class BreakerMachine(RuleBasedStateMachine):
    """Calls in flight, time that only goes forward, and evidence from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.breaker = CircuitBreaker(BreakerLimits(failure_threshold=3, open_s=OPEN_S))
        self.calls: list[int] = []  # generation in which each call in flight began
        self.failures_in_a_row = 0
        self.opened_s: float | None = None
        self.trial_successes = 0
        self.watchful = False

    def note(self, before: BreakerState) -> None:
        after = self.breaker.state
        if after is before:
            return
        self.failures_in_a_row = self.trial_successes = 0
        if after is BreakerState.OPEN:
            self.opened_s = self.now_s

    @rule(seconds=st.floats(0, 2 * OPEN_S))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def call(self) -> None:
        before = self.breaker.state
        allowed = self.breaker.allow(self.now_s)
        self.note(before)
        if before is BreakerState.CLOSED:
            assert allowed
        if before is BreakerState.OPEN:
            assert allowed == (self.now_s - self.opened_s >= OPEN_S)
            assert self.breaker.state is (BreakerState.HALF_OPEN if allowed else BreakerState.OPEN)
        if allowed:
            self.calls.append(self.breaker.generation)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), good=st.booleans())
    def outcome(self, data: st.DataObject, good: bool) -> None:
        began = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        before = self.breaker.state
        if began != self.breaker.generation:
            if good:
                self.breaker.delivery_seen(self.now_s)
                self.failures_in_a_row = 0
                assert self.breaker.state is (BreakerState.HALF_OPEN if before is BreakerState.OPEN else before)
        elif good:
            self.breaker.succeeded(self.now_s)
            self.failures_in_a_row = 0
            self.trial_successes += before is BreakerState.HALF_OPEN
            closes = before is BreakerState.CLOSED or self.trial_successes >= 2
            assert (self.breaker.state is BreakerState.CLOSED) == closes
        else:
            self.breaker.failed(self.now_s)
            self.failures_in_a_row += 1
            opens = before is BreakerState.HALF_OPEN or self.failures_in_a_row >= 3 or self.watchful
            assert (self.breaker.state is BreakerState.OPEN) == opens
        self.note(before)

    @precondition(lambda self: self.calls and self.calls[-1] == self.breaker.generation)
    @rule()
    def abandon(self) -> None:
        self.calls.pop()
        before = self.breaker.state
        self.breaker.abandoned()
        assert self.breaker.state is before

    @rule()
    def trip(self) -> None:
        before = self.breaker.state
        self.breaker.trip(self.now_s, "tripped")
        assert self.breaker.state is BreakerState.OPEN
        self.note(before)

    @rule()
    def evidence(self) -> None:
        before = self.breaker.state
        self.breaker.delivery_seen(self.now_s)
        self.failures_in_a_row = 0
        self.note(before)
        assert self.breaker.state is not BreakerState.OPEN

    @rule(state=st.sampled_from([None, "open", "half_open", "closed", "rubbish"]))
    def hint(self, state: str | None) -> None:
        before = self.breaker.state
        self.breaker.merge(None if state is None else {"state": state}, self.now_s)
        self.watchful = state == "open"
        self.note(before)
        assert self.breaker.state is not BreakerState.OPEN or before is BreakerState.OPEN

    @invariant()
    def refuses_only_with_a_reason(self) -> None:
        assert self.breaker.state is BreakerState.CLOSED or self.breaker.reason


BreakerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBreakerMachine = BreakerMachine.TestCase
