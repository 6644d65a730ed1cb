"""An embedded registry that can lose its storage."""

from infra.embedded.registry import EmbeddedRegistry
from infra.messaging.avro.schema_evolution import incompatibilities


class ReplaceableRegistry:
    """A registry whose storage can be lost: afterwards an empty one listens at the same address."""

    def __init__(self) -> None:
        self.running = EmbeddedRegistry(incompatibilities)
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> "ReplaceableRegistry":
        await self.running.start()
        self._port = int(self.running.url.rpartition(":")[2])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.running.stop()

    async def lose_everything(self, *foreign: tuple[str, str]) -> None:
        """``foreign`` schemas, as (subject, text), are there before anyone comes again."""
        await self.running.stop()
        fresh = EmbeddedRegistry(incompatibilities, port=self._port)
        for subject, text in foreign:
            fresh.store.register(subject, text)
        self.running = fresh
        await self.running.start()
