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

    async def test_redis_with_its_clock_behind_costs_a_window_and_not_the_difference(
        self, manager: RedisConnectionManager, budgets: SharedConnectBudgets
    ) -> None:
        for _ in range(2):
            await budgets.reserve("upbit", 2, 5.0)
        await budgets.hold_off("binance", 2, 5.0, 100.0)
        await _put_clock_back(manager, "upbit", 3600)
        await _put_clock_back(manager, "binance", 3600)
        other = SharedConnectBudgets(manager, egress="e", instance="b")
        waits = [await other.reserve("upbit", 2, 5.0) for _ in range(4)]
        assert waits == pytest.approx([5.0, 5.0, 10.0, 10.0], abs=1.0)
        assert await other.reserve("binance", 2, 5.0) == pytest.approx(100.0, abs=1.0)
        assert await manager.execute(lambda client: client.pttl(manager.key("rate:upbit:e"))) <= 16_000

    async def test_a_queue_keeps_its_order_when_the_clock_goes_back(
        self, manager: RedisConnectionManager, budgets: SharedConnectBudgets
    ) -> None:
        for _ in range(6):
            await budgets.reserve("upbit", 2, 20.0)
        await _put_clock_back(manager, "upbit", 7)
        other = SharedConnectBudgets(manager, egress="e", instance="b")
        waits = [await other.reserve("upbit", 2, 20.0) for _ in range(3)]
        assert waits == pytest.approx([60.0, 60.0, 80.0], abs=1.0)

    async def test_what_an_instance_had_to_wait_for_redis_does_not_know_counts_for_the_others(
        self, manager: RedisConnectionManager, budgets: SharedConnectBudgets
    ) -> None:
        for _ in range(2):
            await budgets.reserve("upbit", 2, 30.0)
        await manager.execute(lambda client: client.delete(manager.key("rate:upbit:e")))
        other = SharedConnectBudgets(manager, egress="e", instance="b")
        assert await budgets.reserve("upbit", 2, 30.0) == pytest.approx(30.0, abs=1.0)
        waits = [await other.reserve("upbit", 2, 30.0) for _ in range(3)]
        assert waits == pytest.approx([0.0, 30.0, 60.0], abs=1.0)


async def _put_clock_back(manager: RedisConnectionManager, exchange: str, seconds: int) -> None:
    """Redis goes on with a clock so far behind the one that wrote its entries."""
    key = manager.key(f"rate:{exchange}:e")
    entries = await manager.execute(lambda client: client.zrange(key, 0, -1, withscores=True))
    later = {member: score + seconds * 1e6 for member, score in entries}
    await manager.execute(lambda client: client.zadd(key, later))
    await manager.execute(lambda client: client.pexpire(key, seconds * 1000 + 200_000))


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


async def test_the_waits_that_redis_imposed_are_not_forgotten_with_it(stand_in: str) -> None:
    now_s = 1000.0
    one, two = RedisConnectionManager(), RedisConnectionManager()
    for manager in (one, two):
        await manager.initialize(redis_settings(stand_in, f"{now_s}."))
    first = SharedConnectBudgets(one, egress="e", instance="a", monotonic_s=lambda: now_s)
    second = SharedConnectBudgets(two, egress="e", instance="b")
    for _ in range(10):
        await second.reserve("upbit", 5, 30.0)
    waits = [await first.reserve("upbit", 5, 30.0) for _ in range(5)]
    assert waits == pytest.approx([60.0] * 5, abs=1.0)
    await one.close()
    await two.close()
    await one.initialize(redis_settings("redis://127.0.0.1:1/0", ""))
    now_s += 60.0
    waits = [await first.reserve("upbit", 5, 30.0) for _ in range(6)]
    assert waits == pytest.approx([30.0] * 5 + [60.0], abs=1.0)
    await one.close()
