"""``gateway doctor``: what would keep a gateway from starting is wrong, what it mends itself is a warning."""

import orjson
import pytest

from infra.commandline.doctor import _kafka, _registry
from infra.embedded.registry import EmbeddedRegistry
from infra.messaging import topics
from infra.messaging.avro.registration import register_all
from infra.messaging.avro.schema_evolution import incompatibilities
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.settings import GatewaySettings, RegistrySettings, Settings
from tests.kafka_mock import mock_cluster, settings_for
from tests.registry_proxy import RegistryProxy

FOREIGN = orjson.dumps(
    {"type": "record", "name": "Other", "fields": [{"name": "colour", "type": "string"}]}
).decode()


def settings(url: str, **gateway: str) -> Settings:
    return Settings(registry=RegistrySettings(url=url), gateway=GatewaySettings(**gateway))  # type: ignore[arg-type]


async def test_an_empty_registry_is_filled_at_the_next_start_and_a_full_one_is_well() -> None:
    async with EmbeddedRegistry(incompatibilities) as registry:
        finding = await _registry(settings(registry.url))
        assert (finding.state, "registered at the next start" in finding.says) == ("warning", True)
        finding = await _registry(settings(registry.url, schema_register="off"))
        assert (finding.state, "gateway schemas register" in finding.says) == ("wrong", True)
        async with SchemaRegistryClient(RegistrySettings(url=registry.url)) as client:
            await register_all(client)
        finding = await _registry(settings(registry.url))
        assert (finding.state, finding.says) == ("ok", f"{registry.url} has every schema")


@pytest.mark.parametrize("subject", ["ticker-data-value", "realtime.trade-value"])
async def test_a_schema_that_may_not_follow_the_registered_ones_is_wrong(subject: str) -> None:
    async with EmbeddedRegistry(incompatibilities) as registry:
        async with SchemaRegistryClient(RegistrySettings(url=registry.url)) as client:
            await register_all(client)
            await client.delete_subject(subject)
            await client.set_compatibility("NONE", subject)
            await client.register(subject, FOREIGN)
        finding = await _registry(settings(registry.url))
    assert finding.state == "wrong"
    assert f"{subject}: " in finding.says
    assert "use another registry" in finding.says


@pytest.mark.parametrize(
    ("status", "headers", "todo"),
    [
        ("404 Not Found", "", "check the URL's path"),
        (
            "302 Found",
            "Location: http://127.0.0.1:1/there\r\n",
            "set SCHEMA_REGISTRY_URL to the registry itself",
        ),
        ("401 Unauthorized", "", "check SCHEMA_REGISTRY_BASIC_AUTH"),
        ("200 OK", "", "check the URL's path"),
    ],
)
async def test_what_is_no_registry_or_refuses_is_wrong(status: str, headers: str, todo: str) -> None:
    async with RegistryProxy("http://127.0.0.1:1") as proxy:
        proxy.answers(status, b"<html>no</html>", headers)
        finding = await _registry(settings(proxy.url))
    assert finding.state == "wrong"
    assert todo in finding.says
    assert "registered at the next start" not in finding.says


async def test_a_registry_that_is_not_there_is_to_be_started() -> None:
    async with RegistryProxy("http://127.0.0.1:1") as proxy:
        url = proxy.url
    finding = await _registry(settings(url))
    assert (finding.state, "start it, or set SCHEMA_REGISTRY_URL" in finding.says) == ("wrong", True)


async def test_the_embedded_broker_is_not_asked_how_its_topics_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("it never answers")

    monkeypatch.setattr(topics.AdminClient, "describe_configs", asked)
    with mock_cluster() as bootstrap:
        finding = await _kafka(settings_for(bootstrap))
    assert (finding.state, "does not say how its topics are set" in finding.says) == ("warning", True)
