"""The compose file's broker and registry as plain processes: its environment, free ports, no Docker."""

import contextlib
import dataclasses
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from infra.services.artifacts import MavenArtifacts
from infra.services.java import java_environment, java_executable, java_options
from infra.services.kafka import KAFKA_VERSION, KafkaBroker
from infra.services.process import ServerProcess
from infra.services.registry import REGISTRY_VERSION, SchemaRegistry
from infra.services.tcp_ports import free_port
from tests.deployment_files import compose_services, environment_of

SERVICES = compose_services()
_START_TIMEOUT_S = 60.0
# Read by the image's scripts and no settings of the broker.
_NOT_PROPERTIES = ("KAFKA_HEAP_OPTS",)


@dataclasses.dataclass(frozen=True)
class ComposeStack:
    """Both are running; ``localized`` turns the compose network's addresses into theirs."""

    ports: Mapping[str, int]

    def localized(self, text: str) -> str:
        """``kafka:19092`` and the like, as reached from this machine."""
        return _localized(text, self.ports)


@contextlib.contextmanager
def compose_stack(artifacts: MavenArtifacts, folder: Path) -> Iterator[ComposeStack]:
    """Broker, then registry, each until its health check passes."""
    names = ("kafka:19092", "kafka:29093", "localhost:9092", "registry:8080")
    ports = {name: free_port() for name in names}
    with contextlib.ExitStack() as stack:
        broker = ServerProcess("kafka", folder / "kafka.log")
        stack.callback(broker.stop)
        broker.launch(_broker_command(artifacts, folder, ports), env=java_environment())
        registry = ServerProcess("registry", folder / "registry.log")
        stack.callback(registry.stop)
        broker.wait_until(lambda: b"Kafka Server started" in broker.log_path.read_bytes(), _START_TIMEOUT_S)
        command, environment = _registry_command(artifacts, folder, ports)
        registry.launch(command, env=environment)
        registry.wait_until(lambda: _registry_is_healthy(ports), _START_TIMEOUT_S)
        yield ComposeStack(ports)


def _localized(text: str, ports: Mapping[str, int]) -> str:
    for name, port in ports.items():
        inside = name.rpartition(":")[2]
        text = text.replace(name, f"127.0.0.1:{port}")
        # A listener on every interface of its container.
        text = re.sub(rf"://:{inside}\b", f"://127.0.0.1:{port}", text)
    return text


def _property(variable: str) -> str:
    """The broker setting that the image's script makes of a variable.

    https://github.com/apache/kafka/blob/trunk/docker/examples/README.md
    """
    name = variable.removeprefix("KAFKA_").lower()
    return name.replace("___", "-").replace("__", "\0").replace("_", ".").replace("\0", "_")


def _broker_command(artifacts: MavenArtifacts, folder: Path, ports: Mapping[str, int]) -> list[str]:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    fetched = KafkaBroker(data_dir=folder / "unused", artifacts=artifacts, short_lived=True)
    fetched.fetch()
    environment = environment_of(SERVICES["kafka"], {})
    settings = {
        _property(name): _localized(value, ports)
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name not in _NOT_PROPERTIES
    }
    settings["log.dirs"] = str(folder / "log")
    properties = folder / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    java = fetched.java_command()
    subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "-t", environment["CLUSTER_ID"], "-c", str(properties)],
        check=True,
        capture_output=True,
        env=java_environment(),
    )
    return [*java, "kafka.Kafka", str(properties)]


def _registry_command(
    artifacts: MavenArtifacts, folder: Path, ports: Mapping[str, int]
) -> tuple[list[str], dict[str, str]]:
    assert SERVICES["registry"]["image"] == f"apicurio/apicurio-registry:{REGISTRY_VERSION}"
    environment = {
        **java_environment(),
        **{n: _localized(v, ports) for n, v in environment_of(SERVICES["registry"], {}).items()},
        "QUARKUS_HTTP_HOST": "127.0.0.1",
        "QUARKUS_HTTP_PORT": str(ports["registry:8080"]),
        "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
        "QUARKUS_MANAGEMENT_PORT": "0",
    }
    program = SchemaRegistry(data_dir=folder / "unused", artifacts=artifacts).program()
    options = java_options(heap_mb=256, quick_start=True)
    return [str(java_executable()), *options, "-jar", str(program)], environment


def _registry_is_healthy(ports: Mapping[str, int]) -> bool:
    """The compose file's own check, on the port of this run."""
    kind, *command = SERVICES["registry"]["healthcheck"]["test"]
    assert kind == "CMD"
    port = str(ports["registry:8080"])
    command = [word.replace("$$", "$").replace("/8080", f"/{port}") for word in command]
    return subprocess.run(command, capture_output=True, timeout=5, check=False).returncode == 0
