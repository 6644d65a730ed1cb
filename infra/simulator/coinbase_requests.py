"""Coinbase Exchange's side of one connection: requests in, answers out.

Written from https://docs.cdp.coinbase.com/exchange/websocket-feed (overview, channels; excerpts
read 2026-11). Of the refusals only the one of an unknown product is documented word for word:
``subscribe`` and ``unsubscribe`` name channels as text, for the products of the request, or as objects with
products of their own; either is answered with all that is subscribed now. A request with an unknown channel or
product is refused as a whole. Without a subscription in 5 seconds the connection is ended. The channel
``heartbeat`` speaks every second for each of its products.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from infra.simulator.market import PairMarket
from infra.simulator.spelling import iso_time
from infra.simulator.venue import Answer, Close, Conversation, Feed, Reply, Snapshot

CHANNELS: Final = ("ticker", "matches", "level2_batch")
"""The channels with market data."""
_HEARTBEAT: Final = "heartbeat"
_MEMBERS: Final = frozenset({"level2", "level3", "full", "user"})
_SUBSCRIBE_WITHIN_S: Final = 5.0
_HEARTBEAT_S: Final = 1.0


class CoinbaseConversation(Conversation):
    """One connection; ``markets`` by product id are those that exist."""

    def __init__(self, markets: Mapping[str, PairMarket]) -> None:
        super().__init__()
        self._markets = markets
        self._heartbeats: dict[str, None] = {}
        self._opened_s: float | None = None
        self._beat_s = 0.0

    def receive(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        """Take a request."""
        text = message.encode(errors="surrogatepass") if isinstance(message, str) else message
        try:
            request = msgspec.json.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return [_error("Malformed JSON", "")]
        if not isinstance(request, dict):
            return [_error("Malformed JSON", "")]
        kind = request.get("type")
        if kind not in ("subscribe", "unsubscribe"):
            return [_error("Unknown message type", str(kind)[:64])]
        failed = f"Failed to {kind}"
        try:
            asked = list(_asked(request))
        except ValueError as exc:
            return [_error(failed, str(exc))]
        reason = next((why for channel, product in asked if (why := self._refusal(channel, product))), None)
        if reason is not None:
            return [_error(failed, reason)]
        return self._subscribe(asked) if kind == "subscribe" else self._unsubscribe(asked)

    def tick(self, now_s: float) -> Sequence[Reply]:
        """The heartbeats; or the end, where nothing was subscribed to in time."""
        if self._opened_s is None:
            self._opened_s = now_s
        if not self.subscribed and now_s - self._opened_s >= _SUBSCRIBE_WITHIN_S:
            return [Close(1008, "No subscription within 5 seconds")]
        if not self._heartbeats or now_s - self._beat_s < _HEARTBEAT_S:
            return ()
        self._beat_s = now_s
        told = iso_time(time.time_ns() // 1_000_000)
        return [
            _answer(
                {
                    "type": "heartbeat",
                    "last_trade_id": self._markets[product].trade_id,
                    "product_id": product,
                    "sequence": self._markets[product].update_id,
                    "time": told,
                }
            )
            for product in self._heartbeats
        ]

    def _refusal(self, channel: str, product: str) -> str | None:
        if channel in _MEMBERS:
            return f"{channel} requires authentication"
        if channel not in (*CHANNELS, _HEARTBEAT):
            return f"{channel} is not a valid channel"
        return None if product in self._markets else f"{product} is not a valid product"

    def _subscribe(self, asked: list[tuple[str, str]]) -> list[Reply]:
        snapshots: list[Reply] = []
        for channel, product in asked:
            feed = Feed(channel, product)
            if channel == _HEARTBEAT:
                self._heartbeats[product] = None
            elif feed not in self.feeds:
                self.feeds[feed] = None
                snapshots.append(Snapshot(feed, None))
        self.subscribed = True
        return [self._subscriptions(), *snapshots]

    def _unsubscribe(self, asked: list[tuple[str, str]]) -> list[Reply]:
        for channel, product in asked:
            if channel == _HEARTBEAT:
                self._heartbeats.pop(product, None)
            else:
                self.feeds.pop(Feed(channel, product), None)
        return [self._subscriptions()]

    def _subscriptions(self) -> Answer:
        products: dict[str, list[str]] = {}
        for channel, product in self.feeds:
            products.setdefault(channel, []).append(product)
        if self._heartbeats:
            products[_HEARTBEAT] = list(self._heartbeats)
        channels = [
            {"name": name, "product_ids": product_ids, "account_ids": None}
            for name, product_ids in products.items()
        ]
        return _answer({"type": "subscriptions", "channels": channels})


def _asked(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Channel and product of every part of a request; ``ValueError`` names what it lacks."""
    channels, shared = request.get("channels"), request.get("product_ids", [])
    if not isinstance(channels, list) or not channels:
        raise ValueError("You need to specify at least one channel")
    asked: list[tuple[str, str]] = []
    for part in channels:
        name, products = (
            (part.get("name"), part.get("product_ids", shared)) if isinstance(part, dict) else (part, shared)
        )
        if not isinstance(name, str):
            raise ValueError("A channel needs a name")
        if not isinstance(products, list) or not products:
            raise ValueError(f"You need to specify at least one product ID for channel {_shown(name)}")
        asked += [(_shown(name), _shown(str(product))) for product in products]
    return asked


def _shown(text: str) -> str:
    return text[:64]


def _error(message: str, reason: str) -> Answer:
    return _answer({"type": "error", "message": message, "reason": reason})


def _answer(body: dict[str, Any]) -> Answer:
    return Answer(msgspec.json.encode(body).decode())
