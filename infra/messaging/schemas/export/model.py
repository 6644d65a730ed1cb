"""A schema as generators of code want it: records and enums in the order of their definition, types by kind."""

from typing import Any, Final, Literal

import msgspec

from core.errors import RegistryError

Kind = Literal[
    "boolean", "int", "long", "float", "double", "bytes", "string", "json", "decimal", "array", "map", "named"
]
MISSING: Final = object()
_PRIMITIVES: Final[frozenset[str]] = frozenset({"boolean", "int", "long", "float", "double", "bytes", "string"})


class TypeRef(msgspec.Struct, frozen=True):
    """A type in use: ``item`` of arrays and maps, ``name`` of a record or enum, digits of a decimal."""

    kind: Kind
    optional: bool = False
    item: "TypeRef | None" = None
    name: str = ""
    precision: int = 0
    scale: int = 0


class FieldModel(msgspec.Struct, frozen=True):
    """A field; ``default`` is MISSING when there is none."""

    name: str
    type: TypeRef
    doc: str
    default: Any


class RecordModel(msgspec.Struct, frozen=True):
    """A record by its short name."""

    name: str
    doc: str
    fields: tuple[FieldModel, ...]


class EnumModel(msgspec.Struct, frozen=True):
    """An enum by its short name; ``default`` is what stands for a symbol that a reader does not know."""

    name: str
    doc: str
    symbols: tuple[str, ...]
    default: str | None


class SchemaModel(msgspec.Struct, frozen=True):
    """A whole schema: its namespace, the record it describes, and every named type, that record last."""

    namespace: str
    root: RecordModel
    named: tuple[RecordModel | EnumModel, ...]

    def of(self, name: str) -> RecordModel | EnumModel:
        """A named type."""
        return next(one for one in self.named if one.name == name)


def schema_model(schema: dict[str, Any]) -> SchemaModel:
    """Read a record's schema; raises ``RegistryError`` for what the generators do not cover."""
    builder = _Builder()
    root = builder.type_of(schema)
    record = builder.named.get(root.name)
    if not isinstance(record, RecordModel):
        raise RegistryError("only a record can be exported as code")
    return SchemaModel(str(schema.get("namespace", "")), record, tuple(builder.named.values()))


class _Builder:
    def __init__(self) -> None:
        self.named: dict[str, RecordModel | EnumModel] = {}

    def type_of(self, schema: Any, *, is_json: bool = False) -> TypeRef:
        if isinstance(schema, list):
            others = [branch for branch in schema if branch != "null"]
            if len(schema) != 2 or len(others) != 1:
                raise RegistryError(f"a union of {schema} cannot be exported: only null and one type")
            return msgspec.structs.replace(self.type_of(others[0], is_json=is_json), optional=True)
        if isinstance(schema, str):
            if schema in _PRIMITIVES:
                kind: Any = "json" if is_json and schema == "string" else schema
                return TypeRef(kind)
            return self._use(schema)
        if schema.get("logicalType") == "decimal" and schema["type"] == "bytes":
            return TypeRef("decimal", precision=schema["precision"], scale=schema.get("scale", 0))
        match schema["type"]:
            case "record":
                fields = tuple(self._field(field) for field in schema["fields"])
                self.named[schema["name"]] = RecordModel(schema["name"], schema.get("doc", ""), fields)
                return TypeRef("named", name=schema["name"])
            case "enum":
                self.named[schema["name"]] = EnumModel(
                    schema["name"], schema.get("doc", ""), tuple(schema["symbols"]), schema.get("default")
                )
                return TypeRef("named", name=schema["name"])
            case "array":
                return TypeRef("array", item=self.type_of(schema["items"]))
            case "map":
                return TypeRef("map", item=self.type_of(schema["values"]))
            case str() as kind if kind in _PRIMITIVES and "logicalType" not in schema:
                return self.type_of(kind, is_json=is_json)
            case _:
                raise RegistryError(f"{schema!r:.80} cannot be exported")

    def _use(self, name: str) -> TypeRef:
        short = name.rpartition(".")[2]
        if short not in self.named:
            raise RegistryError(f"the type {name} is used before it is defined: it cannot be exported")
        return TypeRef("named", name=short)

    def _field(self, field: dict[str, Any]) -> FieldModel:
        kind = self.type_of(field["type"], is_json=field.get("contentMediaType") == "application/json")
        return FieldModel(field["name"], kind, field.get("doc", ""), field.get("default", MISSING))
