"""A WebSocket server in a process of its own: sends ready-made Upbit frames, at a rate or as fast as it can.

It speaks as much of Upbit's protocol as a gateway asks for: a subscription is answered by one frame a code,
``PING`` by a status, pings by pongs. Everything else is rendered before the clock runs.
"""

import itertools
import multiprocessing
import socket
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import orjson
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from benchmarks.market_frames import frames

Shares = Mapping[str, int]
"""Frames of each kind in one turn."""

_BATCH_BYTES = 64 * 1024
_BUFFER_BYTES = 256 * 1024
"""Of the socket, so that little is on its way when the feed is halted."""


class Feeder:
    """The feeder's process, as its user sees it. ``deflate``: agree to permessage-deflate."""

    def __init__(self, *, deflate: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, deflate), name="feeder", daemon=True)
        self._process.start()
        self.url = f"ws://127.0.0.1:{self._pipe.recv()}/"

    def go(self, shares: Shares, rate_per_s: float | None = None) -> None:
        """Send until ``halt``; ``rate_per_s`` None: as fast as the other side reads."""
        self._pipe.send((dict(shares), rate_per_s))

    def halt(self) -> int:
        """Stop; returns how many frames were sent since the feeder began, answers to subscriptions included."""
        self._pipe.send(None)
        return int(self._pipe.recv())

    def end(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(10)


# -- inside the feeder's process -----------------------------------------------------------------------


class _Peer:
    """One connection: a thread that reads, and a lock around what is written."""

    def __init__(self, connection: socket.socket, feed: "_Feed", deflate: bool) -> None:
        extensions = (
            [ServerPerMessageDeflateFactory(server_no_context_takeover=True, compress_settings={"level": 6})]
            if deflate
            else []
        )
        self.protocol = ServerProtocol(extensions=extensions)
        self._connection = connection
        self._feed = feed
        self._lock = threading.Lock()
        self.closed = False

    def send(self, data: bytes) -> None:
        with self._lock:
            self._connection.sendall(data)

    def read(self) -> None:
        try:
            while data := self._connection.recv(65536):
                self.protocol.receive_data(data)
                for event in self.protocol.events_received():
                    self._answer(event)
                for answer in self.protocol.data_to_send():
                    if answer:
                        self.send(answer)
        except OSError:
            pass
        finally:
            self.closed = True
            self._feed.forget(self)
            self._connection.close()

    def _answer(self, event: Any) -> None:
        if isinstance(event, Request):
            self.protocol.send_response(self.protocol.accept(event))
            for answer in self.protocol.data_to_send():
                self.send(answer)
        elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
            if bytes(event.data) == b"PING":
                self.send(self.render(b'{"status":"UP"}'))
            else:
                self._feed.subscribe(self, orjson.loads(event.data))

    def render(self, data: bytes) -> bytes:
        """One message as the bytes on the wire."""
        frame = Frame(Opcode.BINARY, data)
        return bytes(frame.serialize(mask=False, extensions=self.protocol.extensions))


class _Feed:
    def __init__(self) -> None:
        self.sent = 0
        self._peers: dict[str, _Peer] = {}
        self._rendered: dict[str, list[bytes]] = {}

    def subscribe(self, peer: _Peer, request: list[dict[str, Any]]) -> None:
        """One frame for each code, and the kind's frames from here on to this peer."""
        wanted = next(part for part in request if "codes" in part)
        kind, codes = wanted["type"], set(wanted["codes"])
        plain = frames(kind)
        first = {orjson.loads(frame)["code"]: frame for frame in plain}
        rendered = [peer.render(frame) for frame in plain]
        for code in codes:
            peer.send(peer.render(first[code]))
            self.sent += 1
        self._rendered[kind] = rendered
        self._peers[kind] = peer

    def forget(self, peer: _Peer) -> None:
        for kind in [kind for kind, other in self._peers.items() if other is peer]:
            del self._peers[kind]

    def run(self, shares: Shares, rate_per_s: float | None, pipe: Connection) -> None:
        try:
            if rate_per_s is None:
                self._flood(shares, pipe)
            else:
                self._pace(shares, rate_per_s, pipe)
        except (OSError, KeyError):
            return  # the peer has gone; what was sent is counted

    def _flood(self, shares: Shares, pipe: Connection) -> None:
        batches = {kind: itertools.cycle(_batches(self._rendered[kind])) for kind in shares}
        owed = dict.fromkeys(shares, 0.0)
        while not pipe.poll():
            for kind, share in shares.items():
                # Batches differ in how many frames they hold: each kind sends what it is behind.
                owed[kind] += share * 10
                while owed[kind] > 0:
                    count, data = next(batches[kind])
                    self._peers[kind].send(data)
                    self.sent += count
                    owed[kind] -= count

    def _pace(self, shares: Shares, rate_per_s: float, pipe: Connection) -> None:
        """One frame a write, evenly spaced, as an exchange sends them; what is late follows at once."""
        order = [kind for kind, share in shares.items() for _ in range(share)]
        cycles = {kind: itertools.cycle(self._rendered[kind]) for kind in shares}
        start_s = time.perf_counter()
        for number, kind in enumerate(itertools.cycle(order)):
            ahead_s = start_s + number / rate_per_s - time.perf_counter()
            if ahead_s > 0:
                time.sleep(ahead_s)
            if number % 64 == 0 and pipe.poll():
                return
            self._peers[kind].send(next(cycles[kind]))
            self.sent += 1


def _batches(rendered: list[bytes]) -> list[tuple[int, bytes]]:
    batches: list[tuple[int, bytes]] = []
    count, size = 0, 0
    for index, frame in enumerate(rendered):
        count, size = count + 1, size + len(frame)
        if size >= _BATCH_BYTES or index == len(rendered) - 1:
            batches.append((count, b"".join(rendered[index + 1 - count : index + 1])))
            count, size = 0, 0
    return batches


def _accept(listener: socket.socket, feed: _Feed, deflate: bool) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = _Peer(connection, feed, deflate)
        threading.Thread(target=peer.read, daemon=True).start()


def _serve(pipe: Connection, deflate: bool) -> None:
    feed = _Feed()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    threading.Thread(target=_accept, args=(listener, feed, deflate), daemon=True).start()
    pipe.send(listener.getsockname()[1])
    while True:
        try:
            work = pipe.recv()
        except EOFError:
            return
        if work is None:
            pipe.send(feed.sent)
        else:
            shares, rate_per_s = work
            feed.run(shares, rate_per_s, pipe)
