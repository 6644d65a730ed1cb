"""Fields that carry free-form JSON as text (``contentMediaType`` in the schema), converted both ways."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from core.errors import PayloadError
from infra.messaging.avro.codec.checked_writer import refusal
from infra.messaging.avro.codec.schema_nodes import (
    Node,
    Primitive,
    RecordNode,
    UnionNode,
    UnsupportedSchemaError,
    parse_schema,
)

Paths = Mapping[str, "Paths | None"]
"""Field name -> what lies below it; None: the field itself is JSON text."""

_NO_PATHS: Final[Paths] = {}


def json_text_paths(schema: Any) -> Paths:
    """Where ``schema`` has JSON text: in records, also optional ones; empty when nowhere."""
    try:
        return _paths(parse_schema(schema))
    except UnsupportedSchemaError:
        return _NO_PATHS


def to_json_text(message: Mapping[str, Any], paths: Paths) -> Mapping[str, Any]:
    """A copy of ``message`` with those fields as JSON text; raises ``PayloadError`` naming the path."""
    return _converted(message, paths, _dump, "")


def from_json_text(message: Mapping[str, Any], paths: Paths) -> Mapping[str, Any]:
    """The other way; raises ``PayloadError`` for a text that is no JSON."""
    return _converted(message, paths, _load, "")


def _paths(node: Node) -> Paths:
    if isinstance(node, UnionNode) and node.optional is not None:
        node = node.optional[2]
    if not isinstance(node, RecordNode):
        return _NO_PATHS
    found: dict[str, Paths | None] = {}
    for field in node.fields:
        if field.is_json_text and _is_text(field.node):
            found[field.name] = None
        elif below := _paths(field.node):
            found[field.name] = below
    return found


def _is_text(node: Node) -> bool:
    if isinstance(node, UnionNode) and node.optional is not None:
        node = node.optional[2]
    return node == Primitive("string")


def _converted(
    message: Mapping[str, Any], paths: Paths, convert: Callable[[Any, str], Any], path: str
) -> Mapping[str, Any]:
    copy = dict(message)
    for name, below in paths.items():
        value = copy.get(name)
        if value is None:
            continue
        where = f"{path}.{name}" if path else name
        if below is None:
            copy[name] = convert(value, where)
        elif isinstance(value, Mapping):
            copy[name] = _converted(value, below, convert, where)
    return copy


def _dump(value: Any, path: str) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as exc:
        raise refusal(path, f"cannot be written as JSON: {exc}") from exc


def _load(value: Any, path: str) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as exc:
        raise PayloadError(f"{path}: the text is not JSON: {exc}") from exc
