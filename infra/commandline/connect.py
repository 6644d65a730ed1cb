"""``gateway connect``: publish a connect command, wait for its outcome and print it."""

import time
from typing import Annotated, Any

import typer

from infra.commandline.command_target import EXCHANGE, REQUEST_TYPE, ask, count_symbols
from infra.commandline.console import AsJson, EnvFile, errors_in_one_line
from infra.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the sub-command."""
    app.command("connect")(connect)


def connect(
    exchange: EXCHANGE,
    request_type: REQUEST_TYPE,
    symbols: Annotated[
        list[str], typer.Argument(metavar="SYMBOL", help="BASE-QUOTE or the exchange's own spelling.")
    ],
    region: Annotated[str | None, typer.Option(help="Left out: the exchange's own.")] = None,
    url: Annotated[str | None, typer.Option(help="Another WebSocket URL, from the allow-list.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the outcome.")] = 30.0,
    as_json: AsJson = False,
    env_file: EnvFile = None,
) -> None:
    """Ask the gateway to stream SYMBOLs of EXCHANGE, and say what became of it.

    Exit status 0: all of them run. 1: one was refused, or there was no outcome in time.
    """
    with errors_in_one_line():
        settings = load_settings(env_file)
        target = {"exchange": exchange, "request_type": request_type}
        if region is not None:
            target["region"] = region
        command: dict[str, Any] = {
            "type": "status",
            "action": "connect_and_subscribe",
            "target": target,
            "symbols": symbols,
            "ts_issue": time.time_ns() // 1_000_000,
        }
        if url is not None:
            command["connection"] = {"url": url}
        expected = count_symbols(exchange, symbols)
        ask(settings, "ws.command", command, expected, timeout_s=timeout, as_json=as_json)
