"""Waits double up to a bound, are random under it and never too small."""

import random
from itertools import islice

from core.backoff import full_jitter


def test_the_ceiling_doubles_up_to_the_bound() -> None:
    highest = list(islice(full_jitter(lambda _low, high: high, first_s=1.0, max_s=10.0), 7))
    assert highest == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_a_wait_is_at_least_a_tenth_of_its_ceiling() -> None:
    lowest = list(islice(full_jitter(lambda low, _high: low, first_s=1.0, max_s=8.0), 5))
    assert lowest == [0.1, 0.2, 0.4, 0.8, 0.8]


def test_a_first_ceiling_above_the_bound_is_the_bound() -> None:
    assert next(full_jitter(lambda _low, high: high, first_s=60.0, max_s=5.0)) == 5.0


def test_it_goes_on_for_ever_without_overflow_and_differs_between_clients() -> None:
    one, other = random.Random(1), random.Random(2)
    waits = list(islice(full_jitter(one.uniform), 5000))
    assert all(0.05 <= wait <= 30.0 for wait in waits)
    assert waits != list(islice(full_jitter(other.uniform), 5000))
