"""A batch of messages from a control topic: each is applied or refused, and then committed, never lost."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import structlog

from application.ports import Event, Position
from application.reporting import DLQ_TOPIC, ERROR_TOPIC
from core.command_rules import (
    Profiles,
    connect_facts,
    disconnect_facts,
    resolve_connect,
    resolve_disconnect,
    resolve_scope,
)
from core.commands import CommandDTO, ConnectionTargetDTO, DisconnectCommandDTO
from core.errors import CommandError, GatewayError
from core.events import clean_text, dlq_event, error_event, target_of, ticket_id_of
from core.identity import ConnectionScopeDomain
from core.streams import Ending, Fact, StreamContextDomain

_log = structlog.get_logger("commands")


class ControlMessage(msgspec.Struct, frozen=True):
    """One message of a control topic as it came."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class Validator(Protocol):
    """From raw bytes to a DTO; raises ``CommandError``."""

    def validate_command(self, raw: bytes | None) -> CommandDTO:
        """A connect command."""
        ...

    def validate_disconnect(self, raw: bytes | None) -> DisconnectCommandDTO:
        """A disconnect command."""
        ...


class Connect(msgspec.Struct, frozen=True):
    """A connect command that holds."""

    context: StreamContextDomain
    ticket_id: str


class Disconnect(msgspec.Struct, frozen=True):
    """A disconnect command that holds; ``symbols`` None is the whole stream."""

    scope: ConnectionScopeDomain
    symbols: tuple[str, ...] | None
    ending: Ending


class Refusal(msgspec.Struct, frozen=True):
    """A message that cannot be taken, and the two events that say so."""

    events: tuple[Event, Event]


Verdict = Connect | Disconnect | Refusal


class CommandRules(msgspec.Struct, frozen=True):
    """What commands are judged by. ``peek`` reads target and correlation id of what cannot be read whole."""

    validator: Validator
    profiles: Profiles
    allowed_hosts: Callable[[str], Sequence[str]]
    peek: Callable[[bytes | None], tuple[Mapping[str, str] | None, str | None]]
    epoch_us: Callable[[], int]
    max_dlq_payload_bytes: int = 600_000


def judge(message: ControlMessage, rules: CommandRules, *, disconnects: bool) -> Verdict:
    """What one message means. The ids of what follows are those of the message's place in the log."""
    ticket_id = _ticket_id(message)
    try:
        if disconnects:
            command = rules.validator.validate_disconnect(message.value)
            scope, symbols = resolve_disconnect(command, rules.profiles)
            correlation_id = command.correlation_id or command.ticket_id or ticket_id
            return Disconnect(scope, symbols, Ending(ticket_id, correlation_id, command.reason))
        context = resolve_connect(
            rules.validator.validate_command(message.value),
            rules.profiles,
            now_ms=rules.epoch_us() // 1000,
            allowed_hosts=rules.allowed_hosts,
        )
        if context.correlation_id is None:
            context = msgspec.structs.replace(context, correlation_id=ticket_id)
        return Connect(context, ticket_id)
    except CommandError as exc:
        return refuse(message, exc, rules)


def _ticket_id(message: ControlMessage) -> str:
    return ticket_id_of(message.topic, message.partition, message.offset, "command")


def facts_of(verdict: Connect | Disconnect, now_ms: int) -> list[Fact]:
    """What a command adds to the desired state."""
    if isinstance(verdict, Connect):
        return connect_facts(verdict.context, ticket_id=verdict.ticket_id, now_ms=now_ms)
    return disconnect_facts(verdict.scope, verdict.symbols, verdict.ending)


def next_positions(batch: Sequence[ControlMessage]) -> list[Position]:
    """The offsets to commit once a batch is done."""
    latest: dict[tuple[str, int], int] = {}
    for message in batch:
        place = (message.topic, message.partition)
        latest[place] = max(latest.get(place, 0), message.offset + 1)
    return [Position(topic, partition, offset) for (topic, partition), offset in latest.items()]


def refuse(message: ControlMessage, error: GatewayError, rules: CommandRules) -> Refusal:
    """The two events for a message that is not taken because of ``error``."""
    ticket_id = _ticket_id(message)
    target, correlation_id = rules.peek(message.value)
    _log.warning(
        "command refused",
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        code=str(error.code),
        message=error.message,
    )
    place = (message.topic, message.partition, message.offset)
    scope = _known_scope(target or {}, rules.profiles)
    whole = target_of(scope) if scope else _whole(target)
    key = scope.key if scope else None
    now_us = rules.epoch_us()
    return Refusal(
        (
            Event(
                ERROR_TOPIC,
                key,
                error_event(
                    error,
                    ticket_id=ticket_id_of(*place, "error"),
                    now_us=now_us,
                    target=whole,
                    correlation_id=correlation_id or ticket_id,
                    observed_key=key,
                    raw_context={
                        "topic": message.topic,
                        "partition": message.partition,
                        "offset": message.offset,
                    },
                ),
            ),
            Event(
                DLQ_TOPIC,
                None if message.key is None else clean_text(message.key.decode("utf-8", "replace")),
                dlq_event(
                    error.message,
                    message.value,
                    ticket_id=ticket_id_of(*place, "dlq"),
                    now_us=now_us,
                    topic=message.topic,
                    partition=message.partition,
                    offset=message.offset,
                    key=message.key,
                    target=whole,
                    correlation_id=correlation_id or ticket_id,
                    detail_error={"code": str(error.code), "message": error.message},
                    max_payload_bytes=rules.max_dlq_payload_bytes,
                ),
            ),
        )
    )


def _known_scope(target: Mapping[str, str], profiles: Profiles) -> ConnectionScopeDomain | None:
    """The scope that a refused message is about, where it names one that is served."""
    try:
        return resolve_scope(ConnectionTargetDTO(**target), profiles)
    except (CommandError, ValueError, TypeError):
        return None


def _whole(target: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """What the message says of its target, where that is enough for an event's ``target``."""
    return target if target and {"exchange", "request_type"} <= target.keys() else None
