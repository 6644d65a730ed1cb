"""Whatever bytes stand on a control topic: a command that holds, or one refusal; nothing else."""

import base64
import json
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from application.commands import Connect, ControlMessage, Disconnect, Refusal, facts_of, judge, next_positions
from application.ports import Position
from core.command_rules import check_url
from core.errors import CommandError
from core.exchanges.table import PROFILES
from core.identity import Exchange
from core.streams import fact_from_message, fact_to_message
from infra.messaging.connect.consumer_client import default_rules
from infra.settings import Settings
from tests.contract.bad_commands import KINDS
from tests.gateway_rig import connect, disconnect

RULES = default_rules(Settings())

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
values = st.recursive(
    scalars,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "type", "action", "target", "symbols", "connection", "projection", "ttl_ms", "ts_issue", "correlation_id",
    "ticket_id", "routing", "schema_version", "reason", "meta", "other",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good command with some of its fields made something else."""
    command: dict[str, Any] = draw(st.sampled_from([connect, disconnect]))("upbit", "ticker", "KRW-BTC")
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=3)):
        command[name] = draw(values)
    if draw(st.booleans()):
        command["target"] = {**command.get("target", {})} if isinstance(command.get("target"), dict) else {}
        command["target"][draw(st.sampled_from(["exchange", "region", "request_type", "x"]))] = draw(values)
    raw = json.dumps(command).encode()
    cut = draw(st.integers(0, 40))
    return raw[: len(raw) - cut] if cut > 35 else raw


@settings(max_examples=250, deadline=None)
@given(
    st.none() | st.binary(max_size=200) | mutated() | values.map(lambda v: json.dumps(v).encode()),
    st.booleans(),
)
@example(b'{"target":{"exchange":"a|b","region":"c","request_type":"d"}}', False)
def test_every_message_is_a_command_or_one_refusal(raw: bytes | None, disconnects: bool) -> None:
    message = ControlMessage("ws.command", 1, 7, b"\xff", raw)
    verdict = judge(message, RULES, disconnects=disconnects)
    assert judge(message, RULES, disconnects=disconnects).__class__ is verdict.__class__
    if isinstance(verdict, Connect | Disconnect):
        facts = facts_of(verdict, 1)
        assert facts
        for fact in facts:
            key, value, headers = fact_to_message(fact)
            assert fact_from_message(key, value, headers) == fact
        return
    error, letter = verdict.events
    assert (error.topic, letter.topic) == ("ws.error", "ws.dlq")
    assert error.value["error"]["error_message"]["message"]
    assert error.value["meta"]["correlation_id"] == letter.value["meta"]["correlation_id"]
    assert base64.b64decode(letter.value["payload_b64"]) == (raw or b"")
    assert error.key is None or error.key.count("|") == 2
    orjson.dumps([error.value, letter.value])


@pytest.mark.parametrize(("name", "value", "code"), KINDS)
def test_each_kind_has_its_code(name: str, value: Any, code: str) -> None:
    raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    verdict = judge(ControlMessage("ws.command", 0, 0, None, raw), RULES, disconnects=False)
    assert isinstance(verdict, Refusal)
    assert verdict.events[0].value["error"]["error_code"] == code


def test_a_refused_command_for_a_known_scope_carries_its_key_and_whole_target() -> None:
    raw = json.dumps(connect("upbit", "ticker", "?", correlation_id="c")).encode()
    verdict = judge(ControlMessage("ws.command", 0, 0, None, raw), RULES, disconnects=False)
    assert isinstance(verdict, Refusal)
    error, letter = verdict.events
    assert error.key == error.value["meta"]["observed_key"] == "upbit|korea|ticker"
    for event in (error, letter):
        assert event.value["target"] == {"exchange": "upbit", "region": "korea", "request_type": "ticker"}
        assert event.value["meta"]["correlation_id"] == "c"


def test_positions_are_those_after_the_last_of_each_partition() -> None:
    batch = [ControlMessage("t", p, o, None, b"") for p, o in [(0, 3), (1, 9), (0, 4), (1, 8)]]
    assert next_positions(batch) == [Position("t", 0, 5), Position("t", 1, 10)]


hosts = st.sampled_from(
    [
        "api.upbit.com",
        "example.com",
        "localhost:9001",
        "api.upbit.com.example.com",
        "API.upbit.com",
        "",
        "[::1]",
    ]
)
pieces = st.sampled_from(["wss://", "ws://", "file:", "//", "\\", "@", ":", "#", "?", "\n", "\t", "%40", "/"])


@settings(max_examples=600)
@given(
    st.lists(hosts | pieces, min_size=1, max_size=6).map("".join), st.sampled_from([(), ("localhost:9001",)])
)
def test_an_accepted_url_leads_to_an_allowed_host(url: str, allowed: tuple[str, ...]) -> None:
    """Judged by the parser of the library that is going to open it."""
    from websockets.uri import parse_uri

    profile = PROFILES[Exchange.UPBIT]
    try:
        check_url(url, profile, allowed)
    except CommandError:
        return
    try:
        parsed = parse_uri(url)
    except Exception:  # noqa: BLE001 - what the library cannot read leads nowhere
        return
    assert parsed.username is None
    place = f"{parsed.host}:{parsed.port}"
    assert (parsed.host in profile.allowed_hosts and parsed.secure) or place in allowed
    assert urlsplit(url).scheme in ("ws", "wss")


def test_a_dead_letters_key_is_without_secrets() -> None:
    message = ControlMessage("ws.command", 0, 0, b"wss://user:hunter2@h/|korea|ticker", b"no JSON")
    verdict = judge(message, RULES, disconnects=False)
    assert isinstance(verdict, Refusal)
    assert [event.key for event in verdict.events] == [None, "wss://***@h/|korea|ticker"]
