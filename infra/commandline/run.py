"""``gateway run``: one instance, until SIGTERM or Ctrl-C."""

import asyncio
import os
import signal
from typing import Annotated, Any

import orjson
import structlog
import typer
from dependency_injector import providers

from core.events import masked
from infra.commandline.console import EnvFile, errors_in_one_line
from infra.container import ApplicationContainer
from infra.gateway import Gateway
from infra.settings import Settings, load_settings
from infra.telemetry.logs import set_up_logging

_STOP_AFTER_FAILURE_S = 5.0
"""How long a start that failed may take to clean up before its reason is told."""

_log = structlog.get_logger("run")


def register(app: typer.Typer) -> None:
    """Add the sub-command."""
    app.command("run")(run)


def run(
    env_file: EnvFile = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Show the effective settings, secrets masked, and end.")
    ] = False,
) -> None:
    """Run a gateway against Kafka, the Schema Registry and Redis of the settings.

    SIGTERM and Ctrl-C drain and end with status 0; a second one forces the end.
    """
    with errors_in_one_line():
        settings = load_settings(env_file)
        if print_config:
            typer.echo(orjson.dumps(effective(settings), option=orjson.OPT_INDENT_2).decode())
            return
        set_up_logging(settings.gateway.log_level, settings.gateway.log_format)
        run_in_loop(_serve(settings))


def effective(settings: Settings) -> dict[str, Any]:
    """The settings by their environment names, secrets masked; of an address only its user information."""
    shown: dict[str, Any] = {}
    for section in (settings.kafka, settings.registry, settings.redis, settings.breaker, settings.gateway):
        prefix = str(section.model_config.get("env_prefix", ""))
        for name, value in section.model_dump(mode="json").items():
            shown[f"{prefix}{name}".upper()] = masked(value)
    if settings.redis.url is not None:
        shown["REDIS_URL"] = masked(settings.redis.url.get_secret_value())
    return shown


def run_in_loop(work: Any) -> Any:
    """Run a coroutine on uvloop where there is one; returns what it returns."""
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.run(work)
    return uvloop.run(work)


def stop_on_signals(stopping: asyncio.Event) -> None:
    """SIGTERM and SIGINT set ``stopping``; a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


async def _serve(settings: Settings) -> None:
    container = ApplicationContainer()
    container.settings.override(providers.Object(settings))
    gateway = Gateway(container)
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    starting = asyncio.create_task(gateway.start())
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await gateway.stop()
        return
    if starting.exception() is not None:
        await _stop_at_most(gateway, _STOP_AFTER_FAILURE_S)
        starting.result()
    await gateway.run(stopping)


async def _stop_at_most(gateway: Gateway, timeout_s: float) -> None:
    """Stop what had started; neither its slowness nor its failure hides why the start failed."""
    stop = asyncio.create_task(gateway.stop())
    await asyncio.wait({stop}, timeout=timeout_s)
    if not stop.done():
        stop.cancel()
        _log.warning("not stopped in time", after_s=timeout_s)
    elif stop.exception() is not None:
        _log.warning("not stopped in order", reason=str(stop.exception()))
