"""The image, the compose file and the dashboard agree with the gateway and with one another."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from application.accounting import StreamAccounting
from infra import settings as settings_module
from infra.settings import load_settings
from infra.telemetry.stream_collector import StreamCollector
from tests.deployment_files import (
    COMPOSE,
    ROOT,
    compose_services,
    copied_from_context,
    dockerfile_stages,
    environment_of,
    ignored_by_docker,
    read_yaml,
)

SERVICES = compose_services()
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"
_PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+[\w.-]*")


def known_settings() -> set[str]:
    """The environment names of every setting."""
    sections = (
        settings_module.KafkaSettings,
        settings_module.RegistrySettings,
        settings_module.RedisSettings,
        settings_module.BreakerSettings,
        settings_module.GatewaySettings,
    )
    return {
        f"{section.model_config['env_prefix']}{name}".upper()
        for section in sections
        for name in section.model_fields
    }


# -- the compose file --------------------------------------------------------------------------------------


def test_the_compose_file_is_valid_by_the_specifications_schema() -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(COMPOSE),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_has_all_the_parts() -> None:
    assert set(SERVICES) == {"kafka", "registry", "redis", "gateway", "kafka-ui", "prometheus", "grafana"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_checked_bounded_and_pinned(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["mem_limit"]
    assert service["restart"] == "unless-stopped"
    assert "build" in service or _PINNED.fullmatch(service["image"]), service["image"]
    assert set(service.get("depends_on", {})) <= set(SERVICES)


def test_ports_are_this_machines_alone_and_used_once() -> None:
    taken: list[int] = []
    for service in SERVICES.values():
        for port in service["ports"]:
            address, host, _ = port.split(":")
            assert address == "127.0.0.1"
            first, _, last = host.partition("-")
            taken += range(int(first), int(last or first) + 1)
    assert len(taken) == len(set(taken))


def test_what_is_mounted_exists() -> None:
    named = set(read_yaml(COMPOSE)["volumes"])
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in named, volume


def test_the_gateways_environment_is_known_and_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = environment_of(SERVICES["gateway"], {})
    assert set(environment) <= known_settings()
    for name in known_settings():
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.kafka.bootstrap_servers == "kafka:19092"
    assert settings.gateway.http_host == "0.0.0.0"
    # The drain has to fit in the time until SIGKILL.
    assert (
        int(SERVICES["gateway"]["stop_grace_period"].removesuffix("s")) > settings.gateway.drain_timeout_s + 2
    )


def test_addresses_inside_name_the_services_and_their_listeners() -> None:
    kafka = environment_of(SERVICES["kafka"], {})
    assert "INSIDE://kafka:19092" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    gateway = environment_of(SERVICES["gateway"], {})
    registry = SERVICES["registry"]["ports"][0].rpartition(":")[2]
    assert gateway["SCHEMA_REGISTRY_URL"] == f"http://registry:{registry}/apis/ccompat/v7"
    for client, variable in (("registry", "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS"),
                             ("kafka-ui", "KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS")):  # fmt: skip
        assert environment_of(SERVICES[client], {})[variable] == gateway["KAFKA_BOOTSTRAP_SERVERS"]


# -- the image ---------------------------------------------------------------------------------------------


def test_the_image_is_built_in_stages_on_pinned_slim_bases() -> None:
    stages = dockerfile_stages()
    assert len(stages) == 2
    for stage in stages:
        image = stage[0].words()[0]
        assert _PINNED.fullmatch(image), image
        assert "slim" in image


def test_the_last_stage_runs_as_nobody_special_and_can_be_stopped_and_checked() -> None:
    last = {instruction.name: instruction for instruction in dockerfile_stages()[-1]}
    user, _, group = last["USER"].rest.partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert last["STOPSIGNAL"].rest == "SIGTERM"
    assert json.loads(last["ENTRYPOINT"].rest) == ["gateway"]
    assert json.loads(last["CMD"].rest) == ["run"]
    check = json.loads(last["HEALTHCHECK"].rest.partition("CMD ")[2])
    copies = [shlex.split(i.rest) for i in dockerfile_stages()[-1] if i.name == "COPY"]
    assert ["deploy/healthcheck.py", check[1]] in copies
    assert SERVICES["gateway"]["healthcheck"]["test"][1:3] == check[:2]


def test_no_build_tool_and_no_package_list_reaches_the_last_stage() -> None:
    for instruction in dockerfile_stages()[-1]:
        if instruction.name == "RUN":
            assert not re.search(r"\b(pip|apt|apt-get|curl|wget)\b", instruction.rest)


def test_all_that_is_copied_is_there_and_reaches_the_builder() -> None:
    for stage in dockerfile_stages():
        for path in copied_from_context(stage):
            assert (ROOT / path).exists(), path
            assert not ignored_by_docker(path), path


def test_what_is_not_copied_does_not_reach_the_builder() -> None:
    kept = ("infra/container.py", "schemas/avro/ticker_data.avsc", "constraints.txt")
    left = (
        ".git/config",
        ".venv/bin/python",
        "tests/conftest.py",
        "infra/__pycache__/cli.pyc",
        "deploy/grafana/x",
    )
    assert [ignored_by_docker(path) for path in kept] == [False] * len(kept)
    assert [ignored_by_docker(path) for path in left] == [True] * len(left)


def test_every_package_of_the_project_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= set(copied_from_context(dockerfile_stages()[0]))


def test_the_images_own_settings_are_known() -> None:
    names = {
        word.partition("=")[0]
        for instruction in dockerfile_stages()[-1]
        if instruction.name == "ENV"
        for word in instruction.words()
    }
    assert {name for name in names if name.startswith("GATEWAY_")} <= known_settings()


# -- Prometheus and Grafana --------------------------------------------------------------------------------


def exported() -> dict[str, set[str]]:
    """The samples that a gateway with one stream exports, and their labels."""
    stream: dict[str, Any] = {
        "exchange": "upbit",
        "region": "korea",
        "request_type": "ticker",
        "symbols": ["BTC-KRW"],
        **StreamAccounting(0).totals(),
        "latency_us": {"0.5": 900, "0.99": 4000},
    }
    registry = CollectorRegistry()
    registry.register(StreamCollector(lambda: [stream]))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def dashboard_queries() -> list[str]:
    """Every PromQL expression of the dashboards."""
    found = []
    for path in DASHBOARDS.glob("*.json"):
        dashboard = json.loads(path.read_text())
        found += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        found += [variable["query"]["query"] for variable in dashboard["templating"]["list"]]
    return found


def test_the_dashboards_ask_for_what_the_gateway_exports() -> None:
    samples = exported()
    queries = dashboard_queries()
    asked = {name for query in queries for name in re.findall(r"\bgateway_\w+", query)}
    assert asked
    assert asked <= set(samples)
    labels = {label for query in queries for label in re.findall(r"(\w+)=~?\"", query)} - {"job"}
    assert labels <= set.union(*samples.values())


def test_the_dashboards_are_found_and_find_their_source() -> None:
    (source,) = read_yaml(PROVISIONING / "datasources" / "prometheus.yml")["datasources"]
    (provider,) = read_yaml(PROVISIONING / "dashboards" / "gateway.yml")["providers"]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    port = SERVICES["prometheus"]["ports"][0].rpartition(":")[2]
    assert source["url"] == f"http://prometheus:{port}"
    for path in DASHBOARDS.glob("*.json"):
        for panel in json.loads(path.read_text())["panels"]:
            assert panel["datasource"]["uid"] == source["uid"]
    home = environment_of(SERVICES["grafana"], {})["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DASHBOARDS / home.removeprefix(f"{provider['options']['path']}/")).is_file()


def test_prometheus_asks_the_gateway_where_it_answers() -> None:
    config = read_yaml(ROOT / "deploy" / "prometheus" / "prometheus.yml")
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert {job for query in dashboard_queries() for job in re.findall(r'job="(\w+)"', query)} <= set(jobs)
    (found,) = jobs["gateway"]["dns_sd_configs"]
    assert found["names"] == ["gateway"]
    assert str(found["port"]) == SERVICES["gateway"]["ports"][0].rpartition(":")[2]
    # The gateway serves Prometheus' own default path.
    assert "metrics_path" not in jobs["gateway"]
