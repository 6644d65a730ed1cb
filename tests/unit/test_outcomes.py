"""An outcome is written once, whoever asks for it how often, unless another instance took it over."""

import asyncio
from collections.abc import Sequence

from application.outcomes import OutcomeWriter
from application.ports import Event, Position
from core.backoff import full_jitter
from core.errors import DeliveryError
from core.identity import ConnectionScopeDomain
from core.streams import Fact
from infra.clock import SystemClock
from tests.waiting import until

BTC = ConnectionScopeDomain("upbit", "korea", "ticker", "BTC-KRW")
ETH = ConnectionScopeDomain("binance", "asia", "ticker", "ETH-USDT")


class Writer:
    """Refuses every write until it is told to take them."""

    def __init__(self) -> None:
        self.takes = False
        self.refused = 0
        self.events: list[str] = []

    async def write(
        self, facts: Sequence[Fact], events: Sequence[Event], consumed: Sequence[Position] = ()
    ) -> None:
        takes = self.takes  # as it is when the write begins
        await asyncio.sleep(0)
        if not takes:
            self.refused += 1
            raise DeliveryError("away")
        self.events += [event.key or "" for event in events]


def outcomes_on(writer: Writer) -> OutcomeWriter:
    return OutcomeWriter(writer, SystemClock(), lambda: full_jitter(min, first_s=0.05, max_s=0.1))


def succeed(outcomes: OutcomeWriter, scope: ConnectionScopeDomain, offset: int = 3) -> None:
    outcomes.succeeded("connect_success", scope, offset=offset, correlation_id="c")


async def test_given_again_while_it_waits_or_later_is_written_once() -> None:
    writer = Writer()
    outcomes = outcomes_on(writer)
    running = asyncio.create_task(outcomes.run())
    succeed(outcomes, BTC)
    await until(lambda: writer.refused)
    succeed(outcomes, BTC)
    writer.takes = True
    assert await outcomes.drained(5)
    succeed(outcomes, BTC)
    succeed(outcomes, BTC, offset=4)
    assert await outcomes.drained(5)
    assert writer.events == [BTC.key, BTC.key]
    running.cancel()


async def test_what_another_instance_gives_is_dropped_and_may_come_back() -> None:
    writer = Writer()
    outcomes = outcomes_on(writer)
    running = asyncio.create_task(outcomes.run())
    succeed(outcomes, BTC)
    succeed(outcomes, ETH)
    await until(lambda: writer.refused)
    outcomes.forget([BTC.stream.key])
    writer.takes = True
    assert await outcomes.drained(5)
    assert writer.events == [ETH.key]
    succeed(outcomes, BTC)
    assert await outcomes.drained(5)
    assert writer.events == [ETH.key, BTC.key]
    running.cancel()
