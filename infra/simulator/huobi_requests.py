"""HTX's (Huobi's) side of one connection to the spot market feed: topics in, answers out.

Written from https://huobiapi.github.io/docs/spot/v1/en/ (read 2026-11): "Websocket Market Data" (general,
heartbeat, subscribe, unsubscribe, request) and the notices on MBP feeds at www.huobi.com/support. Everything
the exchange sends is a binary frame of gzip, answers and heartbeats too; what a client sends is plain text.

The exchange sends ``{"ping": n}`` every 5 s and wants ``{"pong": n}``; two unanswered ones end the
connection. A client's ``ping`` is answered likewise. One topic a request. ``req`` gives a book once, also of
``mbp``, whose sequence is that of the subscribed changes. Where the documentation is silent: a topic of a
pair that does not exist gets the error that is shown for any wrong topic; a second subscription is
acknowledged again.
"""

import gzip
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from infra.simulator.venue import Answer, Close, Conversation, Feed, Reply, Snapshot

_MBP_LEVELS: Final = ("5", "10", "20", "150", "400")
CHANNELS: Final = frozenset(
    {"ticker", "detail", "trade.detail", "bbo"}
    | {f"depth.step{step}" for step in range(6)}
    | {f"mbp.{levels}" for levels in _MBP_LEVELS}
    | {f"mbp.refresh.{levels}" for levels in ("5", "10", "20")}
)
"""The kinds of topics that are simulated: ``market.{symbol}.`` and one of them."""
_REQUESTED: Final = frozenset({"depth.step0", *(f"mbp.{levels}" for levels in _MBP_LEVELS)})
_PING_EVERY_S: Final = 5.0
_MAX_UNANSWERED: Final = 2
_LONG_MAX: Final = 2**63
_EPOCH_MS: Final = 1_793_000_000_000


class _RefusedError(Exception):
    """A message that gets an error."""


class HuobiConversation(Conversation):
    """One connection; ``symbols`` are those that exist, in lower case."""

    def __init__(self, symbols: Collection[str]) -> None:
        super().__init__()
        self._symbols = symbols
        self._next_ping_s: float | None = None
        self._unanswered = 0

    def receive(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        """Take a request, a ``ping`` or a ``pong``."""
        request_id: Any = None
        try:
            request = _decoded(message)
            request_id = request.get("id")
            return self._perform(request, request_id, now_s)
        except _RefusedError as refused:
            body = {"status": "error", "ts": _ms(now_s), "err-code": "bad-request", "err-msg": str(refused)}
            return [_answer(body, request_id)]

    def tick(self, now_s: float) -> Sequence[Reply]:
        """The heartbeat, and the end of a client that does not answer it."""
        if self._next_ping_s is None:
            self._next_ping_s = now_s + _PING_EVERY_S
        if now_s < self._next_ping_s:
            return ()
        if self._unanswered >= _MAX_UNANSWERED:
            return [Close(1000, "ping timeout")]
        self._next_ping_s = now_s + _PING_EVERY_S
        self._unanswered += 1
        return [_answer({"ping": _ms(now_s)}, None)]

    def _perform(self, request: dict[str, Any], request_id: Any, now_s: float) -> Sequence[Reply]:
        if "pong" in request:
            self._unanswered = 0
            return ()
        if "ping" in request:
            value = request["ping"]
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LONG_MAX:
                raise _RefusedError("invalid ping")
            return [_answer({"pong": value}, None)]
        if "sub" in request:
            topic = request["sub"]
            self.feeds[self._feed(topic, CHANNELS)] = None
            self.subscribed = True
            return [_answer({"status": "ok", "subbed": topic, "ts": _ms(now_s)}, request_id)]
        if "unsub" in request:
            topic = request["unsub"]
            self.feeds.pop(self._feed(topic, CHANNELS), None)
            return [_answer({"status": "ok", "unsubbed": topic, "ts": _ms(now_s)}, request_id)]
        if "req" in request:
            named = request_id[:64] if isinstance(request_id, str) else ""
            return [Snapshot(self._feed(request["req"], _REQUESTED), named)]
        raise _RefusedError("invalid command")

    def _feed(self, topic: Any, channels: Collection[str]) -> Feed:
        if isinstance(topic, str):
            market, _, rest = topic.partition(".")
            symbol, _, channel = rest.partition(".")
            if market == "market" and symbol in self._symbols and channel in channels:
                return Feed(channel, symbol)
        raise _RefusedError(f"invalid topic {str(topic)[:64]}")


def _decoded(message: str | bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(message.encode() if isinstance(message, str) else message)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _RefusedError("invalid json") from None
    if not isinstance(request, dict):
        raise _RefusedError("invalid command")
    return request


def _ms(now_s: float) -> int:
    """A time in milliseconds of the exchange's own, somewhere near the present."""
    return _EPOCH_MS + int(now_s * 1000)


def _answer(body: dict[str, Any], request_id: Any) -> Answer:
    named = {"id": request_id[:64]} if isinstance(request_id, str) else {}
    return Answer(gzip.compress(msgspec.json.encode({**named, **body}), 1))
