"""The events the gateway writes to its control topics, as plain JSON-ready objects.

The shapes are those of the Avro records ``error_event``, ``connect_success``, ``dlq_event`` and
``backpressure_event``. Times and ids come in as arguments; nothing here reads a clock.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from core.errors import ErrorCode, ErrorDomain, GatewayError
from core.identity import ConnectionScopeDomain

SCHEMA_VERSION: Final = "1.0"

MAX_TEXT_CHARS: Final = 4_000
"""Longer texts in an event are cut, and say so: an event must fit its topic whatever it tells of."""
MAX_ITEMS: Final = 100

_SECRET_NAME = r"(?:pass(?:word|wd|phrase)|secret|token|api[_-]?key|private[_-]?key|authorization|credential)s?"
_SECRET_KEY = re.compile(_SECRET_NAME, re.I)
# A scheme has a bounded length here, so that a long text without one costs one pass.
# One URL of a list ends where a comma and the next one's scheme follow.
_URL = re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://(?:(?!,[a-z][a-z0-9+.-]{0,20}://)\S)+", re.I)
_SECRET_PAIR = re.compile(
    rf"""({_SECRET_NAME}\\*["']?\s{{0,8}}[=:]\s{{0,8}})"""
    r"""(?:(?:bearer|basic)\s+)?(?:\\*"[^"]*"|\\*'[^']*'|[^\s&,;"'}\]]+)""",
    re.I,
)


def ticket_id_of(topic: str, partition: int, offset: int, kind: str, part: str = "") -> str:
    """The id of an event that follows from one message: the same message gives the same id again."""
    return str(uuid5(NAMESPACE_URL, f"kafka:{topic}/{partition}/{offset}#{kind}/{part}"))


def iso_utc(epoch_us: int) -> str:
    """Epoch microseconds as ISO 8601 UTC with milliseconds."""
    return datetime.fromtimestamp(epoch_us / 1_000_000, UTC).isoformat(timespec="milliseconds")


def without_secrets(text: str) -> str:
    """``text`` with user information taken out of URLs and the values of secrets masked."""

    def clean_url(match: re.Match[str]) -> str:
        try:
            parts = urlsplit(match.group())
        except ValueError:
            return "(unreadable URL)"
        if "@" not in parts.netloc:
            return match.group()
        return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))

    return _SECRET_PAIR.sub(r"\1***", _URL.sub(clean_url, text))


def clipped(text: str, max_chars: int = MAX_TEXT_CHARS) -> str:
    """``text``, cut to ``max_chars`` with a note of how much is gone."""
    if len(text) <= max_chars:
        return text
    return f"{text[:max_chars]}… ({len(text) - max_chars} more characters)"


def masked(value: object) -> Any:
    """A copy of a JSON-like value in which secrets are masked, whatever their depth (to 16).

    Texts are cut to ``MAX_TEXT_CHARS``, objects and lists to ``MAX_ITEMS``.
    """
    return _masked(value, 16)


def _masked(value: object, depth: int) -> Any:
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {
            clipped(str(k), 256): "***" if _SECRET_KEY.search(str(k)) else _masked(v, depth - 1)
            for k, v in islice(value.items(), MAX_ITEMS)
        }
    if isinstance(value, list | tuple):
        return [_masked(item, depth - 1) for item in value[:MAX_ITEMS]]
    return _clean(value) if isinstance(value, str) else value


def _clean(text: str) -> str:
    """Without secrets, then cut: a cut could take a secret's name from its value."""
    return clipped(without_secrets(text))


def _clean_target(target: Mapping[str, str] | None) -> dict[str, str] | None:
    return {k: clean_text(v) for k, v in target.items()} if target else None


def clean_text(text: str) -> str:
    """A short text that a user gave, as part of a key or a target: without secrets, then cut."""
    return clipped(without_secrets(text), 256)


def target_of(scope: ConnectionScopeDomain) -> dict[str, str]:
    """A scope as an event's ``target``."""
    return {
        "exchange": scope.exchange,
        "region": scope.region,
        "request_type": scope.request_type,
    }


def error_event(
    error: BaseException,
    *,
    ticket_id: str | UUID,
    now_us: int,
    target: Mapping[str, str] | None = None,
    correlation_id: str | None = None,
    observed_key: str | None = None,
    raw_context: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One error as ``ws.error`` carries it. An exception that is not ours becomes ``unknown_error``."""
    if isinstance(error, GatewayError):
        domain, code, message, detail = error.domain, error.code, error.message, error.detail
    else:
        domain, code = ErrorDomain.UNKNOWN, ErrorCode.UNKNOWN_ERROR
        message, detail = f"{type(error).__name__}: {error}", None
    return {
        "ticket_id": str(ticket_id),
        "timestamp_utc": iso_utc(now_us),
        "action": "error",
        "target": _clean_target(target),
        "meta": {
            "schema_version": SCHEMA_VERSION,
            "correlation_id": clean_text(correlation_id) if correlation_id else None,
            "observed_key": clean_text(observed_key) if observed_key else None,
            "raw_context": masked(raw_context) if raw_context else None,
        },
        "error": {
            "error_domain": str(domain),
            "error_code": str(code),
            "error_message": {
                "message": _clean(message),
                "detail": _clean(detail) if detail else None,
            },
        },
    }


def success_event(
    action: Literal["connect_success", "disconnect_success"],
    scope: ConnectionScopeDomain,
    *,
    ticket_id: str | UUID,
    now_us: int,
    correlation_id: str | None,
) -> dict[str, Any]:
    """The good outcome of a command for ``scope.symbol``."""
    return {
        "ticket_id": str(ticket_id),
        "timestamp_utc": iso_utc(now_us),
        "action": action,
        "ack": "clear",
        "target": target_of(scope),
        "symbol": scope.symbol,
        "meta": {
            "schema_version": SCHEMA_VERSION,
            "correlation_id": correlation_id,
            "observed_key": scope.key,
        },
    }


def dlq_event(
    reason: str,
    payload: bytes | None,
    *,
    ticket_id: str | UUID,
    now_us: int,
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None = None,
    target: Mapping[str, str] | None = None,
    correlation_id: str | None = None,
    detail_error: Mapping[str, str] | None = None,
    max_payload_bytes: int = 600_000,
) -> dict[str, Any]:
    """A message that could not be taken, with its raw bytes (at most ``max_payload_bytes`` of them)."""
    raw = payload or b""
    kept = raw[:max_payload_bytes]
    return {
        "ticket_id": str(ticket_id),
        "timestamp_utc": iso_utc(now_us),
        "action": "dlq",
        "reason": _clean(reason),
        "target": _clean_target(target),
        "meta": {
            "schema_version": SCHEMA_VERSION,
            "correlation_id": clean_text(correlation_id) if correlation_id else None,
            "observed_key": None,
        },
        "source": {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "key_b64": base64.b64encode(key[:4096]).decode() if key is not None else None,
        },
        "payload_b64": base64.b64encode(kept).decode(),
        "payload_size": len(raw),
        "payload_sha256": hashlib.sha256(raw).hexdigest(),
        "truncated": len(kept) < len(raw),
        "detail_error": {k: _clean(v) for k, v in (detail_error or {}).items()},
    }


def with_payload_cut(event: Mapping[str, Any], max_payload_bytes: int) -> dict[str, Any]:
    """The same ``dlq_event`` with at most so many bytes of its payload."""
    kept = base64.b64decode(event["payload_b64"])
    if len(kept) <= max_payload_bytes:
        return dict(event)
    cut = base64.b64encode(kept[:max_payload_bytes]).decode()
    return {**event, "payload_b64": cut, "truncated": True}


def backpressure_event(
    action: Literal["backpressure_activated", "backpressure_deactivated", "queue_status_report"],
    producer_name: str,
    *,
    ticket_id: str | UUID,
    now_us: int,
    queue_size: int,
    queue_max_size: int,
    is_throttled: bool,
    high_watermark: int,
    low_watermark: int,
    message: str | None = None,
) -> dict[str, Any]:
    """How full a producer's local queue is; sizes in messages."""
    return {
        "ticket_id": str(ticket_id),
        "timestamp_utc": iso_utc(now_us),
        "action": action,
        "producer_name": producer_name,
        "status": {
            "queue_size": queue_size,
            "queue_max_size": queue_max_size,
            "usage_percent": round(100 * queue_size / queue_max_size, 1) if queue_max_size else 0.0,
            "is_throttled": is_throttled,
            "high_watermark": high_watermark,
            "low_watermark": low_watermark,
        },
        "message": message,
    }
