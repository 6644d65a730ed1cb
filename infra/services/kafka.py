"""A real Apache Kafka: one process that is broker and KRaft controller, on the loopback interface."""

import base64
import contextlib
import socket
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from infra.services.artifacts import MavenArtifacts
from infra.services.errors import PortInUseError, ServiceStartError
from infra.services.java import java_environment, java_executable, java_options
from infra.services.part import ServicePart, host_and_port
from infra.services.tcp_ports import LOOPBACK, free_port, is_free

KAFKA_VERSION = "4.1.0"
_COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    # The logging backend for the slf4j 1.7 that Kafka is compiled against.
    "org.slf4j:slf4j-simple:1.7.36",
)

# What differs from Kafka's defaults, and why; https://kafka.apache.org/41/configuration/broker-configs/
_CONFIG: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    # One broker: its internal topics have one replica. Few partitions, since each costs files and start time.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # The first member of a group need not wait for others; sessions may be as short as a test wants.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # A killed transactional producer's open transaction is aborted a second after its timeout, not ten.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # Compaction runs within seconds where a topic's settings make it due (segment.ms, min.cleanable…).
    "log.cleaner.backoff.ms": "500",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "5000",
    "log.segment.delete.delay.ms": "1000",
    # After a kill the controller, which is in the same process, takes the new broker in only when the old one's
    # session is over.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Threads for a machine that runs other things too.
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
}

_PROBED_GROUP = "gateway-services-ready"


class KafkaBroker(ServicePart):
    """One Kafka broker. ``config`` overrides broker settings; ``heap_mb`` bounds its heap (MiB);
    ``short_lived`` trades peak speed for a quicker start, as tests want it."""

    name: ClassVar[str] = "kafka"

    def __init__(
        self,
        *,
        data_dir: Path,
        artifacts: MavenArtifacts,
        port: int = 0,
        heap_mb: int = 512,
        config: Mapping[str, str] | None = None,
        short_lived: bool = False,
    ) -> None:
        super().__init__(data_dir=data_dir, port=port)
        self._artifacts = artifacts
        self._heap_mb = heap_mb
        self._config = dict(config or {})
        self._short_lived = short_lived
        self._controller_port = free_port()
        self._log_dir = data_dir / "log"
        self._properties = data_dir / "server.properties"
        self._java: list[str] = []

    @property
    def bootstrap_servers(self) -> str:
        """``127.0.0.1:port``."""
        return host_and_port(self.port)

    @property
    def address(self) -> str:
        """The bootstrap servers."""
        return self.bootstrap_servers

    def environment(self) -> dict[str, str]:
        """``KAFKA_BOOTSTRAP_SERVERS``."""
        return {"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers}

    def fetch(self) -> None:
        """Kafka, what it needs, and the Java to run it."""
        java = java_executable()
        class_path = self._artifacts.class_path(f"kafka-{KAFKA_VERSION}", _COORDINATES)
        self._java = [
            str(java),
            *java_options(heap_mb=self._heap_mb, quick_start=self._short_lived),
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            # Every start would print some hundred lines of effective settings.
            "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn",
            "-cp",
            class_path,
        ]

    def java_command(self) -> list[str]:
        """Java with Kafka's class path, to be followed by a class and its arguments; ``fetch`` comes before."""
        return list(self._java)

    def prepare(self) -> None:
        """Fetch, write the settings, format the log folder if it is new."""
        self.fetch()
        self._log_dir.mkdir(parents=True, exist_ok=True)
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        if not (self._log_dir / "meta.properties").exists():
            self._format()

    def launch(self) -> None:
        """As every part; the controller's own port is checked too."""
        if not is_free(self._controller_port):
            raise PortInUseError("kafka (controller)", self._controller_port)
        super().launch()

    def _settings(self) -> dict[str, str]:
        listeners = f"PLAINTEXT://{host_and_port(self.port)}"
        return {
            **_CONFIG,
            "listeners": f"{listeners},CONTROLLER://{host_and_port(self._controller_port)}",
            "advertised.listeners": listeners,
            "controller.quorum.voters": f"1@{host_and_port(self._controller_port)}",
            "log.dir": self._log_dir.as_posix(),
            **self._config,
        }

    def _format(self) -> None:
        """Give the empty log folder its cluster id, as ``kafka-storage.sh format`` does."""
        command = [*self._java, "kafka.tools.StorageTool", "format", "--ignore-formatted"]
        command += ["-t", _new_cluster_id(), "-c", str(self._properties)]
        done = subprocess.run(command, capture_output=True, env=java_environment(), check=False)
        if done.returncode != 0:
            raise ServiceStartError(
                f"kafka: {self._log_dir} could not be formatted (status {done.returncode})",
                detail=(done.stdout + done.stderr).decode(errors="replace")[-4000:],
            )

    def _command(self) -> Sequence[str]:
        return [*self._java, "kafka.Kafka", str(self._properties)]

    def _process_environment(self) -> dict[str, str]:
        return java_environment()

    def _answers(self) -> bool:
        # The socket first: a client that is refused writes noise about it.
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=1):
            return self._serves()
        return False

    def _serves(self) -> bool:
        """Metadata names the broker (it is registered and unfenced), and its group coordinator is at work.

        Asking for a group that nobody uses makes the coordinator's topic, so the first real consumer does not
        wait for it.
        """
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        try:
            if not admin.list_topics(timeout=5).brokers:
                return False
            admin.describe_consumer_groups([_PROBED_GROUP], request_timeout=5)[_PROBED_GROUP].result(timeout=6)
        except KafkaException as exc:
            return bool(exc.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND)
        except TimeoutError:
            return False
        return True


def _new_cluster_id() -> str:
    """A random UUID in 22 characters of base64, as Kafka writes them; never one that looks like an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if not text.startswith("-"):
            return text
