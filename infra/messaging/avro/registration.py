"""At start: every schema under its subjects, or at least its id."""

import asyncio
from collections.abc import Iterable

from core.errors import RegistryError, SchemaIncompatibleError, SchemaNotFoundError
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.schemas.schema_loader import SchemaLoader


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

    With ``topic_subjects`` each is also registered under ``{prefix}{topic}-value`` of the topics that carry it;
    ``avro_topics`` are the JSON topics that were switched to Avro (without prefix). Doing it again changes
    nothing. With ``register`` off, ids are only looked up under the table's subjects. Raises
    ``core.errors.RegistryError`` naming each subject that misses its schema, and what the client raises.
    """
    loader = loader or SchemaLoader()
    switched = tuple(avro_topics)
    main: dict[str, asyncio.Task[int | None]] = {}
    try:
        async with asyncio.TaskGroup() as group:
            for name, entry in loader.subjects().items():
                text = loader.text(name)
                if not register:
                    main[name] = group.create_task(_look_up(client, entry.subject, text))
                    continue
                main[name] = group.create_task(
                    register_schema(client, entry.subject, text, entry.compatibility)
                )
                if topic_subjects:
                    for topic in entry.avro_topics(switched):
                        subject = f"{prefix}{topic}-value"
                        group.create_task(register_schema(client, subject, text, entry.compatibility))
    except* RegistryError as errors:
        raise _first(errors) from errors
    ids = {name: task.result() for name, task in main.items()}
    missing = [loader.subject(name).subject for name, schema_id in ids.items() if schema_id is None]
    if missing:
        raise SchemaNotFoundError(
            f"{client.url} does not have the current schema under {', '.join(sorted(missing))}, and "
            "registration is off: register them with `gateway schemas register`, or set "
            "GATEWAY_SCHEMA_REGISTER=on"
        )
    return {name: schema_id for name, schema_id in ids.items() if schema_id is not None}


async def _look_up(client: SchemaRegistryClient, subject: str, text: str) -> int | None:
    try:
        return (await client.find(subject, text)).id
    except SchemaNotFoundError:
        return None


async def register_schema(client: SchemaRegistryClient, subject: str, text: str, compatibility: str) -> int:
    """Register one schema under one subject with its compatibility, and return its id.

    The level is set first, so that it already holds for this version. Raises what the client raises, naming the
    subject.
    """
    try:
        await _set_level(client, subject, compatibility)
        return await client.register(subject, text)
    except RegistryError as exc:
        raise type(exc)(f"{subject}: {exc.message}", detail=exc.detail) from exc


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


def _first(errors: BaseExceptionGroup[RegistryError]) -> RegistryError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, RegistryError), "only these were let through"
    return found
