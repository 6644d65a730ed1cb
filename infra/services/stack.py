"""Broker, registry and Redis together."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.services.artifacts import MavenArtifacts
from infra.services.kafka import KafkaBroker
from infra.services.part import Say, ServicePart
from infra.services.redis import RedisServer
from infra.services.registry import SchemaRegistry

PART_NAMES = ("kafka", "registry", "redis")


class ServiceStack:
    """Parts that start together and stop together; they start side by side, so it takes as long as the
    slowest."""

    def __init__(self, parts: Sequence[ServicePart], say: Say = lambda _line: None) -> None:
        self.parts = tuple(parts)
        self._say = say

    def fetch(self) -> None:
        """Have all programs on disk; downloads what is missing."""
        for part in self.parts:
            part.fetch()

    def start(self, timeout_s: float = 60.0) -> None:
        """Start those that do not run yet and return once each answers.

        ``timeout_s`` is the time of each. Raises ``ServiceError``, and then none is left running.
        """
        starting = [part for part in self.parts if not part.running]
        try:
            for part in starting:
                part.prepare()
            began_s = time.monotonic()
            for part in starting:
                part.launch()
            for part in starting:
                part.wait_ready(timeout_s)
                self._say(f"{part.name} answers on {part.address} after {time.monotonic() - began_s:.1f} s")
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop all, the last first; safe to call twice."""
        for part in reversed(self.parts):
            part.stop()

    def kill(self) -> None:
        """SIGKILL to all."""
        for part in self.parts:
            part.kill()

    def ended(self) -> ServicePart | None:
        """A part whose process is gone, if there is one."""
        return next((part for part in self.parts if not part.running), None)

    def environment(self) -> dict[str, str]:
        """The gateway's settings that lead to these parts."""
        return {name: value for part in self.parts for name, value in part.environment().items()}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def make_stack(
    *,
    cache_dir: Path,
    data_dir: Path,
    names: Iterable[str] = PART_NAMES,
    kafka_port: int = 0,
    registry_port: int = 0,
    redis_port: int = 0,
    short_lived: bool = False,
    say: Say = lambda _line: None,
) -> ServiceStack:
    """The parts called ``names``, with their programs under ``cache_dir`` and their data under ``data_dir``.

    A port of 0 is chosen; nothing starts yet. ``short_lived``: a broker that starts
    quicker and runs slower, for tests.
    """
    artifacts = MavenArtifacts(cache_dir / "programs", say)
    wanted = set(names)
    parts: list[ServicePart] = []
    if "kafka" in wanted:
        parts.append(
            KafkaBroker(
                data_dir=data_dir / "kafka", artifacts=artifacts, port=kafka_port, short_lived=short_lived
            )
        )
    if "registry" in wanted:
        parts.append(SchemaRegistry(data_dir=data_dir / "registry", artifacts=artifacts, port=registry_port))
    if "redis" in wanted:
        parts.append(RedisServer(data_dir=data_dir / "redis", artifacts=artifacts, port=redis_port))
    return ServiceStack(parts, say)
