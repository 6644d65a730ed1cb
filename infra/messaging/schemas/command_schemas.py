"""JSON Schemas of the two commands, generated from their DTOs into ``schemas/json/``.

``python -m infra.messaging.schemas.command_schemas`` writes them; a test checks that they are current.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import BaseModel

from core.commands import CommandDTO, DisconnectCommandDTO

COMMANDS: Final[dict[str, type[BaseModel]]] = {
    "connect_command": CommandDTO,
    "disconnect_command": DisconnectCommandDTO,
}


def folder() -> Path:
    """``schemas/json/`` of this checkout."""
    return Path(str(files("schemas"))) / "json"


def schema_text(name: str) -> str:
    """One schema as it stands in its file: JSON Schema draft 2020-12."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:streamgateway:v1:{name}",
        **COMMANDS[name].model_json_schema(),
    }
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def write() -> list[Path]:
    """Write all of them; returns the files."""
    folder().mkdir(exist_ok=True)
    written = []
    for name in COMMANDS:
        path = folder() / f"{name}.schema.json"
        path.write_text(schema_text(name), encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    write()
