"""Bybit's side of one connection to the public spot stream, v5: topics in, answers out.

Written from https://bybit-exchange.github.io/docs/v5/ws/connect (read 2026-11): heartbeat, subscribing, at
most 10 topics a request and 21,000 characters of topics a connection. What the documentation does not show is
as users report it: ``error:handler not found,topic:…`` for a topic that does not exist, ``error:already
subscribed,topic:…``; a request with one such topic is refused as a whole.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from infra.simulator.venue import Answer, Conversation, Feed, Reply, Snapshot

CHANNELS: Final = frozenset(
    {"tickers", "publicTrade", "orderbook.1", "orderbook.50", "orderbook.200", "orderbook.1000"}
)
"""The kinds of topics that are simulated; a topic is one of them and a symbol, joined by a dot."""
_AT_ONCE: Final = frozenset({"tickers", "orderbook.1", "orderbook.50", "orderbook.200", "orderbook.1000"})
_MAX_TOPICS_PER_REQUEST: Final = 10
_MAX_TOPIC_CHARACTERS: Final = 21_000


class _RefusedError(Exception):
    """A request that is answered with ``success`` false."""


class BybitConversation(Conversation):
    """One connection; ``symbols`` are those that exist. ``connection_id`` stands in every answer."""

    def __init__(self, symbols: Collection[str], connection_id: str) -> None:
        super().__init__()
        self._symbols = symbols
        self._connection_id = connection_id
        self._topics: dict[str, Feed] = {}

    def receive(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        """Take a request."""
        op, request_id = "", ""
        try:
            request = _decoded(message)
            op, request_id = str(request.get("op", ""))[:64], str(request.get("req_id", ""))[:64]
            return self._perform(op, request_id, request.get("args"))
        except _RefusedError as refused:
            return [self._answer(op, request_id, str(refused), success=False)]

    def _perform(self, op: str, request_id: str, args: Any) -> Sequence[Reply]:
        if op == "ping":
            return [self._answer(op, request_id, "pong")]
        if op not in ("subscribe", "unsubscribe"):
            raise _RefusedError(f"error:unknown op,op:{op}")
        if not isinstance(args, list) or not args or not all(isinstance(topic, str) for topic in args):
            raise _RefusedError("error:args must be a list of topics")
        if len(args) > _MAX_TOPICS_PER_REQUEST:
            raise _RefusedError(f"args size >{_MAX_TOPICS_PER_REQUEST}")
        topics = dict.fromkeys(args)
        if op == "unsubscribe":
            for topic in topics:
                feed = self._topics.pop(topic, None)
                if feed is not None:
                    del self.feeds[feed]
            return [self._answer(op, request_id, "")]
        feeds = {topic: self._feed(topic) for topic in topics}
        if sum(map(len, (*self._topics, *feeds))) > _MAX_TOPIC_CHARACTERS:
            raise _RefusedError("error:topics are too long")
        self._topics |= feeds
        self.feeds |= dict.fromkeys(feeds.values())
        self.subscribed = True
        answer = self._answer(op, request_id, "subscribe")
        return [answer, *(Snapshot(feed, None) for feed in feeds.values() if feed.channel in _AT_ONCE)]

    def _feed(self, topic: str) -> Feed:
        channel, _, symbol = topic.rpartition(".")
        if channel not in CHANNELS or symbol not in self._symbols:
            raise _RefusedError(f"error:handler not found,topic:{topic[:64]}")
        if topic in self._topics:
            raise _RefusedError(f"error:already subscribed,topic:{topic[:64]}")
        return Feed(channel, symbol)

    def _answer(self, op: str, request_id: str, message: str, *, success: bool = True) -> Answer:
        body = {
            "success": success,
            "ret_msg": message,
            "conn_id": self._connection_id,
            "req_id": request_id,
            "op": op,
        }
        return Answer(msgspec.json.encode(body).decode())


def _decoded(message: str | bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(message.encode() if isinstance(message, str) else message)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _RefusedError("error:invalid json") from None
    if not isinstance(request, dict):
        raise _RefusedError("error:a request is an object")
    return request
