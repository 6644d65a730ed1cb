"""Log lines: one a line, secrets masked, the level kept."""

import json
from collections.abc import Iterator

import pytest
import structlog

from infra.telemetry.logs import set_up_logging


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_secrets_are_masked(fmt: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", fmt)  # type: ignore[arg-type]
    log = structlog.get_logger("x")
    log.info("connected", url="wss://me:hunter2@host/", password="hunter2", nested={"api_key": "hunter2"})
    log.warning("refused", reason="token=hunter2 Authorization: Bearer hunter2")
    try:
        raise ValueError("redis://:hunter2@localhost")
    except ValueError:
        log.exception("failed")
    log.debug("not shown")
    said = capsys.readouterr().err
    assert "connected" in said
    assert "hunter2" not in said
    assert "not shown" not in said


def test_a_json_line_is_an_event_and_keys(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("debug", "json")
    structlog.get_logger("x").debug("stream resumed", scope="upbit|korea|ticker", symbols=2)
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert found["event"] == "stream resumed"
    assert (found["scope"], found["symbols"], found["level"]) == ("upbit|korea|ticker", 2, "debug")
    assert found["timestamp"].endswith("Z")
