"""``gateway services``: a real broker, registry and Redis on this machine, until Ctrl-C."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from infra.commandline.console import complain
from infra.services.errors import ServiceError
from infra.services.folders import cache_folder
from infra.services.stack import PART_NAMES, ServiceStack, make_stack
from infra.services.tcp_ports import free_port

_CHECK_INTERVAL_S = 0.5
# The ports that clients expect; one that is taken and was not asked for is replaced by a free one.
_USUAL_PORTS = {"kafka": 9092, "registry": 8081, "redis": 6379}

_PORT_HELP = "Port of {}; without it {} if that is free, else any free one."


def register(app: typer.Typer) -> None:
    """Add the sub-command."""
    app.command("services")(services)


def services(
    only: Annotated[
        str, typer.Option("--only", help="Start only these, separated by commas: kafka, registry, redis.")
    ] = ",".join(PART_NAMES),
    kafka_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=_PORT_HELP.format("Kafka", 9092))
    ] = None,
    registry_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=_PORT_HELP.format("the Schema Registry", 8081))
    ] = None,
    redis_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=_PORT_HELP.format("Redis", 6379))
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder for the services' data; by default in the user's cache folder.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds that each may take until it answers.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as one JSON object.")] = False,
) -> None:
    """Start a real Kafka, Schema Registry and Redis here, print the addresses, stop them on Ctrl-C.

    Needs the extra `services` and no Docker. The first start downloads the servers (about 230 MB) into the
    user's cache folder (GATEWAY_CACHE_DIR overrides where that is), later ones need no network. Data are kept
    there too, so topics and schemas are still there next time.
    """
    names = _part_names(only)
    cache_dir = cache_folder()
    asked = {"kafka": kafka_port, "registry": registry_port, "redis": redis_port}
    ports = {name: asked[name] or free_port(_USUAL_PORTS[name]) for name in names}
    stack = make_stack(
        cache_dir=cache_dir,
        data_dir=data.absolute() if data is not None else cache_dir / "services",
        names=names,
        kafka_port=ports.get("kafka", 0),
        registry_port=ports.get("registry", 0),
        redis_port=ports.get("redis", 0),
        say=_say,
    )
    with _signals_as_interrupt(stack):
        try:
            stack.start(timeout_s)
            _print_addresses(stack, as_json)
            _watch(stack)
        except KeyboardInterrupt:
            _say("stopping …")
        except ServiceError as exc:
            _fail(exc)
        except OSError as exc:
            _fail(ServiceError(f"the services cannot be started: {exc}"))
        finally:
            stack.stop()


def _part_names(only: str) -> tuple[str, ...]:
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in PART_NAMES]
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'nothing'} is not one of {', '.join(PART_NAMES)}", param_hint="--only"
        )
    return tuple(dict.fromkeys(names))


def _print_addresses(stack: ServiceStack, as_json: bool) -> None:
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "environment": stack.environment(),
                    "parts": {
                        part.name: {"address": part.address, "pid": part.pid, "log": str(part.log_path)}
                        for part in stack.parts
                    },
                }
            )
        )
        return
    typer.echo("export " + " ".join(f"{name}={value}" for name, value in stack.environment().items()))
    _say(f"data and logs are in {stack.parts[0].data_dir.parent}; Ctrl-C stops everything")


def _watch(stack: ServiceStack) -> None:
    """Return never: until an interrupt, or ``ServiceError`` when a part ends by itself."""
    while True:
        part = stack.ended()
        if part is not None:
            raise ServiceError(
                f"{part.name} ended by itself with status {part.exit_status}; its log: {part.log_path}",
                detail=part.log_tail(),
            )
        time.sleep(_CHECK_INTERVAL_S)


def _fail(exc: ServiceError) -> None:
    if exc.detail:
        typer.echo(exc.detail, err=True)
    complain(exc.message)
    raise typer.Exit(1)


def _say(line: str) -> None:
    typer.echo(line, err=True)


@contextlib.contextmanager
def _signals_as_interrupt(stack: ServiceStack) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or closed terminal raises ``KeyboardInterrupt``, a second one forces the end.

    The second only sends SIGKILL to the servers, so that the stopping which it interrupts goes on and finds
    them gone.
    """
    interrupted = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt
        for part in stack.parts:
            if (pid := part.pid) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP"):
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
