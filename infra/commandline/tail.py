"""``gateway tail``: what goes through a topic, decoded, as it comes."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Any

import orjson
import typer
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE

from core.errors import PayloadError
from infra.commandline.console import AsJson, EnvFile, complain, errors_in_one_line
from infra.commandline.interrupts import interrupts
from infra.messaging.avro.writer_schemas import WriterSchemas
from infra.messaging.message_decoding import MessageDecoder, json_form
from infra.messaging.topic_reader import FIRST_ANSWER_S, TopicReader
from infra.messaging.topics import topic_table
from infra.settings import Settings, load_settings

_PATIENCE_S = 10.0
_MAX_LINE = 2_000


def register(app: typer.Typer) -> None:
    """Add the sub-command."""
    app.command("tail")(tail)


def tail(
    topics: Annotated[
        list[str], typer.Argument(metavar="TOPIC", help="Names; the gateway's own get GATEWAY_PREFIX.")
    ],
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the first message, not the next one.")
    ] = False,
    max_messages: Annotated[
        int | None, typer.Option("--max", min=1, help="End after so many messages.", show_default=False)
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Only keys that begin so.", show_default=False)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="End after so many seconds.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    env_file: EnvFile = None,
) -> None:
    """Show messages decoded, one a line, until Ctrl-C; nothing is committed and no consumer disturbed.

    A message that cannot be decoded is one line that says why.
    """
    with errors_in_one_line():
        settings = load_settings(env_file)
        names = [_full_name(topic, settings) for topic in dict.fromkeys(topics)]
        schemas = WriterSchemas(settings.registry)
        reader = TopicReader(settings.kafka, names, from_beginning=from_beginning, patience_s=_PATIENCE_S)
        decoder = MessageDecoder(schemas)
        show = _json_line if as_json else _text_line
        deadline_s = None if seconds is None else time.monotonic() + seconds
        try:
            with interrupts() as interrupted:
                reader.open(FIRST_ANSWER_S)
                if reader.absent:
                    waiting = ", ".join(name + _meant(name, settings) for name in reader.absent)
                    complain(f"waiting for {waiting}, not there yet")
                for shown, message in enumerate(_messages(reader, key, deadline_s, interrupted), 1):
                    typer.echo(show(message, decoder))
                    if shown == max_messages or interrupted.is_set():
                        break
        finally:
            reader.close()
            schemas.close()


def _full_name(topic: str, settings: Settings) -> str:
    """The gateway's own topics have its prefix before them, all others are as they are."""
    known = {spec.name for spec in topic_table(settings.gateway)}
    return settings.gateway.topic(topic) if topic in known else topic


def _meant(name: str, settings: Settings) -> str:
    """Of a topic that is not the gateway's, the one of its own that it resembles."""
    known = {settings.gateway.topic(spec.name): spec.name for spec in topic_table(settings.gateway)}
    if name in known:
        return ""
    close = get_close_matches(name, [*known, *known.values()], n=1)
    return f" (did you mean {known.get(close[0], close[0])}?)" if close else ""


def _messages(
    reader: TopicReader, key: str | None, deadline_s: float | None, interrupted: threading.Event
) -> Iterator[Any]:
    prefix = None if key is None else key.encode()
    while not interrupted.is_set() and (deadline_s is None or time.monotonic() < deadline_s):
        for message in reader.read(500, 0.2):
            if prefix is None or (message.key() or b"").startswith(prefix):
                yield message


def _json_line(message: Any, decoder: MessageDecoder) -> str:
    line = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": _timestamp_ms(message),
        "key": _text(message.key()),
        "headers": {name: _text(value) for name, value in message.headers() or []},
    }
    try:
        line["value"] = decoder.decode(message.value())
    except PayloadError as exc:
        line |= {"value": None, "error": exc.message}
    return orjson.dumps(line, default=json_form).decode()


def _text_line(message: Any, decoder: MessageDecoder) -> str:
    ms = _timestamp_ms(message)
    at = "-" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    head = f"{at} {message.topic()}[{message.partition()}]@{message.offset()} {_text(message.key()) or '-'}"
    headers = "".join(f" {name}={_text(value)}" for name, value in message.headers() or [])
    try:
        value = _compact(decoder.decode(message.value()))
    except PayloadError as exc:
        value = f"cannot be decoded: {exc.message} ({len(message.value() or b''):,} bytes)"
    return _printable(f"{head}{headers} {value}")


def _compact(value: Any) -> str:
    """JSON without the top level's nulls: a record's optional fields say nothing when they are absent."""
    if value is None:
        return "(no value)"
    if isinstance(value, dict):
        value = {name: part for name, part in value.items() if part is not None}
    text = orjson.dumps(value, default=json_form).decode()
    if len(text) <= _MAX_LINE:
        return text
    return f"{text[:_MAX_LINE]}… ({len(text) - _MAX_LINE:,} more characters; --json shows all)"


def _printable(text: str) -> str:
    """Nothing in a message may steer the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _text(data: bytes | str | None) -> str | None:
    return data.decode(errors="replace") if isinstance(data, bytes) else data


def _timestamp_ms(message: Any) -> int | None:
    kind, ms = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else int(ms)
