"""Korbit's side of one public connection: requests in, acknowledgements, snapshots and errors out.

Written from https://docs.korbit.co.kr (read 2026-11), "WebSocket API": 요청 보내기 (an array of
objects, also for one), 응답 메시지 (success is told only to a request with a ``requestId``, failure
always), 현재가, 호가, 체결 (each begins with a snapshot).

Where the documentation is silent, what has been measured of the exchange (a public protocol
survey of 2026-09): texts of the failures; symbols are case-sensitive. One unknown symbol fails
its whole request object, as the documentation's example has it. Not simulated: the grouping of an
order book (every ``level`` is invalid).
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from infra.simulator.venue import Answer, Conversation, Feed, Reply, Snapshot

_TYPES: Final = frozenset({"ticker", "trade", "orderbook"})


class KorbitConversation(Conversation):
    """One connection to the public endpoint; ``symbols`` are those that exist (``btc_krw``)."""

    def __init__(self, symbols: frozenset[str]) -> None:
        super().__init__()
        self._symbols = symbols

    def receive(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        """Take an array of requests."""
        text = message.encode(errors="replace") if isinstance(message, str) else message
        try:
            requests = msgspec.json.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            requests = None
        if not isinstance(requests, list) or not all(isinstance(request, dict) for request in requests):
            return [_control("fail", {}, message="invalid_format")]
        return [reply for request in requests for reply in self._take(request)]

    def _take(self, request: dict[str, Any]) -> list[Reply]:
        method, kind, symbols = request.get("method"), request.get("type"), request.get("symbols")
        wrong = None
        if method not in ("subscribe", "unsubscribe"):
            wrong = "unknown_method"
        elif not isinstance(kind, str) or kind not in _TYPES:
            wrong = "unknown_type"
        elif not isinstance(symbols, list) or not symbols or not all(isinstance(s, str) for s in symbols):
            wrong = "invalid_symbols"
        elif request.get("level") is not None:
            wrong = "invalid_level"
        if wrong is not None:
            return [_control("fail", request, code="INVALID_REQUEST", message=wrong)]
        assert isinstance(symbols, list)
        for symbol in symbols:
            if symbol not in self._symbols:
                message = f"The symbol does not exist ({symbol})"
                return [_control("fail", request, code="INVALID_SYMBOL", message=message)]
        replies: list[Reply] = [] if "requestId" not in request else [_control("success", request)]
        for symbol in dict.fromkeys(symbols):
            feed = Feed(str(kind), symbol)
            if method == "unsubscribe":
                self.feeds.pop(feed, None)
            else:
                self.feeds[feed] = None
                self.subscribed = True
                replies.append(Snapshot(feed, None))
        return replies


def _control(status: str, request: dict[str, Any], **more: str) -> Answer:
    answer: dict[str, Any] = {"status": status, **more}
    if isinstance(request.get("requestId"), int):
        answer["requestId"] = request["requestId"]
    return Answer(msgspec.json.encode(answer).decode())
