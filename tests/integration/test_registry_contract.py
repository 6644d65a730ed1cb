"""A real registry keeps the same contract as the embedded one."""

import pytest

from tests.contract.schema_registry_suite import SchemaRegistryContract


class TestRealRegistry(SchemaRegistryContract):
    @pytest.fixture
    def registry_url(self, registry) -> str:
        return registry.url
