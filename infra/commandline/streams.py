"""``gateway streams``: what should run, and who runs it."""

import asyncio
import time
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from core.identity import ConnectionScopeDomain
from core.streams import DesiredStream, Fact, WebsocketConnectionSpecDomain, fact_from_message, fold
from infra.cache.cache_client import RedisConnectionManager
from infra.cache.cache_store import WebsocketConnectionCache
from infra.commandline.console import AsJson, EnvFile, complain, errors_in_one_line
from infra.messaging.topic_reader import FIRST_ANSWER_S, TopicReader
from infra.settings import Settings, load_settings

_PATIENCE_S = 10.0


def register(app: typer.Typer) -> None:
    """Add the sub-command."""
    app.command("streams")(streams)


def streams(as_json: AsJson = False, env_file: EnvFile = None) -> None:
    """List every stream: its symbols, as ws.streams says, and its owner and state, as Redis says."""
    with errors_in_one_line():
        settings = load_settings(env_file)
        desired = _desired(settings)
        specs, redis_answers = asyncio.run(_specs(settings, [d.scope for d in desired]))
        rows = [_row(stream, specs.get(stream.scope.key)) for stream in desired]
        if as_json:
            typer.echo(orjson.dumps(rows).decode())
            return
        if not redis_answers:
            complain("Redis does not answer: owners and states are not known")
        _print(rows)


def _desired(settings: Settings) -> list[DesiredStream]:
    """Fold the whole of ws.streams; offsets only compare within a partition, and a scope has one."""
    topic = settings.gateway.topic("ws.streams")
    reader = TopicReader(settings.kafka, [topic], from_beginning=True, patience_s=_PATIENCE_S)
    facts: list[tuple[int, Fact]] = []
    try:
        reader.open(FIRST_ANSWER_S)
        ends = reader.ends()
        deadline_s = time.monotonic() + _PATIENCE_S
        while not reader.reached(ends) and time.monotonic() < deadline_s:
            for message in reader.read(1_000, 0.2):
                headers: Any = message.headers() or []
                pairs = headers.items() if isinstance(headers, dict) else headers
                try:
                    fact = fact_from_message(
                        (message.key() or b"").decode(),
                        message.value(),
                        {name: (value or b"").decode() for name, value in pairs},
                    )
                except ValueError:
                    continue
                if fact is not None:
                    facts.append((message.offset(), fact))
    finally:
        reader.close()
    folded = (scope_fold.desired() for scope_fold in fold(facts).values())
    return sorted((d for d in folded if d.symbols), key=lambda d: d.scope.key)


async def _specs(
    settings: Settings, scopes: list[ConnectionScopeDomain]
) -> tuple[dict[str, WebsocketConnectionSpecDomain], bool]:
    manager = RedisConnectionManager.get_instance()
    await manager.initialize(settings)
    try:
        cache = WebsocketConnectionCache(manager)
        found = {}
        for scope in scopes:
            spec = await cache.get_connection_spec(scope)
            if spec is not None:
                found[scope.key] = spec
        return found, manager.available
    finally:
        await manager.close()


def _row(stream: DesiredStream, spec: WebsocketConnectionSpecDomain | None) -> dict[str, Any]:
    return {
        "scope": stream.scope.key,
        "symbols": sorted(stream.symbols),
        "status": str(spec.status) if spec else None,
        "instance": spec.instance if spec else None,
        "url": spec.url if spec else None,
        "connected_at_ms": spec.connected_at_ms if spec else None,
        "last_active_ms": spec.last_active_ms if spec else None,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table()
    table.add_column("scope", no_wrap=True)
    for title in ("symbols", "state", "instance"):
        table.add_column(title, overflow="fold")
    for row in rows:
        symbols = row["symbols"]
        shown = ", ".join(symbols[:8]) + (f" and {len(symbols) - 8} more" if len(symbols) > 8 else "")
        table.add_row(row["scope"], shown, row["status"] or "unknown", row["instance"] or "unknown")
    if rows:
        Console().print(table)
    else:
        typer.echo("no stream is asked for")
