"""A bounded book against the plain way: a dictionary, sorted when asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PayloadError
from core.order_books import Book, BookSide, TextLevel
from core.records import Level

LEVELS = st.lists(st.builds(Level, st.integers(1, 40).map(float), st.integers(0, 3).map(float)), max_size=12)


def best_of(plain: dict[float, Level], *, highest_is_best: bool) -> list[Level]:
    return [plain[price] for price in sorted(plain, reverse=highest_is_best)]


@given(st.booleans(), LEVELS, st.lists(LEVELS, max_size=8), st.integers(1, 50))
def test_a_side_is_what_a_dictionary_says(
    highest_is_best: bool, first: list[Level], changes: list[list[Level]], count: int
) -> None:
    side, plain = BookSide(highest_is_best=highest_is_best, capacity=100), {}
    side.replace(first)
    plain = {level.price: level for level in first if level.quantity}
    for levels in changes:
        side.apply(levels)
        for level in levels:
            plain.pop(level.price, None)
            if level.quantity:
                plain[level.price] = level
    assert side.best(count) == best_of(plain, highest_is_best=highest_is_best)[:count]
    assert len(side) == len(plain)


@given(st.booleans(), LEVELS, LEVELS, st.booleans())
def test_what_was_made_of_the_best_levels_is_forgotten_when_they_change(
    highest_is_best: bool, first: list[Level], changed: list[Level], anew: bool
) -> None:
    side = BookSide(highest_is_best=highest_is_best, capacity=100)
    # More than the best 25 lie below.
    deep = [Level(1000.0 + n if not highest_is_best else 1.0 / (2 + n), 1.0) for n in range(30)]
    side.replace([*first, *deep])
    side.texts, before = [b"made of them"], side.best(25)
    (side.replace if anew else side.apply)(changed)
    assert side.texts is None or side.best(25) == before
    side.replace([*first, *deep])
    side.texts = [b"made of them"]
    side.apply([Level(deep[-1].price, 2.0)])
    assert side.texts == [b"made of them"]


@given(st.booleans(), st.lists(LEVELS, max_size=8), st.integers(1, 5))
def test_a_side_at_its_bound_loses_the_worst(
    highest_is_best: bool, changes: list[list[Level]], capacity: int
) -> None:
    side, plain = BookSide(highest_is_best=highest_is_best, capacity=capacity), {}
    for levels in changes:
        side.apply(levels)
        for level in levels:
            plain.pop(level.price, None)
            if level.quantity:
                plain[level.price] = level
        plain = {level.price: level for level in best_of(plain, highest_is_best=highest_is_best)[:capacity]}
    assert side.best(99) == best_of(plain, highest_is_best=highest_is_best)


def test_what_moves_up_was_held_beyond_the_depth_unless_the_book_is_exact() -> None:
    asks = [Level(float(price), 1.0) for price in range(1, 6)]
    for exact, seen in ((False, [2.0, 3.0]), (True, [2.0])):
        book = Book(2, exact=exact)
        book.replace([], asks)
        book.apply([], [Level(1.0, 0.0)])
        assert [level.price for level in book.asks.best(book.depth)] == seen


def test_a_level_keeps_its_text() -> None:
    level = TextLevel.parse("10.50", "-2.0")
    assert (level.price, level.quantity) == (10.5, 2.0)
    assert (level.price_text, level.quantity_text) == ("10.50", "-2.0")
    side = BookSide(highest_is_best=False, capacity=5)
    side.apply([level])
    assert side.best(1)[0] is level


@pytest.mark.parametrize(
    ("price", "quantity"),
    [("x", "1"), ("1", ""), ("0", "1"), ("-1", "1"), ("nan", "1"), ("1", "inf"), ("1e16", "1")],
)
def test_a_level_out_of_range_is_an_error_of_the_frame(price: str, quantity: str) -> None:
    with pytest.raises(PayloadError):
        TextLevel.parse(price, quantity)
