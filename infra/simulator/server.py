"""``ExchangeSimulator``: one simulated exchange, listening on the loopback interface.

The updates of all feeds that anybody is subscribed to are made here, in turn and at one rate; who gets them
and in which form, what a client's messages mean and what the exchange answers, is the venue's business
(``venue.py``).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Sequence
from http import HTTPStatus
from pathlib import Path

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from infra.simulator.connection import ExchangeConnection, FrameBatch, Link
from infra.simulator.faults import RUBBISH_KINDS, FaultPlan, RubbishKind, rubbish
from infra.simulator.gate import ConnectGate, too_many
from infra.simulator.log import FrameKind, FrameLog, FrameLogEntry, FrameLogFile
from infra.simulator.pace import Pace
from infra.simulator.replay import RecordedFrame, read_recording
from infra.simulator.venue import (
    Answer,
    Conversation,
    Feed,
    FrameIdentity,
    Limits,
    Reply,
    Snapshot,
    Update,
    Venue,
)
from infra.simulator.venues import VENUES

_SMALLEST_WAIT_S = 0.004
_LARGEST_WAIT_S = 0.05
_HOUSEKEEPING_S = 0.1
_FLUSH_S = 1.0
_MOST_PER_TURN = 500
"""Updates made without yielding to the loop, so that requests are answered promptly at any rate."""
_MOST_HELD = 1_000
_WRITE_LIMIT_BYTES = 256 * 1024
_CLOSE_TIMEOUT_S = 1.0


class SimulatorStats(msgspec.Struct, kw_only=True):
    """Counts since the start.

    ``connections``: open now; ``connections_total``: ever opened. ``updates``: steps of the markets; each is
    one frame for every connection subscribed to it. ``frames_sent``: data frames written, snapshots included,
    rubbish not; ``frames_by_symbol``: the same by canonical symbol. ``refused``: opening handshakes answered
    with an HTTP error. ``too_slow``: connections cut because they did not read. ``replays_finished``:
    connections that got the whole recording.
    """

    connections: int = 0
    connections_total: int = 0
    updates: int = 0
    frames_sent: int = 0
    frames_by_symbol: dict[str, int] = msgspec.field(default_factory=dict)
    rubbish_sent: int = 0
    refused: int = 0
    too_slow: int = 0
    replays_finished: int = 0


class ExchangeSimulator:
    """One simulated exchange.

    ``symbols``: canonical pairs that exist (default: about thirty). ``rate``: updates per second over all
    subscribed feeds together. ``seed``: same seed, same market. ``log``: where each written data frame is
    recorded, a callable or the path of a JSON lines file (``log.py``). ``port`` 0 takes a free one.
    ``replay``: a recording sent to each connection that subscribes, in place of the market; ``replay_speed``
    1.0 is its own pace, 2.0 twice that, None as fast as the client takes it. ``limits`` replaces what the
    exchange enforces. ``compression``: offer permessage-deflate (off by default: it costs more than all the
    rest). ``max_backlog_bytes``: how much may wait for a client that does not read before it is cut off.

    Raises ``ValueError`` for an unknown exchange, a symbol that is not canonical, a negative rate, or a
    recording that cannot be read as one; ``OSError`` when a file or the port cannot be opened.
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
        if rate < 0:
            raise ValueError(f"rate {rate} is negative")
        if replay_speed is not None and replay_speed <= 0:
            raise ValueError(f"replay_speed {replay_speed} is not positive")
        self.exchange = exchange
        self.venue: Venue = VENUES[exchange](symbols, seed)
        self.stats = SimulatorStats()
        self._limits = limits or self.venue.limits
        self._faults = faults or FaultPlan()
        self._recording: list[RecordedFrame] | None = read_recording(Path(replay)) if replay else None
        self._replay_speed = replay_speed
        self._log_target = log
        self._log: FrameLog | None = None
        self._host, self._port = host, port
        self._compression = compression
        self._max_backlog_bytes = max_backlog_bytes
        self._huge_bytes = huge_bytes
        self._clock = clock
        self._pace = Pace(rate)
        self._gate = ConnectGate(self._limits.max_connects)
        self._links: dict[int, Link] = {}
        self._server: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._running = asyncio.Event()
        self._paused = self._stalled = False
        self._timers: list[asyncio.TimerHandle] = []
        self._subscribers: dict[Feed, list[tuple[Link, Hashable]]] = {}
        self._rotation: list[Feed] = []
        self._turn = 0

    # Life

    async def start(self) -> None:
        """Listen; ``url`` is known afterwards."""
        if self._server is not None:
            raise RuntimeError("the simulator is started already")
        target = self._log_target
        self._log = FrameLogFile(Path(target)) if isinstance(target, Path | str) else target
        logger = logging.getLogger("infra.simulator.websocket")
        logger.setLevel(
            logging.CRITICAL
        )  # the library reports each cut connection; here they are cut on purpose
        self._server = await serve(
            self._converse,
            self._host,
            self._port,
            create_connection=ExchangeConnection,
            process_request=self._admit,
            compression="deflate" if self._compression else None,
            ping_interval=self._limits.ping_interval_s,
            ping_timeout=self._limits.ping_timeout_s,
            close_timeout=_CLOSE_TIMEOUT_S,
            write_limit=_WRITE_LIMIT_BYTES,
            logger=logger,
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._running.set()
        self._tasks = [asyncio.create_task(self._keep_house())]
        if self._recording is None:
            self._tasks.append(asyncio.create_task(self._produce()))

    async def stop(self) -> None:
        """Stop making updates, close every connection with 1001, write out the log; idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        self._cancel_timers()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self._links.values():
            if link.socket.frozen:
                link.drop()
        server.close()
        await server.wait_closed()
        if isinstance(self._log, FrameLogFile):
            self._log.flush()
            if self._log is not self._log_target:
                self._log.close()

    async def __aenter__(self) -> "ExchangeSimulator":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where to connect, with the exchange's own path."""
        return f"ws://{self._host}:{self._port}{self.venue.path}"

    # What can be done to it

    def pause(self) -> None:
        """Make no more updates; connections stay, requests and heartbeats are answered."""
        self._paused = True
        self._running.clear()

    def resume(self) -> None:
        """End a pause, a stall and a freeze; what was not sent meanwhile is not made up for."""
        self._cancel_timers()
        self._paused = False
        self._thaw()
        self._end_stall()

    def set_rate(self, rate: float) -> None:
        """Another number of updates per second from now on; ``ValueError`` for a negative one."""
        if rate < 0:
            raise ValueError(f"rate {rate} is negative")
        self._pace.set_rate(rate)

    def stall(self, seconds: float | None = None) -> None:
        """Fall silent on all connections, new ones included: no data, no answers; WebSocket pongs still go."""
        self._stalled = True
        self._running.clear()
        if seconds is not None:
            self._timers.append(asyncio.get_running_loop().call_later(seconds, self._end_stall))

    def freeze(self, seconds: float | None = None) -> None:
        """Make half-open sockets of all present connections: nothing is read or written, not even pongs. New
        connections work."""
        for link in self._links.values():
            link.socket.freeze()
        if seconds is not None:
            self._timers.append(asyncio.get_running_loop().call_later(seconds, self._thaw))

    def refuse_connections(self, refuse: bool = True) -> None:
        """Answer opening handshakes with HTTP 503, or no longer."""
        self._gate.refusing = refuse

    async def drop_connections(self) -> int:
        """Cut all connections without a closing handshake; returns how many, once they are gone."""
        links = list(self._links.values())
        for link in links:
            link.drop()
        await asyncio.gather(*(link.socket.wait_closed() for link in links))
        return len(links)

    async def close_all(self, code: int = 1001, reason: str = "") -> int:
        """Close all connections with a closing handshake; returns how many, once they are closed."""
        links = list(self._links.values())
        await asyncio.gather(*(link.close(code, reason) for link in links))
        return len(links)

    def send_rubbish(self, n: int = 1, kind: RubbishKind | None = None) -> int:
        """Send ``n`` frames of rubbish to each connection, of one kind or of all but ``huge`` and
        ``invalid_utf8`` in turn; returns how many frames. ``ValueError`` for an unknown kind."""
        kinds = (kind,) if kind is not None else FaultPlan().rubbish_kinds
        if kinds[0] not in RUBBISH_KINDS:
            raise ValueError(f"unknown kind of rubbish {kind!r}; there are {', '.join(RUBBISH_KINDS)}")
        before = self.stats.rubbish_sent
        for link in list(self._links.values()):
            for i in range(n):
                self._send_rubbish(link, kinds[i % len(kinds)])
        return self.stats.rubbish_sent - before

    # Connections

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        status = self._gate.admit(asyncio.get_running_loop().time())
        if status is None and self.venue.converse(request.path) is None:
            status = HTTPStatus.NOT_FOUND
        if status is None:
            return None
        self.stats.refused += 1
        return connection.respond(status, f"{status.phrase}\n")

    async def _converse(self, socket: ServerConnection) -> None:
        assert isinstance(socket, ExchangeConnection)
        assert socket.request is not None
        conversation = self.venue.converse(socket.request.path)
        assert conversation is not None, "the path was checked at the handshake"
        self.stats.connections_total += 1
        link = self._link(socket, conversation)
        self._links[link.number] = link
        self.stats.connections = len(self._links)
        if conversation.feeds or conversation.subscribed:
            self._subscribed(link)
        try:
            async for message in socket:
                self._received(link, message)
        except ConnectionClosed:
            pass
        finally:
            if link.replay is not None:
                link.replay.cancel()
            del self._links[link.number]
            self.stats.connections = len(self._links)
            self._index()

    def _link(self, socket: ExchangeConnection, conversation: Conversation) -> Link:
        loop = asyncio.get_running_loop()
        link = Link(
            self.stats.connections_total,
            socket,
            conversation,
            max_backlog_bytes=self._max_backlog_bytes,
            on_written=self._written,
            now_s=loop.time(),
        )

        def control_frame() -> None:
            link.active_s = loop.time()
            if self._limits.count_control_frames:
                self._count_incoming(link)

        socket.on_control = control_frame
        return link

    def _count_incoming(self, link: Link) -> None:
        if too_many(link.incoming_s, self._limits.max_messages, asyncio.get_running_loop().time()):
            self._close_later(link, 1008, "Too many requests")

    def _received(self, link: Link, message: str | bytes) -> None:
        link.active_s = asyncio.get_running_loop().time()
        self._count_incoming(link)
        if not link.open:
            return
        if self._stalled:
            if len(link.held) < _MOST_HELD:
                link.held.append(message)
            return
        feeds = link.conversation.feeds
        before, subscribed = dict(feeds), link.conversation.subscribed
        replies = link.conversation.receive(message, link.active_s)
        self._reply(link, replies)
        if link.conversation.feeds != before or link.conversation.subscribed != subscribed:
            self._subscribed(link)

    def _reply(self, link: Link, replies: Sequence[Reply]) -> None:
        for reply in replies:
            if isinstance(reply, Answer):
                link.active_s = asyncio.get_running_loop().time()
                link.answer(reply.text)
            elif isinstance(reply, Snapshot):
                if self._recording is None:
                    update = self.venue.latest(reply.feed, self._now_ms())
                    link.send([self._frame(link, update, reply.form, "snapshot")])
            else:
                self._close_later(link, reply.code, reply.reason)

    def _close_later(self, link: Link, code: int, reason: str) -> None:
        if link.open:
            closing = asyncio.create_task(link.close(code, reason))
            self._tasks.append(closing)
            closing.add_done_callback(self._tasks.remove)

    def _subscribed(self, link: Link) -> None:
        self._index()
        if self._recording is not None and link.replay is None and link.conversation.subscribed:
            link.replay = asyncio.create_task(self._replay(link, self._recording))

    def _index(self) -> None:
        """Who gets which feed; feeds nobody wants any more make no updates."""
        subscribers: dict[Feed, list[tuple[Link, Hashable]]] = {}
        for link in self._links.values():
            for feed, form in link.conversation.feeds.items():
                subscribers.setdefault(feed, []).append((link, form))
        if not self._subscribers and subscribers:
            self._pace.restart()
        self._subscribers, self._rotation = subscribers, sorted(subscribers)

    # Market data

    async def _produce(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._running.is_set():
                await self._running.wait()
                self._pace.restart()
            due = self._pace.due(loop.time()) if self._rotation else 0
            while due > 0 and self._running.is_set():
                turn = min(due, _MOST_PER_TURN)
                self._send_updates(turn)
                due -= turn
                await asyncio.sleep(0)
            await asyncio.sleep(self._pace.wait_s(loop.time(), _SMALLEST_WAIT_S, _LARGEST_WAIT_S))

    def _send_updates(self, count: int) -> None:
        now_ms = self._now_ms()
        batches: dict[Link, FrameBatch] = {}
        for _ in range(count if self._rotation else 0):
            self._turn = (self._turn + 1) % len(self._rotation)
            feed = self._rotation[self._turn]
            update = self.venue.advance(feed, now_ms)
            self.stats.updates += 1
            for link, form in self._subscribers[feed]:
                batches.setdefault(link, []).append(self._frame(link, update, form, "realtime"))
        for link, batch in batches.items():
            link.send(batch)
            self._spoil(link)

    async def _replay(self, link: Link, recording: Sequence[RecordedFrame]) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number, recorded in enumerate(recording, 1):
            if self._replay_speed is not None:
                ahead_s = began_s + recorded.after_s / self._replay_speed - loop.time()
                if ahead_s > 0:
                    await asyncio.sleep(ahead_s)
            if not self._running.is_set():
                stopped_s = loop.time()
                await self._running.wait()
                began_s += loop.time() - stopped_s
            if link.waiting:
                await link.socket.drain()
            identity = self.venue.identify(recorded.content)
            entry = self._entry(link, identity, "realtime", number)
            link.send([(recorded.payload, recorded.binary, entry)])
            self._spoil(link)
            if number % 64 == 0:
                await asyncio.sleep(0)
        self.stats.replays_finished += 1

    def _frame(
        self, link: Link, update: Update, form: Hashable, kind: FrameKind
    ) -> tuple[bytes, bool, FrameLogEntry]:
        entry = self._entry(link, update.identity, kind, update.identity.n)
        return update.payload(form, kind == "snapshot"), self.venue.binary, entry

    def _entry(self, link: Link, identity: FrameIdentity | None, kind: FrameKind, n: int) -> FrameLogEntry:
        if identity is None:
            return FrameLogEntry(link.number, self.exchange, None, None, None, None, kind, n)
        return FrameLogEntry(
            link.number,
            self.exchange,
            identity.request_type,
            identity.symbol,
            identity.exchange_symbol,
            identity.exchange_ts_ms,
            kind,
            n,
        )

    def _written(self, link: Link, entry: FrameLogEntry) -> None:
        stats = self.stats
        if entry.kind == "rubbish":
            stats.rubbish_sent += 1
        else:
            stats.frames_sent += 1
            if entry.symbol is not None:
                stats.frames_by_symbol[entry.symbol] = stats.frames_by_symbol.get(entry.symbol, 0) + 1
        if self._log is not None:
            self._log(entry)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    # Faults and housekeeping

    def _send_rubbish(self, link: Link, kind: RubbishKind) -> None:
        feed = next(iter(link.conversation.feeds), None)
        good = self.venue.sample(feed, link.conversation.feeds.get(feed) if feed else None, self._now_ms())
        payload = rubbish(kind, good, self.venue.unknown_type(), self._huge_bytes)
        link.rubbish_written += 1
        entry = self._entry(link, None, "rubbish", link.rubbish_written)
        link.send([(payload, self.venue.binary, entry)])

    def _spoil(self, link: Link) -> None:
        """Rubbish that is due after so many data frames."""
        every = self._faults.rubbish_every
        while every and link.frames_written - link.rubbish_written >= (link.rubbish_written + 1) * every:
            kinds = self._faults.rubbish_kinds
            self._send_rubbish(link, kinds[link.rubbish_written % len(kinds)])

    def _end_stall(self) -> None:
        self._stalled = False
        for link in self._links.values():
            held, link.held = link.held, []
            for message in held:
                self._received(link, message)
        if not self._paused:
            self._running.set()

    def _thaw(self) -> None:
        for link in self._links.values():
            link.socket.thaw()

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    async def _keep_house(self) -> None:
        """What is due by time: heartbeats, idle and old connections, slow clients, planned faults, the log."""
        loop = asyncio.get_running_loop()
        started_s = flushed_s = dropped_s = loop.time()
        stalled = False
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            now_s = loop.time()
            for link in list(self._links.values()):
                self._look_after(link, now_s)
            if self._faults.drop_every_s and now_s - dropped_s >= self._faults.drop_every_s:
                dropped_s = now_s
                await self.drop_connections()
            if self._faults.stall_after_s and not stalled and now_s - started_s >= self._faults.stall_after_s:
                stalled = True
                self.stall(self._faults.stall_for_s)
            if now_s - flushed_s >= _FLUSH_S and isinstance(self._log, FrameLogFile):
                flushed_s = now_s
                self._log.flush()

    def _look_after(self, link: Link, now_s: float) -> None:
        limits = self._limits
        if link.overflowed:
            self.stats.too_slow += 1
            link.drop()
        elif limits.max_lifetime_s and now_s - link.opened_s >= limits.max_lifetime_s:
            self._close_later(link, 1008, "Connection lifetime exceeded")
        elif limits.idle_timeout_s and now_s - link.active_s >= limits.idle_timeout_s:
            self._close_later(link, 1000, "Idle timeout")
        elif not self._stalled:
            self._reply(link, link.conversation.tick(now_s))
