"""One run of a gateway for all readers."""

import sys
import uuid

import pytest

from infra.services.artifacts import MavenArtifacts
from infra.services.errors import ServiceError
from infra.services.folders import cache_folder
from tests.integration.foreign import java_programs
from tests.integration.foreign.market import Market, run_market


@pytest.fixture(scope="session")
def market(services, tmp_path_factory: pytest.TempPathFactory) -> Market:
    """Some hundred records of each kind on the shared broker."""
    folder = tmp_path_factory.mktemp("market")
    return run_market(services.environment(), f"t{uuid.uuid4().hex[:10]}.", folder)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Download the Java readers before the first test, so that no test's time limit pays for it."""
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if session.config.option.collectonly or not wanted & {"printed", "sunk", "market", "exported_classes"}:
        return
    try:
        java_programs.fetch_all(MavenArtifacts(cache_folder() / "programs", _say))
    except ServiceError as exc:
        _say(f"the Java readers cannot be had, so their tests are going to fail: {exc}")


def _say(line: str) -> None:
    # Past pytest's capture: the first run downloads for a while.
    print(line, file=sys.__stderr__, flush=True)
