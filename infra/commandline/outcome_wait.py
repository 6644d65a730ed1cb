"""Publish a command and wait for its outcomes: one a symbol, or one for all."""

import time
import uuid
from typing import Any

import msgspec
import orjson
from confluent_kafka import KafkaException, Producer

from core.errors import DeliveryError
from infra.messaging.client_settings import kafka_settings_checked
from infra.messaging.topic_reader import FIRST_ANSWER_S, TopicReader
from infra.settings import Settings

_OUTCOME_TOPICS = ("ws.connect_success", "ws.disconnect_success", "ws.error")


class WaitBrokenOffError(KeyboardInterrupt):
    """Ctrl-C after Kafka took the command and before all its outcomes were there."""


class SymbolOutcome(msgspec.Struct, frozen=True):
    """What became of one symbol (None: of the whole command)."""

    symbol: str | None
    ok: bool
    text: str
    code: str | None = None


def send_and_wait_for_outcomes(
    settings: Settings,
    topic: str,
    command: dict[str, Any],
    expected: int | None,
    timeout_s: float,
) -> tuple[list[SymbolOutcome], str | None]:
    """Publish ``command`` (with a fresh correlation id unless it has one) and collect what follows from it.

    Waits for ``expected`` outcomes; None waits until the first one, and then a moment for more. Raises
    ``DeliveryError`` when Kafka does not take the command, ``WaitBrokenOffError`` at Ctrl-C. What has no
    outcome in time is not in the answer. The second part is the last problem that this stream reported
    meanwhile, if it did.
    """
    command.setdefault("correlation_id", str(uuid.uuid4()))
    reader = TopicReader(
        settings.kafka,
        [settings.gateway.topic(name) for name in _OUTCOME_TOPICS],
        from_beginning=False,
        patience_s=timeout_s,
    )
    try:
        reader.open(min(FIRST_ANSWER_S, timeout_s))
        _publish(settings, settings.gateway.topic(topic), command)
        try:
            return _collect(reader, command, expected, timeout_s)
        except KeyboardInterrupt as exc:
            raise WaitBrokenOffError from exc
    finally:
        reader.close()


def _publish(settings: Settings, topic: str, command: dict[str, Any]) -> None:
    with kafka_settings_checked():
        producer = Producer(
            {
                **settings.kafka.client_config(),
                "enable.idempotence": True,
                "message.timeout.ms": 10_000,
                "log_level": 2,
            }
        )
    failed: list[str] = []

    def report(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(error.str())

    target = command["target"]
    key = f"{target['exchange']}|{target.get('region', '')}|{target['request_type']}"
    try:
        producer.produce(topic, orjson.dumps(command), key, on_delivery=report)
    except KafkaException as exc:
        raise DeliveryError(f"the command was not sent: {exc.args[0].str()}") from exc
    left = producer.flush(12.0)
    if left or failed:
        raise DeliveryError(
            f"the command was not taken by Kafka at {settings.kafka.bootstrap_servers}: "
            f"{failed[0] if failed else 'no answer'}"
        )


def _collect(
    reader: TopicReader, command: dict[str, Any], expected: int | None, timeout_s: float
) -> tuple[list[SymbolOutcome], str | None]:
    target = command["target"]
    trouble: str | None = None
    deadline_s = time.monotonic() + timeout_s
    outcomes: list[SymbolOutcome] = []
    while time.monotonic() < deadline_s:
        for message in reader.read(100, 0.1):
            event = orjson.loads(message.value())
            about = event.get("target") or {}
            if event["meta"].get("correlation_id") == command["correlation_id"]:
                outcomes.append(_outcome(event))
            elif event["action"] == "error" and all(
                about.get(name) == target[name] for name in ("exchange", "request_type")
            ):
                trouble = event["error"]["error_message"]["message"]
        if any(not o.ok and o.symbol is None for o in outcomes):
            break
        if expected is not None and len(outcomes) >= expected:
            break
        if expected is None and outcomes:
            deadline_s = min(deadline_s, time.monotonic() + 1.0)
    return outcomes, trouble


def _outcome(event: dict[str, Any]) -> SymbolOutcome:
    if event["action"] == "error":
        body = event["error"]
        context = event["meta"].get("raw_context") or {}
        return SymbolOutcome(context.get("symbol"), False, body["error_message"]["message"], body["error_code"])
    return SymbolOutcome(event.get("symbol"), True, event["action"])
