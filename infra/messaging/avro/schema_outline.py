"""A schema's places by path (``batch.items[].total``): fields, types, enums, decimals; what is none."""

import re
import warnings
from typing import Any, Final

import avro.errors
import avro.schema
import orjson

from core.errors import RegistryError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FULL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_INT_BITS: Final = {"int": 32, "long": 64}


class Outline:
    """By path: fields as they stand, enums (name, default), decimals (precision, scale), types as text."""

    def __init__(self, schema: Any) -> None:
        self.fields: dict[str, dict[str, Any]] = {}
        self.types: dict[str, str] = {}
        self.enums: dict[str, dict[str, Any]] = {}
        self.decimals: dict[str, tuple[int, int]] = {}
        self.aliases: dict[str, list[str]] = {}
        self.defects: list[str] = []
        self._named: dict[str, Any] = {}
        self._visit(schema, "", frozenset())

    def _visit(self, schema: Any, path: str, inside: frozenset[str]) -> None:
        if isinstance(schema, list):
            for branch in schema:
                self._visit(branch, path, inside)
            return
        if isinstance(schema, str):
            short = schema.rpartition(".")[2]
            if short in self._named and short not in inside:
                self._visit(self._named[short], path, inside)
            return
        if schema.get("logicalType") == "decimal":
            self.decimals[path] = (int(schema.get("precision", 0)), int(schema.get("scale", 0)))
        if "name" in schema:
            name = str(schema["name"])
            if not _FULL_NAME.fullmatch(name):
                self.defects.append(f"{name!r} is not a name that Avro allows (letters, digits, _)")
            self._named[name.rpartition(".")[2]] = schema
            inside |= {name.rpartition(".")[2]}
            if schema.get("aliases"):
                self.aliases[path] = schema["aliases"]
        match schema["type"]:
            case "record":
                for field in schema["fields"]:
                    self._field(field, path, inside)
            case "enum":
                self.enums[path] = schema
            case "array":
                self._visit(schema["items"], f"{path}[]", inside)
            case "map":
                self._visit(schema["values"], f"{path}{{}}", inside)
            case dict() | list() as inner:
                self._visit(inner, path, inside)
            case _:
                pass

    def _field(self, field: dict[str, Any], path: str, inside: frozenset[str]) -> None:
        where = f"{path}.{field['name']}" if path else str(field["name"])
        if not _NAME.fullmatch(str(field["name"])):
            self.defects.append(f"{field['name']!r} is not a name that Avro allows (letters, digits, _)")
        self.fields[where] = field
        self.types[where] = type_text(field["type"])
        if field.get("aliases"):
            self.aliases[where] = field["aliases"]
        self._visit(field["type"], where, inside)
        if "default" in field and not self._is_default(field["type"], field["default"]):
            self.defects.append(f"`{where}`: {field['default']!r:.60} is no default of {self.types[where]}")

    def _is_default(self, kind: Any, value: Any) -> bool:
        """Whether ``value`` may be the default of ``kind``; of a union, as registries see it, of any branch."""
        if isinstance(kind, list):
            return any(self._is_default(branch, value) for branch in kind)
        if isinstance(kind, str):
            named = self._named.get(kind.rpartition(".")[2])
            return _is_primitive_default(kind, value) if named is None else self._is_default(named, value)
        match kind["type"]:
            case "record":
                return isinstance(value, dict) and all(
                    self._is_default(field["type"], value[field["name"]])
                    if field["name"] in value
                    else "default" in field
                    for field in kind["fields"]
                )
            case "enum":
                return value in kind["symbols"]
            case "array":
                return isinstance(value, list) and all(self._is_default(kind["items"], item) for item in value)
            case "map":
                return isinstance(value, dict) and all(
                    self._is_default(kind["values"], item) for item in value.values()
                )
            case "fixed":
                return isinstance(value, str) and len(value) == kind["size"]
            case inner:
                return self._is_default(inner, value)


def _is_primitive_default(kind: str, value: Any) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "int" | "long":
            bits = _INT_BITS[kind]
            is_int = isinstance(value, int) and not isinstance(value, bool)
            return is_int and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)
        case "float" | "double":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return isinstance(value, str)


def type_text(kind: Any) -> str:
    """A type in one line: ``null | long``, ``array of Level``, ``decimal(38,18)``."""
    if isinstance(kind, list):
        return " | ".join(type_text(branch) for branch in kind)
    if isinstance(kind, str):
        return kind
    logical = kind.get("logicalType")
    if logical == "decimal":
        return f"decimal({kind.get('precision')},{kind.get('scale', 0)})"
    if logical is not None:
        return f"{type_text(kind['type'])} ({logical})"
    match kind["type"]:
        case "record" | "enum" | "fixed":
            return f"{kind['type']} {kind['name']}"
        case "array":
            return f"array of {type_text(kind['items'])}"
        case "map":
            return f"map of {type_text(kind['values'])}"
        case inner:
            return type_text(inner)


def parsed_json(text: str, what: str) -> Any:
    """The schema as JSON; raises ``RegistryError`` calling it ``what``."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise RegistryError(f"{what} is not JSON: {exc}") from exc


def parsed_schema(text: str, what: str) -> Any:
    """The schema as the ``avro`` package has it; raises ``RegistryError`` calling it ``what``.

    Names and defaults are looked at too: registries refuse them, the ``avro`` package does not.
    """
    schema = parsed_json(text, what)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a logical type that makes no sense is none (Avro, Logical Types)
            parsed = avro.schema.parse(text)
    except avro.errors.AvroException as exc:
        raise RegistryError(f"{what} is no Avro schema: {exc}") from exc
    defects = Outline(schema).defects
    if defects:
        raise RegistryError(f"{what} is no valid Avro schema: {'; '.join(defects)}")
    return parsed
