"""The topics: which there are, how they should be, and what to do where they are not so.

``TopicAdmin`` is for a real cluster. The embedded broker answers no such questions and is not asked: topics
appear there on first use, and ``EmbeddedTopicAdmin`` only makes them appear.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

import msgspec
import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs forget to export three
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from core.errors import DeliveryError, SettingsError
from infra.messaging.client_settings import kafka_settings_checked
from infra.settings import GatewaySettings, Settings

_log = structlog.get_logger("topics")
_TIMEOUT_S: Final = 10.0
_FIRST_ANSWER_S: Final = 4.0
"""How long one look for a broker takes at most; whoever waits for it looks again."""

_EMBEDDED: Final = "mockCluster"
"""How librdkafka's mock cluster begins its id; it leaves questions about topics without any answer."""

STREAMS: Final = "ws.streams"

Cleanup = Literal["delete", "compact"]


class TopicSpec(msgspec.Struct, frozen=True):
    """A topic as it should be; ``name`` is without prefix."""

    name: str
    cleanup: Cleanup
    partitions: int


def topic_table(gateway: GatewaySettings) -> list[TopicSpec]:
    """Every topic the gateway reads or writes."""
    control, realtime = gateway.control_partitions, gateway.realtime_partitions
    return [
        TopicSpec("ws.command", "delete", control),
        TopicSpec("ws.disconnection", "delete", control),
        TopicSpec(STREAMS, "compact", gateway.streams_partitions),
        TopicSpec("ws.connect_success", "delete", control),
        TopicSpec("ws.disconnect_success", "delete", control),
        TopicSpec("ws.error", "delete", control),
        TopicSpec("ws.dlq", "delete", control),
        TopicSpec("ws.metrics", "delete", control),
        TopicSpec("ws.backpressure.events", "delete", 1),
        TopicSpec("realtime.ticker", "delete", realtime),
        TopicSpec("realtime.trade", "delete", realtime),
        TopicSpec("realtime.orderbook", "delete", realtime),
    ]


class Topics(Protocol):
    """Makes sure of the topics; afterwards ``streams_partitions`` is known."""

    streams_partitions: int

    async def ensure(self) -> None:
        """Raises ``DeliveryError`` while no broker answers, ``SettingsError`` where a topic cannot be used."""
        ...


class TopicsNotToldError(DeliveryError):
    """The cluster answers, but not what its topics are set to (the embedded broker never does)."""


class TopicAdmin:
    """Topics of a real cluster: created where they are missing, or only looked at."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.streams_partitions = settings.gateway.streams_partitions

    async def ensure(self) -> None:
        """Create or check; see ``Topics``."""
        await asyncio.to_thread(self._ensure)

    async def problems(self) -> list[str]:
        """What is wrong with the topics, without touching them; raises ``DeliveryError``."""
        return await asyncio.to_thread(self._look)

    def _ensure(self) -> None:
        admin = self._client()
        gateway = self._settings.gateway
        existing = self._existing(admin)
        table = topic_table(gateway)
        missing = [spec for spec in table if gateway.topic(spec.name) not in existing]
        if missing and gateway.topics == "check":
            names = ", ".join(gateway.topic(spec.name) for spec in missing)
            raise SettingsError(f"topics are missing: {names}; create them, or set GATEWAY_TOPICS=create")
        if missing:
            self._create(admin, missing)
            existing = self._all_there(admin, table)
        wrong = self._contradictions(admin, table, existing)
        if wrong:
            raise SettingsError("; ".join(wrong))

    def _look(self) -> list[str]:
        admin = self._client()
        gateway = self._settings.gateway
        existing = self._existing(admin)
        table = topic_table(gateway)
        missing = [
            f"topic {gateway.topic(spec.name)} is missing"
            + (": it is created at the next start" if gateway.topics == "create" else ": create it")
            for spec in table
            if gateway.topic(spec.name) not in existing
        ]
        return missing + self._contradictions(admin, table, existing)

    def _client(self) -> AdminClient:
        with kafka_settings_checked():
            return AdminClient({**self._settings.kafka.client_config(), "log_level": 0})

    def _existing(self, admin: AdminClient) -> dict[str, int]:
        try:
            cluster = admin.list_topics(timeout=_FIRST_ANSWER_S)
        except KafkaException as exc:
            raise DeliveryError(
                f"Kafka at {self._settings.kafka.bootstrap_servers} does not answer: {exc.args[0].str()}"
            ) from exc
        if str(cluster.cluster_id).startswith(_EMBEDDED):
            raise self._not_told()
        return {name: len(topic.partitions) for name, topic in cluster.topics.items() if topic.error is None}

    def _all_there(self, admin: AdminClient, table: list[TopicSpec]) -> dict[str, int]:
        """Look again until every topic shows: another may have made one meanwhile, and differently."""
        deadline_s = time.monotonic() + _TIMEOUT_S
        while True:
            existing = self._existing(admin)
            absent = [
                name for spec in table if (name := self._settings.gateway.topic(spec.name)) not in existing
            ]
            if not absent:
                return existing
            if time.monotonic() > deadline_s:
                raise DeliveryError(f"topics were created and do not show: {', '.join(absent)}")
            time.sleep(0.1)

    def _create(self, admin: AdminClient, missing: list[TopicSpec]) -> None:
        gateway = self._settings.gateway
        brokers = len(admin.list_topics(timeout=_TIMEOUT_S).brokers)
        replication = gateway.replication_factor or min(3, brokers)
        new = []
        for spec in missing:
            config: dict[str, str] = {"cleanup.policy": spec.cleanup}
            if gateway.retention_ms is not None and spec.cleanup == "delete":
                config["retention.ms"] = str(gateway.retention_ms)
            new.append(
                NewTopic(
                    gateway.topic(spec.name),
                    num_partitions=spec.partitions,
                    replication_factor=replication,
                    config=config,
                )
            )
        for name, future in admin.create_topics(new, operation_timeout=_TIMEOUT_S).items():
            try:
                future.result(_TIMEOUT_S)
                _log.info("topic created", topic=name)
            except KafkaException as exc:
                error = exc.args[0]
                if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    continue
                if error.retriable():
                    raise DeliveryError(f"topic {name} was not created: {error.str()}") from exc
                raise SettingsError(
                    f"topic {name} cannot be created: {error.str()}; create it yourself, "
                    "or give this user the right to"
                ) from exc

    def _contradictions(
        self, admin: AdminClient, table: list[TopicSpec], existing: Mapping[str, int]
    ) -> list[str]:
        gateway = self._settings.gateway
        present = [spec for spec in table if gateway.topic(spec.name) in existing]
        policies = self._policies(admin, present)
        wrong = []
        streams = existing.get(gateway.topic(STREAMS))
        if streams is not None and streams != gateway.streams_partitions:
            wrong.append(
                f"topic {gateway.topic(STREAMS)} has {streams} partitions and "
                f"GATEWAY_STREAMS_PARTITIONS is {gateway.streams_partitions}: streams would be looked for in "
                "the wrong ones; set it to the number the topic was made with"
            )
        for spec, policy in policies.items():
            kinds = {kind.strip() for kind in policy.split(",")}
            if spec.cleanup not in kinds or (spec.cleanup == "compact" and "delete" in kinds):
                wrong.append(
                    f"topic {gateway.topic(spec.name)} has cleanup.policy={policy}, it needs {spec.cleanup}"
                )
        return wrong

    def _policies(self, admin: AdminClient, specs: list[TopicSpec]) -> dict[TopicSpec, str]:
        gateway = self._settings.gateway
        asked = {ConfigResource(ResourceType.TOPIC, gateway.topic(spec.name)): spec for spec in specs}
        if not asked:
            return {}
        policies: dict[TopicSpec, str] = {}
        for resource, future in admin.describe_configs(list(asked), request_timeout=_TIMEOUT_S).items():
            try:
                policies[asked[resource]] = str(future.result(_TIMEOUT_S)["cleanup.policy"].value)
            except KafkaException as exc:
                if exc.args[0].code() in (KafkaError._TIMED_OUT, KafkaError.UNKNOWN_TOPIC_OR_PART):
                    raise self._not_told() from exc
                _log.warning("topic's settings unknown", topic=resource.name, reason=exc.args[0].str())
            except TimeoutError as exc:
                raise self._not_told() from exc
        return policies

    def _not_told(self) -> TopicsNotToldError:
        return TopicsNotToldError(
            f"Kafka at {self._settings.kafka.bootstrap_servers} does not say how its topics are set"
        )


class EmbeddedTopicAdmin:
    """Topics of librdkafka's mock cluster, which makes each on first use with its own partition count."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.streams_partitions = 0

    async def ensure(self) -> None:
        """Make every topic appear, and learn how many partitions ``ws.streams`` got."""
        counts = await asyncio.to_thread(self._touch)
        self.streams_partitions = counts[self._settings.gateway.topic(STREAMS)]

    def _touch(self) -> dict[str, int]:
        gateway = self._settings.gateway
        client: Any = AdminClient(
            {**self._settings.kafka.client_config(), "allow.auto.create.topics": True, "log_level": 0}
        )
        counts = {}
        for spec in topic_table(gateway):
            name = gateway.topic(spec.name)
            try:
                counts[name] = len(client.list_topics(name, timeout=_TIMEOUT_S).topics[name].partitions)
            except KafkaException as exc:
                raise DeliveryError(f"the embedded broker does not answer: {exc}") from exc
        return counts
