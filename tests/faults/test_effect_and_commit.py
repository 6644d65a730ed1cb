"""kill -9 between a command's effect and its commit: the effect is there once."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from tests.faults.conftest import MakeField
from tests.faults.field import Field, say, until

DYING = ("-m", "tests.faults.dying_gateway", "run")
SHORT = {"KAFKA_TRANSACTION_TIMEOUT_MS": 2000, "KAFKA_SESSION_TIMEOUT_MS": 3000}


def pairs(count: int) -> list[str]:
    """Made-up symbols that the simulated exchange lists."""
    return [f"C{number}-KRW" for number in range(count)]


class Sent:
    """Commands sent so far: each good one asks for one new symbol, each bad one cannot be taken."""

    def __init__(self, field: Field, symbols: list[str]) -> None:
        self._field = field
        self._symbols = iter(symbols)
        self.good: dict[str, str] = {}
        self.bad: list[str] = []

    def some(self, good: int, bad: int) -> None:
        """Publish a few of both kinds."""
        for _ in range(good):
            symbol = next(self._symbols)
            self.good[self._field.connect("upbit|ticker", [symbol])] = symbol
        for _ in range(bad):
            self.bad.append(self._field.connect("upbit|candles", ["BTC-KRW"]))

    async def settled(self) -> bool:
        """Whether every command has had an outcome."""
        have = {correlation_id for correlation_id, _, _ in await self._field.outcomes()}
        return have >= {*self.good, *self.bad}

    async def each_once(self) -> None:
        """Outcome, fact and dead letter of each command, once and no other."""
        field = self._field
        good = {(command, symbol, "ws.connect_success"): 1 for command, symbol in self.good.items()}
        bad = {(command, None, "ws.error"): 1 for command in self.bad}
        assert await field.outcomes() == good | bad
        letters = Counter(e["meta"]["correlation_id"] for e in await field.events("ws.dlq"))
        assert letters == dict.fromkeys(self.bad, 1)
        facts = Counter(key_of(m) for m in await field.messages("ws.streams"))
        wanted = [f"upbit|korea|ticker|{symbol}" for symbol in self.good.values()]
        assert facts == Counter(wanted + [key + "#outcome" for key in wanted])


def key_of(message: Any) -> str:
    return message.key().decode()


async def test_killed_before_and_after_the_commit(make_field: MakeField) -> None:
    symbols = pairs(40)
    async with make_field(**SHORT) as field:
        await field.simulate("upbit", symbols=symbols, rate=200)
        sent = Sent(field, symbols)
        deaths = [(role, die) for role in ("command", "outcomes") for die in ("before", "after")]
        for number, (role, die) in enumerate(deaths):
            doomed = field.gateway(f"doomed{number}", DYING, DIE_IN=role, DIE=die, DIE_AT=1)
            # What the one before left undone may end it before it is ready.
            doomed.start()
            sent.some(good=5, bad=2)
            await until(lambda doomed=doomed: doomed.process.poll() is not None, 30, f"death {die} {role}")
            assert doomed.process.returncode == -9, doomed.tail()
        last = await field.gateway("last").started()
        sent.some(good=5, bad=2)
        seconds = await until(sent.settled, 40, "every command has its outcome")

        await sent.each_once()
        stream = (await last.streams())["upbit|korea|ticker"]
        assert sorted(stream["symbols"]) == sorted(sent.good.values())
        assert (await last.terminate())[0] == 0
        await sent.each_once()
        say(f"{len(sent.good)} good and {len(sent.bad)} bad commands over 4 deaths, settled in {seconds:.1f} s")


@pytest.mark.faults
@pytest.mark.timeout(600)
async def test_killed_at_random_moments_among_many_commands(make_field: MakeField) -> None:
    symbols, seed = pairs(400), 11
    chance = random.Random(seed)
    async with make_field(**SHORT) as field:
        await field.simulate("upbit", symbols=symbols, rate=200)
        sent = Sent(field, symbols)
        gateway = await field.gateway("first").started()
        kills = 20
        for number in range(kills):
            for _ in range(15):
                sent.some(good=1, bad=chance.random() < 0.2)
                await asyncio.sleep(0.02)
            await asyncio.sleep(chance.uniform(0, 0.6))
            gateway.kill()
            gateway = await field.gateway(f"after{number}").started()
        seconds = await until(sent.settled, 60, "every command has its outcome")
        await sent.each_once()
        assert (await gateway.terminate())[0] == 0
        await sent.each_once()
        say(f"{len(sent.good)} good, {len(sent.bad)} bad commands, {kills} kills; settled in {seconds:.1f} s")
