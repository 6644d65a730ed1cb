"""``gateway schemas export``: what a consuming team starts from."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from core.errors import RegistryError
from infra.commandline.console import AsJson, errors_in_one_line, wrong_use
from infra.messaging.schemas.export.files import exported
from infra.messaging.schemas.schema_loader import SchemaLoader


class Format(StrEnum):
    """The forms a schema can be had in."""

    AVSC = "avsc"
    JAVA = "java"
    PYTHON = "python"
    JSON_SCHEMA = "json-schema"


def export(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]…", help="Schemas, as ticker_data; default: all.", show_default=False),
    ] = None,
    how: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.AVSC,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder to write into; default: stdout, one schema.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give schemas as Avro files, Java records, Python dataclasses or JSON Schema."""
    loader = SchemaLoader()
    known = loader.names()
    for name in names or ():
        if name not in known:
            wrong_use(f"there is no schema {name!r}; there are {', '.join(known)}")
    chosen = list(dict.fromkeys(names or known))
    if output is None and len(chosen) > 1 and not as_json:
        wrong_use("several schemas need --output FOLDER (or --json)")
    with errors_in_one_line():
        files = dict(exported(name, how, loader) for name in chosen)
        if output is not None:
            for path, text in files.items():
                _write(output / path, text)
    if as_json:
        typer.echo(orjson.dumps(files if output is None else sorted(files)).decode())
    elif output is None:
        typer.echo(next(iter(files.values())), nl=False)
    else:
        for path in sorted(files):
            typer.echo(str(output / path))


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    except OSError as exc:
        raise RegistryError(f"{file} cannot be written: {exc.strerror}") from exc
