"""The real parts: Apache Kafka, a Schema Registry and Redis, started once for a whole run of pytest.

``kafka``, ``registry`` and ``redis_server`` are shared by all tests, each starts when the first test asks for
it, and ``services`` is all three. A test keeps to itself by ``prefix`` and never stops a shared part: who
kills, pauses or restarts takes ``own_kafka``, ``own_registry`` or ``own_redis``. A test that cannot get its
part fails.
"""

import dataclasses
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.services.artifacts import MavenArtifacts
from infra.services.errors import ServiceError
from infra.services.folders import cache_folder
from infra.services.kafka import KafkaBroker
from infra.services.redis import RedisServer
from infra.services.registry import SchemaRegistry
from infra.services.stack import ServiceStack

START_TIMEOUT_S = 90.0


@dataclasses.dataclass(frozen=True)
class Services:
    """The three shared parts, all running."""

    kafka: KafkaBroker
    registry: SchemaRegistry
    redis: RedisServer

    def environment(self) -> dict[str, str]:
        """The gateway's settings that lead to them."""
        return ServiceStack([self.kafka, self.registry, self.redis]).environment()


def _say(line: str) -> None:
    # Past pytest's capture: the first run downloads for a while.
    print(line, file=sys.__stderr__, flush=True)


def _artifacts() -> MavenArtifacts:
    return MavenArtifacts(cache_folder() / "programs", _say)


def _stack(data_dir: Path, artifacts: MavenArtifacts) -> Services:
    return Services(
        KafkaBroker(data_dir=data_dir / "kafka", artifacts=artifacts, short_lived=True),
        SchemaRegistry(data_dir=data_dir / "registry", artifacts=artifacts),
        RedisServer(data_dir=data_dir / "redis", artifacts=artifacts),
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Download what is missing before the first test, so that no test's time limit pays for it."""
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if session.config.option.collectonly or "artifacts" not in wanted:
        return
    parts = _stack(Path("unused"), _artifacts())
    try:
        ServiceStack([parts.kafka, parts.registry, parts.redis]).fetch()
    except ServiceError as exc:
        _say(f"the real parts cannot be had, so their tests are going to fail: {exc}")


@pytest.fixture(scope="session")
def artifacts() -> MavenArtifacts:
    """The servers' programs in the user's cache folder."""
    return _artifacts()


@pytest.fixture(scope="session")
def _parts(tmp_path_factory: pytest.TempPathFactory, artifacts: MavenArtifacts) -> Iterator[Services]:
    parts = _stack(tmp_path_factory.mktemp("services"), artifacts)
    yield parts
    ServiceStack([parts.kafka, parts.registry, parts.redis]).stop()


@pytest.fixture(scope="session")
def services(_parts: Services) -> Services:
    """All three, started side by side."""
    ServiceStack([_parts.kafka, _parts.registry, _parts.redis]).start(START_TIMEOUT_S)
    return _parts


@pytest.fixture(scope="session")
def kafka(_parts: Services) -> KafkaBroker:
    """The shared broker."""
    ServiceStack([_parts.kafka]).start(START_TIMEOUT_S)
    return _parts.kafka


@pytest.fixture(scope="session")
def registry(_parts: Services) -> SchemaRegistry:
    """The shared registry."""
    ServiceStack([_parts.registry]).start(START_TIMEOUT_S)
    return _parts.registry


@pytest.fixture(scope="session")
def redis_server(_parts: Services) -> RedisServer:
    """The shared Redis."""
    ServiceStack([_parts.redis]).start(START_TIMEOUT_S)
    return _parts.redis


@pytest.fixture
def own_kafka(tmp_path: Path, artifacts: MavenArtifacts) -> Iterator[KafkaBroker]:
    """A running broker of this test alone, to kill, pause and restart."""
    with KafkaBroker(data_dir=tmp_path / "kafka", artifacts=artifacts, short_lived=True) as broker:
        yield broker


@pytest.fixture
def own_registry(tmp_path: Path, artifacts: MavenArtifacts) -> Iterator[SchemaRegistry]:
    """A running registry of this test alone."""
    with SchemaRegistry(data_dir=tmp_path / "registry", artifacts=artifacts) as registry:
        yield registry


@pytest.fixture
def own_redis(tmp_path: Path, artifacts: MavenArtifacts) -> Iterator[RedisServer]:
    """A running Redis of this test alone."""
    with RedisServer(data_dir=tmp_path / "redis", artifacts=artifacts) as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """A ``GATEWAY_PREFIX`` that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}."
