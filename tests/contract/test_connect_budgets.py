"""Connect budgets: of one process, shared through the Redis stand-in and a real Redis, and without Redis."""

import time
from collections.abc import AsyncIterator

import pytest

from infra.cache.cache_client import RedisConnectionManager
from infra.cache.connect_budgets import SharedConnectBudgets
from infra.cache.local_connect_budgets import LocalConnectBudgets
from infra.embedded.redis import EmbeddedRedis
from tests.contract.cache_suite import redis_settings
from tests.contract.connect_budget_suite import ConnectBudgetSuite


@pytest.fixture
async def stand_in() -> AsyncIterator[str]:
    server = EmbeddedRedis()
    await server.start()
    yield server.url
    await server.stop()


class TestLocal(ConnectBudgetSuite):
    @pytest.fixture
    def budgets(self) -> LocalConnectBudgets:
        return LocalConnectBudgets()


class _Shared(ConnectBudgetSuite):
    @pytest.fixture
    async def manager(self, redis_url: str) -> AsyncIterator[RedisConnectionManager]:
        manager = RedisConnectionManager()
        await manager.initialize(redis_settings(redis_url, f"{time.time_ns()}."))
        yield manager
        await manager.close()

    @pytest.fixture
    def budgets(self, manager: RedisConnectionManager) -> SharedConnectBudgets:
        return SharedConnectBudgets(manager, egress="e", instance="a")

    async def test_instances_behind_one_address_share_and_those_behind_another_do_not(
        self, manager: RedisConnectionManager
    ) -> None:
        one, two = (SharedConnectBudgets(manager, egress="e", instance=name) for name in "ab")
        far = SharedConnectBudgets(manager, egress="f", instance="c")
        waits = [await budgets.reserve("upbit", 2, 30.0) for budgets in (one, two, one, two, far)]
        assert waits == pytest.approx([0.0, 0.0, 30.0, 30.0, 0.0], abs=1.0)
        await one.hold_off("binance", 2, 30.0, 100.0)
        assert await two.reserve("binance", 2, 30.0) == pytest.approx(100.0, abs=1.0)

    async def test_the_key_is_the_contracts_and_goes_away_by_itself(
        self, manager: RedisConnectionManager, budgets: SharedConnectBudgets
    ) -> None:
        await budgets.reserve("upbit", 2, 30.0)
        key = manager.key("rate:upbit:e")
        assert 0 < await manager.execute(lambda client: client.pttl(key)) <= 30_001


class TestStandIn(_Shared):
    @pytest.fixture
    def redis_url(self, stand_in: str) -> str:
        return stand_in


class TestReal(_Shared):
    @pytest.fixture
    def redis_url(self, redis_server) -> str:
        return redis_server.url


async def test_without_redis_a_process_keeps_to_the_budget_by_itself() -> None:
    manager = RedisConnectionManager()
    await manager.initialize(redis_settings("redis://127.0.0.1:1/0", ""))
    budgets = SharedConnectBudgets(manager, egress="e", instance="a")
    waits = [await budgets.reserve("upbit", 1, 30.0) for _ in range(2)]
    assert waits == pytest.approx([0.0, 30.0], abs=1.0)
    await budgets.hold_off("binance", 1, 1.0, 50.0)
    assert await budgets.reserve("binance", 1, 1.0) == pytest.approx(50.0, abs=1.0)
    await manager.close()


async def test_what_was_used_before_redis_went_away_still_counts(stand_in: str) -> None:
    manager = RedisConnectionManager()
    await manager.initialize(redis_settings(stand_in, f"{time.time_ns()}."))
    budgets = SharedConnectBudgets(manager, egress="e", instance="a")
    assert await budgets.reserve("upbit", 1, 30.0) == 0.0
    await manager.close()
    await manager.initialize(redis_settings("redis://127.0.0.1:1/0", ""))
    assert await budgets.reserve("upbit", 1, 30.0) == pytest.approx(30.0, abs=1.0)
    await manager.close()
