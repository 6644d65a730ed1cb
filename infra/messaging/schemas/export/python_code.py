"""Python dataclasses of a schema, for consumers: no import beyond the standard library."""

import json
import keyword

from infra.messaging.schemas.export.model import (
    MISSING,
    EnumModel,
    FieldModel,
    RecordModel,
    SchemaModel,
    TypeRef,
)

_PLAIN = {
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "bytes": "bytes",
    "string": "str",
    "json": "Any",
    "decimal": "Decimal",
}


def python_code(model: SchemaModel, schema_text: str) -> str:
    """A module: ``SCHEMA`` (the Avro schema as text), enums and dataclasses with ``from_dict``.

    ``from_dict`` takes what any Avro deserializer returns, also of a writer with fewer or more fields.
    """
    kinds = {kind.kind for one in model.named if isinstance(one, RecordModel) for kind in _all_types(one)}
    root = model.root.name
    lines = [
        f'"""{model.namespace}.{root}, made by `gateway schemas export --format python`: not to be edited.',
        "",
        f"With confluent-kafka: AvroDeserializer(registry, SCHEMA, from_dict=lambda d, _: {root}.from_dict(d))",
        '"""',
        "",
        *(["import json"] if "json" in kinds else []),
        "from collections.abc import Mapping",
        "from dataclasses import dataclass" + (", field" if _has_factory(model) else ""),
        *(["from decimal import Decimal"] if "decimal" in kinds else []),
        *(["from enum import StrEnum"] if any(isinstance(one, EnumModel) for one in model.named) else []),
        "from typing import Any, Final, Self",
        "",
        f"SCHEMA: Final = {json.dumps(json.dumps(json.loads(schema_text)))}",
        "",
    ]
    for one in model.named:
        lines += ["", *(_enum(one) if isinstance(one, EnumModel) else _record(one, model)), ""]
    if "json" in kinds:
        lines += ["", *_JSON_READER, ""]
    return "\n".join(lines)


_JSON_READER = (
    "def _from_json(value: Any) -> Any:",
    '    """Free-form JSON travels as text."""',
    "    return json.loads(value) if isinstance(value, str) else value",
)


def _enum(model: EnumModel) -> list[str]:
    lines = [f"class {model.name}(StrEnum):", f'    """{model.doc or model.name}"""', ""]
    lines += [f'    {symbol} = "{symbol}"' for symbol in model.symbols]
    if model.default is not None:
        lines += [
            "",
            "    @classmethod",
            f'    def _missing_(cls, value: object) -> "{model.name}":',
            f"        return cls.{model.default}  # a symbol of a later version",
        ]
    return lines


def _record(model: RecordModel, schema: SchemaModel) -> list[str]:
    lines = [
        "@dataclass(frozen=True, slots=True, kw_only=True)",
        f"class {model.name}:",
        f'    """{model.doc or model.name}"""',
        "",
    ]
    for field in model.fields:
        default = _default(field, schema)
        comment = f"  # {' '.join(field.doc.split())}" if field.doc else ""
        lines.append(f"    {_name(field)}: {_annotation(field.type)}{default and f' = {default}'}{comment}")
    lines += [
        "",
        "    @classmethod",
        "    def from_dict(cls, data: Mapping[str, Any]) -> Self:",
        '        """A record as a deserializer returns it."""',
        "        given: dict[str, Any] = {}",
    ]
    for field in model.fields:
        key, value = json.dumps(field.name), f"data[{json.dumps(field.name)}]"
        if field.default is MISSING:
            lines.append(f"        given[{json.dumps(_name(field))}] = {_read(field.type, value, schema)}")
        else:
            lines += [
                f"        if {key} in data:",
                f"            given[{json.dumps(_name(field))}] = {_read(field.type, value, schema)}",
            ]
    lines.append("        return cls(**given)")
    return lines


def _name(field: FieldModel) -> str:
    return f"{field.name}_" if keyword.iskeyword(field.name) else field.name


def _annotation(kind: TypeRef) -> str:
    match kind.kind:
        case "array" | "map":
            assert kind.item is not None, "arrays and maps have items"
            item = _annotation(kind.item)
            text = f"list[{item}]" if kind.kind == "array" else f"dict[str, {item}]"
        case "named":
            text = kind.name
        case _:
            text = _PLAIN[kind.kind]
    return f"{text} | None" if kind.optional and text != "Any" else text


def _default(field: FieldModel, schema: SchemaModel) -> str:
    """The default as source; empty when there is none."""
    value = field.default
    if value is MISSING:
        return ""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if field.type.kind == "named" and isinstance(schema.of(field.type.name), EnumModel):
        return f"{field.type.name}.{value}"
    if isinstance(value, str):
        return json.dumps(value)
    if value:
        return f"field(default_factory=lambda: {value!r})"
    return f"field(default_factory={'list' if isinstance(value, list) else 'dict'})"


def _read(kind: TypeRef, value: str, schema: SchemaModel, depth: int = 0) -> str:
    """Source that turns ``value`` of a deserializer into the annotated type."""
    inner = f"v{depth}"
    match kind.kind:
        case "named":
            is_enum = isinstance(schema.of(kind.name), EnumModel)
            text = f"{kind.name}({value})" if is_enum else f"{kind.name}.from_dict({value})"
        case "json":
            text = f"_from_json({value})"
        case "array":
            assert kind.item is not None, "an array has items"
            text = f"[{_read(kind.item, inner, schema, depth + 1)} for {inner} in {value}]"
        case "map":
            assert kind.item is not None, "a map has values"
            key, read = f"k{depth}", _read(kind.item, inner, schema, depth + 1)
            text = f"{{{key}: {read} for {key}, {inner} in {value}.items()}}"
        case _:
            return value
    return f"None if {value} is None else {text}" if kind.optional else text


def _all_types(model: RecordModel) -> list[TypeRef]:
    found, waiting = [], [field.type for field in model.fields]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        if kind.item is not None:
            waiting.append(kind.item)
    return found


def _has_factory(model: SchemaModel) -> bool:
    return any(
        isinstance(field.default, list | dict)
        for one in model.named
        if isinstance(one, RecordModel)
        for field in one.fields
    )
