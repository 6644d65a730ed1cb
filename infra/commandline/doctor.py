"""``gateway doctor``: settings, broker, registry, Redis, topics: what is wrong and what to do."""

import asyncio
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from core.errors import GatewayError, SchemaNotFoundError, SettingsError
from core.events import without_secrets
from infra.cache.cache_client import RedisConnectionManager
from infra.commandline.console import AsJson, EnvFile, defaults_in_use, errors_in_one_line
from infra.messaging.avro.registration import objections, planned, register_all
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.messaging.topics import TopicAdmin, TopicsNotToldError
from infra.settings import Settings, load_settings

_CREATED = "created at the next start"
_REGISTERED = "registered at the next start"


class Finding(msgspec.Struct, frozen=True):
    """The state of one part: ``ok``, ``warning`` (the gateway works without) or ``wrong``."""

    part: str
    state: str
    says: str


def register(app: typer.Typer) -> None:
    """Add the sub-command."""
    app.command("doctor")(doctor)


def doctor(as_json: AsJson = False, env_file: EnvFile = None) -> None:
    """Look at everything a gateway needs, change nothing, and say what is wrong and what to do.

    Exit status 0: a gateway would work. 1: it would not.
    """
    with errors_in_one_line():
        settings = load_settings(env_file)
        findings = asyncio.run(_examine(settings))
    if as_json:
        typer.echo(msgspec.json.encode(findings).decode())
    else:
        table = Table("part", "state", "what it says")
        for finding in findings:
            table.add_row(finding.part, finding.state, finding.says)
        Console().print(table)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


async def _examine(settings: Settings) -> list[Finding]:
    unset = defaults_in_use(settings)
    found = [Finding("settings", "ok", "all valid" + (f"; {unset}" if unset else ""))]
    found.extend(await asyncio.gather(_kafka(settings), _registry(settings), _redis(settings)))
    return found


async def _kafka(settings: Settings) -> Finding:
    servers = settings.kafka.bootstrap_servers
    try:
        problems = await TopicAdmin(settings).problems()
    except TopicsNotToldError as exc:
        return Finding("kafka", "warning", f"{exc.message}; the embedded broker of the demo never does")
    except SettingsError as exc:
        return Finding("kafka", "wrong", exc.message)
    except GatewayError as exc:
        return Finding("kafka", "wrong", f"{exc.message}; start it, or set KAFKA_BOOTSTRAP_SERVERS")
    if not problems:
        return Finding("kafka", "ok", f"{servers} answers, all topics are as they should be")
    passing = all(_CREATED in problem for problem in problems)
    if passing:
        names = ", ".join(problem.split()[1] for problem in problems)
        problems = [f"{len(problems)} topics are missing and {_CREATED}: {names}"]
    return Finding("kafka", "warning" if passing else "wrong", "; ".join(problems))


async def _registry(settings: Settings) -> Finding:
    gateway, loader = settings.gateway, SchemaLoader()
    missing = False
    try:
        async with SchemaRegistryClient(settings.registry) as client:
            try:
                await register_all(client, loader=loader, prefix=gateway.prefix, register=False)
            except SchemaNotFoundError:
                if gateway.schema_register == "off":
                    raise
                missing = True
            if gateway.schema_register == "on":
                subjects = planned(loader, gateway.prefix, topic_subjects=gateway.topic_subjects == "on")
                refused = await objections(client, subjects, loader)
                if refused:
                    return Finding("registry", "wrong", _refused(client.url, refused))
    except GatewayError as exc:
        todo = "; start it, or set SCHEMA_REGISTRY_URL" if exc.retriable else ""
        return Finding("registry", "wrong", f"{exc.message}{todo}")
    if missing:
        return Finding("registry", "warning", f"{client.url} answers; schemas are missing and {_REGISTERED}")
    return Finding("registry", "ok", f"{client.url} has every schema")


def _refused(url: str, reasons: list[str]) -> str:
    more = f" … and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return (
        f"{url} holds schemas that the gateway's may not follow: {reasons[0]}{more}; "
        "`gateway schemas list` shows the subjects; delete those versions, or use another registry"
    )


async def _redis(settings: Settings) -> Finding:
    manager = RedisConnectionManager()
    address = without_secrets(settings.redis.effective_url())
    try:
        await manager.initialize(settings)
        if manager.available:
            return Finding("redis", "ok", f"{address} answers")
    except GatewayError as exc:
        return Finding("redis", "wrong", exc.message)
    finally:
        await manager.close()
    said: Any = f"{address} does not answer; the gateway works without, on local state (REDIS_URL)"
    return Finding("redis", "warning", said)
