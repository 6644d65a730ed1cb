"""Binance's side of one connection to the spot market streams: stream names and requests in, answers out.

Written from https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams (general
information, live subscribing, properties, the table of error messages, server shutdown). The error object's
envelope, ``{"error": {"code", "msg"}, "id"}``, is what users of the live service report; the table shows its
inner part.

Where the documentation is silent: a stream of a symbol or kind that does not exist is acknowledged, listed
and silent; a name that is no ``symbol@kind`` and no ``!…`` is refused as users report it (``invalid
stream``); a request that would go beyond 1024 streams is refused as a whole; stream names are taken
literally, so one in upper case is silent.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from infra.simulator.venue import Answer, Close, Conversation, Feed, Reply

CHANNELS: Final = frozenset({"ticker", "trade", "aggTrade", "bookTicker", "depth", "depth@100ms"})
"""The kinds of streams that are simulated, as their names have them after the symbol."""
_MAX_STREAMS: Final = 1024
_METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_STREAM = re.compile(r"[^@\s]+@\S+|![^\s@]+(@\S+)?")
_TEXT_ID = re.compile(r"[0-9A-Za-z_-]{1,36}")


class _RefusedError(Exception):
    """A request that gets an error object."""

    def __init__(self, code: int, msg: str, request_id: int | str | None = None) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.request_id = request_id


def streams_of_path(path: str) -> tuple[bool, list[str]] | None:
    """(combined, streams) of a request path; None when there is no such path.

    ``/ws``, ``/ws/a``, ``/ws/a/b`` give raw payloads, ``/stream`` and ``/stream?streams=a/b`` combined ones.
    """
    try:
        parts = urlsplit(path)
    except ValueError:  # as of //[, which reads as a broken address
        return None
    root, _, names = parts.path.strip("/").partition("/")
    if root == "ws":
        return False, [name for name in names.split("/") if name]
    if root == "stream" and not names:
        asked = parse_qs(parts.query).get("streams", [""])[0]
        return True, [name for name in asked.split("/") if name]
    return None


class BinanceConversation(Conversation):
    """One connection; ``symbols`` are those that exist, in upper case."""

    def __init__(self, symbols: Collection[str], combined: bool, streams: Sequence[str]) -> None:
        super().__init__()
        self._symbols = symbols
        self._combined = combined
        self._streams: dict[str, Feed | None] = {}
        self._overfull = len(set(streams)) > _MAX_STREAMS
        if not self._overfull:
            self._add(streams)

    def receive(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        """Take a request."""
        try:
            request = _parse(message)
            answer = {"result": self._perform(request), "id": request["id"]}
        except _RefusedError as refused:
            answer = {"error": {"code": refused.code, "msg": refused.msg}, "id": refused.request_id}
        return [Answer(msgspec.json.encode(answer).decode())]

    def tick(self, now_s: float) -> Sequence[Reply]:
        """Close a connection whose path asked for too many streams."""
        return [Close(1008, "Too many streams")] if self._overfull else ()

    def farewell(self, now_ms: int) -> Answer | None:
        """The event that announces the end of a server."""
        event = f'{{"e":"serverShutdown","E":{now_ms}}}'
        return Answer(f'{{"stream":"!serverShutdown","data":{event}}}' if self._combined else event)

    def _perform(self, request: dict[str, Any]) -> Any:
        method, params, request_id = request["method"], request["params"], request["id"]
        if method == "LIST_SUBSCRIPTIONS":
            if params:
                raise _RefusedError(2, "Invalid request: too many parameters", request_id)
            return list(self._streams)
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return self._property(method, params, request_id)
        for name in params:
            if not isinstance(name, str) or not _STREAM.fullmatch(name):
                raise _RefusedError(2, "Invalid request: invalid stream", request_id)
        if method == "UNSUBSCRIBE":
            for name in params:
                feed = self._streams.pop(name, None)
                if feed is not None:
                    del self.feeds[feed]
            return None
        if len({*self._streams, *params}) > _MAX_STREAMS:
            raise _RefusedError(2, f"Invalid request: more than {_MAX_STREAMS} streams", request_id)
        self._add(params)
        return None

    def _property(self, method: str, params: list[Any], request_id: int | str | None) -> bool | None:
        if not params or not isinstance(params[0], str):
            raise _RefusedError(2, "Invalid request: property name must be a string", request_id)
        if len(params) > (2 if method == "SET_PROPERTY" else 1):
            raise _RefusedError(2, "Invalid request: too many parameters", request_id)
        if params[0] != "combined":
            raise _RefusedError(0, "Unknown property", request_id)
        if method == "GET_PROPERTY":
            return self._combined
        if len(params) < 2 or not isinstance(params[1], bool):
            raise _RefusedError(1, "Invalid value type: expected Boolean", request_id)
        self._combined = params[1]
        self.feeds = dict.fromkeys(self.feeds, self._combined)
        return None

    def _add(self, streams: Sequence[str]) -> None:
        for name in streams:
            symbol, _, channel = name.partition("@")
            known = channel in CHANNELS and symbol == symbol.lower() and symbol.upper() in self._symbols
            feed = Feed(channel, symbol.upper()) if known else None
            self._streams[name] = feed
            self.subscribed = True
            if feed is not None:
                self.feeds[feed] = self._combined


def _parse(message: str | bytes) -> dict[str, Any]:
    """The request with all three members present; raises ``_RefusedError``."""
    text = message.encode() if isinstance(message, str) else message
    try:
        request = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _RefusedError(3, "Invalid JSON: expected value at line 1 column 1") from None
    if not isinstance(request, dict):
        raise _RefusedError(2, f"Invalid request: missing field `method` at line 1 column {len(text)}")
    request_id = request.get("id", "")
    if not _acceptable_id(request_id):
        raise _RefusedError(2, "Invalid request: request ID must be an unsigned integer")
    method, params = request.get("method"), request.get("params", [])
    if method is None:
        raise _RefusedError(
            2, f"Invalid request: missing field `method` at line 1 column {len(text)}", request_id
        )
    if method not in _METHODS:
        column = text.find(b'"method"') + len(b'"method":') + len(str(method)) + 3
        expected = f"expected one of {', '.join(f'`{name}`' for name in _METHODS)}"
        msg = f"Invalid request: unknown variant `{method}`, {expected} at line 1 column {column}"
        raise _RefusedError(2, msg, request_id)
    if not isinstance(params, list) or (not params and method in ("SUBSCRIBE", "UNSUBSCRIBE")):
        raise _RefusedError(2, "Invalid request: params must be a list of streams", request_id)
    return {"method": method, "params": params, "id": request_id}


def _acceptable_id(value: Any) -> bool:
    """A signed integer of 64 bits, an alphanumeric text of up to 36 characters, or null; absent is not."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or (isinstance(value, str) and _TEXT_ID.fullmatch(value) is not None)
