"""The container on the embedded parts, and what it does before anything is asked of it."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.container import close_container
from infra.settings import GatewaySettings, KafkaSettings, RedisSettings, RegistrySettings, Settings
from tests.contract.container_suite import ContainerSuite
from tests.gateway_rig import World, embedded_world
from tests.waiting import until


class TestEmbedded(ContainerSuite):
    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        async with embedded_world() as world:
            yield world


_IMPORTS = """
import sys, threading
opened = []
sys.addaudithook(lambda event, args: opened.append(event) if event.startswith("socket.") else None)
import infra.container, infra.gateway, infra.cli
from infra.container import ApplicationContainer
container = ApplicationContainer()
assert not [e for e in opened if e in ("socket.connect", "socket.bind", "socket.getaddrinfo")], opened
assert threading.active_count() == 1, threading.enumerate()
try:
    container.settings()
except Exception as exc:
    print(type(exc).__name__, exc)
"""


def test_importing_reads_no_settings_and_opens_nothing() -> None:
    environment = os.environ | {"KAFKA_SESSION_TIMEOUT_MS": "soon", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("SettingsError KAFKA_SESSION_TIMEOUT_MS: ")


def native_threads() -> list[str]:
    """librdkafka's threads of this process."""
    names = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):
            names.append(Path(f"/proc/self/task/{task}/comm").read_text().strip())
    return [name for name in names if name.startswith("rdk:")]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_building_needs_no_network_and_closing_stops_all() -> None:
    nowhere = Settings(
        kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"),
        registry=RegistrySettings(url="http://127.0.0.1:1"),
        redis=RedisSettings(host="127.0.0.1", port=1),
        gateway=GatewaySettings(http_port=0),
    )
    before = len(native_threads())
    for embedded in (False, True):
        container = World(nowhere, embedded, {}).container()
        begun_s = time.monotonic()
        for provider in (
            container.application.orchestrator,
            container.application.upkeep,
            container.application.reporter,
            container.application.outcomes,
            container.control.command_consumer,
            container.control.disconnection_consumer,
            container.control.desired_state_consumer,
            container.messaging.realtime_producer,
            container.cache.connections,
        ):
            await provider()
        assert time.monotonic() - begun_s < 3
        assert len(native_threads()) > before
        await close_container(container)
        await close_container(container)
        del container, provider
        await until(lambda: len(native_threads()) <= before)


async def test_two_processes_of_one_name_do_not_fence_each_other() -> None:
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"),
        registry=RegistrySettings(url="http://127.0.0.1:1"),
        redis=RedisSettings(host="127.0.0.1", port=1),
        gateway=GatewaySettings(http_port=0, instance_id="one"),
    )
    containers = [World(settings, False, {}).container() for _ in range(2)]
    try:
        writers = [(await c.messaging.writer_for())("outcomes") for c in containers]
        ids = [writer._config["transactional.id"] for writer in writers]
        assert ids[0] != ids[1]
        assert all(id_.startswith("gateway-one-") and id_.endswith("-outcomes") for id_ in ids)
        parts = [await c.application.stream_parts() for c in containers]
        instance_bits = [(p.new_session_id() >> 8) & 0x3FFF for p in parts]
        assert [p.instance for p in parts] == ["one", "one"]
        assert instance_bits[0] != instance_bits[1]
    finally:
        for container in containers:
            await close_container(container)
