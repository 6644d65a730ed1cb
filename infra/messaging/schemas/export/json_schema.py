"""JSON Schema (2020-12) of a record's JSON form, as ``gateway tail --json`` and the JSON topics have it."""

from typing import Any, Final

from infra.messaging.schemas.export.model import (
    MISSING,
    EnumModel,
    FieldModel,
    RecordModel,
    SchemaModel,
    TypeRef,
)

_BITS: Final = {"int": 31, "long": 63}


def json_schema(model: SchemaModel) -> dict[str, Any]:
    """The schema; named types stand under ``$defs``. Fields that are not known here are allowed."""
    definitions = {one.name: _named(one) for one in model.named if one is not model.root}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": model.root.name,
        **_named(model.root),
        **({"$defs": definitions} if definitions else {}),
    }


def _named(model: RecordModel | EnumModel) -> dict[str, Any]:
    about = {"description": model.doc} if model.doc else {}
    if isinstance(model, EnumModel):
        return {**about, "type": "string", "enum": list(model.symbols)}
    return {
        **about,
        "type": "object",
        "properties": {field.name: _field(field) for field in model.fields},
        "required": [field.name for field in model.fields if field.default is MISSING],
    }


def _field(field: FieldModel) -> dict[str, Any]:
    schema = _type(field.type)
    if field.doc:
        schema["description"] = field.doc
    if field.default is not MISSING:
        schema["default"] = field.default
    return schema


def _type(kind: TypeRef) -> dict[str, Any]:
    schema = _plain(kind)
    if not kind.optional or not schema:
        return schema
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _plain(kind: TypeRef) -> dict[str, Any]:
    match kind.kind:
        case "boolean" | "string":
            return {"type": kind.kind}
        case "int" | "long":
            bits = _BITS[kind.kind]
            return {"type": "integer", "minimum": -(2**bits), "maximum": 2**bits - 1}
        case "float" | "double":
            return {"type": "number"}
        case "bytes":
            return {"type": "string", "contentEncoding": "base64"}
        case "decimal":
            pattern = rf"^-?\d{{1,{kind.precision - kind.scale}}}(\.\d{{1,{kind.scale}}})?$"
            return {"type": "string", "pattern": pattern}
        case "json":
            return {}
        case "array":
            assert kind.item is not None, "an array has items"
            return {"type": "array", "items": _type(kind.item)}
        case "map":
            assert kind.item is not None, "a map has values"
            return {"type": "object", "additionalProperties": _type(kind.item)}
        case "named":
            return {"$ref": f"#/$defs/{kind.name}"}
