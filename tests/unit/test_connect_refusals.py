"""How long an exchange that refuses is left alone."""

import pytest

from core.connect_budget import ConnectBudget
from core.connect_refusals import read_retry_after, wait_after_refusal


@pytest.mark.parametrize(
    ("status", "retry_after_s", "refusals", "wait_s"),
    [
        (429, 7.0, 0, 7.0),
        (429, 0.0, 0, 1.0),
        (429, None, 0, 60.0),
        (429, None, 1, 120.0),
        (418, None, 0, 120.0),
        (403, None, 0, 300.0),
        (403, None, 50, 3600.0),
        (503, 30.0, 0, 30.0),
        (429, 259_200.0, 0, 259_200.0),
        (418, 259_200.0, 0, 259_200.0),
        (503, 259_200.0, 0, 600.0),
        (403, 259_200.0, 0, 600.0),
        (302, 259_200.0, 0, 600.0),
        (503, None, 3, None),
        (None, None, 0, None),
    ],
)
def test_waits(status: int | None, retry_after_s: float | None, refusals: int, wait_s: float | None) -> None:
    assert wait_after_refusal(status, retry_after_s, refusals) == wait_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("99999999", 259_200.0),
        ("Thu, 01 Jan 1970 00:00:30 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:05 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert read_retry_after(text, 10.0) == seconds


def test_nobody_connects_while_held_off_and_the_window_holds_afterwards() -> None:
    budget = ConnectBudget(2, 10.0)
    assert budget.reserve(0.0) == 0.0
    budget.hold_off(1.0, 100.0)
    waits = [budget.reserve(2.0) for _ in range(4)]
    assert waits == pytest.approx([99.0, 99.0, 109.0, 109.0])


def test_a_hold_shorter_than_what_is_reserved_changes_nothing_behind_it() -> None:
    budget = ConnectBudget(1, 10.0)
    assert [budget.reserve(0.0) for _ in range(3)] == [0.0, 10.0, 20.0]
    budget.hold_off(0.0, 5.0)
    assert budget.reserve(0.0) == 30.0
