"""Topics on a real broker: made, looked at, and refused where they contradict what the gateway needs."""

from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from core.errors import DeliveryError, SettingsError
from infra.messaging.topics import TopicAdmin, topic_table
from infra.services.kafka import KafkaBroker
from infra.settings import GatewaySettings, KafkaSettings, Settings


def settings_of(kafka: KafkaBroker, prefix: str, **gateway: Any) -> Settings:
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap_servers),
        gateway=GatewaySettings(
            prefix=prefix, control_partitions=1, streams_partitions=2, realtime_partitions=1, **gateway
        ),
    )


def admin_of(kafka: KafkaBroker) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka.bootstrap_servers})


def make(kafka: KafkaBroker, name: str, partitions: int, cleanup: str) -> None:
    topic = NewTopic(name, partitions, 1, config={"cleanup.policy": cleanup})
    admin = admin_of(kafka)  # must outlive its futures
    for future in admin.create_topics([topic]).values():
        future.result(10)


async def test_topics_are_made_as_the_table_says(kafka: KafkaBroker, prefix: str) -> None:
    settings = settings_of(kafka, prefix, retention_ms=3_600_000)
    assert len(await TopicAdmin(settings).problems()) == len(topic_table(settings.gateway))
    await TopicAdmin(settings).ensure()
    await TopicAdmin(settings).ensure()
    assert await TopicAdmin(settings).problems() == []
    admin = admin_of(kafka)
    found = admin.list_topics(timeout=10).topics
    for spec in topic_table(settings.gateway):
        assert len(found[prefix + spec.name].partitions) == spec.partitions
        (future,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, prefix + spec.name)]).values()
        config = future.result(10)
        assert config["cleanup.policy"].value == spec.cleanup
        if spec.cleanup == "delete":
            assert config["retention.ms"].value == "3600000"


async def test_check_makes_nothing_and_names_what_is_missing(kafka: KafkaBroker, prefix: str) -> None:
    settings = settings_of(kafka, prefix, topics="check")
    with pytest.raises(
        SettingsError, match=rf"topics are missing: .*{prefix}ws\.streams.*GATEWAY_TOPICS=create"
    ):
        await TopicAdmin(settings).ensure()
    assert not [name for name in admin_of(kafka).list_topics(timeout=10).topics if name.startswith(prefix)]
    await TopicAdmin(settings_of(kafka, prefix)).ensure()
    await TopicAdmin(settings).ensure()


async def test_contradictions_refuse_the_start_with_a_reason(kafka: KafkaBroker, prefix: str) -> None:
    make(kafka, f"{prefix}ws.streams", 5, "delete")
    make(kafka, f"{prefix}ws.error", 1, "compact")
    make(kafka, f"{prefix}realtime.trade", 9, "delete")
    with pytest.raises(SettingsError) as caught:
        await TopicAdmin(settings_of(kafka, prefix)).ensure()
    said = caught.value.message
    assert f"{prefix}ws.streams has 5 partitions and GATEWAY_STREAMS_PARTITIONS is 2" in said
    assert f"{prefix}ws.streams has cleanup.policy=delete, it needs compact" in said
    assert f"{prefix}ws.error has cleanup.policy=compact, it needs delete" in said
    assert "realtime.trade" not in said
    assert not caught.value.retriable


async def test_both_policies_would_delete_desired_state(kafka: KafkaBroker, prefix: str) -> None:
    make(kafka, f"{prefix}ws.streams", 2, "compact,delete")
    with pytest.raises(SettingsError, match=r"cleanup\.policy"):
        await TopicAdmin(settings_of(kafka, prefix)).ensure()


async def test_no_broker_is_worth_waiting_for(prefix: str) -> None:
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"), gateway=GatewaySettings(prefix=prefix)
    )
    admin = TopicAdmin(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("infra.messaging.topics._TIMEOUT_S", 1.0)
        with pytest.raises(DeliveryError, match=r"127\.0\.0\.1:1") as caught:
            await admin.ensure()
    assert caught.value.retriable
