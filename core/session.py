"""One WebSocket connection of a stream, without the socket: frames in, records and messages out.

The shell around it opens the connection, hands every frame to ``receive``, publishes the records it answers
with, and after each call looks at ``pending``: when true, ``take_outbox`` has messages to send and
``take_notices`` has events to act on. ``on_time`` is called at or after ``due_s``, and may leave records of its
own for ``take_records``. The same object runs in production, in a replay, in property tests and under a fuzzer.
"""

from collections import deque
from collections.abc import Container, Iterable, Sequence
from math import inf

import msgspec

from core.channel_liveness import ChannelBeats, ChannelPulse
from core.errors import ErrorCode, PayloadError
from core.exact_numbers import with_exact
from core.exchanges.base import (
    BookSettings,
    Complaint,
    Confirmed,
    Dialect,
    ExchangeProfile,
    Notice,
    Outgoing,
    Refused,
    Resync,
    SnapshotWanted,
    SymbolBroken,
    SymbolTrack,
    SymbolWhole,
    Unparsed,
)
from core.identity import RequestType, Symbol
from core.liveness import Liveness, LivenessSettings, Pulse
from core.records import OrderBook, Record
from core.unanswered import Unanswered

_SAMPLE_BYTES = 16 * 1024
_MAX_SAMPLES = 16
"""Unparsed frames that wait to be taken; more of them are counted and not kept."""
_TICK_S = 1.0
"""Arrivals are dated by the next ``on_time``, so it must not be far; a date is late by this at most."""


class Stale(msgspec.Struct, frozen=True):
    """The other side is silent, also when asked; the connection has to be given up.

    ``data_only``: the connection lives, but none of the channels has brought data for much longer than usual.
    """

    silent_s: float
    data_only: bool = False


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
        books: BookSettings | None = None,
        channels: ChannelPulse | None = None,
        proven: Container[str] = (),
    ) -> None:
        """``socket_params`` (a JSON object or list) is sent in place of the built subscription.

        ``accept_all`` is for replays, which subscribe to nothing: data of any symbol and request type becomes
        records. Without it, what was not asked for (or no longer is) is counted as ignored. ``channels`` has
        learned how often data comes, and goes on from one session to the next; None: that is not watched.
        ``proven`` are canonical symbols that the exchange has streamed before: silence is no refusal then.
        ``exact`` fills the exact numbers of tickers and trades, at the price of reading their frames twice.
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
        self._dialect.books.unattended = accept_all
        self._exact = exact
        if books is not None:
            self._dialect.books.settings = books
        self._channels = channels
        if channels is not None:
            channels.begin(now_s)
        self._beats = ChannelBeats(profile.channel_heartbeat_s)
        self._heartbeat_due_s = now_s + (profile.heartbeat_s or inf)
        self._records: list[Record] = []
        self._socket_params = socket_params
        self._socket_params_sent = False
        self._unanswered = Unanswered(profile.confirm_within_s, proven)
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
            self._unanswered.add(track)
            added.append(track)
        if not added:
            return
        if self._socket_params is None:
            self._ask(added, now_s)
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
                self._unanswered.settle(track.exchange_symbol)
                self._dialect.books.forget(track)
                removed.append(track)
        if removed and self._socket_params is None:
            self._give_up(removed, self._active(), now_s)
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
        if self._unanswered and records:
            self._confirm(records)
        if dialect.notices or dialect.outbox or dialect.requests:
            self._collect()
        return records

    def snapshot(self, symbol: str, body: bytes, received_us: int) -> Sequence[Record]:
        """Take the answer to a ``SnapshotWanted``; never raises for its content."""
        track = self._by_symbol.get(symbol)
        if track is None or not track.active:
            return ()
        try:
            records = self._dialect.read_snapshot(track, body, received_us)
        except (msgspec.MsgspecError, PayloadError, UnicodeError, RecursionError) as exc:
            self._not_parsed(body, exc)
            self._dialect.books.failed(track)
            return ()
        self._collect()
        return records

    def snapshot_failed(self, symbol: str) -> None:
        """The snapshot of a ``SnapshotWanted`` could not be had; it is wanted again later."""
        track = self._by_symbol.get(symbol)
        if track is not None:
            self._dialect.books.failed(track)

    def on_time(self, now_s: float, now_us: int | None = None) -> None:
        """Do what is due by now: messages held back by the exchange's rate, probes, refusals by silence,
        heartbeats, repairs of books.

        ``now_us`` (epoch microseconds) dates the books that are published whole; without it none are.
        """
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
        if now_s >= self._heartbeat_due_s:
            self._beat(now_s)
        self._ask_again(now_s)
        self._watch_channels(now_s)
        self._repair_books(now_s)
        if now_us is not None:
            self._records.extend(self._dialect.books.republish(now_s, now_us))
        self._collect()

    def due_s(self, now_s: float) -> float:
        """When ``on_time`` should be called next at the latest; between calls it may also be called at will."""
        due_s = min(now_s + _TICK_S, max(now_s, min(self._liveness.due_s(), self._heartbeat_due_s)))
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

    def take_records(self) -> Sequence[Record]:
        """The records that came of time instead of frames: books published whole."""
        taken, self._records = self._records, []
        return taken

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
            track = self._answered(record.exchange_symbol)
            if track is not None:
                track.confirmed = True
                confirmed.append(track.symbol)
                self._expect_book(track)
        if confirmed:
            self._notices.append(Confirmed(tuple(confirmed)))
            self.pending = True

    def _expect_book(self, track: SymbolTrack) -> None:
        if self.request_type is RequestType.ORDERBOOK:
            self._dialect.books.expect(track)

    def _answered(self, exchange_symbol: str, *, confirmed: bool = True) -> SymbolTrack | None:
        """The exchange's first word on a symbol; None when nobody waited for it."""
        told = self._unanswered.told_before(exchange_symbol)
        track = self._unanswered.settle(exchange_symbol)
        if track is not None and told and confirmed:
            self._notices.append(SymbolWhole(track.symbol, 1))
        return track

    def _collect(self) -> None:
        """Take over what the dialect left, and keep the books on confirmed and refused symbols."""
        dialect = self._dialect
        if dialect.outbox:
            # An answer that the exchange waits for goes out at once, but counts against the rate.
            self._outbox.extend(dialect.outbox)
            self._replies += len(dialect.outbox)
            dialect.outbox.clear()
        if dialect.requests:
            self._waiting.extend(_Queued(message) for message in dialect.requests)
            dialect.requests.clear()
            self._release(self._served_s)
        for notice in dialect.notices:
            match notice:
                case Confirmed(symbols):
                    fresh = tuple(symbol for symbol in symbols if self._settle(symbol, confirmed=True))
                    if fresh:
                        self._notices.append(Confirmed(fresh))
                case Refused():
                    self._refuse(notice)
                case Complaint(ErrorCode.RATE_LIMITED):
                    self._unanswered.excuse()
                    self._notices.append(notice)
                case _:
                    self._notices.append(notice)
        dialect.notices.clear()
        self.pending = bool(self._outbox or self._notices)

    def _refuse(self, notice: Refused) -> None:
        """Only who waits for an answer can be refused: what runs goes on, whatever an error names."""
        refused = tuple(symbol for symbol in notice.symbols if self._settle(symbol, confirmed=False))
        if refused:
            self._notices.append(Refused(refused, notice.code, notice.message))
        else:
            self._notices.append(Complaint(notice.code, notice.message))

    def _settle(self, symbol: str, *, confirmed: bool) -> bool:
        """Note the exchange's answer; False, and nothing noted, when the symbol did not wait for one."""
        track = self._by_symbol.get(symbol)
        if track is None or self._answered(track.exchange_symbol, confirmed=confirmed) is None:
            return False
        track.confirmed = confirmed
        track.active = track.active and confirmed
        if track.active:
            self._expect_book(track)
        else:
            self._dialect.books.forget(track)
        return True

    def _beat(self, now_s: float) -> None:
        """The heartbeat that the exchange demands, at its pace and not in a burst after a standstill."""
        assert self.profile.heartbeat_s is not None
        self._heartbeat_due_s = now_s + self.profile.heartbeat_s
        message = self._dialect.heartbeat()
        if message is not None:
            # Before what else waits: an exchange cuts off who is late.
            self._waiting.appendleft(_Queued(message))
            self._release(now_s)

    def _watch_channels(self, now_s: float) -> None:
        """Find channels that fell silent on a connection that lives."""
        if self._channels is not None and self._channels.due(now_s):
            records = sum(track.sequence + track.beats for track in self.tracks)
            watched = any(track.active and track.confirmed for track in self.tracks)
            silent_s = self._channels.check(now_s, records, watched=watched)
            if silent_s is not None:
                self._notices.append(Stale(silent_s, data_only=True))
        # On a connection that is silent as a whole, that is not the channels' fault.
        if self._beats.due(now_s) and now_s - self._liveness.heard_s < (self.profile.channel_heartbeat_s or 0):
            self._renew_silent(now_s)

    def _renew_silent(self, now_s: float) -> None:
        found = self._beats.check(now_s, self.tracks)
        self._notices.extend(SymbolWhole(track.symbol, 1) for track in found.recovered)
        running = sum(track.active and track.confirmed for track in self.tracks)
        if len(found.renew) == running > 1:
            self._notices.append(Stale(self._beats.silent_after_s, data_only=True))
            return
        for track in found.fell_silent:
            message = (
                f"{self.profile.exchange}: the channel of {track.symbol} brought neither data nor a heartbeat "
                f"for {self._beats.silent_after_s:g} s; subscribing it anew"
            )
            self._notices.append(SymbolBroken(track.symbol, ErrorCode.STREAM_STALE, message))
        if found.renew:
            self._resubscribe(found.renew, now_s)

    def _repair_books(self, now_s: float) -> None:
        """Ask for the snapshots that are due, as many as go out at once: the rest wait for their turn."""
        books = self._dialect.books
        if not books.wanting or self._waiting:
            return
        tracks = books.due(now_s, self.profile.limits.max_symbols_per_message)
        if not tracks:
            return
        match self._dialect.resync:
            case Resync.RESUBSCRIBE:
                self._resubscribe(tracks, now_s)
            case Resync.REQUEST:
                self._enqueue(self._dialect.snapshot_request(tracks), now_s)
            case Resync.FETCH:
                self._notices.extend(
                    SnapshotWanted(track.symbol, self._dialect.snapshot_path(track)) for track in tracks
                )

    def _resubscribe(self, tracks: Sequence[SymbolTrack], now_s: float) -> None:
        """Unsubscribe and subscribe these alone; nothing for a subscription that a command gave."""
        if self._socket_params is not None:
            return
        renewed = {track.exchange_symbol for track in tracks}
        others = [track for track in self._active() if track.exchange_symbol not in renewed]
        self._give_up(tracks, others, now_s)
        self._ask(tracks, now_s)

    def _ask(self, added: Sequence[SymbolTrack], now_s: float) -> None:
        """Subscribe, no more symbols a message than the exchange takes."""
        active, most = self._active(), self.profile.limits.max_symbols_per_message
        for start in range(0, len(added), most):
            part = added[start : start + most]
            self._enqueue(self._dialect.subscribe(part, active), now_s, part)

    def _give_up(self, removed: Sequence[SymbolTrack], active: Sequence[SymbolTrack], now_s: float) -> None:
        most = self.profile.limits.max_symbols_per_message
        for start in range(0, len(removed), most):
            self._enqueue(self._dialect.unsubscribe(removed[start : start + most], active), now_s)

    def _excuse(self, now_s: float) -> None:
        """Time in which nobody served this session does not count against the exchange.

        Reading may have been paused, or the process may have stood still: what answers the subscription can
        still lie in the socket.
        """
        stood_s = now_s - self._served_s - 2 * _TICK_S
        self._served_s = now_s
        if stood_s > 0:
            for track in self._unanswered:
                if track.asked_s is not None:
                    track.asked_s = min(now_s, track.asked_s + stood_s)

    def _ask_again(self, now_s: float) -> None:
        """Ask again for what was not answered, or take silence for the refusal that it is on some exchanges."""
        found = self._unanswered.check(self._liveness.heard_s)
        for track in found.refused:
            track.active = False
        if found.refused:
            symbols = tuple(track.symbol for track in found.refused)
            message = (
                f"{self.profile.exchange} sent nothing for {', '.join(symbols)} within "
                f"{self.profile.confirm_within_s:g} s of the subscription, "
                "as it does for symbols it does not list"
            )
            self._notices.append(Refused(symbols, ErrorCode.UNKNOWN_SYMBOL, message))
        for track in found.told:
            message = (
                f"{self.profile.exchange} has not answered the subscription of {track.symbol}, though the "
                "connection lives; it is asked for again until it is"
            )
            self._notices.append(SymbolBroken(track.symbol, ErrorCode.STREAM_STALE, message))
        if found.again and self._socket_params is None:
            self._ask(found.again, now_s)

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
