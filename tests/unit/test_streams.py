"""Facts on the wire, and the fold's rules one by one."""

import pytest

from core.identity import ConnectionScopeDomain
from core.streams import (
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
    scope_of_key,
)

SCOPE = ConnectionScopeDomain("upbit", "korea", "ticker")
BTC = SCOPE.with_symbol("BTC-KRW")
ETH = SCOPE.with_symbol("ETH-KRW")


def subscribe(scope: ConnectionScopeDomain, ticket: str = "t") -> SubscribeFact:
    return SubscribeFact(scope, Subscription(str(scope.symbol), ticket))


def fold_of(*facts: Fact) -> ScopeFold:
    fold = ScopeFold(SCOPE)
    for offset, fact in enumerate(facts):
        fold.apply(fact, offset)
    return fold


@pytest.mark.parametrize(
    ("fact", "key"),
    [
        (subscribe(BTC), "upbit|korea|ticker|BTC-KRW"),
        (
            SubscribeFact(BTC, Subscription("BTC-KRW", "t", "c", ("price", "bid"), 1793604674428)),
            "upbit|korea|ticker|BTC-KRW",
        ),
        (EndFact(BTC, Ending("t", "c", "no longer wanted")), "upbit|korea|ticker|BTC-KRW"),
        (EndFact(BTC, None), "upbit|korea|ticker|BTC-KRW"),
        (SettingsFact(SCOPE, StreamSettings("t", "wss://host/", [{"a": 1}])), "upbit|korea|ticker#settings"),
        (StopFact(SCOPE, Ending("t", "c")), "upbit|korea|ticker#stop"),
        (OutcomeFact(BTC, Outcome(7)), "upbit|korea|ticker|BTC-KRW#outcome"),
        (OutcomeFact(BTC, Outcome(7, True, "not listed")), "upbit|korea|ticker|BTC-KRW#refused"),
        (OutcomeFact(SCOPE, Outcome(7)), "upbit|korea|ticker#outcome"),
    ],
)
def test_a_fact_reads_back_from_its_message(fact: Fact, key: str) -> None:
    message_key, value, headers = fact_to_message(fact)
    assert message_key == key
    assert (value is None) == isinstance(fact, EndFact)
    assert fact_from_message(message_key, value, headers) == fact
    assert scope_of_key(key) == SCOPE


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("upbit|korea|ticker", b"{}"),
        ("upbit|korea|ticker", None),
        ("upbit|korea", b"{}"),
        ("", None),
        ("upbit|korea|ticker#else", b"{}"),
        ("upbit|korea|ticker|BTC-KRW", b"not json"),
        ("upbit|korea|ticker|BTC-KRW", b'{"symbol":1}'),
        ("upbit|korea|ticker#stop", b"{}"),
        ("upbit|korea|ticker|BTC-KRW#outcome", b'{"offset":"x"}'),
    ],
)
def test_other_messages_are_refused(key: str, value: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        fact_from_message(key, value, {})


@pytest.mark.parametrize("mark", ["#settings", "#stop", "#outcome"])
def test_tombstones_beside_symbols_say_nothing(mark: str) -> None:
    assert fact_from_message("upbit|korea|ticker" + mark, None, {}) is None


def test_a_stop_ends_what_stands_before_it_and_not_what_comes_after() -> None:
    desired = fold_of(
        SettingsFact(SCOPE, StreamSettings("s", "wss://host/")),
        subscribe(BTC),
        subscribe(ETH),
        StopFact(SCOPE, Ending("stop")),
        subscribe(ETH, "again"),
    ).desired()
    assert list(desired.symbols) == ["ETH-KRW"]
    assert desired.settings is None
    assert desired.stop_due is not None
    assert [(ended.symbol, ended.ending.ticket_id) for ended in desired.ended] == [("BTC-KRW", "stop")]


def test_a_refused_symbol_is_not_wanted_until_it_is_asked_for_again() -> None:
    refused = OutcomeFact(BTC, Outcome(0, refused=True))
    assert fold_of(subscribe(BTC), refused).desired().symbols == {}
    again = fold_of(subscribe(BTC), refused, subscribe(BTC, "again")).desired()
    assert again.symbols["BTC-KRW"].outcome_due


def test_an_outcome_never_undoes_a_command_behind_its_offset() -> None:
    desired = fold_of(
        subscribe(BTC), subscribe(BTC, "again"), OutcomeFact(BTC, Outcome(0, refused=True))
    ).desired()
    assert desired.symbols["BTC-KRW"].subscription.ticket_id == "again"
    assert desired.symbols["BTC-KRW"].outcome_due


def test_a_settled_command_is_not_due_again() -> None:
    desired = fold_of(subscribe(BTC), OutcomeFact(BTC, Outcome(0))).desired()
    assert not desired.symbols["BTC-KRW"].outcome_due


def test_socket_params_take_only_the_symbols_of_their_own_command() -> None:
    own = SettingsFact(SCOPE, StreamSettings("own", None, {"a": 1}, ("BTC-KRW",)))
    desired = fold_of(own, subscribe(BTC, "own"), subscribe(ETH, "other")).desired()
    assert list(desired.symbols) == ["BTC-KRW"]
    assert list(desired.displaced) == ["ETH-KRW"]


def test_the_same_socket_params_again_displace_nothing() -> None:
    first = SettingsFact(SCOPE, StreamSettings("first", None, {"a": 1}, ("BTC-KRW", "ETH-KRW")))
    again = SettingsFact(SCOPE, StreamSettings("again", None, {"a": 1}, ("BTC-KRW", "ETH-KRW")))
    facts = [first, subscribe(BTC, "first"), subscribe(ETH, "first"), again, subscribe(BTC, "again")]
    for length in range(3, len(facts) + 1):
        desired = fold_of(*facts[:length]).desired()
        assert list(desired.symbols) == ["BTC-KRW", "ETH-KRW"]
        assert not desired.displaced


def test_a_symbol_that_never_ran_still_owes_the_end_its_outcome() -> None:
    desired = fold_of(EndFact(BTC, Ending("end"))).desired()
    assert [(ended.symbol, ended.offset) for ended in desired.ended] == [("BTC-KRW", 0)]
