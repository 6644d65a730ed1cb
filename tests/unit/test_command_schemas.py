"""The JSON Schemas of the commands: current, and of one mind with the DTOs."""

import json
from typing import Any

import jsonschema
import pytest

from core.errors import CommandError
from infra.messaging.connect.services.command_validator import CommandValidator
from infra.messaging.schemas.command_schemas import COMMANDS, folder, schema_text
from tests.gateway_rig import connect, disconnect


@pytest.mark.parametrize("name", COMMANDS)
def test_the_file_is_current(name: str) -> None:
    """If not: ``make command-schemas``."""
    assert (folder() / f"{name}.schema.json").read_text(encoding="utf-8") == schema_text(name)


@pytest.mark.parametrize(
    ("name", "command", "good"),
    [
        ("connect_command", connect("upbit", "ticker", "KRW-BTC"), True),
        ("connect_command", connect("upbit", "ticker", "KRW-BTC", ttl_ms=5, ts_issue=1), True),
        ("connect_command", connect("upbit", "ticker"), False),
        ("connect_command", connect("upbit", "ticker", "KRW-BTC", extra=1), False),
        ("connect_command", connect("upbit", "ticker", "KRW-BTC", ttl_ms="5"), False),
        ("connect_command", connect("upbit", "ticker", "KRW-BTC", connection={"uri": "x"}), False),
        ("connect_command", disconnect("upbit", "ticker"), False),
        ("disconnect_command", disconnect("upbit", "ticker"), True),
        ("disconnect_command", disconnect("upbit", "ticker", "KRW-BTC", reason="r"), True),
        ("disconnect_command", disconnect("upbit", "ticker", symbols=[]), False),
        ("disconnect_command", disconnect("upbit", ""), False),
    ],
)
def test_the_schema_takes_what_the_validator_takes(name: str, command: dict[str, Any], good: bool) -> None:
    schema = json.loads(schema_text(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid(command) is good
    validator = CommandValidator()
    validate = validator.validate_command if name == "connect_command" else validator.validate_disconnect
    raw = json.dumps(command).encode()
    if good:
        validate(raw)
    else:
        with pytest.raises(CommandError):
            validate(raw)
