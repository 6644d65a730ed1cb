"""Coinone's side of one public connection: requests in, acknowledgements, order books, pongs and errors out.

Written from https://docs.coinone.co.kr/reference (read 2026-11): public-websocket-1 (requests, the greeting
``CONNECTED``, error codes 160010 to 160012, the end of a connection 30 minutes after its last ``PING``),
public-websocket-orderbook, -ticker, -trade.

Where the documentation is silent, what has been measured of the exchange (a public protocol survey of
2026-09): a topic that does not exist is first acknowledged and then refused by an error that names no topic;
currencies may be written in lower case, and are echoed so; a repeated subscription is acknowledged again and
brings the present order book once more. Not simulated: CHART (an invalid channel), the bound of 20
connections an address (close code 4290), as all share the loopback address.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from infra.simulator.venue import Answer, Close, Conversation, Feed, Reply, Snapshot

_CHANNELS: Final = {"ORDERBOOK": "orderbook", "TICKER": "ticker", "TRADE": "trade"}
_IDLE_S: Final = 1800.0
_PONG: Final = Answer('{"response_type":"PONG"}')


class CoinoneConversation(Conversation):
    """One connection; ``pairs`` are the markets that exist (``KRW-BTC``), ``number`` tells sessions apart."""

    def __init__(self, pairs: frozenset[str], number: int) -> None:
        super().__init__()
        self._pairs = pairs
        self._session_id = str(uuid5(NAMESPACE_URL, f"coinone/{number}"))
        self._greeted = False
        self._pinged_s: float | None = None

    def receive(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        """Take a request."""
        text = message.encode(errors="replace") if isinstance(message, str) else message
        return [*self._greeting(now_s), *self._answers(text, now_s)]

    def tick(self, now_s: float) -> Sequence[Reply]:
        """The greeting, and the end of who does not ping."""
        if self._pinged_s is not None and now_s - self._pinged_s >= _IDLE_S:
            return [Close(1000, "")]
        return self._greeting(now_s)

    def _greeting(self, now_s: float) -> list[Reply]:
        if self._greeted:
            return []
        self._greeted, self._pinged_s = True, now_s
        return [_answer("CONNECTED", data={"session_id": self._session_id})]

    def _answers(self, text: bytes, now_s: float) -> list[Reply]:
        try:
            request = msgspec.json.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return [_error(160010, "Invalid Request")]
        if not isinstance(request, dict):
            return [_error(160010, "Invalid Request")]
        kind = request.get("request_type")
        if kind == "PING":
            self._pinged_s = now_s
            return [_PONG]
        if kind not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return [_error(160011, "Invalid Type : request_type")]
        channel = request.get("channel")
        if not isinstance(channel, str) or channel not in _CHANNELS:
            return [_error(160011, "Invalid Type : channel")]
        if request.get("format", "DEFAULT") not in ("DEFAULT", "SHORT"):
            return [_error(160011, "Invalid Type : format")]
        return self._topic(kind, channel, request)

    def _topic(self, kind: str, channel: str, request: dict[str, Any]) -> list[Reply]:
        topic = request.get("topic")
        names = (
            [topic.get(name) for name in ("quote_currency", "target_currency")]
            if isinstance(topic, dict)
            else []
        )
        if len(names) != 2 or not all(isinstance(name, str) and name for name in names):
            return [_error(160012, "Invalid Topic")]
        quote, target = names
        echo = {"quote_currency": quote, "target_currency": target}
        replies: list[Reply] = [_answer(f"{kind}D", channel, echo)]
        pair = f"{str(quote).upper()}-{str(target).upper()}"
        if pair not in self._pairs:
            return [*replies, _error(160012, "Invalid Topic")]
        feed, short = Feed(_CHANNELS[channel], pair), request.get("format") == "SHORT"
        if kind == "UNSUBSCRIBE":
            self.feeds.pop(feed, None)
            return replies
        self.feeds[feed] = short
        self.subscribed = True
        if channel == "ORDERBOOK":
            replies.append(Snapshot(feed, short))
        return replies


def _answer(kind: str, channel: str | None = None, data: dict[str, Any] | None = None) -> Answer:
    answer: dict[str, Any] = {"response_type": kind}
    if channel is not None:
        answer["channel"] = channel
    return Answer(msgspec.json.encode({**answer, "data": data}).decode())


def _error(code: int, message: str) -> Answer:
    error = {"response_type": "ERROR", "error_code": code, "message": message}
    return Answer(msgspec.json.encode(error).decode())
