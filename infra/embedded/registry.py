"""A Schema Registry in this process: Confluent's REST API over HTTP, kept in memory."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import uvicorn

from infra.embedded.registry_api import registry_app
from infra.embedded.registry_store import CompatibilityCheck, RegistryStore


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals belong to the process's own shutdown."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class EmbeddedRegistry:
    """Serves ``url`` from the running event loop.

    ``check`` decides whether a schema may follow others (see ``CompatibilityCheck``). ``port`` 0 takes a free
    one. What is registered lives as long as this object. Raises ``OSError`` from ``start`` when the port is
    taken.
    """

    def __init__(self, check: CompatibilityCheck, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.store = RegistryStore(check)
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens; ``RuntimeError`` before ``start``."""
        if self._server is None:
            raise RuntimeError("the embedded registry was not started")
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen; returns once requests are answered."""
        if self._server is not None:
            return
        listener = socket.create_server((self._host, self._port), reuse_port=False)
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            registry_app(self.store),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            ws="none",
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="embedded registry")
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
                raise RuntimeError("the embedded registry ended before it was ready")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Stop listening; safe to call twice."""
        server, serving = self._server, self._serving
        self._server = self._serving = None
        if server is not None and serving is not None:
            server.should_exit = True
            await serving

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
