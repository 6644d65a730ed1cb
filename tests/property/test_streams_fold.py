"""Folding a compacted ``ws.streams`` gives what folding the whole log gives, for random histories.

Compaction as Kafka does it: of the records before some point, the last of each key stays, with its offset; a
tombstone among them may be gone as well. The owner takes an outcome into its own fold at once and writes it in
order, possibly long after; one that takes over knows the log alone, and what its predecessor had not written
is lost.
"""

from collections import deque
from typing import NamedTuple

from hypothesis import event, given, settings
from hypothesis import strategies as st

from core.identity import ConnectionScopeDomain
from core.streams import (
    DesiredStream,
    EndFact,
    Ending,
    Fact,
    Outcome,
    OutcomeFact,
    ScopeFold,
    SettingsFact,
    StopFact,
    StreamSettings,
    SubscribeFact,
    Subscription,
    fact_from_message,
    fact_to_message,
    fold,
)

SCOPE = ConnectionScopeDomain("upbit", "korea", "ticker")
SYMBOLS = ["BTC-KRW", "ETH-KRW", "XRP-KRW"]


class Message(NamedTuple):
    offset: int
    key: str
    value: bytes | None
    headers: dict[str, str]


def folded(log: list[Message]) -> ScopeFold:
    state = ScopeFold(SCOPE)
    for message in log:
        fact = fact_from_message(message.key, message.value, message.headers)
        if fact is not None:
            state.apply(fact, message.offset)
    return state


def compacted(log: list[Message], until: int, *, tombstones_gone_until: int) -> list[Message]:
    latest = {message.key: message.offset for message in log[:until]}
    kept = [message for message in log[:until] if latest[message.key] == message.offset]
    gone = [message for message in kept if message.value is None and message.offset < tombstones_gone_until]
    return [message for message in kept if message not in gone] + log[until:]


class History:
    """Writes a log as commands and an owner would."""

    def __init__(self) -> None:
        self.log: list[Message] = []
        self.owner = ScopeFold(SCOPE)
        self.owed: deque[OutcomeFact] = deque()
        self.commands = 0

    def write(self, fact: Fact) -> None:
        offset = len(self.log)
        self.log.append(Message(offset, *fact_to_message(fact)))
        self.owner.apply(fact, offset)

    def command(self, name: str, symbol: str, own_settings: bool) -> None:
        self.commands += 1
        ticket = f"t{self.commands}"
        scope = SCOPE.with_symbol(symbol)
        match name:
            case "subscribe":
                self.write(SubscribeFact(scope, Subscription(symbol, ticket)))
            case "end":
                self.write(EndFact(scope, Ending(ticket)))
            case "stop":
                self.write(StopFact(SCOPE, Ending(ticket)))
            case _:
                params = {"ticket": "own"} if own_settings else None
                symbols = (symbol,) if own_settings else ()
                self.write(SettingsFact(SCOPE, StreamSettings(ticket, None, params, symbols)))
                self.write(SubscribeFact(scope, Subscription(symbol, ticket)))

    def look(self, refuse: bool) -> None:
        """The owner gives an outcome to all that is due; ``refuse``: also withdraws what runs."""
        desired = self.owner.desired()
        for ended in desired.ended:
            assert ended.symbol is not None
            self._owe(SCOPE.with_symbol(ended.symbol), Outcome(ended.offset))
        if desired.stop_due is not None:
            self._owe(SCOPE, Outcome(desired.stop_due.offset))
        for symbol, wanted in (desired.symbols | desired.displaced).items():
            if refuse or symbol in desired.displaced:
                self._owe(SCOPE.with_symbol(symbol), Outcome(wanted.offset, refused=True, reason="not listed"))
            elif wanted.outcome_due:
                self._owe(SCOPE.with_symbol(symbol), Outcome(wanted.offset))

    def _owe(self, scope: ConnectionScopeDomain, outcome: Outcome) -> None:
        fact = OutcomeFact(scope, outcome)
        self.owner.apply(fact, -1)
        self.owed.append(fact)

    def take_over(self) -> None:
        self.owed.clear()
        self.owner = folded(self.log)

    def settle(self, count: int, *, again: bool) -> None:
        for _ in range(min(count, len(self.owed))):
            fact = self.owed.popleft()
            self.write(fact)
            if again:
                self.write(fact)


STEPS = st.one_of(
    st.tuples(
        st.just("command"),
        st.sampled_from(["subscribe", "subscribe", "end", "stop", "settings"]),
        st.sampled_from(SYMBOLS),
        st.booleans(),
    ),
    st.tuples(st.just("look"), st.booleans()),
    st.tuples(st.just("take over")),
    st.tuples(st.just("settle"), st.integers(1, 4), st.booleans()),
)


def history_of(steps: list[tuple[object, ...]]) -> History:
    history = History()
    for step in steps:
        match step:
            case ("command", name, symbol, own_settings):
                history.command(name, symbol, own_settings)
            case ("look", refuse):
                history.look(refuse)
            case ("take over",):
                history.take_over()
            case ("settle", count, again):
                history.settle(count, again=again)
    return history


def runs(desired: DesiredStream) -> tuple[object, ...]:
    return desired.symbols, desired.displaced, desired.settings, desired.stop_due


@given(st.lists(STEPS, max_size=40), st.data())
@settings(max_examples=400, deadline=None)
def test_a_compacted_log_folds_to_the_same(steps: list[tuple[object, ...]], data: st.DataObject) -> None:
    log = history_of(steps).log
    full = folded(log)
    until = data.draw(st.integers(0, len(log)), label="compacted until")
    kept = folded(compacted(log, until, tombstones_gone_until=0))
    assert runs(kept.desired()) == runs(full.desired())
    assert set(kept.desired().ended) == set(full.desired().ended)
    for symbol in SYMBOLS:
        assert kept.latest_offset(symbol) == full.latest_offset(symbol)
    event(f"symbols running: {len(full.desired().symbols)}, ended: {len(full.desired().ended)}")


@given(st.lists(STEPS, max_size=40), st.data())
@settings(max_examples=400, deadline=None)
def test_nothing_that_ended_comes_back_when_tombstones_are_gone(
    steps: list[tuple[object, ...]], data: st.DataObject
) -> None:
    log = history_of(steps).log
    until = data.draw(st.integers(0, len(log)), label="compacted until")
    gone_until = data.draw(st.integers(0, until), label="tombstones gone until")
    kept = folded(compacted(log, until, tombstones_gone_until=gone_until))
    assert runs(kept.desired()) == runs(folded(log).desired())


@given(st.lists(STEPS, max_size=40), st.lists(st.integers(0, 60), max_size=4))
@settings(max_examples=200, deadline=None)
def test_compaction_may_run_again_and_again_while_the_log_grows(
    steps: list[tuple[object, ...]], cuts: list[int]
) -> None:
    whole = history_of(steps).log
    kept: list[Message] = []
    taken = 0
    for cut in sorted(cuts):
        kept += whole[taken:cut]
        taken = max(taken, min(cut, len(whole)))
        kept = compacted(kept, len(kept), tombstones_gone_until=0)
    kept += whole[taken:]
    assert runs(folded(kept).desired()) == runs(folded(whole).desired())


@given(st.lists(STEPS, max_size=30))
@settings(max_examples=200, deadline=None)
def test_settling_all_that_is_due_leaves_nothing_due(steps: list[tuple[object, ...]]) -> None:
    history = history_of(steps)
    history.take_over()
    before = set(history.owner.desired().symbols)
    history.look(refuse=False)
    history.settle(len(history.owed), again=False)
    desired = folded(history.log).desired()
    assert set(desired.symbols) == before
    assert not any(wanted.outcome_due for wanted in desired.symbols.values())
    assert (desired.ended, desired.stop_due, desired.displaced) == ((), None, {})


@given(st.lists(STEPS, max_size=30))
@settings(max_examples=100, deadline=None)
def test_scopes_do_not_touch_each_other(steps: list[tuple[object, ...]]) -> None:
    log = history_of(steps).log
    other = ConnectionScopeDomain("binance", "asia", "trade")
    facts: list[tuple[int, Fact]] = []
    for message in log:
        fact = fact_from_message(message.key, message.value, message.headers)
        assert fact is not None
        facts.append((message.offset, fact))
        facts.append((message.offset, StopFact(other, Ending("x"))))
    folds = fold(facts)
    if log:
        mine = folds[SCOPE.key].desired()
        assert mine == folded(log).desired()
        assert folds[other.key].desired().symbols == {}
