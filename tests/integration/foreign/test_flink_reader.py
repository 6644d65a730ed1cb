"""Java readers that know only a topic's name: Confluent's registry client and Flink's Avro reader."""

import collections
import json
from pathlib import Path
from typing import Any

import pytest

from infra.services.artifacts import MavenArtifacts
from tests.integration.foreign import java_programs
from tests.integration.foreign.market import SCHEMAS, Market

# The first test pays for the broker, the registry and the gateway's run.
pytestmark = pytest.mark.timeout(240)

Printed = dict[str, dict[tuple[int, int], dict[str, Any]]]


@pytest.fixture(scope="module")
def printed(market: Market, artifacts: MavenArtifacts, tmp_path_factory: pytest.TempPathFactory) -> Printed:
    """What the Java program printed: topic -> partition and offset -> record."""
    classes: Path = tmp_path_factory.mktemp("classes")
    class_path = java_programs.flink_reader_class_path(artifacts)
    source = java_programs.SOURCES / "ReadByTopicName.java"
    java_programs.compile_source(artifacts, source, class_path, classes)
    topics = [market.topic(name) for name in SCHEMAS]
    output = java_programs.run(
        java_programs.java(
            f"{classes}:{class_path}", "ReadByTopicName", market.bootstrap_servers, market.registry_url, *topics
        )
    )
    found: Printed = collections.defaultdict(dict)
    for line in output.splitlines():
        one = json.loads(line)
        found[one["topic"]][one["partition"], one["offset"]] = one["record"]
    return found


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_record_is_read_with_the_schema_found_by_the_topics_name(
    market: Market, printed: Printed, name: str
) -> None:
    stored = {(partition, offset): record for partition, offset, record in market.records[name]}
    assert stored
    assert printed[market.topic(name)] == stored
