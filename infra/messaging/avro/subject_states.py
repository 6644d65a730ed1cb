"""What a registry has under the gateway's subjects, against what the gateway would write with."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import orjson

from core.errors import SchemaNotFoundError
from infra.messaging.avro.registration import PlannedSubject
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.schemas.schema_loader import SchemaLoader

_AT_ONCE = 8


class SubjectState(msgspec.Struct, frozen=True):
    """One subject: its (version, id) pairs, its compatibility, and which version is the current schema.

    ``released`` maps versions of the registry to released versions here; ``level`` is None where the subject
    has none of its own.
    """

    schema: str
    subject: str
    versions: tuple[tuple[int, int], ...]
    level: str | None
    wanted_level: str
    current_version: int | None
    released: dict[int, int]

    @property
    def is_current(self) -> bool:
        """Whether a gateway that registers nothing would find all it needs, under the right rule."""
        return self.current_version is not None and self.level == self.wanted_level

    @property
    def says(self) -> str:
        """The state in words."""
        if not self.versions:
            return "missing"
        if self.current_version is None:
            if not self.released:
                return "holds other schemas: none of its versions is known here"
            last = max(self.released.values())
            return f"behind: has up to released v{last}, not the current schema"
        if self.level != self.wanted_level:
            return "current, under another rule"
        if self.current_version != max(number for number, _ in self.versions):
            return f"current is version {self.current_version}; newer ones stand above it"
        return "current"

    def as_row(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "schema": self.schema,
            "subject": self.subject,
            "versions": [
                {"version": number, "id": schema_id, "released": self.released.get(number)}
                for number, schema_id in self.versions
            ],
            "compatibility": self.level,
            "wanted_compatibility": self.wanted_level,
            "current_version": self.current_version,
            "ok": self.is_current,
            "says": self.says,
        }


async def subject_states(
    client: SchemaRegistryClient, subjects: Iterable[PlannedSubject], loader: SchemaLoader
) -> list[SubjectState]:
    """The state of each subject; raises what the client raises when the registry does not answer."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(planned: PlannedSubject) -> SubjectState:
        async with gate:
            return await _state(client, planned, loader)

    return list(await asyncio.gather(*(one(planned) for planned in subjects)))


async def _state(client: SchemaRegistryClient, planned: PlannedSubject, loader: SchemaLoader) -> SubjectState:
    try:
        numbers = await client.versions(planned.subject)
    except SchemaNotFoundError:
        numbers = []
    found = [await client.schema_of(planned.subject, number) for number in numbers]
    released = {_shape(text): number for number, text in loader.released(planned.schema)}
    current: int | None = None
    try:
        current = (await client.find(planned.subject, loader.text(planned.schema))).version if found else None
    except SchemaNotFoundError:
        current = None
    return SubjectState(
        planned.schema,
        planned.subject,
        tuple((one.version, one.id) for one in found),
        await client.compatibility(planned.subject),
        planned.compatibility,
        current,
        {one.version: released[_shape(one.schema)] for one in found if _shape(one.schema) in released},
    )


def _shape(text: str) -> bytes:
    """A schema without what whitespace and the order of keys differ in."""
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError:
        return text.encode()
