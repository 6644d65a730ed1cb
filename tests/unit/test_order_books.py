"""A bounded book against the plain way: a dictionary, sorted when asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PayloadError
from core.order_books import Book, BookSide, TextLevel
from core.records import Level

LEVELS = st.lists(st.builds(Level, st.integers(1, 40).map(float), st.integers(0, 3).map(float)), max_size=12)


def best_of(plain: dict[float, Level], *, best_last: bool) -> list[Level]:
    return [plain[price] for price in sorted(plain, reverse=best_last)]


ASKED = st.tuples(LEVELS, st.booleans())
"""Changed levels, and whether the best are asked for after them: in between, sides keep no order."""


@given(st.booleans(), LEVELS, st.lists(ASKED, max_size=8), st.integers(1, 50))
def test_a_side_is_what_a_dictionary_says(
    best_last: bool, first: list[Level], changes: list[tuple[list[Level], bool]], count: int
) -> None:
    side, plain = BookSide(best_last=best_last, capacity=100), {}
    side.replace(first)
    plain = {level.price: level for level in first if level.quantity}
    for levels, asked in changes:
        side.apply(levels)
        for level in levels:
            plain.pop(level.price, None)
            if level.quantity:
                plain[level.price] = level
        if asked:
            assert side.best(count) == best_of(plain, best_last=best_last)[:count]
    assert side.best(count) == best_of(plain, best_last=best_last)[:count]
    assert len(side) == len(plain)


@given(st.booleans(), LEVELS, st.lists(LEVELS, max_size=8), st.integers(1, 10), st.booleans())
def test_what_was_made_of_the_best_levels_is_forgotten_when_they_change(
    best_last: bool, first: list[Level], changes: list[list[Level]], count: int, anew: bool
) -> None:
    side = BookSide(best_last=best_last, capacity=20)
    side.replace(first)
    best = side.best(count)
    side.remember([b"made of them"], best, count)
    for levels in changes:
        (side.replace if anew else side.apply)(levels)
        if side.texts is None:
            best = side.best(count)
            side.remember([b"made of them"], best, count)
    assert side.best(count) == best


def test_a_change_below_the_best_levels_keeps_what_was_made_of_them() -> None:
    for best_last, prices in ((True, [9.0, 8.0, 7.0]), (False, [7.0, 8.0, 9.0])):
        side = BookSide(best_last=best_last, capacity=20)
        side.replace([Level(price, 1.0) for price in prices])
        side.remember([b"made of them"], side.best(2), 2)
        side.apply([Level(prices[2], 0.0), Level(prices[2], 3.0)])
        assert side.texts == [b"made of them"]
        side.apply([Level(prices[1], 0.0)])
        assert side.texts is None


@given(st.booleans(), st.lists(ASKED, max_size=30), st.integers(1, 12))
def test_a_side_at_its_bound_loses_the_worst(
    best_last: bool, changes: list[tuple[list[Level], bool]], capacity: int
) -> None:
    side, plain = BookSide(best_last=best_last, capacity=capacity), {}
    for levels, asked in changes:
        side.apply(levels)
        for level in levels:
            plain.pop(level.price, None)
            if level.quantity:
                plain[level.price] = level
        plain = {level.price: level for level in best_of(plain, best_last=best_last)[:capacity]}
        assert len(side) == len(plain)
        if asked:
            assert side.best(99) == best_of(plain, best_last=best_last)
    assert side.best(99) == best_of(plain, best_last=best_last)


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
    side = BookSide(best_last=False, capacity=5)
    side.apply([level])
    assert side.best(1)[0] is level


@pytest.mark.parametrize(
    ("price", "quantity"),
    [("x", "1"), ("1", ""), ("0", "1"), ("-1", "1"), ("nan", "1"), ("1", "inf"), ("1e16", "1")],
)
def test_a_level_out_of_range_is_an_error_of_the_frame(price: str, quantity: str) -> None:
    with pytest.raises(PayloadError):
        TextLevel.parse(price, quantity)
