"""At start: every schema under its subjects, or at least its id."""

import asyncio
from collections.abc import Iterable, Iterator

import msgspec

from core.errors import RegistryError, SchemaIncompatibleError, SchemaNotFoundError
from infra.messaging.avro.schema_evolution import incompatibilities
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.schemas.schema_loader import SchemaLoader


class PlannedSubject(msgspec.Struct, frozen=True):
    """A subject that holds a schema; ``is_main``: the one of subjects.toml, not a topic's."""

    schema: str
    subject: str
    compatibility: str
    is_main: bool


def planned(
    loader: SchemaLoader, prefix: str = "", *, topic_subjects: bool = True, avro_topics: Iterable[str] = ()
) -> list[PlannedSubject]:
    """Every subject that the schemas belong under.

    With ``topic_subjects`` also ``{prefix}{topic}-value`` of the topics that carry each; ``avro_topics`` are
    the JSON topics that were switched to Avro (without prefix).
    """
    switched = tuple(avro_topics)
    subjects = []
    for name, entry in loader.subjects().items():
        subjects.append(PlannedSubject(name, entry.subject, entry.compatibility, True))
        if topic_subjects:
            subjects += [
                PlannedSubject(name, f"{prefix}{topic}-value", entry.compatibility, False)
                for topic in entry.avro_topics(switched)
            ]
    return subjects


async def register_all(
    client: SchemaRegistryClient,
    *,
    loader: SchemaLoader | None = None,
    prefix: str = "",
    topic_subjects: bool = True,
    register: bool = True,
    avro_topics: Iterable[str] = (),
) -> dict[str, int]:
    """Register every schema of ``subjects.toml`` with its compatibility, and return name -> schema id.

    The subjects are those of ``planned``. Doing it again changes nothing. With ``register`` off, ids are only
    looked up under the table's subjects. Raises ``core.errors.RegistryError`` naming each subject that misses
    its schema or refuses it, and what the client raises.
    """
    loader = loader or SchemaLoader()
    tasks: dict[PlannedSubject, asyncio.Task[int | None]] = {}
    try:
        async with asyncio.TaskGroup() as group:
            for one in planned(loader, prefix, topic_subjects=topic_subjects, avro_topics=avro_topics):
                text = loader.text(one.schema)
                if register:
                    work = register_schema(client, one.subject, text, one.compatibility)
                    tasks[one] = group.create_task(work)
                elif one.is_main:
                    tasks[one] = group.create_task(_look_up(client, one.subject, text))
    except* RegistryError as errors:
        raise _as_one(errors) from errors
    ids = {one: task.result() for one, task in tasks.items() if one.is_main}
    missing = [f"{one.schema} ({one.subject})" for one, schema_id in ids.items() if schema_id is None]
    if missing:
        raise SchemaNotFoundError(
            f"{client.url} does not have the current schema of {', '.join(sorted(missing))}, and "
            "registration is off: register them with `gateway schemas register`, or set "
            "GATEWAY_SCHEMA_REGISTER=on"
        )
    return {one.schema: schema_id for one, schema_id in ids.items() if schema_id is not None}


async def _look_up(client: SchemaRegistryClient, subject: str, text: str) -> int | None:
    try:
        return (await client.find(subject, text)).id
    except SchemaNotFoundError:
        return None


async def register_schema(client: SchemaRegistryClient, subject: str, text: str, compatibility: str) -> int:
    """Register one schema under one subject with its compatibility, and return its id.

    The level is set first, so that it already holds for this version, but not on a subject whose schemas this
    one may not follow: they may be somebody else's. Raises what the client raises, naming the subject; of a
    schema that may not follow, each field and the rule.
    """
    try:
        if await client.compatibility(subject) != compatibility:
            if await _look_up(client, subject, text) is None:
                reasons = await _reasons(client, subject, text, compatibility)
                if reasons:
                    raise _refused(client, compatibility, reasons)
            await _set_level(client, subject, compatibility)
        try:
            return await client.register(subject, text)
        except SchemaIncompatibleError as exc:
            reasons = await _reasons(client, subject, text, compatibility)
            if not reasons:
                raise
            raise _refused(client, compatibility, reasons) from exc
    except RegistryError as exc:
        raise type(exc)(f"{subject}: {exc.message}", detail=exc.detail) from exc


def _refused(client: SchemaRegistryClient, level: str, reasons: Iterable[str]) -> SchemaIncompatibleError:
    return SchemaIncompatibleError(
        f"the schema may not follow those registered at {client.url} under {level}: {'; '.join(reasons)}"
    )


async def _set_level(client: SchemaRegistryClient, subject: str, level: str) -> None:
    """Set the compatibility where it is another; two instances that start together may do it at once.

    Apicurio then answers one of them with 409, because the rule exists by now.
    """
    for attempts_left in (2, 1, 0):
        if await client.compatibility(subject) == level:
            return
        try:
            await client.set_compatibility(level, subject)
        except SchemaIncompatibleError:
            if not attempts_left:
                raise
        else:
            return


async def _reasons(client: SchemaRegistryClient, subject: str, text: str, level: str) -> list[str]:
    """What stands between the schema and the registered versions; empty when that cannot be told."""
    try:
        found = [await client.schema_of(subject, number) for number in await client.versions(subject)]
        return incompatibilities(
            text, [one.schema for one in found], level, numbers=[one.version for one in found]
        )
    except RegistryError:
        return []


def _as_one(errors: BaseExceptionGroup[RegistryError]) -> RegistryError:
    """One error for all that went wrong; what trying again cannot help goes before what it can."""
    leaves = list(_leaves(errors))
    lasting = [error for error in leaves if not error.retriable] or leaves[:1]
    messages = dict.fromkeys(error.message for error in lasting)
    return type(lasting[0])("; ".join(messages), detail=lasting[0].detail)


def _leaves(errors: BaseExceptionGroup[RegistryError]) -> Iterator[RegistryError]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
