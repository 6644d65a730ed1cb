"""The ``Connection`` port on the websockets library: frames are pushed from the transport's callback.

The library's own read queue is left out of the way: its connection class hands every event to
``process_event``, and this one calls the handler right there instead of queueing the frame for a reader.
Handshake, fragmentation, compression, size limits, pings and the closing handshake stay the library's.
"""

import time
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response

from application.ports import ConnectionEnd, FrameHandler
from core.connect_refusals import read_retry_after
from core.errors import ConnectFailedError
from core.events import clean_text

_TEXT, _BINARY, _CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT


class _PushConnection(ClientConnection):
    """Calls the handler for each whole message, as bytes whatever the frame's kind."""

    def __init__(self, handler: FrameHandler, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._handler = handler
        self._parts: list[bytes] | None = None

    def process_event(self, event: Any) -> None:
        handler = self._handler
        if self.response is None or not isinstance(event, Frame):
            super().process_event(event)
            return
        opcode = event.opcode
        if opcode is _TEXT or opcode is _BINARY:
            if event.fin:
                handler.on_frame(bytes(event.data), time.time_ns() // 1000)
                return
            self._parts = [bytes(event.data)]
        elif opcode is _CONT and self._parts is not None:
            self._parts.append(bytes(event.data))
            if event.fin:
                whole, self._parts = b"".join(self._parts), None
                handler.on_frame(whole, time.time_ns() // 1000)
        else:
            super().process_event(event)


class _ConnectHereOnly(connect):
    """Follows no redirect: who answers for an exchange must not choose where the gateway connects.

    The address may be none that a command could name, and the attempts would be outside the connect budget.
    """

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class WebsocketsConnection:
    """One open WebSocket on the websockets library."""

    def __init__(self, connection: _PushConnection) -> None:
        self._connection = connection

    def send(self, message: str | bytes) -> None:
        """Queue one message; dropped when the connection is closing."""
        connection = self._connection
        if connection.protocol.state is not websockets.State.OPEN:
            return
        if isinstance(message, str):
            connection.protocol.send_text(message.encode())
        else:
            connection.protocol.send_binary(message)
        connection.send_data()

    def pause_reading(self) -> None:
        """Leave bytes in the socket, so that TCP's window closes on the other side."""
        self._connection.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._connection.transport.resume_reading()

    async def closed(self) -> ConnectionEnd:
        """Wait for the end; the code and the reason of the close, in words.

        Where this side ended it for a reason of its own (a frame over the limit, an unanswered ping), that
        is what ended it, whether or not the other side still answered.
        """
        connection = self._connection
        await connection.wait_closed()
        protocol = connection.protocol
        sent, received = protocol.close_sent, protocol.close_rcvd
        if sent is not None and sent.code != CloseCode.NORMAL_CLOSURE and not protocol.close_rcvd_then_sent:
            return ConnectionEnd(int(sent.code), sent.reason)
        if received is not None:
            return ConnectionEnd(int(received.code), received.reason)
        cause = connection.connection_exc if hasattr(connection, "connection_exc") else None
        if sent is not None:
            return ConnectionEnd(int(sent.code), sent.reason)
        return ConnectionEnd(int(CloseCode.ABNORMAL_CLOSURE), str(cause or "the connection was lost"))

    async def close(self) -> None:
        """Send a close frame, wait for the answer within the library's time limit, end the transport."""
        await self._connection.close()


class WebsocketsConnector:
    """Opens connections; pings find half-open sockets within ``ping_interval_s + ping_timeout_s``."""

    def __init__(
        self,
        *,
        open_timeout_s: float = 10.0,
        ping_interval_s: float = 15.0,
        ping_timeout_s: float = 10.0,
        close_timeout_s: float = 2.0,
    ) -> None:
        self._open_timeout_s = open_timeout_s
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        self._close_timeout_s = close_timeout_s

    async def connect(self, url: str, handler: FrameHandler, *, max_frame_bytes: int) -> WebsocketsConnection:
        """Open ``url`` and no other address; raises ``ConnectFailedError`` with the library's reason."""
        try:
            connection = await _ConnectHereOnly(
                url,
                create_connection=partial(_PushConnection, handler),  # type: ignore[arg-type]  # any factory does
                open_timeout=self._open_timeout_s,
                ping_interval=self._ping_interval_s,
                ping_timeout=self._ping_timeout_s,
                close_timeout=self._close_timeout_s,
                max_size=max_frame_bytes,
                max_queue=16,
                compression="deflate",
            )
        except websockets.InvalidStatus as exc:
            response = exc.response
            retry_after_s = read_retry_after(response.headers.get("Retry-After"), time.time())
            raise ConnectFailedError(
                f"cannot connect to {url}: {_refusal(url, response)}",
                status=response.status_code,
                retry_after_s=retry_after_s,
            ) from exc
        except (OSError, TimeoutError, websockets.WebSocketException, ValueError) as exc:
            raise ConnectFailedError(f"cannot connect to {url}: {str(exc) or type(exc).__name__}") from exc
        assert isinstance(connection, _PushConnection)
        return WebsocketsConnection(connection)


def _refusal(url: str, response: Response) -> str:
    """What the HTTP answer to a handshake says; of a redirect's target the host alone: it holds no secret."""
    status, location = response.status_code, response.headers.get_all("Location")
    if not 300 <= status < 400 or not location:
        return f"refused with HTTP {status}"
    try:
        target = urlsplit(urljoin(url, location[0]))
        host = target.hostname or "no host"
        if target.port is not None:
            host = f"{host}:{target.port}"
    except ValueError:
        host = "an address that cannot be read"
    return (
        f"HTTP {status} redirects to {clean_text(host)}, and no redirect is followed; if the exchange has "
        "moved, set its new address in GATEWAY_EXCHANGE_URLS or in the command's url"
    )
