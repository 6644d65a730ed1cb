"""A Schema Registry in this process: Confluent's REST API over HTTP, kept in memory."""

from types import TracebackType
from typing import Self

from infra.embedded.registry_api import registry_app
from infra.embedded.registry_store import CompatibilityCheck, RegistryStore
from infra.local_http import LocalHttpServer


class EmbeddedRegistry:
    """Serves ``url`` from the running event loop.

    ``check`` decides whether a schema may follow others (see ``CompatibilityCheck``). ``port`` 0 takes a free
    one. What is registered lives as long as this object. Raises ``OSError`` from ``start`` when the port is
    taken.
    """

    def __init__(self, check: CompatibilityCheck, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.store = RegistryStore(check)
        self._server = LocalHttpServer(registry_app(self.store), host=host, port=port)

    @property
    def url(self) -> str:
        """Where it listens; ``RuntimeError`` before ``start``."""
        return self._server.url

    async def start(self) -> None:
        """Listen; returns once requests are answered."""
        await self._server.start()

    async def stop(self) -> None:
        """Stop listening; safe to call twice."""
        await self._server.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
