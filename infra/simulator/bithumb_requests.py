"""Bithumb's side of one public connection: requests in, snapshots, subscriptions, heartbeats and errors out.

Written from https://apidocs.bithumb.com/reference (read 2026-11): 요청 포맷 (an array of ticket,
types and format), 호가 (Orderbook) (``CODE.UNITS`` and ``level``), 연결 관리 및 에러 (the text ``PING``
answered by ``{"status":"UP"}`` every 10 s; names of errors), 기본 정보.

Where the documentation is silent, what has been measured of the exchange (a public protocol
survey of 2026-09): the switches are read in camel case alone (``isOnlySnapshot``); an unknown
code gets no frame and no error, also lower case; an unknown format is the default one; an error
ends the connection with 1000; a later request takes the place of the earlier one. Not simulated:
the grouping by ``level`` (silent).
"""

from collections.abc import Hashable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from infra.simulator.venue import Answer, Close, Conversation, Feed, Reply, Snapshot

_TYPES: Final = frozenset({"ticker", "trade", "orderbook"})
MAX_UNITS: Final = 15
_UP_REPEAT_S: Final = 10.0
_UP: Final = Answer('{"status":"UP"}')


class BithumbForm(NamedTuple):
    """How a connection wants a frame: short keys, and how many units of an order book."""

    simple: bool
    units: int = MAX_UNITS


class _RefusedError(Exception):
    """A request that gets an error object; ``name`` is the documented one."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


class BithumbConversation(Conversation):
    """One connection to the public endpoint; ``codes`` are those that exist."""

    def __init__(self, codes: frozenset[str]) -> None:
        super().__init__()
        self._codes = codes
        self._next_up_s: float | None = None

    def receive(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        """Take a ``PING`` or a request."""
        text = message.encode(errors="replace") if isinstance(message, str) else message
        if text.strip() == b"PING":
            self._next_up_s = now_s + _UP_REPEAT_S
            return [_UP]
        try:
            return self._subscribe(_parse(text))
        except _RefusedError as refused:
            error = {"error": {"name": refused.name, "message": refused.message}}
            return [Answer(msgspec.json.encode(error).decode()), Close(1000, "")]

    def tick(self, now_s: float) -> Sequence[Reply]:
        """Repeat the heartbeat that a ``PING`` asked for."""
        if self._next_up_s is None or now_s < self._next_up_s:
            return ()
        self._next_up_s += _UP_REPEAT_S
        return [_UP]

    def _subscribe(self, parts: list[dict[str, Any]]) -> list[Reply]:
        simple = any(part.get("format") == "SIMPLE" for part in parts)
        feeds, replies = dict[Feed, Hashable](), list[Reply]()
        for entry in parts:
            if "type" not in entry:
                continue
            kind, codes = _checked(entry)
            if entry.get("level", 1) not in (0, 1):
                continue
            for code in codes:
                pair, dot, units = code.partition(".")
                if pair not in self._codes or (dot and kind != "orderbook"):
                    continue
                feed, form = Feed(kind, pair), BithumbForm(simple, _unit_count(units))
                if entry.get("isOnlyRealtime") is not True:
                    replies.append(Snapshot(feed, form))
                if entry.get("isOnlySnapshot") is not True:
                    feeds[feed] = form
        self.feeds, self.subscribed = feeds, True
        return replies


def _parse(text: bytes) -> list[dict[str, Any]]:
    """Take the array apart; raises ``_RefusedError``."""
    try:
        parts = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _RefusedError("WRONG_FORMAT", "Format 이 맞지 않습니다.") from None
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise _RefusedError("WRONG_FORMAT", "Format 이 맞지 않습니다.")
    if not any(isinstance(part.get("ticket"), str) and part["ticket"] for part in parts):
        raise _RefusedError("NO_TICKET", "티켓이 존재하지 않거나, 유효하지 않습니다.")
    if not any("type" in part for part in parts):
        raise _RefusedError("WRONG_FORMAT", "Format 이 맞지 않습니다.")
    return parts


def _checked(entry: dict[str, Any]) -> tuple[str, list[str]]:
    """Type and codes; raises ``_RefusedError``."""
    kind, codes = entry["type"], entry.get("codes")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise _RefusedError("INVALID_PARAM", f"{str(kind)[:64]!r} 은 지원하지 않는 타입입니다.")
    if not codes:
        raise _RefusedError("INVALID_PARAM", "codes 필드가 비어 있습니다.")
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise _RefusedError("WRONG_FORMAT", "Format 이 맞지 않습니다.")
    return kind, codes


def _unit_count(text: str) -> int:
    return min(int(text), MAX_UNITS) if text.isascii() and text.isdigit() and int(text[:4]) > 0 else MAX_UNITS
