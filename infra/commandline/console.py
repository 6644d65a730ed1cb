"""What every sub-command shares: its exit status, its errors in one line, the option for the settings file.

Exit status: 0 done, 1 failed, 2 wrong use (also of settings).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from core.errors import GatewayError, SettingsError
from core.events import without_secrets
from infra.settings import Settings

EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", help="Read settings from this file; the environment wins.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs, in place of text for people.")]


def complain(message: str) -> None:
    """One line on stderr, without secrets."""
    typer.echo(f"gateway: {without_secrets(' '.join(message.split()))}", err=True)


def wrong_use(message: str) -> NoReturn:
    """Say what was wrong with the call, and end with 2."""
    complain(message)
    raise typer.Exit(2)


def defaults_in_use(settings: Settings) -> str:
    """Which addresses are the built-in ones because nobody set them; empty where all are set."""
    redis = settings.redis.model_fields_set
    unset = [
        f"{name} is not set: {value}"
        for name, value, is_set in (
            ("KAFKA_BOOTSTRAP_SERVERS", settings.kafka.bootstrap_servers, settings.kafka.model_fields_set),
            ("SCHEMA_REGISTRY_URL", settings.registry.url, settings.registry.model_fields_set & {"url"}),
            ("REDIS_URL", without_secrets(settings.redis.effective_url()), redis & {"url", "host"}),
        )
        if not is_set or (name.startswith("KAFKA") and "bootstrap_servers" not in is_set)
    ]
    return "; ".join(unset)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn our errors into one line on stderr and the exit status; a reader that went away is no error."""
    try:
        yield
    except SettingsError as exc:
        wrong_use(exc.message)
    except GatewayError as exc:
        complain(exc.message if exc.detail is None else f"{exc.message} ({exc.detail})")
        raise typer.Exit(1) from exc
    except BrokenPipeError as exc:
        raise typer.Exit(0) from exc
