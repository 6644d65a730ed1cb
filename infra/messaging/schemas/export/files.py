"""What ``gateway schemas export`` gives: file names and their text, by format."""

from typing import Final

import orjson

from infra.messaging.schemas.export.java_code import java_code
from infra.messaging.schemas.export.json_schema import json_schema
from infra.messaging.schemas.export.model import schema_model
from infra.messaging.schemas.export.python_code import python_code
from infra.messaging.schemas.schema_loader import SchemaLoader

FORMATS: Final = ("avsc", "java", "python", "json-schema")


def exported(name: str, how: str, loader: SchemaLoader) -> tuple[str, str]:
    """(relative path of the file, its text) of schema ``name``; ``how`` is one of ``FORMATS``.

    A Java file stands in the folder of its package. Raises ``core.errors.RegistryError`` for an unknown name.
    """
    text = loader.text(name)
    if how == "avsc":
        return f"{name}.avsc", text
    model = schema_model(loader.schema(name))
    match how:
        case "java":
            folder = model.namespace.replace(".", "/")
            return f"{folder}/{model.root.name}.java", java_code(model, text)
        case "python":
            return f"{name}.py", python_code(model, text)
        case _:
            body = orjson.dumps(json_schema(model), option=orjson.OPT_INDENT_2).decode()
            return f"{name}.schema.json", body + "\n"
