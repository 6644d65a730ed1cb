"""``gateway disconnect``: publish a disconnect command, wait for its outcome and print it."""

from typing import Annotated, Any

import typer

from infra.commandline.command_target import EXCHANGE, REQUEST_TYPE, count_symbols, print_outcomes
from infra.commandline.console import AsJson, EnvFile, errors_in_one_line
from infra.commandline.outcome_wait import send_and_wait_for_outcomes
from infra.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the sub-command."""
    app.command("disconnect")(disconnect)


def disconnect(
    exchange: EXCHANGE,
    request_type: REQUEST_TYPE,
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="[SYMBOL…]", help="Left out: the whole stream ends.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Carried along with the command.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the outcome.")] = 30.0,
    as_json: AsJson = False,
    env_file: EnvFile = None,
) -> None:
    """End SYMBOLs of a stream, or the whole stream, and say what became of it."""
    with errors_in_one_line():
        settings = load_settings(env_file)
        command: dict[str, Any] = {
            "type": "status",
            "action": "disconnect",
            "target": {"exchange": exchange, "request_type": request_type},
        }
        if symbols:
            command["symbols"] = symbols
        if reason is not None:
            command["reason"] = reason
        expected = count_symbols(exchange, symbols) if symbols else None
        outcomes, trouble = send_and_wait_for_outcomes(settings, "ws.disconnection", command, expected, timeout)
        print_outcomes(outcomes, expected, as_json=as_json, timeout_s=timeout, trouble=trouble)
