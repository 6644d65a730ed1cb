"""Names of settings that no setting has: a misspelt one would be ignored in silence."""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv.parser import parse_stream

_OURS = "GATEWAY_"
_BESIDE = frozenset({"GATEWAY_CACHE_DIR"})
"""Read elsewhere: where ``gateway services`` keeps programs and data."""

_OF_SERVICES = re.compile(
    r"GATEWAY_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""What Kubernetes sets in every container for a Service whose name begins with ``gateway`` (its documentation,
Service, environment variables)."""

_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


def unknown_names(variables: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """A sentence for each ``GATEWAY_…`` variable that is not in ``known`` nor set by Kubernetes."""
    names = sorted({*known, *_BESIDE})
    said = []
    for variable, value in variables.items():
        name = variable.upper()
        if not name.startswith(_OURS) or name in names or _of_a_service(name, value):
            continue
        near = difflib.get_close_matches(name, names, 1)
        said.append(f"{variable}: there is no such setting" + (f"; did you mean {near[0]}?" if near else ""))
    return said


def read_env_file(path: Path) -> tuple[dict[str, str], list[str]]:
    """The variables of an env file, and a sentence for each line that sets none."""
    variables, wrong = {}, []
    with path.open(encoding="utf-8") as lines:
        for binding in parse_stream(lines):
            if binding.error or (binding.key is not None and binding.value is None):
                wrong.append(f"{path}, line {binding.original.line}: this is not NAME=value")
            elif binding.key is not None:
                variables[binding.key] = binding.value or ""
    return variables, wrong


def _of_a_service(name: str, value: str) -> bool:
    if _OF_SERVICES.fullmatch(name):
        return True
    return name.endswith("_PORT") and _SERVICE_URL.match(value) is not None
