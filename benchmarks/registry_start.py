"""How long a start's registration takes on a real registry: empty, with ours already there, and full of others.

Everything that ``gateway run`` registers, by a new client each time, TLS context and connections included.
Usage: ``python -m benchmarks.registry_start [--others 1000] [--json]``.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from infra.messaging.avro.registration import planned, register_all
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.services.artifacts import MavenArtifacts
from infra.services.folders import cache_folder
from infra.services.registry import SchemaRegistry
from infra.settings import RegistrySettings


async def _start_ms(url: str, *, register: bool = True) -> float:
    began_s = perf_counter()
    async with SchemaRegistryClient(RegistrySettings(url=url, timeout_s=30)) as client:
        await register_all(client, register=register)
    return (perf_counter() - began_s) * 1000


async def _fill(url: str, count: int) -> None:
    """Other people's subjects, which also wakes the registry up."""
    gate = asyncio.Semaphore(8)
    async with SchemaRegistryClient(RegistrySettings(url=url, timeout_s=30)) as client:

        async def one(number: int) -> None:
            async with gate:
                text = json.dumps({"type": "record", "name": f"Theirs{number}", "fields": []})
                await client.register(f"theirs-{number}-value", text)

        await asyncio.gather(*(one(number) for number in range(count)))


def measure(others: int) -> list[tuple[str, float]]:
    """(state of the registry, milliseconds) of each start."""
    rows = []
    artifacts = MavenArtifacts(cache_folder() / "programs", lambda line: print(line, file=sys.stderr))  # noqa: T201
    for filled in (0, 20, others):
        with tempfile.TemporaryDirectory() as folder:
            registry = SchemaRegistry(data_dir=Path(folder), artifacts=artifacts)
            with registry:
                asyncio.run(_fill(registry.url, filled))
                state = "empty, just started" if not filled else f"{filled} other subjects"
                rows.append((state, asyncio.run(_start_ms(registry.url))))
                if filled:
                    rows.append((f"{state}, ours there", asyncio.run(_start_ms(registry.url))))
                    off_ms = asyncio.run(_start_ms(registry.url, register=False))
                    rows.append((f"{state}, ours there, GATEWAY_SCHEMA_REGISTER=off", off_ms))
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--others", type=int, default=1000, help="other people's subjects in the full registry")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    subjects = len(planned(SchemaLoader()))
    rows = measure(options.others)
    if options.json:
        answer = [{"registry": state, "subjects": subjects, "ms": round(took_ms)} for state, took_ms in rows]
        sys.stdout.write(json.dumps(answer, indent=1) + "\n")
        return
    sys.stdout.write(f"{subjects} subjects\n")
    for state, took_ms in rows:
        sys.stdout.write(f"{state:60} {took_ms:6.0f} ms\n")


if __name__ == "__main__":
    main()
