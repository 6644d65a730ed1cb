"""``ExchangeSimulator``: one simulated exchange, listening on the loopback interface.

This is what a test, the demo and ``gateway simulate`` handle. The work is done by its parts: ``venue.py`` and
one file per exchange (protocol and frames), ``reception.py`` (connections), ``production.py`` (updates or a
recording), ``delivery.py`` (frames, log, counts).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from websockets.asyncio.server import Server, serve

from core.errors import GatewayError
from infra.simulator.connection import ExchangeConnection
from infra.simulator.delivery import Delivery, SimulatorStats
from infra.simulator.faults import RUBBISH_KINDS, FaultPlan, RubbishKind
from infra.simulator.log import FrameLog, FrameLogFile
from infra.simulator.production import Production
from infra.simulator.reception import Reception
from infra.simulator.replay import RecordedFrame, read_recording
from infra.simulator.venue import Limits
from infra.simulator.venues import VENUES

_HOUSEKEEPING_S = 0.1
_FLUSH_S = 0.1
_WRITE_LIMIT_BYTES = 256 * 1024
_CLOSE_TIMEOUT_S = 1.0


class SimulatorDiedError(GatewayError):
    """A part of a simulated exchange ended of an error, so that it sends nothing more."""


class ExchangeSimulator:
    """One simulated exchange.

    ``symbols``: canonical pairs that exist (default: about thirty). ``rate``: updates per second over all
    subscribed feeds together; each goes to every connection subscribed to it. ``seed``: same seed, same
    market. ``log``: where each written data frame is recorded (``log.py``): a callable, or the path of a JSON
    lines file. ``port`` 0 takes a free one. ``replay``: a recording sent to each connection that subscribes
    to anything, in place of the market; ``replay_speed`` 1.0 is its own pace, 2.0 twice that, None as fast as
    the client takes it. ``limits`` replaces what the exchange enforces. ``compression``: offer
    permessage-deflate (off by default: it costs more than all the rest). ``max_backlog_bytes``: how much may
    wait for a client that does not read before it is cut off. ``huge_bytes``: size of a ``huge`` frame of
    rubbish. ``clock``: epoch seconds.

    When a part of it ends of an error, ``died`` is set, it closes all connections and takes no more, and
    ``stop`` raises ``SimulatorDiedError``: an exchange that is silent of a defect is not to be taken for one
    that has nothing to say.

    Raises ``ValueError`` for an unknown exchange, a symbol that is not canonical, a negative rate, or a
    recording that cannot be read as one or has no market data of the exchange; ``OSError`` when a file cannot
    be read, and from ``start`` when the log cannot be written or the port is taken.
    """

    def __init__(
        self,
        exchange: str,
        *,
        symbols: Sequence[str] | None = None,
        rate: float = 100.0,
        seed: int = 0,
        log: FrameLog | Path | str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        replay: Path | str | None = None,
        replay_speed: float | None = 1.0,
        faults: FaultPlan | None = None,
        limits: Limits | None = None,
        compression: bool = False,
        max_backlog_bytes: int = 64 * 1024 * 1024,
        huge_bytes: int = 8 * 1024 * 1024,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if exchange not in VENUES:
            raise ValueError(f"no simulated exchange {exchange!r}; there are {', '.join(sorted(VENUES))}")
        if replay_speed is not None and replay_speed <= 0:
            raise ValueError(f"replay_speed {replay_speed} is not positive")
        self.exchange = exchange
        self.stats = SimulatorStats()
        self.venue = VENUES[exchange](symbols, seed)
        self._limits = limits or self.venue.limits
        self._faults = faults or FaultPlan()
        self._log_target = log
        self._host, self._port = host, port
        self._compression = compression
        self._recording = _recording_of(exchange, Path(replay)) if replay else None
        self._delivery = Delivery(self.venue, self.stats, self._faults, huge_bytes, clock)
        self._production = Production(
            self.venue, self._delivery, self.stats, _checked(rate), self._recording, replay_speed, self._watch
        )
        self._reception = Reception(
            self.venue, self._limits, self._production, self._delivery, self.stats, max_backlog_bytes
        )
        self._server: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._paused = False
        self._death: BaseException | None = None
        self.died = asyncio.Event()

    async def start(self) -> None:
        """Listen; ``url`` is known afterwards. A simulator is started once."""
        if self._server is not None or self._tasks:
            raise RuntimeError("the simulator was started already")
        logger = logging.getLogger("infra.simulator.websocket")
        logger.setLevel(logging.CRITICAL)  # the library reports each cut connection; here that is on purpose
        self._server = await serve(
            self._reception.serve,
            self._host,
            self._port,
            create_connection=ExchangeConnection,
            process_request=self._reception.admit,
            compression="deflate" if self._compression else None,
            ping_interval=self._limits.ping_interval_s,
            ping_timeout=self._limits.ping_timeout_s,
            close_timeout=_CLOSE_TIMEOUT_S,
            write_limit=_WRITE_LIMIT_BYTES,
            logger=logger,
        )
        self._port = self._server.sockets[0].getsockname()[1]
        target = self._log_target
        self._delivery.log = FrameLogFile(Path(target)) if isinstance(target, Path | str) else target
        self._production.running.set()
        self._tasks = [asyncio.create_task(self._keep_house())]
        if self._recording is None:
            self._tasks.append(asyncio.create_task(self._production.run()))
        for task in self._tasks:
            self._watch(task)

    async def stop(self) -> None:
        """Make no more updates, close every connection with 1001, write out the log; idempotent.

        Raises ``SimulatorDiedError`` when it had died before, or the log cannot be written out.
        """
        server, self._server = self._server, None
        if server is None:
            return
        self._cancel_timers()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self._reception.links:
            farewell = link.conversation.farewell(self._delivery.now_ms())
            if link.socket.frozen:
                link.drop()
            elif farewell is not None:
                link.answer(farewell.text)
        server.close()
        await server.wait_closed()
        try:
            self._write_out_log()
        except OSError as exc:
            self._death = self._death or exc
        if self._death is not None:
            reason = f"{type(self._death).__name__}: {self._death}"
            raise SimulatorDiedError(f"the simulated {self.exchange} died of {reason}") from self._death

    async def __aenter__(self) -> "ExchangeSimulator":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where to connect, with the exchange's own path."""
        return f"ws://{self._host}:{self._port}{self.venue.path}"

    @property
    def rest_url(self) -> str:
        """Where plain HTTP requests go."""
        return f"http://{self._host}:{self._port}"

    def pause(self) -> None:
        """Make no more updates; connections stay, requests and heartbeats are answered."""
        self._paused = True
        self._production.running.clear()

    def resume(self) -> None:
        """End a pause, a stall and a freeze; what was not sent meanwhile is not made up for."""
        self._cancel_timers()
        self._paused = False
        self._thaw()
        self._end_stall()

    def begin_maintenance(self) -> None:
        """Make no more updates, and say so on each connection as the exchange does, if it does."""
        self.venue.operative = False
        self.pause()
        self._tell_of_maintenance(begins=True)

    def end_maintenance(self) -> None:
        """Go on with updates, and say so."""
        self.venue.operative = True
        self.resume()
        self._tell_of_maintenance(begins=False)

    def set_rate(self, rate: float) -> None:
        """Another number of updates per second from now on; ``ValueError`` for a negative one."""
        self._production.pace.set_rate(_checked(rate))

    def stall(self, seconds: float | None = None) -> None:
        """Fall silent on all connections, new ones included: no data, no answers; WebSocket pongs still go."""
        self._reception.stall()
        self._production.running.clear()
        if seconds is not None:
            self._timers.append(asyncio.get_running_loop().call_later(seconds, self._end_stall))

    def freeze(self, seconds: float | None = None) -> None:
        """Make half-open sockets of all present connections: nothing is read or written, not even pongs; data
        meant for them is lost. New connections work."""
        for link in self._reception.links:
            link.socket.freeze()
        if seconds is not None:
            self._timers.append(asyncio.get_running_loop().call_later(seconds, self._thaw))

    def refuse_connections(self, refuse: bool = True) -> None:
        """Answer opening handshakes with HTTP 503, or no longer."""
        self._reception.gate.refusing = refuse

    async def drop_connections(self) -> int:
        """Cut all connections without a closing handshake; returns how many, once they are gone."""
        links = self._reception.links
        for link in links:
            link.drop()
        await self._reception.wait_gone(links)
        return len(links)

    async def close_all(self, code: int = 1001, reason: str = "") -> int:
        """Close all connections with a closing handshake; returns how many, once they are gone."""
        links = self._reception.links
        await asyncio.gather(*(link.close(code, reason) for link in links))
        await self._reception.wait_gone(links)
        return len(links)

    def send_rubbish(self, n: int = 1, kind: RubbishKind | None = None) -> int:
        """Send ``n`` frames of rubbish to each connection: of one kind, or in turn of those that leave the
        connection standing. Returns how many frames; ``ValueError`` for an unknown kind."""
        kinds = FaultPlan().rubbish_kinds if kind is None else (kind,)
        if kinds[0] not in RUBBISH_KINDS:
            raise ValueError(f"unknown kind of rubbish {kind!r}; there are {', '.join(RUBBISH_KINDS)}")
        links = self._reception.links
        for link in links:
            for i in range(n):
                self._delivery.send_rubbish(link, kinds[i % len(kinds)])
        return n * len(links)

    def _write_out_log(self) -> None:
        log = self._delivery.log
        if isinstance(log, FrameLogFile):
            log.flush()
            if log is not self._log_target:
                log.close()

    def _watch(self, task: asyncio.Task[None]) -> None:
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task is over: of an error, unless it was cancelled or was a replay that came to its end."""
        error = None if task.cancelled() else task.exception()
        if error is None or self._death is not None:
            return
        self._death = error
        self.died.set()
        if self._server is not None:
            self._server.close()

    def _tell_of_maintenance(self, begins: bool) -> None:
        for link in self._reception.links:
            notice = link.conversation.maintenance(begins)
            if notice is not None:
                link.answer(notice.text)

    def _end_stall(self) -> None:
        self._reception.end_stall()
        if not self._paused:
            self._production.running.set()

    def _thaw(self) -> None:
        for link in self._reception.links:
            link.socket.thaw()

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    async def _keep_house(self) -> None:
        """What is due by time: connections to look after, planned faults, the log."""
        loop = asyncio.get_running_loop()
        flushed_s = dropped_s = loop.time()
        stall_s = loop.time() + self._faults.stall_after_s if self._faults.stall_after_s else None
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            now_s = loop.time()
            self._reception.look_after(now_s)
            if self._faults.drop_every_s and now_s - dropped_s >= self._faults.drop_every_s:
                dropped_s = now_s
                await self.drop_connections()
            if stall_s is not None and now_s >= stall_s:
                stall_s = None
                self.stall(self._faults.stall_for_s)
            if now_s - flushed_s >= _FLUSH_S and isinstance(self._delivery.log, FrameLogFile):
                flushed_s = now_s
                self._delivery.log.flush()


def _checked(rate: float) -> float:
    if not rate >= 0:
        raise ValueError(f"rate {rate} is not zero or more")
    return rate


def _recording_of(exchange: str, path: Path) -> list[RecordedFrame]:
    recording = read_recording(path)
    identify = VENUES[exchange](None, 0).identify
    if not any(identify(recorded.content) for recorded in recording):
        raise ValueError(f"{path} holds no market data of {exchange}; is it another exchange's recording?")
    return recording
