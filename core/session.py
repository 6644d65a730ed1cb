"""One WebSocket connection of a stream, without the socket: frames in, records and messages out.

The shell around it opens the connection, hands every frame to ``receive``, publishes the records it answers
with, and after each call looks at ``pending``: when true, ``take_outbox`` has messages to send and
``take_notices`` has events to act on. ``on_time`` is called at or after ``due_s``. The same object runs in
production, in a replay, in property tests and under a fuzzer.
"""

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from core.errors import ErrorCode, PayloadError
from core.exact_numbers import with_exact
from core.exchanges.base import (
    Confirmed,
    Dialect,
    ExchangeProfile,
    Notice,
    Outgoing,
    Refused,
    SymbolTrack,
    Unparsed,
)
from core.identity import RequestType, Symbol
from core.liveness import Liveness, LivenessSettings, Pulse
from core.records import OrderBook, Record

_SAMPLE_BYTES = 16 * 1024
_MAX_SAMPLES = 16
"""Unparsed frames that wait to be taken; more of them are counted and not kept."""
_TICK_S = 1.0
"""Arrivals are dated by the next ``on_time``, so it must not be far; a date is late by this at most."""


class Stale(msgspec.Struct, frozen=True):
    """The other side is silent, also when asked; the connection has to be given up."""

    silent_s: float


class _Queued(msgspec.Struct, frozen=True):
    """A message that waits for its turn, and the symbols that count as asked for once it is out."""

    message: Outgoing
    tracks: tuple[SymbolTrack, ...] = ()


class StreamSession:
    """The state of one open connection: its symbols, their sequences, what it counted."""

    def __init__(
        self,
        profile: ExchangeProfile,
        request_type: RequestType,
        session_id: int,
        *,
        now_s: float,
        liveness: LivenessSettings | None = None,
        socket_params: object | None = None,
        accept_all: bool = False,
        exact: bool = False,
    ) -> None:
        """``socket_params`` (a JSON object or list) is sent in place of the built subscription.

        ``accept_all`` is for replays, which subscribe to nothing: data of any symbol and request type becomes
        records. Without it, what was not asked for (or no longer is) is counted as ignored. ``exact`` fills the
        exact numbers of tickers and trades, at the price of reading their frames twice.
        """
        self.profile = profile
        self.request_type = request_type
        self.session_id = session_id
        self.frames = 0
        self.bytes_received = 0
        self.parse_failed = 0
        self._liveness_settings = liveness or LivenessSettings()
        self._liveness = Liveness(self._liveness_settings, now_s)
        self._dialect: Dialect = profile.dialect(request_type, session_id)
        self._dialect.accept_all = accept_all
        self._exact = exact
        self._socket_params = socket_params
        self._socket_params_sent = False
        self._unconfirmed: dict[str, SymbolTrack] = {}
        self._by_symbol: dict[str, SymbolTrack] = {}
        self._waiting: deque[_Queued] = deque()
        self._sent_s: deque[float] = deque()
        self._replies = 0
        self._samples = 0
        self._outbox: list[Outgoing] = []
        self._notices: list[Notice | Stale] = []
        self._heard = False
        self._served_s = now_s
        self.pending = False

    @property
    def controls(self) -> int:
        """Frames that were acknowledgements, heartbeats or notices."""
        return self._dialect.controls

    @property
    def ignored(self) -> dict[str, int]:
        """Frames that were recognised and not wanted, by reason."""
        return self._dialect.ignored

    @property
    def tracks(self) -> Iterable[SymbolTrack]:
        """Every symbol this session has had, also those that ended."""
        return self._dialect.tracks.values()

    @property
    def active_symbols(self) -> list[str]:
        """Canonical symbols that are subscribed now."""
        return [track.symbol for track in self.tracks if track.active]

    def subscribe(self, symbols: Iterable[Symbol], now_s: float) -> None:
        """Add symbols on the open connection; those that run are not touched."""
        added: list[SymbolTrack] = []
        for symbol in symbols:
            track = self._track_for(symbol)
            if track is None or track.active:
                continue
            track.active, track.confirmed, track.asked_s = True, False, None
            self._unconfirmed[track.exchange_symbol] = track
            added.append(track)
        if not added:
            return
        if self._socket_params is None:
            self._enqueue(self._dialect.subscribe(added, self._active()), now_s, added)
        elif not self._socket_params_sent:
            self._socket_params_sent = True
            self._enqueue([msgspec.json.encode(self._socket_params).decode()], now_s, added)
        else:
            for track in added:
                track.asked_s = now_s
        self._collect()

    def unsubscribe(self, symbols: Iterable[str], now_s: float) -> None:
        """End canonical ``symbols``; unknown ones are passed over."""
        removed: list[SymbolTrack] = []
        for symbol in symbols:
            track = self._by_symbol.get(symbol)
            if track is not None and track.active:
                track.active = False
                self._unconfirmed.pop(track.exchange_symbol, None)
                removed.append(track)
        if removed and self._socket_params is None:
            self._enqueue(self._dialect.unsubscribe(removed, self._active()), now_s)
        self._collect()

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        """Read one frame that arrived at ``received_us`` (epoch microseconds); never raises for its content."""
        self.frames += 1
        if isinstance(frame, bytes) or frame.isascii():
            self.bytes_received += len(frame)
        else:
            self.bytes_received += len(frame.encode(errors="surrogatepass"))
        self._heard = True
        dialect = self._dialect
        try:
            records = dialect.receive(frame, received_us)
        except (msgspec.MsgspecError, PayloadError, UnicodeError, RecursionError) as exc:
            self._not_parsed(frame, exc)
            return ()
        if self._exact and records:
            records = self._exactly(records, frame)
        if self._unconfirmed and records:
            self._confirm(records)
        if dialect.notices or dialect.outbox:
            self._collect()
        return records

    def on_time(self, now_s: float) -> None:
        """Do what is due by now: messages held back by the exchange's rate, probes, refusals by silence."""
        self._excuse(now_s)
        if self._heard:
            self._heard = False
            self._liveness.heard(now_s)
        self._release(now_s)
        match self._liveness.check(now_s):
            case Pulse.PROBE:
                probe = self._dialect.probe()
                if probe is not None:
                    self._enqueue([probe], now_s)
            case Pulse.STALE:
                self._notices.append(Stale(self._liveness_settings.stale_after_s))
            case Pulse.FINE:
                pass
        self._refuse_silent(now_s)
        self._collect()

    def due_s(self, now_s: float) -> float:
        """When ``on_time`` should be called next at the latest; between calls it may also be called at will."""
        due_s = min(now_s + _TICK_S, max(now_s, self._liveness.due_s()))
        if self._waiting:
            due_s = min(due_s, self._sent_s[0] + self.profile.limits.message_window_s)
        return due_s

    def take_outbox(self) -> list[Outgoing]:
        """The messages to send now, in order; empties the outbox."""
        taken, self._outbox = self._outbox, []
        self.pending = bool(self._notices)
        return taken

    def take_notices(self) -> list[Notice | Stale]:
        """The events since the last call, in order."""
        taken, self._notices = self._notices, []
        self._samples = 0
        self.pending = bool(self._outbox)
        return taken

    def _exactly(self, records: Sequence[Record], frame: str | bytes) -> Sequence[Record]:
        if isinstance(records[0], OrderBook):
            return records
        try:
            return with_exact(records, self._dialect.exact_numbers(frame))
        except msgspec.MsgspecError:
            return records  # their sequence numbers are given out, and the doubles are right

    def _active(self) -> list[SymbolTrack]:
        return [track for track in self.tracks if track.active]

    def _track_for(self, symbol: Symbol) -> SymbolTrack | None:
        """The symbol's track, inactive when new; None after refusing what is spelled like another symbol."""
        canonical, spelled = str(symbol), self.profile.spell_symbol(symbol)
        track = self._dialect.tracks.get(spelled)
        if track is None:
            track = SymbolTrack(canonical, spelled, self.session_id, active=False)
            self._dialect.tracks[spelled] = self._by_symbol[canonical] = track
        elif track.symbol != canonical:
            message = f"{canonical} is {spelled} on {self.profile.exchange}, which runs as {track.symbol}"
            self._notices.append(Refused((canonical,), ErrorCode.UNKNOWN_SYMBOL, message))
            self.pending = True
            return None
        return track

    def _not_parsed(self, frame: str | bytes, error: Exception) -> None:
        self.parse_failed += 1
        if self._samples >= _MAX_SAMPLES:
            return
        self._samples += 1
        head = frame[:_SAMPLE_BYTES]
        raw = head.encode(errors="surrogatepass") if isinstance(head, str) else bytes(head)
        self._notices.append(Unparsed(str(error), raw[:_SAMPLE_BYTES]))
        self.pending = True

    def _confirm(self, records: Sequence[Record]) -> None:
        confirmed = []
        for record in records:
            track = self._unconfirmed.pop(record.exchange_symbol, None)
            if track is not None:
                track.confirmed = True
                confirmed.append(track.symbol)
        if confirmed:
            self._notices.append(Confirmed(tuple(confirmed)))
            self.pending = True

    def _collect(self) -> None:
        """Take over what the dialect left, and keep the books on confirmed and refused symbols."""
        dialect = self._dialect
        if dialect.outbox:
            # An answer that the exchange waits for goes out at once, but counts against the rate.
            self._outbox.extend(dialect.outbox)
            self._replies += len(dialect.outbox)
            dialect.outbox.clear()
        for notice in dialect.notices:
            if isinstance(notice, Confirmed):
                fresh = tuple(s for s in notice.symbols if self._settle(s, confirmed=True))
                if fresh:
                    self._notices.append(Confirmed(fresh))
            elif isinstance(notice, Refused):
                for symbol in notice.symbols:
                    self._settle(symbol, confirmed=False)
                self._notices.append(notice)
            else:
                self._notices.append(notice)
        dialect.notices.clear()
        self.pending = bool(self._outbox or self._notices)

    def _settle(self, symbol: str, *, confirmed: bool) -> bool:
        """Note the exchange's answer; True when the symbol was still waiting for one."""
        track = self._by_symbol.get(symbol)
        if track is None:
            return False
        track.confirmed = confirmed
        track.active = track.active and confirmed
        return self._unconfirmed.pop(track.exchange_symbol, None) is not None

    def _excuse(self, now_s: float) -> None:
        """Time in which nobody served this session does not count against the exchange.

        Reading may have been paused, or the process may have stood still: what answers the subscription can
        still lie in the socket.
        """
        stood_s = now_s - self._served_s - 2 * _TICK_S
        self._served_s = now_s
        if stood_s > 0:
            for track in self._unconfirmed.values():
                if track.asked_s is not None:
                    track.asked_s = min(now_s, track.asked_s + stood_s)

    def _refuse_silent(self, now_s: float) -> None:
        """Give up symbols without a frame, once the connection has shown life after their time was over."""
        within_s = self.profile.confirm_within_s
        if within_s is None:
            return
        silent = [
            track
            for track in self._unconfirmed.values()
            if track.asked_s is not None and self._liveness.heard_s >= track.asked_s + within_s
        ]
        for track in silent:
            del self._unconfirmed[track.exchange_symbol]
            track.active = False
        if silent:
            symbols = tuple(track.symbol for track in silent)
            message = (
                f"{self.profile.exchange} sent nothing for {', '.join(symbols)} within {within_s:g} s "
                "of the subscription, as it does for symbols it does not list"
            )
            self._notices.append(Refused(symbols, ErrorCode.UNKNOWN_SYMBOL, message))

    def _enqueue(self, messages: Sequence[Outgoing], now_s: float, asked: Sequence[SymbolTrack] = ()) -> None:
        self._waiting.extend(_Queued(message) for message in messages[:-1])
        self._waiting.extend(_Queued(message, tuple(asked)) for message in messages[-1:])
        self._release(now_s)

    def _release(self, now_s: float) -> None:
        """Move messages into the outbox as fast as the exchange allows."""
        limits = self.profile.limits
        self._sent_s.extend([now_s] * self._replies)
        self._replies = 0
        while self._sent_s and now_s >= self._sent_s[0] + limits.message_window_s:
            self._sent_s.popleft()
        while self._waiting and len(self._sent_s) < limits.max_messages:
            queued = self._waiting.popleft()
            for track in queued.tracks:
                track.asked_s = now_s
            self._outbox.append(queued.message)
            self._sent_s.append(now_s)
            self.pending = True
