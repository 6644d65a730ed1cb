"""The storm on the embedded broker."""

from collections.abc import AsyncIterator

import pytest

from tests.contract.command_storm_suite import CommandStormSuite
from tests.gateway_rig import World, embedded_world


class TestEmbedded(CommandStormSuite):
    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        async with embedded_world() as world:
            yield world
