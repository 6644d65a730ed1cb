"""Every schema under its subjects, or at least its id; at the start, and again where a registry lost them."""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from core.errors import RegistryError, SchemaIncompatibleError, SchemaNotFoundError
from infra.messaging.avro.schema_evolution import incompatibilities
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.schemas.schema_loader import SchemaLoader

_T = TypeVar("_T")


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

    The subjects are those of ``planned``. Schemas that the registry lacks are registered in the table's order,
    one after the other: one that numbers them as they come gives them the same ids again after it lost its
    storage, and what is in the topics can be read. Doing it again changes nothing. With ``register`` off, ids
    are only looked up, under the table's subjects. Raises ``core.errors.RegistryError`` naming each subject
    that misses its schema or refuses it, and what the client raises.
    """
    loader = loader or SchemaLoader()
    subjects = planned(loader, prefix, topic_subjects=topic_subjects, avro_topics=avro_topics)
    of_table = [one for one in subjects if one.is_main]
    ids = await _together(
        [(one.schema, id_under(client, one.subject, loader.text(one.schema))) for one in of_table]
    )
    missing = [one for one in of_table if ids[one.schema] is None]
    if register:
        for one in missing:
            ids[one.schema] = await _register(client, one, loader)
        await _together(
            [(one.subject, _register(client, one, loader)) for one in subjects if one not in missing]
        )
    elif missing:
        names = ", ".join(sorted(f"{one.schema} ({one.subject})" for one in missing))
        raise SchemaNotFoundError(
            f"{client.url} does not have the current schema of {names}, and "
            "registration is off: register them with `gateway schemas register`, or set "
            "GATEWAY_SCHEMA_REGISTER=on"
        )
    return {name: schema_id for name, schema_id in ids.items() if schema_id is not None}


async def objections(
    client: SchemaRegistryClient, subjects: Iterable[PlannedSubject], loader: SchemaLoader
) -> list[str]:
    """Why schemas that a registry lacks could not be registered there; empty where they could.

    Registers nothing. Raises what the client raises.
    """

    async def of(one: PlannedSubject) -> list[str]:
        text = loader.text(one.schema)
        if await id_under(client, one.subject, text) is not None:
            return []
        return [f"{one.subject}: {why}" for why in await _reasons(client, one.subject, text, one.compatibility)]

    found = await _together([(one.subject, of(one)) for one in subjects])
    return [reason for reasons in found.values() for reason in reasons]


async def _register(client: SchemaRegistryClient, one: PlannedSubject, loader: SchemaLoader) -> int:
    return await register_schema(client, one.subject, loader.text(one.schema), one.compatibility)


async def _together(work: Iterable[tuple[str, Coroutine[Any, Any, _T]]]) -> dict[str, _T]:
    """All at once, results by name; what fails is one error."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(one) for name, one in work}
    except* RegistryError as errors:
        raise _as_one(errors) from errors
    return {name: task.result() for name, task in tasks.items()}


async def id_under(client: SchemaRegistryClient, subject: str, text: str) -> int | None:
    """The id of exactly this schema under ``subject``, None when it is not there; registers nothing."""
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
            if await id_under(client, subject, text) is None:
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


def lost_for_now(client: SchemaRegistryClient, subjects: Iterable[str], cause: RegistryError) -> RegistryError:
    """The error of schemas that were registered, are gone, and cannot be had again because of ``cause``.

    Its code is ``schema_incompatible`` where the registry refuses them, else ``registry_unavailable``.
    """
    kind = SchemaIncompatibleError if isinstance(cause, SchemaIncompatibleError) else RegistryError
    return kind(
        f"{client.url} no longer has the schemas that records are written with, under "
        f"{', '.join(subjects)}: {cause.message}",
        detail=cause.detail,
    )


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
