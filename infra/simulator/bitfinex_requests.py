"""Bitfinex's side of one connection to the public channels, version 2: requests in, answers out.

Written from https://docs.bitfinex.com/docs: ws-general (info, ping, conf, heartbeats every 15 s, subscribe and
unsubscribe with their error codes), ws-public (25 channels), and the pages of the channels under
https://docs.bitfinex.com/reference (read 2026-11). Where they are silent, what has been measured of the
exchange (a public protocol survey of 2026-09): the words of the refusals and that they repeat the request; that
every array is numbered from 1 on, heartbeats and checksums too; that heartbeats come on busy channels as on
quiet ones; that what is no JSON gets no answer; that a pair is also taken without its ``t``.

The survey saw the general codes 10300 and 10400 where the documentation has 10001, 10302 and 10401:
``generic_codes`` sends those. A precision or length that no book has is 10300 either way. Not simulated, and
refused: accounts, funding, the channels ``candles`` and ``status``, raw and aggregated books (precisions other
than P0), the frequency F1.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from infra.simulator.venue import Answer, Beat, Conversation, Feed, Reply, Snapshot

TIMESTAMP: Final = 32_768
SEQ_ALL: Final = 65_536
OB_CHECKSUM: Final = 131_072
BULK_UPDATES: Final = 536_870_912

CHANNELS: Final = ("ticker", "trades", "book")
LENGTHS: Final = (1, 25, 100, 250)
_MAX_CHANNELS: Final = 25
_DEFAULT_LENGTH: Final = "25"
_EPOCH_MS: Final = 1_767_225_600_000

_UNKNOWN_EVENT, _UNKNOWN_PAIR, _UNKNOWN_CHANNEL, _NOT_SUBSCRIBED = 10000, 10001, 10302, 10401
_SUBSCRIPTION_FAILED, _UNSUBSCRIPTION_FAILED = 10300, 10400
_ALREADY_SUBSCRIBED, _TOO_MANY_CHANNELS = 10301, 10305
_RESTART, _MAINTENANCE_BEGINS, _MAINTENANCE_ENDS = 20051, 20060, 20061


class BitfinexForm(NamedTuple):
    """How a connection wants its books: with checksums, and all changes of an update in one frame."""

    checksums: bool
    bulk: bool


class _Channel:
    """A subscription: its number on this connection, and when its next heartbeat is due."""

    __slots__ = ("beat_due_s", "number")

    def __init__(self, number: int, beat_due_s: float) -> None:
        self.number = number
        self.beat_due_s = beat_due_s


class BitfinexConversation(Conversation):
    """One connection; ``symbols`` are those that exist, in the exchange's spelling.

    ``first_number`` is that of its first channel; ``operative`` goes into the greeting.
    """

    def __init__(
        self,
        symbols: Collection[str],
        first_number: int,
        *,
        operative: bool = True,
        heartbeat_s: float = 15.0,
        generic_codes: bool = False,
    ) -> None:
        super().__init__()
        self._symbols = symbols
        self._next_number = first_number
        self._operative = operative
        self._heartbeat_s = heartbeat_s
        self._generic_codes = generic_codes
        self._greeted = False
        self._flags = 0
        self._sequence = 0
        self._channels: dict[Feed, _Channel] = {}

    def receive(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        """Take a request."""
        return [*self._greeting(), *self._answers(message, now_s)]

    def tick(self, now_s: float) -> Sequence[Reply]:
        """The greeting, and the heartbeat of each channel."""
        replies: list[Reply] = self._greeting()
        for feed, channel in self._channels.items():
            if now_s >= channel.beat_due_s:
                channel.beat_due_s += self._heartbeat_s
                replies.append(Beat(feed, b'"hb"'))
        return replies

    def wrap(self, feed: Feed, payload: bytes, time_ms: int | None) -> bytes:
        """In an array, behind the channel's number; then what ``conf`` asked for."""
        self._sequence += 1
        parts = [b"%d" % self._channels[feed].number, payload]
        if self._flags & SEQ_ALL:
            parts.append(b"%d" % self._sequence)
        if self._flags & TIMESTAMP and time_ms is not None:
            parts.append(b"%d" % time_ms)
        return b"[%s]" % b",".join(parts)

    def maintenance(self, begins: bool) -> Answer:
        """It begins, or it ended: subscribe anew."""
        if begins:
            return _info(_MAINTENANCE_BEGINS, "Entering maintenance. Pause until it has ended.")
        return _info(_MAINTENANCE_ENDS, "Maintenance ended. Subscribe again to all channels.")

    def farewell(self, now_ms: int) -> Answer:
        """The server restarts: connect anew."""
        return _info(_RESTART, "The server is restarting. Please reconnect.")

    def _greeting(self) -> list[Reply]:
        if self._greeted:
            return []
        self._greeted = True
        server = f"00000000-0000-4000-8000-{self._next_number:012d}"
        platform = {"status": int(self._operative)}
        return [_event({"event": "info", "version": 2, "serverId": server, "platform": platform})]

    def _answers(self, message: str | bytes, now_s: float) -> Sequence[Reply]:
        text = message.encode(errors="surrogatepass") if isinstance(message, str) else message
        try:
            request = msgspec.json.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return []
        if not isinstance(request, dict):
            return []
        match request.get("event"):
            case "ping":
                time_ms = _EPOCH_MS + int(now_s * 1000)
                cid = {"cid": request["cid"]} if _plain(request.get("cid")) else {}
                return [_event({"event": "pong", "ts": time_ms, **cid})]
            case "conf":
                return [self._configure(request.get("flags"))]
            case "subscribe":
                return self._subscribe(request, now_s)
            case "unsubscribe":
                return [self._unsubscribe(request.get("chanId"))]
            case event:
                return [_error({}, f"event: invalid ({str(event)[:32]})", _UNKNOWN_EVENT)]

    def _configure(self, flags: Any) -> Answer:
        if not isinstance(flags, int) or isinstance(flags, bool) or not 0 <= flags < 2**31:
            return _error({}, "conf: invalid", _UNKNOWN_EVENT)
        self._flags = flags
        self.feeds = dict.fromkeys(self.feeds, self._form())
        return _event({"event": "conf", "status": "OK", "flags": flags})

    def _form(self) -> BitfinexForm:
        return BitfinexForm(bool(self._flags & OB_CHECKSUM), bool(self._flags & BULK_UPDATES))

    def _subscribe(self, request: dict[str, Any], now_s: float) -> list[Reply]:
        named = _named(request)
        name, symbol = named.get("channel"), named.get("symbol", "")
        if name not in CHANNELS:
            code = _SUBSCRIPTION_FAILED if self._generic_codes else _UNKNOWN_CHANNEL
            return [_error(named, "channel: unknown", code)]
        if symbol not in self._symbols:
            code = _SUBSCRIPTION_FAILED if self._generic_codes else _UNKNOWN_PAIR
            return [_error(named, "symbol: invalid", code)]
        if name == "book":
            wrong = _wrong_book(named)
            if wrong:
                return [_error(named, f"{wrong}: invalid", _SUBSCRIPTION_FAILED)]
            name = f"book.{named['len']}"
        feed = Feed(name, symbol)
        if feed in self._channels:
            again = {**named, "chanId": self._channels[feed].number}
            return [_error(again, "subscribe: dup", _ALREADY_SUBSCRIBED)]
        if len(self._channels) >= _MAX_CHANNELS:
            return [_error(named, "subscribe: limit", _TOO_MANY_CHANNELS)]
        self._channels[feed] = _Channel(self._next_number, now_s + self._heartbeat_s)
        self._next_number += 1
        self.feeds[feed] = self._form()
        self.subscribed = True
        told = {"event": "subscribed", **named, "chanId": self._channels[feed].number}
        return [_event(told), Snapshot(feed, self._form())]

    def _unsubscribe(self, number: Any) -> Answer:
        feed = next((feed for feed, channel in self._channels.items() if channel.number == number), None)
        if feed is None or isinstance(number, bool):
            code = _UNSUBSCRIPTION_FAILED if self._generic_codes else _NOT_SUBSCRIBED
            return _error({}, "unsubscribe: invalid", code)
        del self._channels[feed], self.feeds[feed]
        return _event({"event": "unsubscribed", "status": "OK", "chanId": number})


def _named(request: dict[str, Any]) -> dict[str, Any]:
    """What a subscription names, as answers repeat it: the pair with its ``t``, and a book's defaults."""
    named: dict[str, Any] = {}
    channel = request.get("channel")
    if isinstance(channel, str):
        named["channel"] = channel[:32]
    symbol = request.get("symbol", request.get("pair"))
    if isinstance(symbol, str):
        named["symbol"] = symbol[:32] if symbol.startswith("t") else f"t{symbol[:32]}"
        named["pair"] = named["symbol"][1:]
    if channel == "book":
        defaults = {"prec": "P0", "freq": "F0", "len": _DEFAULT_LENGTH}
        named |= {key: str(request.get(key, default))[:16] for key, default in defaults.items()}
    if _plain(request.get("subId")):
        named["subId"] = request["subId"]
    return named


def _wrong_book(named: dict[str, Any]) -> str | None:
    """Which of a book's numbers there is not."""
    if named["prec"] != "P0":
        return "precision"
    if named["freq"] != "F0":
        return "frequency"
    return None if named["len"] in map(str, LENGTHS) else "length"


def _plain(value: Any) -> bool:
    """Whether a client's own mark can be sent back as it is."""
    return isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) <= 64


def _info(code: int, message: str) -> Answer:
    return _event({"event": "info", "code": code, "msg": message})


def _error(named: dict[str, Any], message: str, code: int) -> Answer:
    return _event({**named, "event": "error", "msg": message, "code": code})


def _event(body: dict[str, Any]) -> Answer:
    return Answer(msgspec.json.encode(body).decode())
