"""The broker that the tests start is a Kafka with what the gateway needs of one."""

import itertools
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.services.artifacts import MavenArtifacts
from infra.services.errors import PortInUseError, ServiceError
from infra.services.kafka import KafkaBroker


def _create(broker: KafkaBroker, topic: str, partitions: int = 1, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    new = NewTopic(
        topic, partitions, 1, config={name.replace("_", "."): value for name, value in config.items()}
    )
    admin.create_topics([new])[topic].result(20)


def _producer(broker: KafkaBroker, **config: object) -> Producer:
    return Producer({"bootstrap.servers": broker.bootstrap_servers, "enable.idempotence": True, **config})


def _consume(
    broker: KafkaBroker, topic: str, enough: Callable[[list[Message]], bool], group: str, **config: object
) -> list[Message]:
    """What a group reads from the start, until it is enough or 30 s are over."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            **config,
        }
    )
    messages: list[Message] = []
    try:
        consumer.subscribe([topic])
        until = time.monotonic() + 30
        while not enough(messages) and time.monotonic() < until:
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                messages.append(message)
    finally:
        consumer.close()
    return messages


def _send(producer: Producer, topic: str, values: list[bytes]) -> None:
    errors: list[object] = []
    for value in values:
        producer.produce(
            topic, value, key=value, on_delivery=lambda error, _message: errors.append(error) if error else None
        )
    assert producer.flush(30) == 0
    assert errors == []


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_what_is_produced_is_consumed_in_order_under_both_group_protocols(
    kafka: KafkaBroker, prefix: str, protocol: str
) -> None:
    topic = f"{prefix}numbers"
    _create(kafka, topic)
    values = [str(number).encode() for number in range(500)]
    _send(_producer(kafka), topic, values)

    messages = _consume(
        kafka, topic, lambda got: len(got) >= 500, f"{prefix}group", **{"group.protocol": protocol}
    )

    assert [message.value() for message in messages] == values


def test_a_transaction_shows_when_it_commits_and_never_when_it_aborts(kafka: KafkaBroker, prefix: str) -> None:
    topic = f"{prefix}effects"
    _create(kafka, topic)
    producer = _producer(kafka, **{"transactional.id": f"{prefix}writer"})
    producer.init_transactions(20)
    for value, commits in ((b"first", True), (b"withdrawn", False), (b"second", True)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(20)
        if commits:
            producer.commit_transaction(20)
        else:
            producer.abort_transaction(20)

    messages = _consume(kafka, topic, lambda got: len(got) >= 2, f"{prefix}group")

    assert [message.value() for message in messages] == [b"first", b"second"]


def test_an_abandoned_transaction_is_aborted_soon_after_its_timeout(kafka: KafkaBroker, prefix: str) -> None:
    topic = f"{prefix}effects"
    _create(kafka, topic)
    abandoned = _producer(kafka, **{"transactional.id": f"{prefix}dies", "transaction.timeout.ms": 2_000})
    abandoned.init_transactions(20)
    abandoned.begin_transaction()
    abandoned.produce(topic, b"never committed")
    abandoned.flush(20)
    began_s = time.monotonic()
    _send(_producer(kafka), topic, [b"behind it"])

    messages = _consume(kafka, topic, bool, f"{prefix}group")

    assert [message.value() for message in messages] == [b"behind it"]
    assert time.monotonic() - began_s < 15


def test_a_topic_can_be_made_to_compact_within_seconds(kafka: KafkaBroker, prefix: str) -> None:
    topic = f"{prefix}state"
    _create(
        kafka,
        topic,
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.001",
        max_compaction_lag_ms="100",
    )
    producer = _producer(kafka)
    until = time.monotonic() + 60
    gone = False
    for round_ in itertools.count():
        # New records let the active segment roll, and only what is rolled can be compacted.
        marker = f"marker {round_}".encode()
        _send(producer, topic, [b"the same key", marker])
        read = _consume(
            kafka, topic, lambda got, last=marker: bool(got) and got[-1].value() == last, f"{prefix}{round_}"
        )
        gone = 0 not in [message.offset() for message in read]
        if gone or time.monotonic() > until:
            break
    assert gone


def test_a_killed_broker_comes_back_on_its_port_with_its_data(own_kafka: KafkaBroker) -> None:
    _create(own_kafka, "kept")
    producer = _producer(own_kafka)
    before = [f"before {number}".encode() for number in range(100)]
    _send(producer, "kept", before)
    address, first_pid = own_kafka.bootstrap_servers, own_kafka.pid

    own_kafka.kill()
    assert own_kafka.pid is None
    assert own_kafka.exit_status == -9
    own_kafka.start()

    assert own_kafka.bootstrap_servers == address
    assert own_kafka.pid not in (None, first_pid)
    # The same producer, which lived through it.
    _send(producer, "kept", [b"after"])
    messages = _consume(own_kafka, "kept", lambda got: len(got) >= 101, "reader")
    assert [message.value() for message in messages] == [*before, b"after"]

    own_kafka.stop()
    assert own_kafka.exit_status is not None
    own_kafka.start()
    messages = _consume(own_kafka, "kept", lambda got: len(got) >= 101, "another reader")
    assert len(messages) == 101


def test_a_paused_broker_answers_nothing_until_it_is_resumed(own_kafka: KafkaBroker) -> None:
    admin = AdminClient({"bootstrap.servers": own_kafka.bootstrap_servers, "log_level": 0})
    assert admin.list_topics(timeout=10).brokers
    own_kafka.pause()
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": own_kafka.bootstrap_servers, "log_level": 0}).list_topics(timeout=1)
    own_kafka.resume()
    assert admin.list_topics(timeout=20).brokers


def test_neither_the_port_nor_the_data_of_a_running_broker_can_be_had_twice(
    kafka: KafkaBroker, artifacts: MavenArtifacts, tmp_path: object
) -> None:
    same_data = KafkaBroker(data_dir=kafka.data_dir, artifacts=artifacts)
    with pytest.raises(ServiceError, match="in use by another process"):
        same_data.launch()
    same_port = KafkaBroker(data_dir=tmp_path / "other", artifacts=artifacts, port=kafka.port)
    with pytest.raises(PortInUseError, match=f"port {kafka.port} is in use"):
        same_port.start()
    assert kafka.running
