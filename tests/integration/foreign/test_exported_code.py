"""Exported Java, compiled, reads what the gateway writes, of this version and of the first."""

import json
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.messaging.avro.codec.compiled_writer import compile_writer
from infra.messaging.schemas.export.files import exported
from infra.messaging.schemas.export.model import schema_model
from infra.messaging.schemas.schema_loader import SchemaLoader
from infra.services.artifacts import MavenArtifacts
from tests.evolution.samples import SAMPLES
from tests.integration.foreign import java_programs

LOADER = SchemaLoader()


@pytest.fixture(scope="session")
def exported_classes(artifacts: MavenArtifacts, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A class path with every schema's Java code, and the program that reads by it."""
    folder = tmp_path_factory.mktemp("exported")
    files = []
    for name in LOADER.names():
        path, text = exported(name, "java", LOADER)
        files.append(folder / path)
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        files[-1].write_text(text, "utf-8")
    avro = java_programs.avro_class_path(artifacts)
    classes = folder / "classes"
    java_programs.compile_files(artifacts, files, avro, classes)
    java_programs.compile_source(artifacts, java_programs.SOURCES / "ReadExported.java", avro, classes)
    return f"{classes}:{avro}"


def shown(value: Any) -> str:
    """As ReadExported shows it."""
    if isinstance(value, dict):
        parts = [f"{_camel(key)}={shown(item)}" for key, item in value.items()]
        return "{" + ",".join(parts) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(shown, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{struct.unpack('>Q', struct.pack('>d', value))[0]:x}"
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def read(classes: str, name: str, schema: str, value: dict[str, Any], folder: Path) -> list[str]:
    written = compile_writer(json.loads(schema), access="item")(value)
    (folder / "writer.avsc").write_text(schema, "utf-8")
    (folder / "values").write_bytes(struct.pack(">i", len(written)) + written)
    record = f"streamgateway.v1.{schema_model(LOADER.schema(name)).root.name}"
    program = ("ReadExported", record, str(folder / "writer.avsc"), str(folder / "values"))
    return java_programs.run(java_programs.java(classes, *program)).splitlines()


@pytest.mark.parametrize("name", ["ticker_data", "trade_data", "orderbook_data"])
def test_the_current_version(exported_classes, name, tmp_path):
    value = SAMPLES[name][0]
    assert read(exported_classes, name, LOADER.text(name), value, tmp_path) == [shown(value)] * 2


def test_maps_and_nested_lists(exported_classes, tmp_path):
    value = SAMPLES["metrics_event"][0]
    lines = read(exported_classes, "metrics_event", LOADER.text("metrics_event"), value, tmp_path)
    assert lines[0] == lines[1]
    assert "items=[{minuteStartTsKst=1,total=3,details={BTC-KRW_COUNT=2, X_COUNT=1}}]" in lines[0]
    assert "latencyP50Us=5100,latencyP95Us=null" in lines[0]


@pytest.mark.parametrize("name", ["ticker_data", "trade_data"])
def test_the_first_version(exported_classes, name, tmp_path):
    first = LOADER.released(name)[0][1]
    value = {key: item for key, item in SAMPLES[name][0].items() if not key.endswith("_exact")}
    now = {key: value.get(key) for key in SAMPLES[name][0]}
    assert read(exported_classes, name, first, value, tmp_path) == [shown(now)] * 2
