"""What every holder of connect budgets must do; a subclass gives ``budgets``."""

import asyncio

import pytest

from application.ports import ConnectBudgets


class ConnectBudgetSuite:
    """The sliding window, and being held off."""

    async def test_a_window_takes_so_many_and_then_one_for_each_that_leaves_it(
        self, budgets: ConnectBudgets
    ) -> None:
        waits = [await budgets.reserve("upbit", 3, 20.0) for _ in range(8)]
        assert waits[:3] == pytest.approx([0.0] * 3, abs=0.05)
        assert waits[3:6] == pytest.approx([20.0] * 3, abs=1.0)
        assert waits[6:] == pytest.approx([40.0] * 2, abs=1.0)
        assert await budgets.reserve("binance", 3, 20.0) == 0.0

    async def test_what_left_the_window_counts_no_more(self, budgets: ConnectBudgets) -> None:
        assert await budgets.reserve("upbit", 1, 0.2) == 0.0
        assert 0 < await budgets.reserve("upbit", 1, 0.2) <= 0.2
        await asyncio.sleep(0.5)
        assert await budgets.reserve("upbit", 1, 0.2) == 0.0

    async def test_nobody_connects_while_held_off(self, budgets: ConnectBudgets) -> None:
        await budgets.hold_off("upbit", 2, 5.0, 60.0)
        waits = [await budgets.reserve("upbit", 2, 5.0) for _ in range(4)]
        assert waits == pytest.approx([60.0, 60.0, 65.0, 65.0], abs=1.0)
