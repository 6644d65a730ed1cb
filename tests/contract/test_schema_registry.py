"""The embedded registry keeps the contract."""

import pytest

from infra.embedded.registry import EmbeddedRegistry
from infra.messaging.avro.schema_evolution import incompatibilities
from tests.contract.schema_registry_suite import SchemaRegistryContract


class TestEmbeddedRegistry(SchemaRegistryContract):
    @pytest.fixture
    async def registry_url(self):
        async with EmbeddedRegistry(incompatibilities) as registry:
            yield registry.url
