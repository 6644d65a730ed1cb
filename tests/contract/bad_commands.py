"""Commands that cannot be taken, each with the code that says why."""

import json
from collections.abc import Iterator
from typing import Any

from tests.gateway_rig import connect, disconnect

D, S, M = "deserialization_error", "invalid_schema", "missing_field"


def _good(**more: Any) -> dict[str, Any]:
    return connect("upbit", "ticker", "KRW-BTC", **more)


def _target(**target: Any) -> dict[str, Any]:
    return {**_good(), "target": target}


def _url(url: str) -> dict[str, Any]:
    return _good(connection={"url": url})


def _text(command: dict[str, Any]) -> str:
    return json.dumps(command)


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in _good().items() if key != name}


def _nested(depth: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    return _good(routing={"a": value})


KINDS: list[tuple[str, Any, str]] = [
    ("cut short", b"{", D),
    ("words", b"connect please", D),
    ("empty", b"", D),
    ("tombstone", None, D),
    ("utf-16", _text(_good()).encode("utf-16"), D),
    ("latin-1", _text(_good()).replace("status", "stat\u00fcs").encode("latin-1"), D),
    ("byte order mark", b"\xef\xbb\xbf" + _text(_good()).encode(), D),
    ("lone surrogate", _text(_good(correlation_id="X")).replace("X", "\\ud800").encode(), D),
    ("NaN", _text(_good(ttl_ms=12345)).replace("12345", "NaN").encode(), D),
    ("two values", (_text(_good()) * 2).encode(), D),
    ("nested too deep", _nested(40), D),
    ("nested without end", b"[" * 100_000, D),
    ("an array", [_good()], S),
    ("a string", "connect", S),
    ("a number", 1, S),
    ("null", b"null", S),
    ("no target", _without("target"), M),
    ("no type", _without("type"), M),
    ("no symbols field", _without("symbols"), M),
    ("no request type", _target(exchange="upbit"), M),
    ("no symbols", _good(symbols=[]), S),
    ("symbols as text", _good(symbols="KRW-BTC"), S),
    ("symbols of numbers", _good(symbols=[1]), S),
    ("a target of text", _good(target="upbit"), S),
    ("ttl as text", _good(ttl_ms="5"), S),
    ("ttl as a boolean", _good(ttl_ms=True), S),
    ("ttl as a fraction", _good(ttl_ms=1.5), S),
    ("ttl negative", _good(ttl_ms=-1), S),
    ("a huge integer", _good(ttl_ms=10**40), S),
    ("an unknown field", _good(symbol="KRW-BTC"), S),
    ("an unknown field inside", _target(exchange="upbit", request_type="ticker", venue="x"), S),
    ("a field twice", _text(_good()).replace('"action"', '"action":"x","action"', 1).encode(), S),
    ("a field twice inside", _text(_good()).replace('"exchange"', '"exchange":"okx","exchange"').encode(), S),
    ("another action", _good(action="connect"), S),
    ("the other command", disconnect("upbit", "ticker", "KRW-BTC"), S),
    ("unknown exchange", _target(exchange="mtgox", request_type="ticker"), "unknown_exchange"),
    (
        "exchange not served",
        _target(exchange="bitstamp", region="europe", request_type="ticker"),
        "unknown_exchange",
    ),
    ("exchange in capitals", _target(exchange="UPBIT", request_type="ticker"), "unknown_exchange"),
    ("wrong region", _target(exchange="upbit", region="asia", request_type="ticker"), S),
    ("wrong request type", _target(exchange="upbit", request_type="candles"), "unsupported_request_type"),
    ("not a symbol", _good(symbols=["KRW-BTC", "?"]), "unknown_symbol"),
    ("an empty symbol", _good(symbols=[""]), "unknown_symbol"),
    ("URL elsewhere", _url("wss://example.com/websocket/v1"), "url_not_allowed"),
    ("URL of a file", _url("file:///etc/passwd"), "url_not_allowed"),
    ("URL without TLS", _url("ws://api.upbit.com/websocket/v1"), "url_not_allowed"),
    ("URL with a password", _url("wss://me:secret@api.upbit.com/websocket/v1"), "url_not_allowed"),
    ("URL with a disguise", _url("wss://api.upbit.com@example.com/"), "url_not_allowed"),
    ("URL without a host", _url("wss:///websocket/v1"), "url_not_allowed"),
    ("URL with a wrong port", _url("wss://api.upbit.com:99999/"), "url_not_allowed"),
    ("expired", _good(ttl_ms=1000, ts_issue=1_700_000_000_000), "expired"),
    ("ttl without issue", _good(ttl_ms=1000), M),
    ("unknown projection", _good(projection=["price", "colour"]), S),
    ("too large", _good(routing={"a": "x" * 300_000}), "too_large"),
    ("as large as a topic takes", _good(routing={"a": "x" * 950_000}), "too_large"),
]


def bad_commands(count: int) -> Iterator[tuple[str, bytes | None, str]]:
    """``count`` of them: every kind at least once, the small ones again with other bytes."""
    for name, value, code in KINDS:
        yield name, _raw(value), code
    again = [kind for kind in KINDS if kind[0] not in ("too large", "as large as a topic takes")]
    for number in range(count - len(KINDS)):
        name, value, code = again[number % len(again)]
        raw = _raw(value)
        yield f"{name} again", raw if raw is None else raw + b" " * (number + 1), code


def _raw(value: Any) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
