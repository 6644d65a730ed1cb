"""From raw bytes on a control topic to a DTO, or to one error that says what was wrong."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from core.commands import CommandDTO, DisconnectCommandDTO
from core.errors import CommandError, ErrorCode, ErrorDomain

_MAX_DEPTH: Final = 32
_MAX_NAMED: Final = 10

Dto = TypeVar("Dto", bound=BaseModel)


class CommandValidator:
    """Checks size, encoding, JSON, nesting, repeated fields and fields, in this order.

    ``max_bytes`` bounds the raw message. Each method raises ``core.errors.CommandError``, whose ``code`` is
    one of too_large, deserialization_error, missing_field, invalid_schema.
    """

    def __init__(self, *, max_bytes: int = 256 * 1024) -> None:
        self._max_bytes = max_bytes

    def validate_command(self, raw: bytes | None) -> CommandDTO:
        """A connect command."""
        return self._read(raw, CommandDTO)

    def validate_disconnect(self, raw: bytes | None) -> DisconnectCommandDTO:
        """A disconnect command."""
        return self._read(raw, DisconnectCommandDTO)

    def _read(self, raw: bytes | None, model: type[Dto]) -> Dto:
        value = self._parse(raw)
        if not isinstance(value, dict):
            raise CommandError(
                f"a command is a JSON object, not {_json_name(value)}", code=ErrorCode.INVALID_SCHEMA
            )
        try:
            return model.model_validate(value)
        except ValidationError as exc:
            raise _explain(exc) from exc

    def _parse(self, raw: bytes | None) -> Any:
        if not raw:
            raise _unreadable("the message has no value; a command is a JSON object")
        if len(raw) > self._max_bytes:
            raise CommandError(
                f"the command has {len(raw)} bytes, at most {self._max_bytes} are taken; "
                "split the symbols over several commands",
                code=ErrorCode.TOO_LARGE,
            )
        try:
            raw.decode()
        except UnicodeDecodeError as exc:
            raise _unreadable(f"the message is not UTF-8: {exc.reason} at byte {exc.start}") from exc
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError as exc:
            raise _unreadable(f"the message is not JSON: {exc}") from exc
        if _deeper_than(value, _MAX_DEPTH):
            raise _unreadable(f"the message is nested deeper than {_MAX_DEPTH} levels")
        json.loads(raw, object_pairs_hook=_refuse_repeated)
        return value


def peek(raw: bytes | None) -> tuple[Mapping[str, str] | None, str | None]:
    """Target and correlation id of a message that was refused, as far as they can be read."""
    try:
        value = orjson.loads(raw or b"")
    except orjson.JSONDecodeError:
        return None, None
    if not isinstance(value, dict):
        return None, None
    target = value.get("target")
    known: dict[str, str] | None = None
    if isinstance(target, dict):
        known = {
            name: text[:64]
            for name in ("exchange", "region", "request_type")
            if isinstance(text := target.get(name), str)
        }
    correlation_id = value.get("correlation_id") or value.get("ticket_id")
    return known or None, correlation_id[:256] if isinstance(correlation_id, str) else None


def _refuse_repeated(pairs: Sequence[tuple[str, Any]]) -> None:
    """RFC 8259 leaves open which of two equal names counts, so a command that has them means nothing."""
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise CommandError(f"{name[:64]}: this field is given twice", code=ErrorCode.INVALID_SCHEMA)
        names.add(name)


def _unreadable(message: str) -> CommandError:
    return CommandError(message, code=ErrorCode.DESERIALIZATION_ERROR, domain=ErrorDomain.DESERIALIZATION)


def _explain(exc: ValidationError) -> CommandError:
    """pydantic's errors as one sentence; what is missing decides the code, as it hides the rest."""
    errors = exc.errors(include_url=False, include_input=False, include_context=False)
    said = [f"{'.'.join(map(str, error['loc'])) or 'command'}: {_say(error)}" for error in errors]
    more = f" and {len(said) - _MAX_NAMED} more" if len(said) > _MAX_NAMED else ""
    missing = any(error["type"] == "missing" for error in errors)
    return CommandError(
        "; ".join(said[:_MAX_NAMED]) + more,
        code=ErrorCode.MISSING_FIELD if missing else ErrorCode.INVALID_SCHEMA,
    )


def _say(error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "missing":
            return "this field is missing"
        case "extra_forbidden":
            return "this field is not known"
        case _:
            return str(error["msg"])


def _json_name(value: object) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(
        type(value), "a number"
    )


def _deeper_than(value: object, limit: int) -> bool:
    """Whether containers are nested deeper than ``limit``, found without recursion."""
    level: list[object] = [value]
    for _ in range(limit + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
