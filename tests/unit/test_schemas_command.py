"""``gateway schemas`` from the shell: what each says, and its exit status."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli import app
from infra.embedded.registry import EmbeddedRegistry
from infra.messaging.avro.schema_evolution import incompatibilities
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.settings import RegistrySettings

ROOT = Path(__file__).resolve().parents[2]
LAST = {name: SchemaLoader().released(name)[-1][0] for name in SchemaLoader().names()}


def gateway(*arguments: object):
    return CliRunner().invoke(app, ["schemas", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the schemas, to change."""
    copy = tmp_path / "schemas"
    shutil.copytree(ROOT / "schemas", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def edit(folder: Path, name: str, change) -> None:
    file = folder / "avro" / f"{name}.avsc"
    schema = json.loads(file.read_text("utf-8"))
    change(schema)
    file.write_text(json.dumps(schema, indent=2), "utf-8")


def add_nullable(schema) -> None:
    schema["fields"].append({"name": "mark", "type": ["null", "double"], "default": None})


def remove_price(schema) -> None:
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "price"]


def test_the_current_schemas_pass():
    """What keeps an incompatible change from landing: `make lint` runs this command, `make test` this test."""
    done = gateway("check")
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) == len(LAST)
    assert all("as released" in line for line in done.output.splitlines()), done.output


def test_check_refuses_in_words(folder):
    edit(folder, "trade_data", remove_price)
    done = gateway("check", "--folder", folder)
    assert done.exit_code == 1
    version = LAST["trade_data"]
    words = (
        f"`price` was removed: readers of v{version} cannot read new records; FORWARD needs a default for it"
    )
    assert f"    {words}" in done.output.splitlines()
    as_json = gateway("check", "--folder", folder, "--json")
    answer = json.loads(as_json.output)
    assert (as_json.exit_code, answer["ok"]) == (1, False)
    (refused,) = [row for row in answer["schemas"] if row["reasons"]]
    assert (refused["name"], refused["compatibility"], refused["unchanged"]) == ("trade_data", "FORWARD", False)
    # Those that are not asked for do not count.
    assert gateway("check", "ticker_data", "--folder", folder).exit_code == 0


def test_check_refuses_what_is_no_schema(folder):
    edit(folder, "trade_data", lambda schema: schema["fields"].append({"name": "b-c", "type": "long"}))
    done = gateway("check", "trade_data", "--folder", folder)
    assert done.exit_code == 1
    assert "'b-c' is not a name that Avro allows" in done.output


def test_diff_and_release(folder):
    assert gateway("diff", "--folder", folder).output == "no schema has changed since its last release\n"
    edit(folder, "trade_data", add_nullable)
    done = gateway("diff", "--folder", folder)
    assert done.exit_code == 0
    assert "    `mark` was added: null | double, default null" in done.output.splitlines()
    (row,) = json.loads(gateway("diff", "trade_data", "--against", 1, "--folder", folder, "--json").output)
    assert row["against"] == 1
    assert "`price_exact` was added: null | decimal(38,18), default null" in row["changes"]

    next_version = LAST["trade_data"] + 1
    done = gateway("release", "--folder", folder)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"trade_data v{next_version}: ")
    released = (folder / "released" / "trade_data" / f"v{next_version}.avsc").read_text("utf-8")
    assert released == (folder / "avro" / "trade_data.avsc").read_text("utf-8")
    assert gateway("check", "--folder", folder).exit_code == 0


@pytest.mark.parametrize("names", [(), ("trade_data",)])
def test_release_refuses_what_has_not_changed(folder, names):
    done = gateway("release", *names, "--folder", folder)
    assert done.exit_code == 1
    assert "there is nothing to release" in done.output


def test_release_refuses_what_may_not_follow_and_writes_nothing(folder):
    edit(folder, "trade_data", remove_price)
    edit(folder, "ticker_data", add_nullable)
    done = gateway("release", "--folder", folder)
    assert done.exit_code == 1
    assert "trade_data: `price` was removed" in done.output
    assert len(list((folder / "released" / "ticker_data").iterdir())) == LAST["ticker_data"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "tikker"),
        ("release", "tikker"),
        ("export", "tikker"),
        ("export",),
        ("export", "ticker_data", "--format", "xml"),
        ("diff", "--against", "1"),
        ("check", "--folder", "/nowhere"),
        ("nonsense",),
    ],
)
def test_wrong_use(arguments):
    assert gateway(*arguments).exit_code == 2


def test_a_version_that_does_not_exist():
    done = gateway("diff", "ticker_data", "--against", 99)
    assert done.exit_code == 1
    assert "ticker_data has no released version 99; there are v1" in done.output


def test_export_to_stdout_and_into_a_folder(tmp_path):
    assert gateway("export", "trade_data").output == SchemaLoader().text("trade_data")
    done = gateway("export", "--format", "java", "--output", tmp_path)
    assert done.exit_code == 0
    assert len(list(tmp_path.rglob("*.java"))) == len(LAST)
    assert (tmp_path / "streamgateway" / "v1" / "TradeData.java").is_file()
    files = json.loads(gateway("export", "--format", "python", "--json").output)
    assert sorted(files) == sorted(f"{name}.py" for name in LAST)


# -- with a registry -----------------------------------------------------------------------------------


@pytest.fixture
async def registry(monkeypatch):
    async with EmbeddedRegistry(incompatibilities) as embedded:
        monkeypatch.setenv("SCHEMA_REGISTRY_URL", embedded.url)
        monkeypatch.setenv("GATEWAY_PREFIX", "p.")
        yield embedded


async def test_list_register_list(registry):
    before = await asyncio.to_thread(gateway, "list", "--json")
    rows = json.loads(before.output)
    assert before.exit_code == 1
    assert {row["says"] for row in rows} == {"missing"}

    done = await asyncio.to_thread(gateway, "register", "--avro-topic", "ws.error")
    assert done.exit_code == 0, done.output
    assert "p.ws.error-value" in done.output
    after = await asyncio.to_thread(gateway, "list", "--json")
    rows = json.loads(after.output)
    assert after.exit_code == 0
    assert all(row["ok"] and row["says"] == "current" for row in rows)
    by_subject = {row["subject"]: row for row in rows}
    assert by_subject["p.realtime.ticker-value"]["compatibility"] == "FORWARD"
    ids = [by_subject[subject]["versions"] for subject in ("p.realtime.ticker-value", "ticker-data-value")]
    assert ids[0] == ids[1]
    assert ids[0][0]["released"] == LAST["ticker_data"]
    assert (await asyncio.to_thread(gateway, "register")).exit_code == 0
    again = json.loads((await asyncio.to_thread(gateway, "list", "--json")).output)
    assert again == rows


async def test_list_says_what_is_different(registry):
    async with SchemaRegistryClient(RegistrySettings(url=registry.url)) as client:
        await client.register("ticker-data-value", SchemaLoader().released("ticker_data")[0][1])
        await client.register("trade-data-value", '{"type":"record","name":"Theirs","fields":[]}')
        await client.set_compatibility("NONE", "orderbook-data-value")
        await client.register("orderbook-data-value", SchemaLoader().text("orderbook_data"))
    done = await asyncio.to_thread(gateway, "list", "--json")
    says = {row["subject"]: row["says"] for row in json.loads(done.output)}
    assert says["ticker-data-value"] == "behind: has up to released v1, not the current schema"
    assert says["trade-data-value"] == "holds other schemas: none of its versions is known here"
    assert says["orderbook-data-value"] == "current, under another rule"
    assert done.exit_code == 1
    text = (await asyncio.to_thread(gateway, "list")).output
    assert "NONE, not FORWARD" in text


async def test_register_says_which_field_and_rule_a_registry_refuses(registry):
    theirs = {"type": "record", "name": "TradeData", "namespace": "streamgateway.v1", "fields": []}
    theirs["fields"].append({"name": "only", "type": "string"})
    async with SchemaRegistryClient(RegistrySettings(url=registry.url)) as client:
        await client.register("trade-data-value", theirs)
    done = await asyncio.to_thread(gateway, "register")
    assert done.exit_code == 1
    (line,) = done.output.splitlines()
    assert line.startswith("gateway: trade-data-value: ")
    assert "`only` was removed: readers of v1 cannot read new records; FORWARD needs a default for it" in line


async def test_no_registry(monkeypatch):
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://127.0.0.1:9")
    for command in ("list", "register"):
        done = await asyncio.to_thread(gateway, command)
        assert done.exit_code == 1
        (line,) = done.output.splitlines()
        assert "http://127.0.0.1:9 cannot be reached" in line
