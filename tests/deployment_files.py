"""The deployment files, read as their programs read them."""

import dataclasses
import fnmatch
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker-compose.kafka.yml"

_VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}")


def read_yaml(path: Path) -> Any:
    """One document, as plain values."""
    return YAML(typ="safe").load(path)


def compose_services() -> dict[str, dict[str, Any]]:
    """The services of the compose file."""
    services: dict[str, dict[str, Any]] = read_yaml(COMPOSE)["services"]
    return services


def environment_of(service: Mapping[str, Any], shell: Mapping[str, str]) -> dict[str, str]:
    """A service's environment, with ``${NAME:-default}`` filled in from ``shell``."""
    return {
        name: _VARIABLE.sub(lambda found: shell.get(found[1], "") or found[2] or "", value)
        for name, value in service.get("environment", {}).items()
    }


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile: its name and the rest of its line."""

    name: str
    rest: str

    def words(self) -> list[str]:
        """The arguments without options."""
        return [word for word in shlex.split(self.rest) if not word.startswith("--")]


def dockerfile_stages() -> list[list[Instruction]]:
    """The instructions of each stage, continued lines joined, comments left out."""
    lines = [
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")
    ]
    text = "\n".join(lines).replace("\\\n", " ")
    stages: list[list[Instruction]] = []
    for line in filter(str.strip, text.splitlines()):
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append(Instruction(name, " ".join(rest.split())))
    return stages


def copied_from_context(stage: list[Instruction]) -> Iterator[str]:
    """The paths of the build context that a stage copies."""
    for instruction in stage:
        if instruction.name == "COPY" and "--from=" not in instruction.rest:
            yield from instruction.words()[:-1]


def ignored_by_docker(path: str) -> bool:
    """Whether ``.dockerignore`` keeps a path from the builder: the last rule that matches it decides.

    https://docs.docker.com/build/concepts/context/#dockerignore-files
    """
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        wanted, pattern = rule.startswith("!"), rule.removeprefix("!")
        parts = path.split("/")
        # A rule for a folder holds for all that is in it.
        candidates = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        if pattern.startswith("**/"):
            matches = any(fnmatch.fnmatchcase(part, pattern.removeprefix("**/")) for part in parts)
        else:
            matches = any(_same_depth_match(candidate, pattern) for candidate in candidates)
        if matches:
            ignored = not wanted
    return ignored


def _same_depth_match(path: str, pattern: str) -> bool:
    ours, theirs = path.split("/"), pattern.split("/")
    return len(ours) == len(theirs) and all(map(fnmatch.fnmatchcase, ours, theirs))
