"""Upbit's side of one connection: requests in, snapshots, subscriptions, heartbeats and errors out.

Written from https://docs.upbit.com/kr/reference/websocket-guide (request array of ticket, types and format;
error object and its names; ``PING`` answered by ``{"status":"UP"}``, then repeated every 10 s; a later
request takes the place of the earlier one), /websocket-orderbook (``CODE.UNITS`` with 1, 5, 15 or 30 units,
30 for any other) and /list-subscriptions.

Where the documentation is silent: heartbeats, errors and lists of subscriptions are text frames; an unknown
code gets no frame and no error; the first mistake of a request, in its order, is the one reported, and a
refused request leaves the earlier subscription as it was; the texts of the errors are this simulator's own.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from infra.simulator.venue import Answer, Conversation, Feed, Reply, Snapshot

_TYPES: Final = frozenset({"ticker", "trade", "orderbook"})
_UNIT_COUNTS: Final = frozenset({1, 5, 15, 30})
_FORMATS: Final = {
    "DEFAULT": (False, False),
    "SIMPLE": (True, False),
    "JSON_LIST": (False, True),
    "SIMPLE_LIST": (True, True),
}
_UP_REPEAT_S: Final = 10.0
_UP: Final = Answer('{"status":"UP"}')


class UpbitForm(NamedTuple):
    """How a connection wants a frame: short keys, as a list, and how many units of an order book."""

    simple: bool
    listed: bool
    units: int = 30


class _RefusedError(Exception):
    """A request that gets an error object; ``name`` is the documented one."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


class _Request(NamedTuple):
    ticket: Any
    types: list[dict[str, Any]]
    method: Any
    format: str | None


class UpbitConversation(Conversation):
    """One connection to the quotation endpoint; ``codes`` are those that exist."""

    def __init__(self, codes: frozenset[str]) -> None:
        super().__init__()
        self._codes = codes
        self._types: list[dict[str, Any]] = []
        self._simple = self._listed = False
        self._next_up_s: float | None = None

    def receive(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        """Take a ``PING`` or a request."""
        text = message.encode() if isinstance(message, str) else message
        if text.strip() == b"PING":
            self._next_up_s = now_s + _UP_REPEAT_S
            return [_UP]
        try:
            request = _parse(text)
            if request.method is not None:
                return [self._list(request)]
            return self._subscribe(request)
        except _RefusedError as refused:
            error = {"error": {"name": refused.name, "message": refused.message}}
            return [Answer(msgspec.json.encode(error).decode())]

    def tick(self, now_s: float) -> Sequence[Reply]:
        """Repeat the heartbeat that a ``PING`` asked for."""
        if self._next_up_s is None or now_s < self._next_up_s:
            return ()
        self._next_up_s += _UP_REPEAT_S
        return [_UP]

    def _subscribe(self, request: _Request) -> list[Reply]:
        wanted = [_checked(entry) for entry in request.types]
        self._set_format(request.format or "DEFAULT")
        feeds, replies, kept = dict[Feed, Hashable](), list[Reply](), list[dict[str, Any]]()
        for entry in wanted:
            if not entry["is_only_snapshot"]:
                kept.append(entry)
            if entry["type"] not in _TYPES or entry["level"]:
                continue
            for code in entry["codes"]:
                pair, dot, units = code.partition(".")
                if pair not in self._codes or (dot and entry["type"] != "orderbook"):
                    continue
                feed, form = (
                    Feed(entry["type"], pair),
                    UpbitForm(self._simple, self._listed, _unit_count(units)),
                )
                if not entry["is_only_realtime"]:
                    replies.append(Snapshot(feed, form))
                if not entry["is_only_snapshot"]:
                    feeds[feed] = form
        self.feeds, self._types, self.subscribed = feeds, kept, True
        return replies

    def _list(self, request: _Request) -> Answer:
        if request.method != "LIST_SUBSCRIPTIONS":
            raise _RefusedError("INVALID_PARAM", f"method {request.method!r} is not supported")
        # The page warns of it: the format of this request becomes that of the running subscription.
        self._set_format(request.format or "DEFAULT")
        self.feeds = {
            feed: UpbitForm(self._simple, self._listed, form.units)
            for feed, form in self.feeds.items()
            if isinstance(form, UpbitForm)
        }
        names = ("mthd", "rslt", "tckt", "ty", "cds", "lv") if self._simple else (
            "method", "result", "ticket", "type", "codes", "level")  # fmt: skip
        result = []
        for entry in self._types:
            listed = {names[3]: entry["type"], names[4]: entry["codes"]}
            if entry["type"] == "orderbook":
                listed[names[5]] = entry["level"]
            result.append(listed)
        answer = {names[0]: "LIST_SUBSCRIPTIONS", names[1]: result, names[2]: request.ticket}
        return Answer(msgspec.json.encode(answer).decode())

    def _set_format(self, name: str) -> None:
        self._simple, self._listed = _FORMATS[name]


def _parse(text: bytes) -> _Request:
    """Take the array apart; raises ``_RefusedError``."""
    try:
        parts = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _RefusedError("WRONG_FORMAT", "the request is not JSON") from None
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise _RefusedError("WRONG_FORMAT", "the request is not an array of objects")
    tickets = [part["ticket"] for part in parts if "ticket" in part]
    types = [part for part in parts if "type" in part or "codes" in part]
    methods = [part["method"] for part in parts if "method" in part]
    formats = [part["format"] for part in parts if "format" in part]
    if not tickets or tickets[0] in (None, ""):
        raise _RefusedError("NO_TICKET", "the request has no ticket")
    if not (types or methods) or any("type" not in entry for entry in types):
        raise _RefusedError("NO_TYPE", "the request has no type")
    for name in formats:
        if not isinstance(name, str) or name not in _FORMATS:
            raise _RefusedError("INVALID_PARAM", f"format {name!r} is not supported")
    return _Request(tickets[0], types, methods[0] if methods else None, formats[0] if formats else None)


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    """A type object with its defaults filled in; raises ``_RefusedError``."""
    kind, codes, level = entry["type"], entry.get("codes"), entry.get("level", 0)
    if not isinstance(kind, str) or not (kind in _TYPES or kind.startswith("candle.")):
        raise _RefusedError("INVALID_PARAM", f"type {kind!r} is not supported")
    if codes is None or codes == []:
        raise _RefusedError("NO_CODES", "the type has no codes")
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise _RefusedError("INVALID_PARAM", "codes is not a list of strings")
    if isinstance(level, bool) or not isinstance(level, int | float):
        raise _RefusedError("INVALID_PARAM", "level is not a number")
    flags = {name: entry.get(name, False) for name in ("is_only_snapshot", "is_only_realtime")}
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise _RefusedError("INVALID_PARAM", f"{name} is not true or false")
    return {"type": kind, "codes": codes, "level": level, **flags}


def _unit_count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and int(text) in _UNIT_COUNTS else 30
