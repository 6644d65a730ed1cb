"""The consumers against librdkafka's mock cluster."""

from uuid import uuid4

import pytest

from core.errors import DeliveryError
from infra.messaging.clients.json_client import AsyncConsumerWrapper
from tests.contract.consumer_suite import ConsumerSuite
from tests.kafka_mock import mock_cluster, settings_for


@pytest.fixture(scope="module")
def bootstrap():
    with mock_cluster() as address:
        yield address


@pytest.fixture
def topic() -> str:
    return f"t{uuid4().hex}"


class TestMockCluster(ConsumerSuite):
    """librdkafka's in-process broker."""


async def test_no_topics_is_said_at_the_start(bootstrap):
    with pytest.raises(DeliveryError, match="cannot be set up"):
        await AsyncConsumerWrapper(settings=settings_for(bootstrap)).start()
