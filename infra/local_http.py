"""An ASGI application served from the running event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals belong to the process's own shutdown."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class LocalHttpServer:
    """Serves ``app`` at ``url`` between ``start`` and ``stop``; ``port`` 0 takes a free one.

    ``start`` raises ``OSError`` when the port is taken.
    """

    def __init__(self, app: Any, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens; ``RuntimeError`` before ``start``."""
        if self._server is None:
            raise RuntimeError("the server was not started")
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen; returns once requests are answered."""
        if self._server is not None:
            return
        listener = socket.create_server((self._host, self._port))
        self._port = listener.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                self._app,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
                ws="none",
            )
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="http server")
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
                raise RuntimeError("the server ended before it was ready")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Stop listening; safe to call twice."""
        server, serving = self._server, self._serving
        self._server = self._serving = None
        if server is not None and serving is not None:
            server.should_exit = True
            await serving
