"""What ``connect`` and ``disconnect`` share: their arguments and how outcomes are shown."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from core.errors import CommandError
from core.exchanges.table import profile_of
from infra.commandline.console import complain
from infra.commandline.outcome_wait import (
    SymbolOutcome,
    WaitBrokenOffError,
    send_and_wait_for_outcomes,
)
from infra.settings import Settings

EXCHANGE = Annotated[str, typer.Argument(metavar="EXCHANGE", help="Such as upbit or binance.")]
REQUEST_TYPE = Annotated[str, typer.Argument(metavar="TYPE", help="ticker, trade or orderbook.")]


STANDS = (
    "the command stands in its topic, and the next gateway with this Kafka and GATEWAY_PREFIX serves it; "
    "is one running?"
)


def count_symbols(exchange: str, symbols: Sequence[str]) -> int:
    """How many symbols these are, whatever their spelling; each has one outcome."""
    try:
        profile = profile_of(exchange)
        return len({profile.parse_symbol(symbol) for symbol in symbols})
    except (CommandError, ValueError):
        return len(set(symbols))  # the gateway refuses the whole command


def ask(
    settings: Settings,
    topic: str,
    command: dict[str, Any],
    expected: int | None,
    *,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Publish ``command``, wait for its outcomes and print them; Ctrl-C ends with status 130."""
    try:
        outcomes, trouble = send_and_wait_for_outcomes(settings, topic, command, expected, timeout_s)
    except WaitBrokenOffError as exc:
        complain(f"broken off before the outcome; {STANDS}")
        raise typer.Exit(130) from exc
    print_outcomes(outcomes, expected, as_json=as_json, timeout_s=timeout_s, trouble=trouble)


def print_outcomes(
    outcomes: Sequence[SymbolOutcome],
    expected: int | None,
    *,
    as_json: bool,
    timeout_s: float,
    trouble: str | None = None,
) -> None:
    """A line an outcome; ends with status 1 when one is bad or missing.

    ``trouble``: what the stream met meanwhile, where outcomes are missing.
    """
    if as_json:
        typer.echo(msgspec.json.encode(outcomes).decode())
    else:
        for outcome in outcomes:
            name = outcome.symbol or "(the whole command)"
            if outcome.ok:
                typer.echo(f"{name}: {outcome.text}")
            else:
                typer.echo(f"{name}: {outcome.code}: {outcome.text}")
    refused_whole = any(not o.ok and o.symbol is None for o in outcomes)
    missing = not outcomes or (expected is not None and len(outcomes) < expected and not refused_whole)
    if missing:
        count = f"{len(outcomes)} of {expected if expected is not None else 'at least 1'} outcomes"
        if trouble:
            complain(
                f"{count} within {timeout_s:g} s; the command stands, the gateway goes on trying: {trouble}"
            )
        else:
            complain(f"{count} within {timeout_s:g} s; {STANDS}")
    if missing or any(not outcome.ok for outcome in outcomes):
        raise typer.Exit(1)
