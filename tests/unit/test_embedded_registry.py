"""The embedded registry's answers, as Confluent documents them."""

import asyncio
import json

import httpx2
import pytest

from infra.embedded.registry import EmbeddedRegistry
from infra.messaging.avro.schema_evolution import incompatibilities

TEXT, NUMBER = {"schema": '"string"'}, {"schema": '"long"'}


@pytest.fixture
async def http():
    async with (
        EmbeddedRegistry(incompatibilities) as registry,
        httpx2.AsyncClient(base_url=registry.url) as client,
    ):
        yield client


async def answer(http, method, path, body=None):
    response = await http.request(method, path, json=body)
    assert response.headers["content-type"].startswith("application/vnd.schemaregistry.v1+json")
    return response.status_code, response.json()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/subjects/no/versions", None, 404, 40401),
        ("GET", "/subjects/s/versions/9", None, 404, 40402),
        ("GET", "/subjects/s/versions/0", None, 422, 42202),
        ("GET", "/subjects/s/versions/x", None, 422, 42202),
        ("GET", "/schemas/ids/9", None, 404, 40403),
        ("GET", "/schemas/ids/x", None, 404, 404),
        ("POST", "/subjects/no", TEXT, 404, 40401),
        ("POST", "/subjects/s", NUMBER, 404, 40403),
        ("POST", "/subjects/s/versions", {"schema": "{"}, 422, 42201),
        ("POST", "/subjects/s/versions", {"schema": '"nonsense"'}, 422, 42201),
        ("POST", "/subjects/s/versions", {}, 422, 42201),
        ("POST", "/subjects/s/versions", [], 422, 42201),
        ("POST", "/subjects/s/versions", {**TEXT, "schemaType": "PROTOBUF"}, 422, 42201),
        ("POST", "/subjects/s/versions", NUMBER, 409, 409),
        ("POST", "/compatibility/subjects/no/versions/latest", TEXT, 404, 40401),
        ("POST", "/compatibility/subjects/s/versions/7", TEXT, 404, 40402),
        ("DELETE", "/subjects/no", None, 404, 40401),
        ("DELETE", "/subjects/s?permanent=true", None, 404, 40405),
        ("DELETE", "/subjects/s/versions/1?permanent=true", None, 404, 40407),
        ("GET", "/config/s", None, 404, 40408),
        ("PUT", "/config/s", {"compatibility": "SIDEWARD"}, 422, 42203),
        ("PUT", "/mode", {"mode": "SLEEP"}, 422, 42204),
        ("GET", "/nothing", None, 404, 404),
        ("PATCH", "/subjects", None, 405, 405),
    ],
)
async def test_refusals(http, method, path, body, status, code):
    assert await answer(http, "POST", "/subjects/s/versions", TEXT) == (200, {"id": 1})
    got_status, got = await answer(http, method, path, body)
    assert (got_status, got["error_code"]) == (status, code)
    assert got["message"]
    assert await answer(http, "GET", "/subjects/s/versions") == (200, [1])


async def test_a_body_that_is_no_json_or_too_large(http):
    response = await http.post("/subjects/s/versions", content=b"{")
    assert (response.status_code, response.json()["error_code"]) == (400, 400)
    response = await http.post("/subjects/s/versions", content=b" " * 5_000_000)
    assert response.status_code == 413


async def test_an_id_lists_its_uses_and_its_text(http):
    for subject in ("a", "b"):
        await answer(http, "POST", f"/subjects/{subject}/versions", TEXT)
    assert await answer(http, "GET", "/schemas/ids/1") == (200, {"schema": '"string"'})
    assert await answer(http, "GET", "/schemas/ids/1/schema") == (200, "string")
    assert await answer(http, "GET", "/schemas/ids/1/subjects") == (200, ["a", "b"])
    uses = [{"subject": "a", "version": 1}, {"subject": "b", "version": 1}]
    assert await answer(http, "GET", "/schemas/ids/1/versions") == (200, uses)
    shown = {"subject": "a", "version": 1, "id": 1, "schema": '"string"'}
    assert await answer(http, "GET", "/subjects/a/versions/latest") == (200, shown)
    assert await answer(http, "POST", "/subjects/a", TEXT) == (200, shown)
    assert await answer(http, "GET", "/subjects?subjectPrefix=b") == (200, ["b"])


async def test_whitespace_makes_no_new_schema(http):
    first = {"schema": json.dumps({"type": "record", "name": "R", "fields": []})}
    second = {"schema": json.dumps({"fields": [], "name": "R", "type": "record"}, indent=2)}
    assert await answer(http, "POST", "/subjects/s/versions", first) == (200, {"id": 1})
    assert await answer(http, "POST", "/subjects/s/versions", second) == (200, {"id": 1})
    assert await answer(http, "GET", "/subjects/s/versions") == (200, [1])


async def test_deleted_softly_then_for_good(http):
    await answer(http, "PUT", "/config/s", {"compatibility": "NONE"})
    for schema in (TEXT, NUMBER):
        await answer(http, "POST", "/subjects/s/versions", schema)
    assert await answer(http, "DELETE", "/subjects/s") == (200, [1, 2])
    assert (await answer(http, "DELETE", "/subjects/s"))[1]["error_code"] == 40404
    assert await answer(http, "GET", "/subjects") == (200, [])
    assert await answer(http, "GET", "/subjects?deleted=true") == (200, ["s"])
    # Versions go on counting behind the deleted ones, and the id stays.
    assert await answer(http, "POST", "/subjects/s/versions", TEXT) == (200, {"id": 1})
    assert await answer(http, "GET", "/subjects/s/versions") == (200, [3])
    assert await answer(http, "DELETE", "/subjects/s") == (200, [3])
    assert await answer(http, "DELETE", "/subjects/s?permanent=true") == (200, [1, 2, 3])
    assert (await answer(http, "GET", "/subjects/s/versions?deleted=true"))[1]["error_code"] == 40401
    assert await answer(http, "GET", "/schemas/ids/2") == (200, {"schema": '"long"'})


async def test_levels_and_modes(http):
    assert await answer(http, "GET", "/config") == (200, {"compatibilityLevel": "BACKWARD"})
    assert await answer(http, "PUT", "/config", {"compatibility": "full"}) == (200, {"compatibility": "FULL"})
    assert await answer(http, "GET", "/config/s?defaultToGlobal=true") == (200, {"compatibilityLevel": "FULL"})
    await answer(http, "PUT", "/config/s", {"compatibility": "NONE"})
    assert await answer(http, "DELETE", "/config/s") == (200, {"compatibilityLevel": "NONE"})
    assert (await answer(http, "GET", "/config/s"))[1]["error_code"] == 40408
    assert await answer(http, "GET", "/mode") == (200, {"mode": "READWRITE"})
    assert await answer(http, "PUT", "/mode/s", {"mode": "READONLY"}) == (200, {"mode": "READONLY"})
    assert (await answer(http, "POST", "/subjects/s/versions", TEXT))[1]["error_code"] == 42205
    assert await answer(http, "POST", "/subjects/other/versions", TEXT) == (200, {"id": 1})


async def test_compatibility_reasons_on_demand(http):
    await answer(http, "POST", "/subjects/s/versions", TEXT)
    path = "/compatibility/subjects/s/versions/latest"
    assert await answer(http, "POST", path, NUMBER) == (200, {"is_compatible": False})
    _status, verbose = await answer(http, "POST", f"{path}?verbose=true", NUMBER)
    assert verbose["is_compatible"] is False
    assert "changed from string to long" in verbose["messages"][0]
    assert await answer(http, "POST", "/compatibility/subjects/s/versions", TEXT) == (
        200,
        {"is_compatible": True},
    )


async def test_it_starts_once_stops_and_frees_its_port():
    registry = EmbeddedRegistry(incompatibilities)
    with pytest.raises(RuntimeError, match="not started"):
        _ = registry.url
    await registry.start()
    url = registry.url
    await registry.start()
    assert registry.url == url
    port = int(url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        await EmbeddedRegistry(incompatibilities, port=port).start()
    await registry.stop()
    await registry.stop()
    # The port is free for another one, which a listener of our own shows.
    (await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)).close()
    again = EmbeddedRegistry(incompatibilities, port=port)
    await again.start()
    assert again.url == url
    await again.stop()
