"""Readers written in Java: from Maven Central, on the Java runtime that the real broker runs on."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from infra.services.artifacts import MavenArtifacts
from infra.services.java import java_environment, java_executable, java_options
from infra.services.kafka import KAFKA_VERSION

FLINK_VERSION = "2.3.0"
AVRO_VERSION = "1.12.0"
CONNECT_CONVERTER_VERSION = "2.6.13.Final"
_COMPILER_VERSION = "3.46.100"
SOURCES = Path(__file__).resolve().parents[1] / "java"


def flink_reader_class_path(artifacts: MavenArtifacts) -> str:
    """Kafka's consumer and Flink's Avro format, whose jar carries Confluent's registry client."""
    return artifacts.class_path(
        f"flink-avro-{FLINK_VERSION}-kafka-{KAFKA_VERSION}",
        (
            f"org.apache.flink:flink-sql-avro-confluent-registry:{FLINK_VERSION}",
            f"org.apache.flink:flink-core:{FLINK_VERSION}",
            f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}",
            "org.slf4j:slf4j-nop:1.7.36",
        ),
    )


def avro_class_path(artifacts: MavenArtifacts) -> str:
    """Apache Avro alone: what exported code needs."""
    return artifacts.class_path(
        f"avro-{AVRO_VERSION}", (f"org.apache.avro:avro:{AVRO_VERSION}", "org.slf4j:slf4j-nop:2.0.17")
    )


def connect_class_path(artifacts: MavenArtifacts) -> str:
    """Kafka Connect with its file sink and Apicurio's Avro converter.

    Connect's own parts are all named, so that none is resolved to the older version that the
    converter asks for.
    """
    parts = ("connect-runtime", "connect-file", "connect-api", "connect-json", "kafka-clients")
    return artifacts.class_path(
        f"connect-{KAFKA_VERSION}-apicurio-{CONNECT_CONVERTER_VERSION}",
        (
            *(f"org.apache.kafka:{part}:{KAFKA_VERSION}" for part in parts),
            f"io.apicurio:apicurio-registry-utils-converter:{CONNECT_CONVERTER_VERSION}",
            "org.slf4j:slf4j-simple:2.0.17",
        ),
    )


def compiler_class_path(artifacts: MavenArtifacts) -> str:
    """Eclipse's compiler: the runtime has none of its own."""
    return artifacts.class_path(f"ecj-{_COMPILER_VERSION}", (f"org.eclipse.jdt:ecj:{_COMPILER_VERSION}",))


def fetch_all(artifacts: MavenArtifacts) -> None:
    """Have everything on disk."""
    for fetch in (avro_class_path, flink_reader_class_path, connect_class_path, compiler_class_path):
        fetch(artifacts)


def java(class_path: str, *arguments: str, heap_mb: int = 256) -> list[str]:
    """The command that runs a Java program."""
    options = java_options(heap_mb=heap_mb, quick_start=True)
    return [str(java_executable()), *options, "-cp", class_path, *arguments]


def compile_source(artifacts: MavenArtifacts, source: Path, class_path: str, classes: Path) -> None:
    """Compile one file into the folder ``classes``."""
    compile_files(artifacts, [source], class_path, classes, "-failOnWarning")


def compile_files(
    artifacts: MavenArtifacts, files: Sequence[Path], class_path: str, classes: Path, *options: str
) -> None:
    """Compile Java files."""
    # The compiler expands no asterisk.
    jars = ":".join(str(jar) for jar in Path(class_path).parent.glob("*.jar"))
    run(
        java(
            compiler_class_path(artifacts),
            "org.eclipse.jdt.internal.compiler.batch.Main",
            *("-source", "21", "-target", "21", "-encoding", "UTF-8", *options),
            *("-cp", jars, "-d", str(classes), *map(str, files)),
        )
    )


def run(command: Sequence[str], timeout_s: float = 60.0) -> str:
    """What a command that must succeed prints."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, env=java_environment(), check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout
