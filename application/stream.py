"""One stream: the symbols of a scope over as many connections as the exchange's limits need."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import msgspec
import structlog

from application.accounting import StreamAccounting
from application.ports import BookSnapshots, Clock, ConnectBudgets, Connector, RecordSink
from application.record_pump import RecordPump, shed_error
from application.reporting import ErrorReporter
from application.stream_connection import StreamConnection
from core.errors import ConnectHeldOffError, ErrorCode, ErrorDomain, ExchangeError, GatewayError
from core.exchanges.base import BookSettings, ExchangeProfile
from core.identity import ConnectionScopeDomain, RequestType
from core.liveness import LivenessSettings
from core.outages import StreamOutage
from core.problem_bound import ProblemBound
from core.projection import blanks
from core.streams import ConnectionStatus, StreamSettings, WebsocketConnectionSpecDomain
from core.subscriptions import place

_log = structlog.get_logger("stream")

_MAX_DLQ_SAMPLES_PER_MINUTE = 10
_MAX_RECOVERY_LINES_PER_MINUTE = 100


class StreamParts(msgspec.Struct, frozen=True):
    """What every stream of a process shares."""

    connector: Connector
    sink: RecordSink
    reporter: ErrorReporter
    clock: Clock
    new_session_id: Callable[[], int]
    backoff: Callable[[], Iterator[float]]
    liveness: LivenessSettings
    hold_max_s: float
    url_of: Callable[[ExchangeProfile, RequestType], str]
    budgets: ConnectBudgets
    snapshots: BookSnapshots
    books: BookSettings
    instance: str
    exact_numbers: bool = False


class StreamOwner(Protocol):
    """What a stream tells the one who runs it."""

    def on_confirmed(self, scope: ConnectionScopeDomain, symbols: Iterable[str]) -> None:
        """The exchange streams these symbols now."""
        ...

    def on_refused(self, scope: ConnectionScopeDomain, symbols: Iterable[str], error: ExchangeError) -> None:
        """The exchange will not stream these; they are withdrawn."""
        ...

    def may_publish(self, received_us: int) -> bool:
        """False once the right to publish is in doubt."""
        ...


class Stream:
    """Runs exactly the symbols it was last told to."""

    def __init__(
        self,
        scope: ConnectionScopeDomain,
        profile: ExchangeProfile,
        parts: StreamParts,
        owner: StreamOwner,
    ) -> None:
        self.scope = scope
        self.accounting = StreamAccounting(parts.clock.epoch_us())
        self._profile = profile
        self._parts = parts
        self._owner = owner
        self._settings: StreamSettings | None = None
        self._connections: list[StreamConnection] = []
        self._closing: list[StreamConnection] = []
        self._proven: set[str] = set()
        self._outage = StreamOutage()
        self._rest_outage = StreamOutage()
        self._samples = _PerMinute(_MAX_DLQ_SAMPLES_PER_MINUTE)
        self._recoveries = _PerMinute(_MAX_RECOVERY_LINES_PER_MINUTE)
        self._problems = ProblemBound()
        self._pump = RecordPump(
            scope,
            parts.sink,
            self.accounting,
            self,
            hold_max_s=parts.hold_max_s,
            on_outage=self._on_delivery_outage,
            on_outage_end=self._on_delivery_outage_end,
            on_rejected=self._tell,
        )

    # -- what it should run ------------------------------------------------------------------------

    @property
    def symbols(self) -> list[str]:
        """The canonical symbols it runs, confirmed or not."""
        return [symbol for connection in self._connections for symbol in connection.symbols]

    @property
    def live(self) -> set[str]:
        """The symbols that the exchange streams at this moment."""
        return {symbol for connection in self._connections for symbol in connection.live}

    def run(
        self,
        symbols: Iterable[str],
        settings: StreamSettings | None,
        projections: dict[str, tuple[str, ...] | None],
        proven: Iterable[str] = (),
    ) -> None:
        """Make it so: what runs and stays is not interrupted, unless the settings changed.

        ``proven``: those of ``symbols`` that the exchange is known to have streamed, also before this process
        began: it is not refusing them when it is silent about them.
        """
        symbols = list(symbols)
        self._proven.intersection_update(symbols)
        self._proven.update(proven)
        request_type = RequestType(self.scope.request_type)
        self._pump.blanks = {
            symbol: blanks(fields, request_type) for symbol, fields in projections.items() if fields is not None
        }
        if _connection_of(settings) != _connection_of(self._settings) and self._connections:
            for connection in self._connections:
                self._end(connection)
            self._connections = []
        self._settings = settings
        capacity = self._profile.limits.max_symbols
        placement = place(symbols, [c.symbols for c in self._connections], capacity)
        for index, removed in placement.removed.items():
            self._connections[index].remove(removed)
        for index, added in placement.added.items():
            if index == len(self._connections):
                self._connections.append(self._new_connection())
            self._connections[index].add(added)
        for connection in [c for c in self._connections if not c.symbols]:
            self._connections.remove(connection)
            self._leave(connection)

    def cut(self) -> None:
        """Take no frame from here on, and begin to close."""
        for connection in self._connections:
            self._end(connection)
        self._connections = []

    @property
    def quiet(self) -> bool:
        """Whether it has no open socket left, and no record that waits for the producer."""
        closed = not self._connections and all(c.finished for c in self._closing)
        return closed and not self._pump.reading_paused

    async def closed(self) -> None:
        """Wait until every socket is closed, also those of before; what still waits then is given up."""
        for connection in self._closing:
            await connection.ended()
        self.finish()

    def finish(self) -> None:
        """Give up what still waits for the producer, and tell what that cost and what was held back."""
        self._pump.give_up()
        self._tell_held_back(self._parts.clock.monotonic_s(), last=True)

    def on_time(self, now_s: float) -> None:
        """Called a few times a second."""
        if self._pump.holding:
            self._pump.on_time(now_s)
        self._tell_held_back(now_s)
        self._closing = [c for c in self._closing if not c.finished]

    # -- what others may know ----------------------------------------------------------------------

    def spec(self) -> WebsocketConnectionSpecDomain:
        """The state of this stream, for look-up."""
        open_since = [c.connected_at_ms for c in self._connections if c.connected_at_ms]
        return WebsocketConnectionSpecDomain(
            scope=self.scope,
            symbols=tuple(self.symbols),
            url=self._url(),
            status=ConnectionStatus.CONNECTED if open_since else ConnectionStatus.CONNECTING,
            connected_at_ms=min(open_since, default=None),
            last_active_ms=self._parts.clock.epoch_us() // 1000,
            instance=self._parts.instance,
        )

    # -- what its connections tell it --------------------------------------------------------------

    def on_confirmed(self, symbols: Iterable[str]) -> None:
        """Pass on."""
        self._owner.on_confirmed(self.scope, symbols)

    def on_refused(self, symbols: Iterable[str], error: ExchangeError) -> None:
        """Pass on."""
        self._owner.on_refused(self.scope, tuple(symbols), error)

    def on_problem(self, error: GatewayError, symbol: str | None = None) -> None:
        """Report it."""
        self._tell(error, symbol)

    def on_down(self, connection: StreamConnection, error: GatewayError) -> None:
        """One report an outage of the stream, not one a connection or an attempt; and one when the exchange is
        left alone for long, whatever the outage began with."""
        told = [self._outage.goes_down(connection, kind) for kind in _kinds_of(error)]
        if told[0]:
            self._tell(error)
        else:
            _log.debug("still away", scope=self.scope.key, reason=error.message)

    def on_back(self, connection: StreamConnection) -> None:
        """The last of those that were down ends the outage."""
        if self._outage.is_back(connection):
            self._log_recovery("outage over")

    def on_whole(self, symbol: str, attempts: int) -> None:
        """Only the log hears of it: what broke was reported, the records say what holds."""
        self._log_recovery("symbol whole again", symbol=symbol, attempts=attempts)

    def on_no_snapshot(self, connection: StreamConnection, error: GatewayError, symbol: str) -> None:
        """One report an outage of REST."""
        if self._rest_outage.goes_down(connection, _kinds_of(error)[-1]):
            self._tell(error, symbol)
        else:
            _log.debug("no snapshot", scope=self.scope.key, symbol=symbol, reason=error.message)

    def on_snapshot(self, connection: StreamConnection) -> None:
        """See ``on_back``."""
        self._rest_outage.is_back(connection)

    def on_unparsed(self, reason: str, frame: bytes) -> None:
        """A bounded sample goes to ``ws.dlq``; the session counts them all."""
        if self._samples.allow(self._parts.clock.epoch_us()):
            self._parts.reporter.dead_letter(reason, frame, self.scope, source=self._url())

    def pause_reading(self) -> None:
        """The producer takes nothing: let the exchange feel it."""
        for connection in self._connections:
            connection.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        for connection in self._connections:
            connection.resume_reading()

    def _end(self, connection: StreamConnection) -> None:
        connection.end()
        self._leave(connection)

    def _leave(self, connection: StreamConnection) -> None:
        """It ends by our own will, so it is not waited for any more."""
        self._closing.append(connection)
        self._rest_outage.ended(connection)
        if self._outage.ended(connection):
            self._log_recovery("outage over")

    def _url(self) -> str:
        if self._settings is not None and self._settings.url is not None:
            return self._settings.url
        return self._parts.url_of(self._profile, RequestType(self.scope.request_type))

    def _new_connection(self) -> StreamConnection:
        parts = self._parts
        return StreamConnection(
            self.scope,
            self._profile,
            self._url(),
            self._settings,
            connector=parts.connector,
            clock=parts.clock,
            new_session_id=parts.new_session_id,
            backoff=parts.backoff,
            budgets=parts.budgets,
            snapshots=parts.snapshots,
            books=parts.books,
            liveness=parts.liveness,
            accounting=self.accounting,
            pump=self._pump,
            events=self,
            may_publish=self._owner.may_publish,
            proven=self._proven,
            exact_numbers=parts.exact_numbers,
        )

    def _on_delivery_outage(self, error: GatewayError) -> None:
        if error.code is not ErrorCode.CIRCUIT_OPEN:
            self._tell(error)

    def _on_delivery_outage_end(self, shed: int) -> None:
        if shed:
            self._tell(shed_error(self.scope, shed))

    def _tell(self, error: GatewayError, symbol: str | None = None) -> None:
        """Report a problem, or hold it back for the summary of its minute."""
        now_s = self._parts.clock.monotonic_s()
        self._tell_held_back(now_s)
        held = self._problems.hold(error, symbol, now_s)
        if not held:
            scope = self.scope if symbol is None else self.scope.with_symbol(symbol)
            self._parts.reporter.report(error, scope)
            return
        self.accounting.problems_held_back += 1
        if held == 1:
            _log.warning("problems held back until the minute is over", scope=self.scope.key, code=error.code)

    def _tell_held_back(self, now_s: float, *, last: bool = False) -> None:
        for held in self._problems.take(now_s, last=last):
            self._parts.reporter.report(held.summary(self.scope.key), self.scope, context=held.context())

    def _log_recovery(self, event: str, **what: object) -> None:
        """An exchange that breaks and mends a thousand times a minute does not fill the log with it."""
        log = _log.info if self._recoveries.allow(self._parts.clock.epoch_us()) else _log.debug
        log(event, scope=self.scope.key, **what)


class _PerMinute:
    """Lets so many through in each minute."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._minute = -1
        self._count = 0

    def allow(self, now_us: int) -> bool:
        minute = now_us // 60_000_000
        if minute != self._minute:
            self._minute, self._count = minute, 0
        self._count += 1
        return self._count <= self._limit


def _kinds_of(error: GatewayError) -> list[str]:
    """What the error tells, what matters most first. Refused, lost and silent connections are one kind of
    problem, in whichever order they come."""
    kind = error.domain if error.domain is ErrorDomain.CONNECTION else error.code
    return ["held off", kind] if isinstance(error, ConnectHeldOffError) else [kind]


def _connection_of(settings: StreamSettings | None) -> tuple[str | None, object]:
    """What of the settings a connection depends on."""
    return (None, None) if settings is None else settings.connection
