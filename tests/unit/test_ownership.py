"""Who may run a stream: after a standstill, after a loss, and while its partition is read anew."""

import asyncio

from core.errors import ErrorCode, ExchangeError
from infra.manual_clock import settled
from tests.orchestra import HOME, SCOPE, Instance, Orchestra

BTC = "BTC-KRW"


async def stand_still(o: Orchestra, instance: Instance, seconds: float) -> None:
    """The process does nothing for so long, and then the next tick comes."""
    o.clock.jump(seconds)
    instance.orchestrator.tick()
    await settled()


async def test_a_standstill_of_most_of_a_session_closes_already() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        await stand_still(o, one, 6.0)
        assert len(o.upbit.open) == 1
        await stand_still(o, one, 8.0)
        assert o.upbit.open == []
        assert not one.orchestrator.may_publish(o.clock.epoch_us())


async def test_once_the_group_has_decided_nothing_is_in_doubt_any_more() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        await stand_still(o, one, 30.0)
        await one.orchestrator.lost([HOME], brokers_answer=True)
        assert o.upbit.open == []
        o.log.give(HOME, one.orchestrator)
        await settled()
        assert len(o.upbit.open) == 1
        assert one.orchestrator.may_publish(o.clock.epoch_us())


async def test_a_refusal_that_comes_while_the_partition_is_read_anew_is_not_lost() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        o.upbit.silent = True
        command = await o.connect(BTC)
        await one.orchestrator.lost([HOME], brokers_answer=False)
        one.orchestrator.assigned(HOME)
        refusal = ExchangeError("no such symbol", code=ErrorCode.UNKNOWN_SYMBOL)
        one.orchestrator.on_refused(SCOPE, [BTC], refusal)
        for offset, fact in enumerate(o.log.partitions[HOME]):
            one.orchestrator.fact(HOME, offset, fact)
        one.orchestrator.caught_up(HOME)
        await settled()
        assert o.outcomes() == {(command, BTC, "unknown_symbol"): 1}
        assert one.orchestrator.streams == {}


async def test_an_outcome_that_waits_for_kafka_is_not_given_again_when_the_partition_is_read_anew() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        one.tasks[0].cancel()  # the outcome writer gets nothing through
        await settled()
        command = await o.connect(BTC)
        await one.orchestrator.lost([HOME], brokers_answer=False)
        o.log.give(HOME, one.orchestrator)
        await settled()
        one.tasks[0] = asyncio.create_task(one.outcomes.run())
        assert await one.outcomes.drained(5)
        assert o.outcomes() == {(command, BTC, "connect_success"): 1}


async def test_what_was_lost_to_another_is_not_told_twice() -> None:
    async with Orchestra() as o:
        one, two = o.instance(owns=[HOME]), o.instance()
        one.tasks[0].cancel()
        await settled()
        command = await o.connect(BTC)
        await one.orchestrator.lost([HOME], brokers_answer=True)
        o.log.give(HOME, two.orchestrator)
        await settled()
        one.tasks[0] = asyncio.create_task(one.outcomes.run())
        await o.clock.advance(2)
        assert o.outcomes() == {(command, BTC, "connect_success"): 1}
