"""``gateway schemas``: the life of a schema, from a change in the folder to a version in the registry."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from core.errors import RegistryError, SchemaIncompatibleError
from infra.commandline.console import AsJson, EnvFile, complain, errors_in_one_line, wrong_use
from infra.commandline.schemas_export import export
from infra.messaging.avro.registration import planned, register_all
from infra.messaging.avro.schema_evolution import check_against_released
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.schema_releases import changes_since, is_unchanged, release
from infra.messaging.avro.subject_states import SubjectState, subject_states
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.settings import load_settings

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]…", help="Schemas, as ticker_data.", show_default=False)
]
Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Where avro/, released/ and subjects.toml are; default: the packaged ones."),
]
AvroTopics = Annotated[
    list[str] | None,
    typer.Option("--avro-topic", help="A JSON topic that was switched to Avro; may be repeated."),
]

schemas = typer.Typer(
    name="schemas",
    help="Check, release and register the schemas; see what the registry has; export code for consumers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def register(app: typer.Typer) -> None:
    """Add the sub-commands."""
    app.add_typer(schemas)


@schemas.command("check")
def check(names: Names = None, folder: Folder = None, as_json: AsJson = False) -> None:
    """Say whether each current schema may follow all its released ones; no server is asked.

    What counts is the rule in subjects.toml and the house rule. Exit status 1: one may not.
    """
    with errors_in_one_line():
        loader = _loader(folder)
        rows = [_checked(name, loader) for name in _chosen(names, loader)]
    failed = [row for row in rows if row["reasons"]]
    if as_json:
        typer.echo(orjson.dumps({"ok": not failed, "schemas": rows}).decode())
    else:
        for row in rows:
            last = f"v{row['released'][-1]}" if row["released"] else "nothing released"
            state = "as released" if row["unchanged"] else f"changed; `gateway schemas release {row['name']}`"
            verdict = f"refused ({len(row['reasons'])})" if row["reasons"] else state
            typer.echo(f"{row['name']:20} {row['compatibility']:20} {last:17} {verdict}")
            for reason in row["reasons"]:
                typer.echo(f"    {reason}")
    if failed:
        raise typer.Exit(1)


@schemas.command("diff")
def diff(
    names: Names = None,
    against: Annotated[
        int | None, typer.Option("--against", min=1, help="A released version; default: the last.")
    ] = None,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Say what changed since a released version, in words."""
    if against is not None and not names:
        wrong_use("--against needs the name of a schema")
    with errors_in_one_line():
        loader = _loader(folder)
        rows: list[dict[str, Any]] = []
        for name in _chosen(names, loader):
            number, said = changes_since(name, loader, against)
            rows.append({"name": name, "against": number, "changes": said})
    if as_json:
        typer.echo(orjson.dumps(rows).decode())
        return
    for row in rows:
        if row["against"] is None:
            typer.echo(f"{row['name']}: nothing is released yet")
        elif not row["changes"]:
            if names:
                typer.echo(f"{row['name']}: no change since v{row['against']}")
        else:
            typer.echo(f"{row['name']}, since v{row['against']}:")
            for change in row["changes"]:
                typer.echo(f"    {change}")
    if not names and not any(row["changes"] or row["against"] is None for row in rows):
        typer.echo("no schema has changed since its last release")


@schemas.command("release")
def release_(names: Names = None, folder: Folder = None, as_json: AsJson = False) -> None:
    """Keep the current schemas as their next released versions (files under released/).

    Without names: all that changed. One that may not follow the released ones, or is as it was, is refused, and
    nothing is written then.
    """
    with errors_in_one_line():
        loader = _loader(folder)
        place = folder or _packaged_folder()
        chosen = list(dict.fromkeys(names or ()))
        if chosen:
            _known(chosen, loader)
        else:
            chosen = [name for name in loader.names() if not is_unchanged(name, loader)]
        if not chosen:
            raise RegistryError("every schema is as released: there is nothing to release")
        _all_may_follow(chosen, loader)
        rows = []
        for name in chosen:
            number, file = release(name, loader, place)
            rows.append({"name": name, "version": number, "file": _from_here(file)})
    if as_json:
        typer.echo(orjson.dumps(rows).decode())
        return
    for row in rows:
        typer.echo(f"{row['name']} v{row['version']}: {row['file']}")


@schemas.command("register")
def register_(avro_topics: AvroTopics = None, as_json: AsJson = False, env_file: EnvFile = None) -> None:
    """Register every current schema under its subjects with its compatibility, and say what was done.

    For clusters where gateways run with GATEWAY_SCHEMA_REGISTER=off. What may not follow its released
    versions is refused before the registry is asked. Doing it again changes nothing.
    """
    with errors_in_one_line():
        settings = load_settings(env_file)
        loader = SchemaLoader()
        _all_may_follow(loader.names(), loader)
        gateway = settings.gateway
        subjects = planned(
            loader, gateway.prefix, topic_subjects=gateway.topic_subjects == "on", avro_topics=avro_topics or ()
        )

        async def work() -> list[SubjectState]:
            async with SchemaRegistryClient(settings.registry) as client:
                await register_all(
                    client,
                    loader=loader,
                    prefix=gateway.prefix,
                    topic_subjects=gateway.topic_subjects == "on",
                    avro_topics=avro_topics or (),
                )
                return await subject_states(client, subjects, loader)

        states = asyncio.run(work())
    _show(states, as_json=as_json)


@schemas.command("list")
def list_(avro_topics: AvroTopics = None, as_json: AsJson = False, env_file: EnvFile = None) -> None:
    """Show each subject in the registry against what this gateway has: versions, ids, compatibility.

    Exit status 1: a subject lacks its current schema, or has another compatibility.
    """
    with errors_in_one_line():
        settings = load_settings(env_file)
        loader = SchemaLoader()
        gateway = settings.gateway
        subjects = planned(
            loader, gateway.prefix, topic_subjects=gateway.topic_subjects == "on", avro_topics=avro_topics or ()
        )

        async def work() -> list[SubjectState]:
            async with SchemaRegistryClient(settings.registry) as client:
                return await subject_states(client, subjects, loader)

        states = asyncio.run(work())
    _show(states, as_json=as_json)
    if not all(state.is_current for state in states):
        raise typer.Exit(1)


schemas.command("export")(export)


# -- inside --------------------------------------------------------------------------------------------


def _loader(folder: Path | None) -> SchemaLoader:
    if folder is None:
        return SchemaLoader()
    if not (folder / "subjects.toml").is_file():
        wrong_use(f"--folder {folder}: there is no subjects.toml")
    return SchemaLoader(folder)


def _packaged_folder() -> Path:
    import schemas as packaged

    return Path(packaged.__path__[0])


def _from_here(file: Path) -> str:
    """Relative where it lies below the working directory."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


def _known(names: list[str], loader: SchemaLoader) -> None:
    known = loader.names()
    for name in names:
        if name not in known:
            wrong_use(f"there is no schema {name!r}; there are {', '.join(known)}")


def _chosen(names: list[str] | None, loader: SchemaLoader) -> list[str]:
    if names:
        _known(names, loader)
    return list(dict.fromkeys(names or loader.names()))


def _checked(name: str, loader: SchemaLoader) -> dict[str, Any]:
    try:
        reasons = check_against_released(name, loader)
        unchanged = is_unchanged(name, loader)
    except RegistryError as exc:
        reasons, unchanged = [exc.message], False
    return {
        "name": name,
        "compatibility": loader.subject(name).compatibility,
        "released": [number for number, _text in loader.released(name)],
        "unchanged": unchanged,
        "reasons": reasons,
    }


def _all_may_follow(names: list[str], loader: SchemaLoader) -> None:
    refused = [(name, reason) for name in names for reason in check_against_released(name, loader)]
    if refused:
        for name, reason in refused[:-1]:
            complain(f"{name}: {reason}")
        name, reason = refused[-1]
        raise SchemaIncompatibleError(f"{name}: {reason}")


def _show(states: list[SubjectState], *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps([state.as_row() for state in states]).decode())
        return
    rows = [("SCHEMA", "SUBJECT", "VERSIONS", "IDS", "COMPATIBILITY", "STATE")]
    for state in states:
        has_other = bool(state.versions) and state.level != state.wanted_level
        rows.append(
            (
                state.schema,
                state.subject,
                ", ".join(str(number) for number, _ in state.versions) or "-",
                ", ".join(str(schema_id) for _, schema_id in state.versions) or "-",
                f"{state.level or 'none'}, not {state.wanted_level}" if has_other else state.wanted_level,
                state.says,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
