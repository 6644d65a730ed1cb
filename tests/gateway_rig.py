"""A whole gateway for a test: on the embedded parts or on the real ones, with simulated exchanges."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import orjson
from dependency_injector import providers
from pydantic import SecretStr

from infra.container import ApplicationContainer
from infra.embedded.broker import EmbeddedBroker
from infra.embedded.redis import EmbeddedRedis
from infra.embedded.registry import EmbeddedRegistry
from infra.gateway import Gateway
from infra.messaging.avro.schema_evolution import incompatibilities
from infra.messaging.clients.json_client import AsyncProducerWrapper
from infra.messaging.topic_reader import TopicReader
from infra.settings import (
    GatewaySettings,
    KafkaSettings,
    RedisSettings,
    RegistrySettings,
    Settings,
)
from infra.simulator.server import ExchangeSimulator


class Double:
    """A producer with ``send_and_wait`` alone; ``sent`` is what came, in order."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any, Any]] = []

    async def send_and_wait(self, topic: str, value: Any, key: Any = None) -> bool:
        self.sent.append((topic, value, key))
        return True

    def on(self, topic: str) -> list[Any]:
        """The values sent to one topic."""
        return [value for name, value, _ in self.sent if name.endswith(topic)]


@dataclasses.dataclass
class World:
    """Broker, registry, Redis and exchanges, all running."""

    settings: Settings
    embedded: bool
    simulators: dict[str, ExchangeSimulator]

    def container(self) -> Any:
        """A fresh container that leads there."""
        container = ApplicationContainer()
        self.lead(container)
        return container

    def lead(self, container: Any) -> None:
        """Point a container, or the class, there."""
        container.settings.override(providers.Object(self.settings))
        container.messaging.embedded.override(providers.Object(self.embedded))


@contextlib.asynccontextmanager
async def simulators(rate: float = 50.0) -> AsyncIterator[dict[str, ExchangeSimulator]]:
    """Upbit and Binance."""
    async with contextlib.AsyncExitStack() as stack:
        running = {}
        for exchange in ("upbit", "binance"):
            simulator = ExchangeSimulator(exchange, rate=rate, seed=3)
            await simulator.start()
            stack.push_async_callback(simulator.stop)
            running[exchange] = simulator
        yield running


def gateway_settings(
    exchanges: Mapping[str, ExchangeSimulator], prefix: str = "", **more: Any
) -> GatewaySettings:
    """Settings that lead to the simulators and let commands name their addresses."""
    return GatewaySettings(
        prefix=prefix,
        exchange_urls={name: simulator.url for name, simulator in exchanges.items()},
        http_port=0,
        **more,
    )


@contextlib.asynccontextmanager
async def embedded_world(
    simulated: Mapping[str, ExchangeSimulator] | None = None, **more: Any
) -> AsyncIterator[World]:
    """Everything in this process; ``simulated`` exchanges run already, in place of the usual ones."""
    async with contextlib.AsyncExitStack() as stack:
        broker, registry, redis = EmbeddedBroker(), EmbeddedRegistry(incompatibilities), EmbeddedRedis()
        for part in (broker, registry, redis):
            await part.start()
            stack.push_async_callback(part.stop)
        exchanges = dict(simulated or await stack.enter_async_context(simulators()))
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers),
            registry=RegistrySettings(url=registry.url),
            redis=RedisSettings(url=SecretStr(redis.url)),
            gateway=gateway_settings(exchanges, **more),
        )
        yield World(settings, True, exchanges)


@contextlib.asynccontextmanager
async def real_world(services: Any, prefix: str, **more: Any) -> AsyncIterator[World]:
    """On the shared real parts; ``prefix`` keeps it apart."""
    environment = services.environment()
    async with simulators() as exchanges:
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"]),
            registry=RegistrySettings(url=environment["SCHEMA_REGISTRY_URL"]),
            redis=RedisSettings(url=SecretStr(environment["REDIS_URL"])),
            gateway=gateway_settings(exchanges, prefix, streams_partitions=4, realtime_partitions=3, **more),
        )
        yield World(settings, False, exchanges)


@contextlib.asynccontextmanager
async def running(container: Any) -> AsyncIterator[Gateway]:
    """A gateway that takes commands, drained at the end."""
    gateway = Gateway(container)
    try:
        await gateway.start()
        await gateway.ready()
        yield gateway
    finally:
        await gateway.stop()


def connect(exchange: str, request_type: str, *symbols: str, **more: Any) -> dict[str, Any]:
    """A connect command."""
    return {
        "type": "status",
        "action": "connect_and_subscribe",
        "target": {"exchange": exchange, "request_type": request_type},
        "symbols": list(symbols),
        **more,
    }


def disconnect(exchange: str, request_type: str, *symbols: str, **more: Any) -> dict[str, Any]:
    """A disconnect command; without symbols for the whole stream."""
    return {
        "type": "status",
        "action": "disconnect",
        "target": {"exchange": exchange, "request_type": request_type},
        **({"symbols": list(symbols)} if symbols else {}),
        **more,
    }


async def publish(settings: Settings, topic: str, *messages: Any, key: Any = None) -> None:
    """Publish as any user would: dicts as JSON, bytes and None as they are."""
    async with AsyncProducerWrapper(settings=settings) as producer:
        for message in messages:
            await producer.send(settings.gateway.topic(topic), message, key)


class TopicLog:
    """Follows topics from their beginnings; ``on(topic)`` is what has been read of one, JSON decoded."""

    def __init__(self, settings: Settings, topics: Iterable[str]) -> None:
        self._settings = settings
        self._names = {settings.gateway.topic(topic): topic for topic in topics}
        self._reader = TopicReader(settings.kafka, list(self._names), from_beginning=True)
        self.messages: dict[str, list[Any]] = {topic: [] for topic in self._names.values()}

    async def __aenter__(self) -> "TopicLog":
        await asyncio.to_thread(self._reader.open, 10.0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._reader.close)

    def on(self, topic: str) -> list[Any]:
        """The values of one topic, decoded."""
        return [orjson.loads(message.value()) for message in self.messages[topic]]

    async def read(self, timeout_s: float = 0.1) -> None:
        """Take what is there."""
        for message in await asyncio.to_thread(self._reader.read, 2000, timeout_s):
            self.messages[self._names[message.topic()]].append(message)

    async def until(self, condition: Callable[[], object], timeout_s: float = 20.0) -> None:
        """Read until ``condition()`` holds; fails with what came after ``timeout_s``."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            await self.read()
            counts = {topic: len(found) for topic, found in self.messages.items()}
            assert time.monotonic() < deadline_s, f"not within {timeout_s} s; read: {counts}"

    async def settle(self, quiet_s: float = 0.5) -> None:
        """Read until nothing came for a while: what else there is would have come by now."""
        quiet_since_s = time.monotonic()
        while time.monotonic() - quiet_since_s < quiet_s:
            before = sum(map(len, self.messages.values()))
            await self.read()
            if sum(map(len, self.messages.values())) != before:
                quiet_since_s = time.monotonic()
