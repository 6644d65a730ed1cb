"""Fault tests run whole gateways as processes; the long ones stay out unless asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Services
from tests.faults.field import Field

MakeField = Callable[..., Field]


@pytest.fixture
def make_field(services: Services, tmp_path: Path, prefix: str) -> MakeField:
    """Makes the test's ``Field`` on the shared parts; ``kafka``, ``registry``, ``redis`` replace one."""

    def make(**settings: Any) -> Field:
        parts = {
            "kafka": settings.pop("kafka", services.kafka),
            "registry": settings.pop("registry", services.registry),
            "redis": settings.pop("redis", services.redis),
        }
        return Field(tmp_path, prefix, **parts, **settings)

    return make
