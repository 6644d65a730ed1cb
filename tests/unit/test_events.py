"""Events: no secrets, whatever they tell of; sizes that fit; dead letters with their bytes."""

import base64
import hashlib
import json
from uuid import UUID

import pytest

from core.errors import CommandError, ErrorCode
from core.events import (
    MAX_ITEMS,
    MAX_TEXT_CHARS,
    dlq_event,
    error_event,
    iso_utc,
    masked,
    ticket_id_of,
    without_secrets,
)

NOW_US = 1_793_604_700_123_456


@pytest.mark.parametrize(
    "text",
    [
        "wss://user:hunter2@api.upbit.com/websocket/v1",
        "cannot reach redis://:hunter2@host:6379/0, giving up",
        "password=hunter2",
        "sasl.password = hunter2;",
        '{"password": "hunter2"}',
        "{'api_key': 'hunter2'}",
        '{"body": "{\\"secret\\": \\"hunter2\\"}"}',
        '{"passphrase": "hunter2 with spaces"}',
        "https://host/path?access_token=hunter2&x=1",
        "Authorization: Bearer hunter2",
        "authorization=Basic hunter2",
        "api-key: hunter2",
        "PRIVATE_KEY=hunter2",
    ],
)
def test_secrets_are_taken_out_of_text(text: str) -> None:
    cleaned = without_secrets(text)
    assert "hunter2" not in cleaned
    assert "***" in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "wss://stream.binance.com:9443/stream?streams=btcusdt@depth@100ms",
        "BTC-KRW is not listed",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("piece", ["a-", "token=", 'token="', "a", "password", "x://", "token\\"])
@pytest.mark.timeout(10)
def test_the_time_for_a_long_text_is_bounded(piece: str) -> None:
    assert without_secrets(piece * (2_000_000 // len(piece)))


def test_nested_values_are_masked_by_name_and_bounded() -> None:
    nested: object = "deep"
    for _ in range(30):
        nested = {"inner": nested}
    result = masked(
        {
            "redis_password": "hunter2",
            "list": [{"Token": {"value": "hunter2"}}, "redis://:hunter2@h/0"],
            "long": "x" * (MAX_TEXT_CHARS + 5),
            "many": list(range(5 * MAX_ITEMS)),
            "nested": nested,
            "count": 3,
        }
    )
    text = json.dumps(result)
    assert "hunter2" not in text
    assert "deep" not in text
    assert result["count"] == 3
    assert result["long"].endswith("(5 more characters)")
    assert len(result["many"]) == MAX_ITEMS


def test_an_error_event_says_what_where_and_for_whom() -> None:
    event = error_event(
        CommandError("no such exchange", detail="password=hunter2", code=ErrorCode.UNKNOWN_EXCHANGE),
        ticket_id="t",
        now_us=NOW_US,
        target={"exchange": "nope"},
        correlation_id="c",
        observed_key="k",
        raw_context={"url": "wss://u:hunter2@host/"},
    )
    assert event == {
        "ticket_id": "t",
        "timestamp_utc": iso_utc(NOW_US),
        "action": "error",
        "target": {"exchange": "nope"},
        "meta": {
            "schema_version": "1.0",
            "correlation_id": "c",
            "observed_key": "k",
            "raw_context": {"url": "wss://***@host/"},
        },
        "error": {
            "error_domain": "payload",
            "error_code": "unknown_exchange",
            "error_message": {"message": "no such exchange", "detail": "password=***"},
        },
    }


def test_an_exception_of_others_is_an_unknown_error() -> None:
    event = error_event(ValueError("odd"), ticket_id="t", now_us=NOW_US)
    assert event["error"]["error_code"] == "unknown_error"
    assert event["error"]["error_message"]["message"] == "ValueError: odd"


def test_an_error_event_stays_small_whatever_it_tells_of() -> None:
    huge = "x" * 3_000_000
    event = error_event(
        CommandError(huge, detail=huge),
        ticket_id="t",
        now_us=NOW_US,
        target={"exchange": huge},
        correlation_id=huge,
        raw_context={"payload": huge, huge: 1},
    )
    assert len(json.dumps(event)) < 20_000


def dead_letter(payload: bytes | None, **options: object) -> dict[str, object]:
    return dlq_event(
        "bad", payload, ticket_id="t", now_us=NOW_US, topic="ws.command", partition=2, offset=9, **options
    )


def test_a_dead_letter_keeps_the_raw_bytes() -> None:
    payload = b"\xff\x00{not json"
    event = dead_letter(payload, key=b"k", detail_error={"code": "x"})
    assert base64.b64decode(event["payload_b64"]) == payload
    assert event["payload_size"] == len(payload)
    assert event["payload_sha256"] == hashlib.sha256(payload).hexdigest()
    assert event["truncated"] is False
    assert event["source"] == {
        "topic": "ws.command",
        "partition": 2,
        "offset": 9,
        "key_b64": base64.b64encode(b"k").decode(),
    }


def test_a_dead_letter_that_would_not_fit_is_truncated_and_says_so() -> None:
    payload = bytes(range(256)) * 4096
    event = dead_letter(payload, max_payload_bytes=1000)
    assert base64.b64decode(event["payload_b64"]) == payload[:1000]
    assert event["payload_size"] == len(payload)
    assert event["payload_sha256"] == hashlib.sha256(payload).hexdigest()
    assert event["truncated"] is True


def test_a_dead_letter_fits_a_topic_of_a_megabyte_by_default() -> None:
    event = dlq_event(
        "r" * 10**6,
        b"p" * 10**7,
        ticket_id="t",
        now_us=NOW_US,
        topic="ws.command",
        partition=0,
        offset=0,
        key=b"k" * 10**6,
        target={"exchange": "e" * 10**6},
        correlation_id="c" * 10**6,
        detail_error={"message": "m" * 10**6},
    )
    assert len(json.dumps(event)) < 900_000


def test_a_tombstone_is_a_dead_letter_without_bytes() -> None:
    event = dead_letter(None)
    assert (event["payload_b64"], event["payload_size"], event["truncated"]) == ("", 0, False)


def test_the_same_message_gives_the_same_ticket() -> None:
    first = ticket_id_of("ws.command", 1, 5, "error")
    assert first == ticket_id_of("ws.command", 1, 5, "error")
    assert UUID(first)
    others = {ticket_id_of("ws.command", 1, 6, "error"), ticket_id_of("ws.command", 1, 5, "dlq")}
    assert len(others | {first}) == 3


def test_times_are_iso_utc_with_milliseconds() -> None:
    assert iso_utc(NOW_US) == "2026-11-02T07:31:40.123+00:00"


def test_what_a_user_put_into_target_and_ids_is_without_secrets_and_short() -> None:
    url = "wss://user:hunter2@h/" + "x" * 300
    event = error_event(
        CommandError("no", code=ErrorCode.UNKNOWN_EXCHANGE),
        ticket_id="t",
        now_us=0,
        target={"exchange": url},
        correlation_id=url,
        observed_key=f"{url}|korea|ticker",
    )
    texts = [event["target"]["exchange"], event["meta"]["correlation_id"], event["meta"]["observed_key"]]
    for text in texts:
        assert text.startswith("wss://***@h/x")
        assert len(text) < 300
    assert "hunter2" not in json.dumps(event)
