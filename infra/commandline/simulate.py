"""``gateway simulate``: local exchange servers to run a gateway, or any client, against."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from core.exchanges.table import profile_of
from infra.commandline.console import AsJson, complain, wrong_use
from infra.simulator.delivery import SimulatorStats
from infra.simulator.faults import FaultPlan
from infra.simulator.log import FrameLogFile
from infra.simulator.server import ExchangeSimulator, SimulatorDiedError
from infra.simulator.venues import VENUES

_NAMES = ", ".join(sorted(VENUES))


class _WrongUseError(Exception):
    """One line that says what is wrong."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    exchanges: Annotated[list[str], typer.Argument(metavar="EXCHANGE", help=f"Which: {_NAMES}.")],
    port: Annotated[int, typer.Option(help="Of the first exchange; the others follow. 0: any free ones.")] = 0,
    rate: Annotated[
        float, typer.Option(help="Updates per second of each exchange, all feeds together.")
    ] = 100.0,
    symbols: Annotated[
        str | None,
        typer.Option(
            help="Pairs that exist, with commas, as BTC-KRW or the exchange's own; default: about thirty."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 0,
    log: Annotated[Path | None, typer.Option(help="JSON lines: every data frame that was sent.")] = None,
    replay: Annotated[
        Path | None, typer.Option(help="A recording to send in place of the market (one exchange).")
    ] = None,
    speed: Annotated[float, typer.Option(help="Of the replay: 1 its own, 0 as fast as it is read.")] = 1.0,
    drop_every: Annotated[float, typer.Option(help="Cut all connections each so many seconds.")] = 0.0,
    stall_after: Annotated[float, typer.Option(help="Fall silent for good after so many seconds.")] = 0.0,
    rubbish_every: Annotated[int, typer.Option(help="One frame of rubbish after so many good ones.")] = 0,
    seconds: Annotated[float, typer.Option(help="End after so many seconds; 0: at Ctrl-C.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Run simulated exchanges on this machine until Ctrl-C; prints their URLs and how to use them.

    Exit status 1 if one of them ended of an error, as when its log cannot be written.
    """
    amounts = {
        "--port": port, "--rate": rate, "--speed": speed, "--drop-every": drop_every,
        "--stall-after": stall_after, "--rubbish-every": rubbish_every, "--seconds": seconds,
    }  # fmt: skip
    plan = FaultPlan(
        drop_every_s=drop_every or None, stall_after_s=stall_after or None, rubbish_every=rubbish_every
    )
    names = list(dict.fromkeys(exchanges))
    pairs = None if symbols is None else [pair.strip() for pair in symbols.split(",") if pair.strip()]
    try:
        _check(names, amounts, port, replay)
        if pairs == []:
            raise _WrongUseError("--symbols names none: give pairs such as BTC-KRW,ETH-KRW")
        with contextlib.ExitStack() as stack:
            sink = None if log is None else stack.enter_context(_open_log(log))
            simulators = []
            for i, name in enumerate(names):
                with _explained():
                    simulator = ExchangeSimulator(
                        name,
                        symbols=None if pairs is None else _canonical(name, pairs),
                        rate=rate,
                        seed=seed,
                        log=sink,
                        port=port + i if port else 0,
                        replay=replay,
                        replay_speed=speed or None,
                        faults=plan,
                    )
                simulators.append(simulator)
            asyncio.run(_run(simulators, seconds, as_json))
    except _WrongUseError as exc:
        wrong_use(str(exc))
    except SimulatorDiedError as exc:
        complain(exc.message)
        raise typer.Exit(1) from exc


def _canonical(exchange: str, pairs: list[str]) -> list[str]:
    """Pairs in either spelling; an exchange that does not exist is left to the simulator to refuse."""
    if exchange not in VENUES:
        return pairs
    profile = profile_of(exchange)
    return list(dict.fromkeys(str(profile.parse_symbol(pair)) for pair in pairs))


def _check(names: list[str], amounts: dict[str, float], port: int, replay: Path | None) -> None:
    for option, amount in amounts.items():
        if not amount >= 0:
            raise _WrongUseError(f"{option} {amount} must be zero or more")
    if port + len(names) - 1 > 65_535:
        raise _WrongUseError(f"--port {port} is too high: ports end at 65535")
    if replay is not None and len(names) > 1:
        raise _WrongUseError("--replay plays one exchange's recording: name one exchange")


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What a simulator refuses, as wrong use."""
    try:
        yield
    except OSError as exc:
        raise _WrongUseError(f"{exc.filename}: {exc.strerror}") from exc
    except ValueError as exc:
        raise _WrongUseError(str(exc)) from exc


@contextlib.contextmanager
def _open_log(path: Path) -> Iterator[FrameLogFile]:
    try:
        log = FrameLogFile(path)
    except OSError as exc:
        raise _WrongUseError(f"--log {path}: {exc.strerror}") from exc
    try:
        yield log
    finally:
        with contextlib.suppress(OSError):  # a simulator that could not write it has said so already
            log.close()


async def _run(simulators: list[ExchangeSimulator], seconds: float, as_json: bool) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        for simulator in simulators:
            try:
                await stack.enter_async_context(simulator)
            except OSError as exc:
                raise _WrongUseError(f"cannot listen for {simulator.exchange}: {exc.strerror}") from exc
        _announce({s.exchange: s.url for s in simulators}, as_json)
        waits = [asyncio.create_task(event.wait()) for event in (ended, *(s.died for s in simulators))]
        await asyncio.wait(waits, timeout=seconds or None, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    _sum_up({s.exchange: s.stats for s in simulators}, as_json)


def _announce(urls: dict[str, str], as_json: bool) -> None:
    variable = msgspec.json.encode(urls).decode()
    if as_json:
        message = {"urls": urls, "environment": {"GATEWAY_EXCHANGE_URLS": variable}}
        typer.echo(msgspec.json.encode(message).decode())
        return
    for exchange, url in urls.items():
        typer.echo(f"{exchange:<10} {url}")
    typer.echo(f"\nPoint a gateway at it:  export GATEWAY_EXCHANGE_URLS='{variable}'")
    typer.echo("Ctrl-C ends it.")


def _sum_up(stats: dict[str, SimulatorStats], as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode({"summary": stats}).decode())
        return
    for exchange, counts in stats.items():
        typer.echo(
            f"{exchange:<10} {counts.frames_sent:,} frames of {len(counts.frames_by_symbol)} symbols to "
            f"{counts.connections_total} connections; {counts.rubbish_sent} rubbish, {counts.refused} refused, "
            f"{counts.too_slow} too slow"
        )
