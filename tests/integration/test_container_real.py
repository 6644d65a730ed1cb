"""The container on a real broker, registry and Redis."""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import Services
from tests.contract.container_suite import ContainerSuite
from tests.gateway_rig import World, real_world


class TestReal(ContainerSuite):
    @pytest.fixture
    async def world(self, services: Services, prefix: str) -> AsyncIterator[World]:
        async with real_world(services, prefix) as world:
            yield world
