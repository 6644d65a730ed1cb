"""The registry client against registries that are away, hang, refuse, or are none."""

import asyncio
import contextlib
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.errors import RegistryError, RegistryUnavailableError, SettingsError
from infra.embedded.registry import EmbeddedRegistry
from infra.messaging.avro.schema_evolution import incompatibilities
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.settings import RegistrySettings


@contextlib.asynccontextmanager
async def raw_server(answer: bytes | None):
    """A server that answers every connection with ``answer``, or never."""
    taken = []

    async def serve(reader, writer):
        taken.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        if answer is not None:
            writer.write(answer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", taken
    finally:
        server.close()
        for writer in taken:
            writer.close()


@pytest.fixture
async def embedded():
    async with EmbeddedRegistry(incompatibilities) as registry:
        yield registry


def http(status: str, body: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def free_url() -> str:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return f"http://127.0.0.1:{port}"


async def test_away_names_the_url_and_is_retriable():
    url = await free_url()
    with_secret = url.replace("://", "://user:hunter2@")
    async with SchemaRegistryClient(RegistrySettings(url=with_secret)) as client:
        assert client.url == url
        with pytest.raises(RegistryUnavailableError) as caught:
            await client.subjects()
    assert url in caught.value.message
    assert caught.value.retriable
    assert "hunter2" not in str(caught.value)


async def test_one_of_several_urls_that_hangs_is_waited_for_once(embedded):
    async with raw_server(None) as (hung, taken):
        settings = RegistrySettings(url=f"{hung},{embedded.url}", timeout_s=0.3)
        async with SchemaRegistryClient(settings) as client:
            for _ in range(3):
                assert await client.subjects() == []
        assert len(taken) == 1


async def test_the_former_url_is_tried_again_when_the_other_goes_away(embedded):
    async with EmbeddedRegistry(incompatibilities) as other:
        away = await free_url()
        async with SchemaRegistryClient(RegistrySettings(url=f"{away},{other.url},{embedded.url}")) as client:
            assert await client.subjects() == []
            await other.stop()
            assert await client.subjects() == []


async def test_a_hung_registry_ends_in_time_and_never_stalls_the_loop():
    async with raw_server(None) as (url, taken):
        worst = 0.0

        async def watch():
            nonlocal worst
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0)
                worst = max(worst, time.perf_counter() - before)

        async with SchemaRegistryClient(RegistrySettings(url=url, timeout_s=0.2)) as client:
            began = time.perf_counter()
            watcher = asyncio.create_task(watch())
            with pytest.raises(RegistryUnavailableError, match=r"did not answer within 0\.2 s"):
                await client.subjects()
            watcher.cancel()
        assert time.perf_counter() - began < 5
        assert worst < 0.25, "the loop stood still"
        assert len(taken) == 2


async def test_the_next_url_is_asked(embedded):
    away = await free_url()
    async with raw_server(http("503 Service Unavailable")) as (broken, taken):
        settings = RegistrySettings(url=f"{away}, {broken},{embedded.url}")
        async with SchemaRegistryClient(settings) as client:
            assert await client.subjects() == []
    assert len(taken) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http("200 OK", "<html>"), "does not answer like a schema registry"),
        (http("200 OK", '{"x": 1}'), "does not answer like a schema registry"),
        (http("404 Not Found", "nope"), "is not a schema registry"),
        (http("401 Unauthorized", '{"message": "who?"}'), "refuses the credentials"),
        (http("422 Unprocessable", '{"error_code": 42201, "message": "bad"}'), r"\(422\): bad"),
        (http("301 Moved", ""), "redirects to nowhere"),
    ],
)
async def test_wrong_answers_are_not_retried(answer, said):
    async with raw_server(answer) as (url, taken), SchemaRegistryClient(RegistrySettings(url=url)) as client:
        with pytest.raises(RegistryError, match=said) as caught:
            await client.subjects()
    assert not caught.value.retriable
    assert len(taken) == 1


async def test_ids_are_kept_for_good(embedded):
    async with SchemaRegistryClient(RegistrySettings(url=embedded.url)) as client:
        schema_id = await client.register("s", '"string"')
        await embedded.stop()
        assert await client.schema_by_id(schema_id) == '"string"'
        assert await client.register("s", '"string"') == schema_id
        with pytest.raises(RegistryUnavailableError):
            await client.schema_by_id(schema_id + 1)


@pytest.mark.parametrize(
    ("settings", "user_info", "expected"),
    [
        ({"basic_auth": "user:p:w"}, "", "Basic dXNlcjpwOnc="),
        ({}, "user:p%3Aw@", "Basic dXNlcjpwOnc="),
        ({"bearer_token": "abc"}, "", "Bearer abc"),
        ({}, "", None),
    ],
)
async def test_credentials_are_sent(settings, user_info, expected):
    seen = []
    received = asyncio.Event()

    async def serve(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.extend(line for line in head.split("\r\n") if line.lower().startswith("authorization"))
        writer.write(http("200 OK", "[]"))
        writer.close()
        received.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://{user_info}127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with SchemaRegistryClient(RegistrySettings(url=url, **settings)) as client:
        assert await client.subjects() == []
        await received.wait()
    server.close()
    assert seen == ([] if expected is None else [f"Authorization: {expected}"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "localhost:8081"}, "is not http"),
        ({"url": "ftp://x"}, "is not http"),
        ({"url": " , "}, "names no URL"),
        ({"url": "http://x", "basic_auth": "nocolon"}, "is not user:password"),
    ],
)
def test_wrong_settings_fail_when_built(settings, said):
    with pytest.raises(SettingsError, match=said):
        SchemaRegistryClient(RegistrySettings(**settings))


async def test_certificates_that_cannot_be_read(tmp_path):
    missing = str(tmp_path / "none.pem")
    settings = RegistrySettings(url="https://127.0.0.1:1", ssl_ca_location=missing)
    async with SchemaRegistryClient(settings) as client:
        with pytest.raises(SettingsError, match="SCHEMA_REGISTRY_SSL_CA_LOCATION"):
            await client.subjects()


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for 127.0.0.1, as (certificate file, key file)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "registry.pem", tmp_path / "registry.key"
    files[0].write_bytes(built.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


async def test_tls_trusts_the_given_certificates_alone(certificate):
    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(http("200 OK", '["s"]'))
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    trusting = RegistrySettings(url=url, ssl_ca_location=str(certificate[0]))
    async with SchemaRegistryClient(trusting) as client:
        assert await client.subjects() == ["s"]
    async with SchemaRegistryClient(RegistrySettings(url=url)) as client:
        with pytest.raises(RegistryUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.subjects()
    server.close()


async def test_a_closed_client_says_so():
    client = SchemaRegistryClient(RegistrySettings(url="http://127.0.0.1:1"))
    await client.close()
    await client.close()
    with pytest.raises(RegistryError, match="closed"):
        await client.subjects()
