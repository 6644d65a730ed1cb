"""Kraken's side of one connection to the public channels, v2: requests in, answers out.

Written from https://docs.kraken.com/exchange/api-reference/spot-websocket-v2 (ticker, trade; excerpts read
2026-11). Ping, heartbeat, status and the words of the refusals are as commonly known, not read there.
Each symbol of a request is answered by itself. The connection begins with a ``status``; after the
first subscription a ``heartbeat`` follows about every second. A connection on which the client says nothing for
a minute and gets no data either is ended.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from infra.simulator.spelling import iso_time
from infra.simulator.venue import Answer, Conversation, Feed, Reply, Snapshot

CHANNELS: Final = ("ticker", "trade", "book")
"""The public channels that are simulated."""
DEPTHS: Final = (10, 25, 100, 500, 1000)
_DEFAULT_DEPTH: Final = 10
_HEARTBEAT_S: Final = 1.0
_EPOCH_MS: Final = 1_767_225_600_000
_VERSION: Final = "2.0.10"


class KrakenConversation(Conversation):
    """One connection; ``symbols`` are those that exist. ``connection_id`` stands in its status."""

    def __init__(self, symbols: Collection[str], connection_id: int) -> None:
        super().__init__()
        self._symbols = symbols
        self._connection_id = connection_id
        self._greeted = False
        self._beat_s = 0.0

    def receive(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        """Take a request."""
        text = message.encode(errors="surrogatepass") if isinstance(message, str) else message
        try:
            request = msgspec.json.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return [_answer({"error": "Malformed request", "success": False}, None, now_s)]
        method, request_id = request.get("method"), request.get("req_id")
        if method == "ping":
            return [_answer({"method": "pong"}, request_id, now_s)]
        if method not in ("subscribe", "unsubscribe"):
            return [_refused(str(method)[:32], "Method not found", request_id, now_s)]
        params = request.get("params")
        channel = params.get("channel") if isinstance(params, dict) else None
        if not isinstance(params, dict) or channel not in CHANNELS:
            return [_refused(method, "Channel field must be a valid channel", request_id, now_s)]
        named = params.get("symbol")
        if not isinstance(named, list) or not named:
            return [_refused(method, "Symbol(s) not provided", request_id, now_s)]
        depth = params.get("depth", _DEFAULT_DEPTH)
        if channel == "book" and (not isinstance(depth, int) or depth not in DEPTHS):
            return [_refused(method, "Subscription depth not supported", request_id, now_s)]
        replies: list[Reply] = []
        for symbol in named:
            replies += self._perform(method, params, str(symbol)[:64], request_id, now_s)
        return replies

    def tick(self, now_s: float) -> Sequence[Reply]:
        """The status at the beginning, and the heartbeats."""
        if not self._greeted:
            self._greeted = True
            return [self._status("online")]
        if not self.subscribed or now_s - self._beat_s < _HEARTBEAT_S:
            return ()
        self._beat_s = now_s
        return [Answer('{"channel":"heartbeat"}')]

    def farewell(self, now_ms: int) -> Answer:
        """The status before maintenance."""
        return self._status("maintenance")

    def _perform(
        self, method: str, params: dict[str, Any], symbol: str, request_id: Any, now_s: float
    ) -> list[Reply]:
        if symbol not in self._symbols:
            error = f"Currency pair not supported {symbol}"
            return [_refused(method, error, request_id, now_s, symbol)]
        name, told = params["channel"], dict[str, Any]()
        channel = name
        if name == "book":
            told["depth"] = params.get("depth", _DEFAULT_DEPTH)
            channel = f"book.{told['depth']}"
        feed = Feed(channel, symbol)
        wants_snapshot = params.get("snapshot", name != "trade") is True
        if method == "subscribe":
            if feed in self.feeds:
                return [_refused(method, "Already subscribed", request_id, now_s, symbol)]
            self.feeds[feed] = None
            self.subscribed = True
            told["snapshot"] = wants_snapshot
        elif feed not in self.feeds:
            return [_refused(method, "Subscription Not Found", request_id, now_s, symbol)]
        else:
            del self.feeds[feed]
        body = {"method": method, "result": {"channel": name, "symbol": symbol, **told}, "success": True}
        answer = _answer(body, request_id, now_s)
        return [answer, Snapshot(feed, None)] if method == "subscribe" and wants_snapshot else [answer]

    def _status(self, system: str) -> Answer:
        data = {
            "api_version": "v2",
            "connection_id": self._connection_id,
            "system": system,
            "version": _VERSION,
        }
        return Answer(msgspec.json.encode({"channel": "status", "data": [data], "type": "update"}).decode())


def _refused(method: str, error: str, request_id: Any, now_s: float, symbol: str | None = None) -> Answer:
    named = {} if symbol is None else {"symbol": symbol}
    return _answer({"error": error, "method": method, "success": False, **named}, request_id, now_s)


def _answer(body: dict[str, Any], request_id: Any, now_s: float) -> Answer:
    """With the number of the request, and the times of the exchange's own, somewhere near the present."""
    numbered = {"req_id": request_id} if isinstance(request_id, int) and abs(request_id) < 2**63 else {}
    told = iso_time(_EPOCH_MS + int(now_s * 1000))
    return Answer(msgspec.json.encode({**body, **numbered, "time_in": told, "time_out": told}).decode())
