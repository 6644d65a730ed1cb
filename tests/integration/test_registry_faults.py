"""A real registry behind a proxy that misbehaves: one clear outcome a fault, and the loop never stalls."""

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid

import pytest
from confluent_kafka import Producer

from core.errors import RegistryError, RegistryUnavailableError, SchemaIncompatibleError, SchemaNotFoundError
from infra.messaging.avro.codec.framing import header_of
from infra.messaging.avro.registration import register_all
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.avro.serializers import AvroDeserializer, AvroSerializer
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.settings import RegistrySettings
from tests.evolution.samples import SAMPLES
from tests.gateway_rig import TopicLog, connect, embedded_world, publish, running
from tests.registry_proxy import RegistryProxy, loop_lag

LAG_S = 0.3
"""The promise is 0.1 s of a machine of one's own; here several workers and a JVM share two cores."""
TIMEOUT_S = 1.0
THEIRS = json.dumps(
    {
        "type": "record",
        "name": "TradeData",
        "namespace": "streamgateway.v1",
        "fields": [{"name": "only", "type": "string"}],
    }
)


@pytest.fixture
async def proxy(registry):
    async with RegistryProxy(registry.url) as proxy:
        yield proxy


def client_of(url: str, timeout_s: float = TIMEOUT_S) -> SchemaRegistryClient:
    return SchemaRegistryClient(RegistrySettings(url=url, timeout_s=timeout_s))


async def outcome(client: SchemaRegistryClient, prefix: str) -> tuple[Exception | None, float, float]:
    """What registering everything ends in, how long it took, and the worst lag of the loop meanwhile."""
    async with loop_lag() as lag:
        await asyncio.sleep(0.02)
        before = time.perf_counter()
        try:
            await register_all(client, prefix=prefix)
        except RegistryError as exc:
            return exc, time.perf_counter() - before, lag.worst_s
        return None, time.perf_counter() - before, lag.worst_s


async def test_it_works_through_the_proxy_also_slowly(proxy, prefix):
    proxy.mode = "slow"
    async with client_of(proxy.url, timeout_s=10) as client:
        error, _took_s, lag_s = await outcome(client, prefix)
    assert error is None
    assert lag_s < LAG_S
    assert len(proxy.requests) > 10


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("hang", "did not answer within 1 s"),
        ("drip", "did not answer within 1 s"),
        ("cut", "cannot be reached"),
    ],
)
async def test_a_registry_that_does_not_answer_is_away_for_now(proxy, prefix, mode, says):
    proxy.mode = mode
    async with client_of(proxy.url) as client:
        error, took_s, lag_s = await outcome(client, prefix)
        assert isinstance(error, RegistryUnavailableError)
        assert error.retriable
        assert says in error.message
        assert took_s < 2 * TIMEOUT_S + 3
        assert lag_s < LAG_S
        # The same client works as soon as the registry does.
        proxy.mode = "pass"
        assert (await outcome(client, prefix))[0] is None


@pytest.mark.parametrize(
    "status", ["500 Internal Server Error", "502 Bad Gateway", "503 Unavailable", "429 Slow"]
)
async def test_a_registry_out_of_order_is_tried_again_and_then_away(proxy, prefix, status):
    proxy.answers(status, b"<html>oops</html>")
    async with client_of(proxy.url) as client:
        error, _took_s, lag_s = await outcome(client, prefix)
    assert isinstance(error, RegistryUnavailableError)
    assert f"answered {status[:3]}" in error.message
    assert proxy.url in error.message
    assert lag_s < LAG_S


async def test_a_registry_that_is_down(registry, prefix):
    async with RegistryProxy(registry.url) as proxy:
        url = proxy.url
    async with client_of(url) as client:
        error, took_s, lag_s = await outcome(client, prefix)
    assert isinstance(error, RegistryUnavailableError)
    assert f"{url} cannot be reached" in error.message
    assert took_s < 5
    assert lag_s < LAG_S


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        ("200 OK", b"<html>welcome</html>", "Content-Type: text/html\r\n"),
        ("200 OK", b"", ""),
        ("200 OK", b"[]", ""),
        ("200 OK", b'{"id":"seven","compatibilityLevel":5}', ""),
        ("200 OK", b"[" * 100_000, ""),
        ("200 OK", b'{"a":' * 100_000, ""),
        ("200 OK", b"\xff\xfe\x00", ""),
        ("404 Not Found", b"<html>no such page</html>", ""),
        ("418 I'm a teapot", b"{}", ""),
    ],
    ids=["page", "empty", "list", "types", "deep list", "deep object", "bytes", "page 404", "teapot"],
)
async def test_rubbish_is_no_registry(proxy, prefix, status, body, headers):
    proxy.answers(status, body, headers)
    async with client_of(proxy.url) as client:
        error, took_s, lag_s = await outcome(client, prefix)
    assert isinstance(error, RegistryError)
    assert not error.retriable
    assert proxy.url in error.message
    assert len(error.message) < 2_000
    assert "Traceback" not in error.message
    assert took_s < 3
    assert lag_s < LAG_S


async def test_what_is_not_even_http(proxy, prefix):
    proxy.mode, proxy.answer = "answer", b"SSH-2.0-OpenSSH_9.9\r\n"
    async with client_of(proxy.url) as client:
        error, _took_s, lag_s = await outcome(client, prefix)
    assert isinstance(error, RegistryError)
    assert proxy.url in error.message
    assert lag_s < LAG_S


async def test_an_answer_without_end_is_cut_off(proxy):
    proxy.mode = "flood"
    async with client_of(proxy.url) as client, loop_lag() as lag:
        with pytest.raises(RegistryError, match=r"more than 8,388,608 bytes|did not answer within"):
            await client.subjects()
    assert lag.worst_s < LAG_S


async def test_a_redirect_is_not_followed_and_said(proxy, registry, prefix):
    proxy.answers("302 Found", headers="Location: http://elsewhere.example/registry\r\n")
    async with client_of(proxy.url) as client:
        error, _took_s, lag_s = await outcome(client, prefix)
    assert isinstance(error, RegistryError)
    assert not error.retriable
    assert "redirects to http://elsewhere.example/registry" in error.message
    assert "SCHEMA_REGISTRY_URL" in error.message
    assert lag_s < LAG_S


async def test_the_next_url_is_taken_when_one_hangs(proxy, registry, prefix):
    proxy.mode = "hang"
    async with client_of(f"{proxy.url},{registry.url}") as client:
        error, _took_s, lag_s = await outcome(client, prefix)
    assert error is None
    assert lag_s < LAG_S


async def test_known_schemas_go_on_while_the_registry_hangs(proxy, registry):
    """An id that was seen is never asked for again; one that was not ends in time."""
    async with client_of(proxy.url) as client:
        serializer = AvroSerializer("trade_data", client, subject=f"{uuid.uuid4().hex}-value", register=True)
        framed = await serializer.serialize_async(SAMPLES["trade_data"][0])
        reader = AvroDeserializer(client)
        assert await reader.deserialize_async(framed) == SAMPLES["trade_data"][0]
        proxy.mode = "hang"
        async with loop_lag() as lag:
            for _ in range(100):
                assert await reader.deserialize_async(serializer.serialize(SAMPLES["trade_data"][0]))
            with pytest.raises(RegistryUnavailableError):
                await reader.deserialize_async(header_of(2_000_000_000) + b"\0")
        assert lag.worst_s < LAG_S


# -- other people's schemas ----------------------------------------------------------------------------


async def test_other_peoples_schemas_are_neither_overwritten_nor_put_under_our_rule(registry, prefix):
    subject = f"{prefix}realtime.trade-value"
    async with client_of(registry.url) as client:
        await client.set_compatibility("NONE", subject)
        await client.register(subject, THEIRS)
        await client.register(subject, '{"type":"record","name":"Other","fields":[]}')
        await client.register(subject, THEIRS.replace("only", "alone"))
        error, _took_s, lag_s = await outcome(client, prefix)
        assert isinstance(error, SchemaIncompatibleError)
        assert error.message.startswith(f"{subject}: ")
        assert "`alone` was removed: readers of v3 cannot read new records; FORWARD needs" in error.message
        assert await client.compatibility(subject) == "NONE"
        assert await client.versions(subject) == [1, 2, 3]
    assert lag_s < LAG_S


async def test_a_full_registry_is_no_slower_to_stall(registry, prefix):
    """A hundred foreign subjects beside ours."""
    async with client_of(registry.url) as client:
        gate = asyncio.Semaphore(8)

        async def fill(number: int) -> None:
            async with gate:
                text = json.dumps(
                    {"type": "record", "name": f"Theirs{number}", "namespace": prefix.strip("."), "fields": []}
                )
                await client.register(f"{prefix}theirs-{number}-value", text)

        await asyncio.gather(*(fill(number) for number in range(100)))
    async with client_of(registry.url) as client:
        error, _took_s, lag_s = await outcome(client, prefix)
    assert error is None
    assert lag_s < LAG_S


# -- the commands --------------------------------------------------------------------------------------


def gateway(environment: dict[str, str], *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "infra.cli", *arguments],
        env={**os.environ, "GATEWAY_HTTP_PORT": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_two_that_start_at_once_register_once(own_registry):
    environment = {"SCHEMA_REGISTRY_URL": own_registry.url}
    both = [gateway(environment, "schemas", "register", "--json") for _ in range(2)]
    answers = []
    for one in both:
        out, err = await asyncio.to_thread(one.communicate, timeout=60)
        assert one.returncode == 0, err
        answers.append(json.loads(out))
    assert [row["versions"] for row in answers[0]] == [row["versions"] for row in answers[1]]
    assert all([entry["version"] for entry in row["versions"]] == [1] for row in answers[0])
    async with client_of(own_registry.url) as client:
        subjects = await client.subjects()
        assert sorted(subjects) == sorted(row["subject"] for row in answers[0])
        for subject in subjects:
            assert await client.versions(subject) == [1]
        assert len(set((await register_all(client)).values())) == len(SchemaLoader().names())


def one_error_line(stderr: str) -> str:
    """The one line for a person; what else is on stderr is the log."""
    lines = [line for line in stderr.splitlines() if line.startswith("gateway: ")]
    assert len(lines) == 1, stderr
    assert "Traceback" not in stderr
    return lines[0]


async def test_run_stops_on_a_refused_schema_and_names_field_and_rule(services, prefix):
    subject = f"{prefix}realtime.trade-value"
    async with client_of(services.registry.url) as client:
        await client.set_compatibility("FORWARD", subject)
        await client.register(subject, THEIRS)
    process = gateway({**services.environment(), "GATEWAY_PREFIX": prefix}, "run")
    _out, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 1, err
    line = one_error_line(err)
    assert f"{subject}: " in line
    assert "`only` was removed: readers of v1 cannot read new records; FORWARD needs a default for it" in line


async def test_run_without_registration_says_what_is_missing(services, own_registry, prefix):
    environment = {
        **services.environment(),
        "SCHEMA_REGISTRY_URL": own_registry.url,
        "GATEWAY_PREFIX": prefix,
        "GATEWAY_SCHEMA_REGISTER": "off",
    }
    async with client_of(own_registry.url) as client:
        await client.register("trade-data-value", SchemaLoader().text("trade_data"))
    process = gateway(environment, "run")
    _out, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 1, err
    line = one_error_line(err)
    assert "ticker_data (ticker-data-value)" in line
    assert "trade_data" not in line
    assert "gateway schemas register" in line
    async with client_of(own_registry.url) as client:
        assert await client.subjects() == ["trade-data-value"]
        with pytest.raises(SchemaNotFoundError):
            await register_all(client, register=False)


async def test_tail_says_one_line_for_what_it_cannot_read_and_goes_on(services, prefix):
    """Ids never seen and of another type, cut and overlong values, and a good one after them."""
    topic = f"{prefix}mixed"
    async with client_of(services.registry.url) as client:
        other = await client._http.request(
            "POST",
            f"/subjects/{topic}-json/versions",
            body={
                "schema": '{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}',
                "schemaType": "JSON",
            },
        )
        subject = f"{topic}-value"
        serializer = AvroSerializer("trade_data", client, subject=subject, register=True)
        good = await serializer.serialize_async(SAMPLES["trade_data"][0])
    values = [
        header_of(2_000_000_000) + b"\2a",
        header_of(2_000_000_000) + b"\2a",
        header_of(other["id"]) + b"\2a",
        good[:-3],
        good + b"\0",
        b"\0\1",
        b"\xff\xfe",
        good,
    ]
    producer = Producer({"bootstrap.servers": services.kafka.bootstrap_servers})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(20) == 0
    arguments = ("tail", topic, "--from-beginning", "--max", str(len(values)), "--seconds", "40")
    process = gateway(services.environment(), *arguments)
    out, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 0, err
    lines = out.splitlines()
    assert len(lines) == len(values), out
    for line, said in zip(
        lines,
        (
            "cannot be decoded: schema id 2000000000 is not in the registry",
            "cannot be decoded: schema id 2000000000 is not in the registry",
            f"cannot be decoded: schema id {other['id']} is JSON, not Avro",
            "cannot be decoded: the Avro value is cut off",
            "cannot be decoded: 1 bytes follow the Avro value",
            "cannot be decoded: 2 bytes are too short",
            "cannot be decoded: neither Avro nor JSON",
            '"price_exact":"1.5"',
        ),
        strict=True,
    ):
        assert said in line


# -- a registry that lost its storage ------------------------------------------------------------------


async def test_a_registry_that_restarts_empty_under_a_gateway_gets_its_schemas_again(own_registry):
    """What was published before the loss, and after it, is read by who asks the registry anew."""
    async with embedded_world() as world:
        registry = RegistrySettings(url=own_registry.url, check_s=0.5)
        world.settings = world.settings.model_copy(update={"registry": registry})
        async with TopicLog(world.settings, ["realtime.trade", "ws.error"]) as log:
            async with running(world.container()), client_of(own_registry.url, timeout_s=10) as client:
                subjects = sorted(await client.subjects())
                await publish(world.settings, "ws.command", connect("upbit", "trade", "KRW-BTC"))
                await log.until(lambda: len(log.messages["realtime.trade"]) > 5)
                await asyncio.to_thread(own_registry.stop)
                for file in own_registry.data_dir.glob("schemas*"):
                    file.unlink()
                await asyncio.to_thread(own_registry.start)
                there: list[str] = []
                async with asyncio.timeout(60):
                    while sorted(there) != subjects:
                        there = await client.subjects()
                        await log.read()
                found = await client.find("trade-data-value", SchemaLoader().text("trade_data"))
                count = len(log.messages["realtime.trade"])
                await log.until(lambda: len(log.messages["realtime.trade"]) > count + 5)
            await log.settle()
        values = [message.value() for message in log.messages["realtime.trade"]]
        assert values[-1][:5] == header_of(found.id)
        async with client_of(own_registry.url, timeout_s=10) as client:
            reader = AvroDeserializer(client)
            records = [await reader.deserialize_async(value) for value in values]
    assert [record["sequence"] for record in records] == list(range(1, len(records) + 1))
    assert log.on("ws.error") == []
