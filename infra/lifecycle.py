"""What was started, so that it can be stopped in the opposite order."""

from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger("lifecycle")


class Lifecycle:
    """The container's providers register what they start; ``close`` stops it, last first."""

    def __init__(self) -> None:
        self._closers: list[tuple[str, Callable[[], Awaitable[object]]]] = []

    def add(self, name: str, close: Callable[[], Awaitable[object]]) -> None:
        """Have ``close`` awaited at the end."""
        self._closers.append((name, close))

    async def close(self) -> None:
        """Stop everything; what fails to stop is logged, and the rest stops all the same."""
        while self._closers:
            name, close = self._closers.pop()
            try:
                await close()
            except Exception as exc:  # noqa: BLE001 - the rest has to be stopped too
                _log.warning("not stopped in order", part=name, reason=str(exc))
