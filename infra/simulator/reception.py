"""The exchange's front desk: who may connect, what a client's messages set off, and whose time is up."""

import asyncio
from collections.abc import Iterable, Sequence
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from infra.simulator.connection import ExchangeConnection, Link
from infra.simulator.delivery import Delivery, SimulatorStats
from infra.simulator.gate import ConnectGate, too_many
from infra.simulator.production import Production
from infra.simulator.venue import Answer, Beat, Limits, Reply, Snapshot, Venue

_MOST_HELD = 1_000


class Reception:
    """All connections of one simulated exchange.

    ``stalled``: messages are taken and answered only once ``end_stall`` is called.
    """

    def __init__(
        self,
        venue: Venue,
        limits: Limits,
        production: Production,
        delivery: Delivery,
        stats: SimulatorStats,
        max_backlog_bytes: int,
    ) -> None:
        self.gate = ConnectGate(limits.max_connects)
        self.stalled = False
        self._venue = venue
        self._limits = limits
        self._production = production
        self._delivery = delivery
        self._stats = stats
        self._max_backlog_bytes = max_backlog_bytes
        self._links: dict[int, Link] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def links(self) -> list[Link]:
        """The connections that are open, oldest first."""
        return list(self._links.values())

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Decide about an opening handshake: 503 when refusing, 429 when too many, 404 for another path."""
        answer = None if "Upgrade" in request.headers else self._venue.rest(request.path)
        if answer is not None:
            response = connection.respond(*answer)
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/json"
            return response
        status = self.gate.admit(_now_s())
        if status is None and self._venue.converse(request.path) is None:
            status = HTTPStatus.NOT_FOUND
        if status is None:
            return None
        self._stats.refused += 1
        return connection.respond(status, f"{status.phrase}\n")

    async def serve(self, socket: ServerConnection) -> None:
        """One connection, from the handshake to its end."""
        assert isinstance(socket, ExchangeConnection)
        assert socket.request is not None
        link = self._link(socket, socket.request.path)
        try:
            if link.conversation.subscribed:
                self._production.follow(self.links)
            async for message in socket:
                self._receive(link, message)
        except ConnectionClosed:
            pass
        finally:
            if link.replay is not None:
                link.replay.cancel()
            del self._links[link.number]
            self._stats.connections = len(self._links)
            self._production.follow(self.links)
            link.gone.set()

    def stall(self) -> None:
        """Hold all answers back, and what waits for slow clients."""
        self.stalled = True
        for link in self._links.values():
            link.muted = True

    def end_stall(self) -> None:
        """Take up what was held back."""
        self.stalled = False
        for link in self.links:
            link.unmute()
            held, link.held = link.held, []
            for message in held:
                self._receive(link, message)

    def look_after(self, now_s: float) -> None:
        """What is due by time on each connection: heartbeats, and the end of idle, old and slow ones."""
        limits = self._limits
        for link in self.links:
            if link.socket.frozen:
                continue
            if link.overflowed:
                self._stats.too_slow += 1
                link.drop()
            elif limits.max_lifetime_s and now_s - link.opened_s >= limits.max_lifetime_s:
                self._close(link, 1008, "Connection lifetime exceeded")
            elif limits.idle_timeout_s and now_s - link.active_s >= limits.idle_timeout_s:
                self._close(link, 1000, "Idle timeout")
            elif not self.stalled:
                self._reply(link, link.conversation.tick(now_s))

    async def wait_gone(self, links: Iterable[Link]) -> None:
        """Until these connections are gone for good."""
        for link in links:
            await link.gone.wait()

    def _link(self, socket: ExchangeConnection, path: str) -> Link:
        conversation = self._venue.converse(path)
        assert conversation is not None, "the path was checked at the handshake"
        self._stats.connections_total += 1
        link = Link(
            self._stats.connections_total,
            socket,
            conversation,
            max_backlog_bytes=self._max_backlog_bytes,
            on_written=self._delivery.written,
            now_s=_now_s(),
        )
        link.muted = self.stalled

        def control_frame() -> None:
            link.active_s = _now_s()
            if self._limits.count_control_frames:
                self._count_incoming(link)

        socket.on_control = control_frame
        self._links[link.number] = link
        self._stats.connections = len(self._links)
        return link

    def _count_incoming(self, link: Link) -> bool:
        over = too_many(link.incoming_s, self._limits.max_messages, _now_s())
        if over:
            self._close(link, 1008, "Too many requests")
        return over

    def _receive(self, link: Link, message: str | bytes) -> None:
        if self.stalled:
            if len(link.held) < _MOST_HELD:
                link.held.append(message)
            return
        link.active_s = _now_s()
        if self._count_incoming(link) or not link.open:
            return
        conversation = link.conversation
        before = (dict(conversation.feeds), conversation.subscribed)
        self._reply(link, conversation.receive(message, link.active_s))
        if before != (conversation.feeds, conversation.subscribed):
            self._production.follow(self.links)

    def _reply(self, link: Link, replies: Sequence[Reply]) -> None:
        for reply in replies:
            link.active_s = _now_s()
            if isinstance(reply, Answer):
                link.answer(reply.text)
            elif isinstance(reply, Snapshot):
                self._production.snapshot(link, reply)
            elif isinstance(reply, Beat):
                self._production.beat(link, reply)
            else:
                self._close(link, reply.code, reply.reason)

    def _close(self, link: Link, code: int, reason: str) -> None:
        if link.open and not link.closing:
            link.closing = True
            task = asyncio.create_task(link.close(code, reason))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
