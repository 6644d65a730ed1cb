"""A real Schema Registry: Apicurio Registry, which speaks Confluent's API under ``/apis/ccompat/v7``."""

import contextlib
import http.client
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from infra.services.artifacts import MavenArtifacts
from infra.services.java import java_environment, java_executable, java_options
from infra.services.part import ServicePart, host_and_port
from infra.services.tcp_ports import LOOPBACK

REGISTRY_VERSION = "3.3.3"
_COORDINATE = f"io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}"
_API = "/apis/ccompat/v7"


class SchemaRegistry(ServicePart):
    """One Schema Registry that keeps its schemas in a file of ``data_dir``; ``heap_mb`` bounds
    its heap (MiB)."""

    name: ClassVar[str] = "registry"

    def __init__(
        self,
        *,
        data_dir: Path,
        artifacts: MavenArtifacts,
        port: int = 0,
        heap_mb: int = 256,
    ) -> None:
        super().__init__(data_dir=data_dir, port=port)
        self._artifacts = artifacts
        self._heap_mb = heap_mb
        self._java: list[str] = []

    @property
    def url(self) -> str:
        """The base URL that Confluent's clients take."""
        return f"http://{host_and_port(self.port)}{_API}"

    @property
    def address(self) -> str:
        """The URL."""
        return self.url

    def environment(self) -> dict[str, str]:
        """``SCHEMA_REGISTRY_URL``."""
        return {"SCHEMA_REGISTRY_URL": self.url}

    def program(self) -> Path:
        """The registry's jar on disk, fetched where it is missing."""
        folder = self._artifacts.unpacked(
            f"apicurio-registry-{REGISTRY_VERSION}", _COORDINATE, classifier="all", packaging="tar.gz"
        )
        return folder / "quarkus-run.jar"

    def fetch(self) -> None:
        """The registry, unpacked, and the Java to run it."""
        java = java_executable()
        program = self.program()
        # WRITE_DELAY=0: what was answered is on disk, so a kill loses nothing.
        # https://www.apicur.io/registry/docs/apicurio-registry/3.0.x/
        properties = {
            "quarkus.http.host": LOOPBACK,
            "quarkus.http.port": str(self.port),
            "quarkus.management.host": LOOPBACK,
            "quarkus.management.port": "0",
            "quarkus.http.access-log.enabled": "false",
            "apicurio.datasource.url": f"jdbc:h2:file:{(self.data_dir / 'schemas').as_posix()};WRITE_DELAY=0",
            # As a Confluent registry: incompatible versions are refused by default, deleting is possible.
            "apicurio.rules.global.compatibility": "BACKWARD",
            "apicurio.rest.deletion.group.enabled": "true",
            "apicurio.rest.deletion.artifact.enabled": "true",
            "apicurio.rest.deletion.artifact-version.enabled": "true",
        }
        self._java = [
            str(java),
            *java_options(heap_mb=self._heap_mb, quick_start=True),
            *(f"-D{name}={value}" for name, value in properties.items()),
            "-jar",
            str(program),
        ]

    def prepare(self) -> None:
        """Fetch, and make the data folder."""
        self.fetch()
        self.data_dir.mkdir(parents=True, exist_ok=True)

    def _command(self) -> Sequence[str]:
        return self._java

    def _process_environment(self) -> dict[str, str]:
        return java_environment()

    def _answers(self) -> bool:
        # http.client and not urllib: no proxy of the environment may come between.
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", f"{_API}/subjects")
            return connection.getresponse().status == 200
        return False
