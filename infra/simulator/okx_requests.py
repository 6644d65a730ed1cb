"""OKX's side of one connection to the public channels, v5: requests in, answers out.

Written from https://www.okx.com/docs-v5/en/ (read 2026-11): "WebSocket" in the overview (connect, subscribe,
unsubscribe, notification, limits) and its error codes 60012 (invalid request), 60013 (invalid args), 60014
(requests too frequent), 60018 (no such channel or instrument); 64008 announces a service upgrade. Each
argument of a request is answered by itself. The text ``ping`` is answered by ``pong``. 480 requests an hour
and connection, 64 KB a request.
"""

from collections import deque
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from infra.simulator.gate import too_many
from infra.simulator.venue import Answer, Conversation, Feed, Reply, Snapshot

CHANNELS: Final = frozenset({"tickers", "trades", "books", "books5", "bbo-tbt"})
"""The public channels that are simulated."""
_AT_ONCE: Final = frozenset({"tickers", "books", "books5", "bbo-tbt"})
_LIMITS: Final = ((480, 3600.0),)
_MAX_REQUEST_BYTES: Final = 64 * 1024


class OkxConversation(Conversation):
    """One connection; ``instruments`` are those that exist. ``connection_id`` stands in every answer."""

    def __init__(self, instruments: Collection[str], connection_id: str) -> None:
        super().__init__()
        self._instruments = instruments
        self._connection_id = connection_id
        self._requests_s: deque[float] = deque()

    def receive(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        """Take a request, or a ``ping``."""
        if message in ("ping", b"ping"):
            return [Answer("pong")]
        text = message.encode(errors="surrogatepass") if isinstance(message, str) else message
        if too_many(self._requests_s, _LIMITS, now_s):
            return [self._error("60014", "Requests too frequent")]
        try:
            request = msgspec.json.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            request = None
        if not isinstance(request, dict) or request.get("op") not in ("subscribe", "unsubscribe"):
            shown = text[:256].decode(errors="replace")
            return [self._error("60012", f"Invalid request: {shown}")]
        args, request_id = request.get("args"), request.get("id")
        if not isinstance(args, list) or not args or len(text) > _MAX_REQUEST_BYTES:
            return [self._error("60013", "Invalid args", request_id)]
        replies: list[Reply] = []
        for arg in args:
            replies += self._perform(request["op"], arg, request_id)
        return replies

    def farewell(self, now_ms: int) -> Answer:
        """The notice before a service upgrade."""
        return self._answer(
            {
                "event": "notice",
                "code": "64008",
                "msg": "The connection will soon be closed for a service upgrade. Please reconnect.",
            },
            None,
        )

    def _perform(self, op: str, arg: Any, request_id: Any) -> list[Reply]:
        if not isinstance(arg, dict):
            return [self._error("60013", "Invalid args", request_id)]
        channel, instrument = str(arg.get("channel", ""))[:64], str(arg.get("instId", ""))[:64]
        if channel not in CHANNELS or instrument not in self._instruments:
            message = (
                f"Wrong URL or channel:{channel},instId:{instrument} doesn't exist. "
                "Please use the correct URL, channel and parameters referring to API document."
            )
            return [self._error("60018", message, request_id)]
        feed = Feed(channel, instrument)
        acknowledged = {"event": op, "arg": {"channel": channel, "instId": instrument}}
        answer = self._answer(acknowledged, request_id)
        if op == "unsubscribe":
            self.feeds.pop(feed, None)
            return [answer]
        known = feed in self.feeds
        self.feeds[feed] = None
        self.subscribed = True
        return [answer, Snapshot(feed, None)] if channel in _AT_ONCE and not known else [answer]

    def _error(self, code: str, message: str, request_id: Any = None) -> Answer:
        return self._answer({"event": "error", "code": code, "msg": message}, request_id)

    def _answer(self, body: dict[str, Any], request_id: Any) -> Answer:
        named = {"id": request_id[:32]} if isinstance(request_id, str) else {}
        return Answer(msgspec.json.encode({**named, **body, "connId": self._connection_id}).decode())
