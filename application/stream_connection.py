"""One connection of a stream: connect, pump the session, reconnect; its symbols may change at any time."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import structlog

from application.accounting import StreamAccounting
from application.ports import (
    BookSnapshots,
    Clock,
    ConnectBudgets,
    Connection,
    ConnectionEnd,
    Connector,
)
from application.record_pump import RecordPump
from core.channel_liveness import ChannelPulse
from core.connect_refusals import wait_after_refusal
from core.errors import (
    ConnectFailedError,
    ConnectHeldOffError,
    ErrorCode,
    ExchangeError,
    GatewayError,
    StreamStaleError,
)
from core.exchanges.base import (
    BookSettings,
    Complaint,
    Confirmed,
    ExchangeProfile,
    Interrupted,
    Refused,
    SnapshotWanted,
    SymbolBroken,
    SymbolWhole,
    Unparsed,
)
from core.identity import ConnectionScopeDomain, RequestType, Symbol
from core.liveness import LivenessSettings
from core.session import Stale, StreamSession
from core.streams import StreamSettings

_log = structlog.get_logger("connection")

_TICK_S = 0.25
_LONG_WAIT_S = 60.0
"""Who may not connect for longer says so, whatever was told before: nobody else tells why nothing comes."""
_MESSAGE_TOO_BIG = 1009
"""RFC 6455, 7.4.1."""


class ConnectionEvents(Protocol):
    """What a connection tells its stream."""

    def on_confirmed(self, symbols: Iterable[str]) -> None:
        """The exchange streams these now."""
        ...

    def on_refused(self, symbols: Iterable[str], error: ExchangeError) -> None:
        """The exchange will not stream these."""
        ...

    def on_problem(self, error: GatewayError, symbol: str | None = None) -> None:
        """A problem that an open connection has; or one of a symbol, once per incident."""
        ...

    def on_down(self, connection: "StreamConnection", error: GatewayError) -> None:
        """It is not there: its end, and every attempt to open it that failed since."""
        ...

    def on_back(self, connection: "StreamConnection") -> None:
        """The first record after that."""
        ...

    def on_whole(self, symbol: str, attempts: int) -> None:
        """What was broken of a symbol is whole again."""
        ...

    def on_no_snapshot(self, connection: "StreamConnection", error: GatewayError, symbol: str) -> None:
        """The exchange gave no book by REST, perhaps not for the first time."""
        ...

    def on_snapshot(self, connection: "StreamConnection") -> None:
        """It gave one."""
        ...

    def on_unparsed(self, reason: str, frame: bytes) -> None:
        """A frame that could not be read."""
        ...


class StreamConnection:
    """A slot of a stream: at most one open WebSocket, with the symbols assigned to it."""

    def __init__(
        self,
        scope: ConnectionScopeDomain,
        profile: ExchangeProfile,
        url: str,
        settings: StreamSettings | None,
        *,
        connector: Connector,
        clock: Clock,
        new_session_id: Callable[[], int],
        backoff: Callable[[], Iterator[float]],
        budgets: ConnectBudgets,
        snapshots: BookSnapshots,
        books: BookSettings,
        liveness: LivenessSettings,
        accounting: StreamAccounting,
        pump: RecordPump,
        events: ConnectionEvents,
        may_publish: Callable[[int], bool],
        proven: set[str],
        exact_numbers: bool = False,
    ) -> None:
        """``proven``: the stream's symbols that the exchange has streamed before; those it confirms here are
        added."""
        self._scope = scope
        self._profile = profile
        self._url = url
        self._socket_params = settings.socket_params if settings else None
        self._connector = connector
        self._clock = clock
        self._new_session_id = new_session_id
        self._backoff = backoff
        self._budgets = budgets
        self._snapshots = snapshots
        self._books = books
        self._channels = ChannelPulse()
        self._fetching: set[asyncio.Task[None]] = set()
        self._refusals = 0
        self._liveness = liveness
        self._accounting = accounting
        self._pump = pump
        self._events = events
        self._may_publish = may_publish
        self._proven = proven
        self._exact_numbers = exact_numbers
        self._wanted: dict[str, None] = {}
        self._session: StreamSession | None = None
        self._connection: Connection | None = None
        self._connecting: asyncio.Future[Connection] | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._giving_up: ExchangeError | None = None
        self._ending = False
        self._in_outage = False
        self.connected_at_ms: int | None = None

    @property
    def symbols(self) -> list[str]:
        """The canonical symbols assigned to this connection."""
        return list(self._wanted)

    @property
    def room(self) -> int:
        """How many symbols more it may take."""
        return self._profile.limits.max_symbols - len(self._wanted)

    @property
    def connected(self) -> bool:
        """Whether its WebSocket is open."""
        return self._connection is not None

    @property
    def live(self) -> set[str]:
        """The symbols that the exchange has confirmed on the open connection."""
        session = self._session
        return set() if session is None else {t.symbol for t in session.tracks if t.active and t.confirmed}

    def add(self, symbols: Iterable[str]) -> None:
        """Stream these too: at once where the connection is open."""
        added = [symbol for symbol in symbols if symbol not in self._wanted]
        self._wanted.update(dict.fromkeys(added))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"stream {self._scope.key}")
        elif self._session is not None and self._connection is not None:
            self._session.subscribe(map(Symbol.parse, added), self._clock.monotonic_s())
            self._act()

    def remove(self, symbols: Iterable[str]) -> None:
        """No record of these from here on; without symbols the connection ends."""
        removed = [symbol for symbol in symbols if symbol in self._wanted]
        for symbol in removed:
            del self._wanted[symbol]
        if self._session is not None:
            self._session.unsubscribe(removed, self._clock.monotonic_s())
            self._act()
        if not self._wanted:
            self._begin_end()

    def pause_reading(self) -> None:
        """Stop taking bytes from the socket."""
        if self._connection is not None:
            self._connection.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if self._connection is not None:
            self._connection.resume_reading()

    def end(self) -> None:
        """Take no frame from here on, and close; ``ended`` waits for it."""
        session = self._session
        if session is not None:
            session.unsubscribe(session.active_symbols, self._clock.monotonic_s())
        self._begin_end()

    @property
    def finished(self) -> bool:
        """Whether its last socket is closed."""
        return self._task is None or self._task.done()

    async def ended(self) -> None:
        """Wait until the socket is closed."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _begin_end(self) -> None:
        """An attempt to connect is not waited for: who takes over from here may wait for this end."""
        self._ending = True
        self._wake.set()
        if self._connecting is not None:
            self._connecting.cancel()

    # -- the transport's callback ------------------------------------------------------------------

    def on_frame(self, frame: str | bytes, received_us: int) -> None:
        """The hot path: everything from the frame to ``produce`` happens in this call."""
        session = self._session
        if session is None or not self._may_number(received_us):
            return
        records = session.receive(frame, received_us)
        if records:
            self._pump.take(records)
            if self._in_outage:
                self._end_outage()
        if session.pending:
            self._act()

    def _may_number(self, received_us: int) -> bool:
        """Whether the session may make records of ``received_us``; asked before each way to make some.

        A record is counted in the minute that runs when the session numbers it, so that minute begins here.
        """
        if self._ending or not self._may_publish(received_us):
            return False
        minutes = self._accounting.minutes
        if received_us >= minutes.minute_end_us:
            minutes.roll(received_us)
        return True

    # -- the life of the slot ----------------------------------------------------------------------

    async def _run(self) -> None:
        waits = self._backoff()
        while not self._ending:
            limits = self._profile.limits
            wait_s = await self._budgets.reserve(
                self._profile.exchange, limits.max_connects, limits.connect_window_s
            )
            if wait_s > _LONG_WAIT_S and not self._in_outage:
                self._begin_outage(self._long_wait(wait_s))
            await self._pause(wait_s)
            if self._ending:
                break
            started_s = self._clock.monotonic_s()
            try:
                await self._one_connection()
            except ExchangeError as exc:
                self._begin_outage(await self._respect(exc))
            except Exception as exc:  # noqa: BLE001 - nobody waits for this task: it would end unheard
                _log.exception("stream failed", scope=self._scope.key)
                self._begin_outage(
                    ExchangeError(f"{self._scope.key} failed and is tried again: {type(exc).__name__}: {exc}")
                )
            if self._ending:
                break
            if self._clock.monotonic_s() - started_s > 60:
                waits = self._backoff()
            await self._pause(next(waits))

    async def _one_connection(self) -> None:
        """Open, subscribe and stay until the connection ends; raises why it ended."""
        now_s = self._clock.monotonic_s()
        session = StreamSession(
            self._profile,
            RequestType(self._scope.request_type),
            self._new_session_id(),
            now_s=now_s,
            liveness=self._liveness,
            socket_params=self._socket_params,
            books=self._books,
            channels=self._channels,
            exact=self._exact_numbers,
            proven=self._proven,
        )
        self._giving_up = None
        self._session = session
        self._accounting.attach(session)
        try:
            connection = await self._connect()
            if connection is None:
                return
            self._connection = connection
            try:
                if self._pump.reading_paused:
                    connection.pause_reading()
                self._refusals = 0
                self.connected_at_ms = self._clock.epoch_us() // 1000
                _log.info("connected", scope=self._scope.key, session_id=session.session_id, url=self._url)
                session.subscribe(map(Symbol.parse, self._wanted), self._clock.monotonic_s())
                self._act()
                await self._stay(session, connection)
            finally:
                self._connection = None
                self.connected_at_ms = None
                await connection.close()
        finally:
            self._session = None
            for fetch in self._fetching:
                fetch.cancel()
            self._accounting.detach(session)

    async def _connect(self) -> Connection | None:
        """Open the WebSocket; None when the end came first."""
        opening = self._connector.connect(self._url, self, max_frame_bytes=self._profile.limits.max_frame_bytes)
        self._connecting = asyncio.ensure_future(opening)
        # An attempt that is cut off may still fail afterwards, and nobody asks it why.
        self._connecting.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await self._connecting
        except asyncio.CancelledError:
            if self._ending and self._connecting.cancelled():
                return None
            raise
        finally:
            self._connecting = None

    async def _stay(self, session: StreamSession, connection: Connection) -> None:
        closed = asyncio.ensure_future(connection.closed())
        try:
            while not self._ending:
                now_s = self._clock.monotonic_s()
                if not self._pump.reading_paused:
                    now_us = self._clock.epoch_us()
                    session.on_time(now_s, now_us if self._may_number(now_us) else None)
                    self._pump.take(session.take_records())
                    self._act()
                if self._giving_up is not None:
                    raise self._giving_up
                wake = asyncio.ensure_future(self._wake.wait())
                tick = asyncio.ensure_future(self._clock.sleep(_TICK_S))
                await asyncio.wait({closed, wake, tick}, return_when=asyncio.FIRST_COMPLETED)
                wake.cancel()
                tick.cancel()
                self._wake.clear()
                if closed.done() and not self._ending:
                    raise self._explain(closed.result())
        finally:
            closed.cancel()

    def _explain(self, end: ConnectionEnd) -> ExchangeError:
        if self._giving_up is not None:
            return self._giving_up
        exchange = self._profile.exchange
        if end.code == _MESSAGE_TOO_BIG:
            return ExchangeError(
                f"{exchange} sent a frame larger than {self._profile.limits.max_frame_bytes} bytes",
                code=ErrorCode.FRAME_TOO_LARGE,
            )
        reason = f" ({end.reason})" if end.reason else ""
        return ConnectFailedError(f"{exchange} ended the connection with code {end.code}{reason}")

    def _act(self) -> None:
        """Send what the session wants sent, and pass its notices on."""
        session, connection = self._session, self._connection
        if session is None or not session.pending:
            return
        if connection is not None:
            for message in session.take_outbox():
                connection.send(message)
        for notice in session.take_notices():
            match notice:
                case Confirmed(symbols):
                    self._proven.update(symbols)
                    self._events.on_confirmed(symbols)
                case Refused(symbols, code, message):
                    self._events.on_refused(symbols, ExchangeError(message, code=code))
                case Complaint(code, message):
                    self._events.on_problem(ExchangeError(message, code=code))
                case Interrupted(message, reconnect):
                    self._interrupt(ConnectFailedError(message), reconnect)
                case Unparsed(reason, frame):
                    self._events.on_unparsed(reason, frame)
                case SymbolBroken(symbol, code, message):
                    self._events.on_problem(ExchangeError(message, code=code), symbol)
                case SymbolWhole(symbol, attempts):
                    self._events.on_whole(symbol, attempts)
                case SnapshotWanted(symbol, path):
                    fetch = asyncio.create_task(self._fetch(session, symbol, path))
                    self._fetching.add(fetch)
                    fetch.add_done_callback(self._fetching.discard)
                case Stale(silent_s, data_only):
                    what = "no data, though it answers," if data_only else "nothing"
                    asked = "" if data_only else ", also when asked"
                    error = StreamStaleError(
                        f"{self._profile.exchange} sent {what} for {silent_s:g} s on {self._scope.key}{asked}; "
                        "reconnecting"
                    )
                    self._interrupt(error, reconnect=True)

    def _interrupt(self, error: ExchangeError, reconnect: bool) -> None:
        """Data stops: leave this connection for a new one, or wait for it here."""
        if reconnect:
            self._giving_up = error
            self._wake.set()
        else:
            self._begin_outage(error)

    async def _fetch(self, session: StreamSession, symbol: str, path: str) -> None:
        """Get one book by REST and give it to the session that wanted it, if that is still there."""
        try:
            body = await self._snapshots.fetch(self._profile.exchange, path)
        except GatewayError as exc:
            session.snapshot_failed(symbol)
            self._events.on_no_snapshot(self, exc, symbol)
            return
        self._events.on_snapshot(self)
        if session is not self._session:
            return
        received_us = self._clock.epoch_us()
        if self._may_number(received_us):
            self._pump.take(session.snapshot(symbol, body, received_us))
        else:
            session.snapshot_failed(symbol)
        self._act()

    async def _respect(self, error: ExchangeError) -> ExchangeError:
        """An exchange that refuses connections is left alone for a while, by all instances of this address.

        Returns the error to tell: the same, or with for how long and why.
        """
        if not isinstance(error, ConnectFailedError):
            return error
        asked_s = error.retry_after_s
        wait_s = wait_after_refusal(error.status, asked_s, self._refusals)
        if wait_s is None:
            return error
        self._refusals += 1
        limits, exchange = self._profile.limits, self._profile.exchange
        _log.warning(
            "connections refused", scope=self._scope.key, status=error.status, again_in_s=round(wait_s)
        )
        await self._budgets.hold_off(exchange, limits.max_connects, limits.connect_window_s, wait_s)
        why = "as it is after such a refusal" if asked_s is None else f"it asked for {asked_s:.0f} s"
        kind = ConnectHeldOffError if wait_s > _LONG_WAIT_S else ConnectFailedError
        return kind(
            f"{error.message}; {exchange} is left alone for {wait_s:.0f} s ({why})",
            status=error.status,
            retry_after_s=asked_s,
        )

    def _long_wait(self, wait_s: float) -> ConnectHeldOffError:
        limits, exchange = self._profile.limits, self._profile.exchange
        return ConnectHeldOffError(
            f"{self._scope.key} connects in {wait_s:.0f} s and not before: {exchange} refused connections "
            f"from this address, or the {limits.max_connects} that it allows in "
            f"{limits.connect_window_s:g} s are used up"
        )

    def _begin_outage(self, error: ExchangeError) -> None:
        if not self._ending:
            self._in_outage = True
            self._events.on_down(self, error)

    def _end_outage(self) -> None:
        self._in_outage = False
        self._events.on_back(self)

    async def _pause(self, seconds: float) -> None:
        """Wait between attempts; an end cuts it short."""
        if seconds > 0 and not self._ending:
            self._wake.clear()
            wake = asyncio.ensure_future(self._wake.wait())
            sleep = asyncio.ensure_future(self._clock.sleep(seconds))
            await asyncio.wait({wake, sleep}, return_when=asyncio.FIRST_COMPLETED)
            wake.cancel()
            sleep.cancel()
