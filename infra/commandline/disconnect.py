"""``gateway disconnect``: publish a disconnect command, wait for its outcome and print it."""

from typing import Annotated, Any

import typer

from infra.commandline.command_target import EXCHANGE, REQUEST_TYPE, ask, count_symbols
from infra.commandline.console import AsJson, EnvFile, errors_in_one_line
from infra.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the sub-command."""
    app.command("disconnect")(disconnect)


def disconnect(
    exchange: EXCHANGE,
    request_type: REQUEST_TYPE,
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="SYMBOL", help="Left out: the whole stream ends.")
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
        ask(settings, "ws.disconnection", command, expected, timeout_s=timeout, as_json=as_json)
