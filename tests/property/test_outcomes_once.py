"""Whatever is commanded and whoever owns it: one outcome a command and symbol, and what is wanted runs."""

import asyncio
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.manual_clock import settled
from tests.orchestra import HOME, SCOPE, Orchestra

SYMBOLS = ("BTC-KRW", "ETH-KRW", "XRP-KRW")
some = st.sets(st.sampled_from(SYMBOLS), min_size=1).map(sorted)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("connect"), some),
        st.tuples(st.just("disconnect"), some),
        st.tuples(st.just("stop"), st.none()),
        st.tuples(st.just("silent"), st.booleans()),
        st.tuples(st.just("late"), st.booleans()),
        st.tuples(st.just("answer"), st.none()),
        st.tuples(st.just("hand over"), st.none()),
        st.tuples(st.just("nobody owns it"), st.none()),
        st.tuples(st.just("connection lost"), st.none()),
        st.tuples(st.just("time"), st.sampled_from([0.3, 3.0])),
    ),
    max_size=14,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_one_outcome_a_command_and_symbol(steps: list[tuple[str, Any]]) -> None:
    asyncio.run(_run(steps))


async def _run(steps: list[tuple[str, Any]]) -> None:
    async with Orchestra() as o:
        o.instance(owns=[HOME])
        expected: set[tuple[str, str]] = set()
        wanted: set[str] = set()
        stops: dict[str, set[str]] = {}
        for step, what in [
            *steps,
            ("silent", False),
            ("late", False),
            ("own", None),
            ("answer", None),
            ("time", 3.0),
            ("answer", None),
        ]:
            match step:
                case "connect":
                    name = await o.connect(*what)
                    expected |= {(name, symbol) for symbol in what}
                    wanted |= set(what)
                case "disconnect":
                    name = await o.disconnect(*what)
                    expected |= {(name, symbol) for symbol in what}
                    wanted -= set(what)
                case "stop":
                    stops[await o.disconnect()] = set(wanted)
                    wanted = set()
                case "silent":
                    o.upbit.silent = what
                case "late":
                    o.log.late = what
                    o.log.tell()
                case "answer":
                    o.upbit.answer()
                case "hand over" | "own":
                    if HOME in o.log.owners:
                        await o.log.take(HOME)
                    o.instance(owns=[HOME])
                case "nobody owns it":
                    if HOME in o.log.owners:
                        await o.log.take(HOME)
                case "connection lost":
                    for connection in o.upbit.open:
                        connection.end()
                case _:
                    await o.clock.advance(what)
            await settled()
        owner = o.log.owners[HOME]
        running = owner.streams[SCOPE.key].symbols if SCOPE.key in owner.streams else []
        assert set(running) == wanted
        assert sorted(c for conn in o.upbit.open for c in o.upbit.codes(conn)) == sorted(
            "-".join(reversed(symbol.split("-"))) for symbol in wanted
        )
        said = Counter((name, symbol) for name, symbol, _ in o.outcomes().elements())
        assert max(said.values(), default=1) == 1, said
        missing = expected - set(said)
        assert not missing, missing
        for name, symbols in stops.items():
            ended = {symbol for command, symbol in said if command == name}
            assert ended >= symbols
            assert ended == {None} or (ended and None not in ended)
