"""`gateway services` as a user runs it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from infra.services.tcp_ports import LOOPBACK, free_port


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    started: list[subprocess.Popen] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen:
        with (tmp_path / "stderr.txt").open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "infra.cli", "services", "--data", str(tmp_path / "data"), *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **environment},
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _errors(tmp_path: Path) -> str:
    return (tmp_path / "stderr.txt").read_text()


def _gone(pid: int, timeout_s: float = 20.0) -> bool:
    until = time.monotonic() + timeout_s
    while psutil.pid_exists(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not psutil.pid_exists(pid)


def test_it_prints_exports_and_ctrl_c_stops_all_three(run, tmp_path: Path) -> None:
    process = run()
    line = process.stdout.readline()
    assert line.startswith("export KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:"), _errors(tmp_path)
    addresses = dict(pair.split("=", 1) for pair in line.removeprefix("export ").split())
    assert addresses["SCHEMA_REGISTRY_URL"].endswith("/apis/ccompat/v7")
    with redis.Redis.from_url(addresses["REDIS_URL"]) as client:
        assert client.ping()
    servers = psutil.Process(process.pid).children(recursive=True)
    assert len(servers) >= 3
    process.send_signal(signal.SIGINT)
    assert process.wait(40) == 0
    assert not [server for server in servers if server.is_running()]
    assert "Traceback" not in _errors(tmp_path)


def test_only_one_as_json_until_sigterm(run, tmp_path: Path) -> None:
    port = free_port()
    process = run("--only", "redis", "--redis-port", str(port), "--json")
    answer = json.loads(process.stdout.readline())
    assert answer["environment"] == {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    assert psutil.pid_exists(answer["parts"]["redis"]["pid"])
    assert Path(answer["parts"]["redis"]["log"]).is_relative_to(tmp_path / "data")
    process.terminate()
    assert process.wait(40) == 0
    assert _gone(answer["parts"]["redis"]["pid"])


def test_a_second_signal_forces_the_end(run, tmp_path: Path) -> None:
    process = run("--only", "redis", "--json")
    pid = json.loads(process.stdout.readline())["parts"]["redis"]["pid"]
    # Suspended from outside it takes no SIGTERM, so only force ends it before the 15 s of grace are over.
    psutil.Process(pid).suspend()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(14) == 0
    assert _gone(pid)
    assert "Traceback" not in _errors(tmp_path)


def test_a_port_in_use_is_one_clear_line(run, tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        port = server.getsockname()[1]
        assert run("--only", "redis", "--redis-port", str(port)).wait(40) == 1
    errors = _errors(tmp_path).splitlines()
    assert errors[-1].startswith(f"gateway: redis: port {port} is in use")
    assert "Traceback" not in _errors(tmp_path)


def test_a_second_one_on_the_same_data_is_refused(run, tmp_path: Path) -> None:
    assert run("--only", "redis").stdout.readline()
    assert run("--only", "redis").wait(40) == 1
    assert "in use by another process" in _errors(tmp_path)


def test_an_unknown_part_is_wrong_use(run, tmp_path: Path) -> None:
    assert run("--only", "zookeeper").wait(40) == 2
    assert "zookeeper is not one of kafka, registry, redis" in " ".join(_errors(tmp_path).split())


def test_a_part_that_dies_ends_everything_with_1(run, tmp_path: Path) -> None:
    process = run("--only", "redis", "--json")
    os.kill(json.loads(process.stdout.readline())["parts"]["redis"]["pid"], signal.SIGKILL)
    assert process.wait(40) == 1
    assert "gateway: redis ended by itself with status -9" in _errors(tmp_path)


def test_killed_it_leaves_no_server_behind(run) -> None:
    process = run("--only", "redis", "--json")
    pid = json.loads(process.stdout.readline())["parts"]["redis"]["pid"]
    process.kill()
    assert _gone(pid)


def test_a_data_folder_that_cannot_be_used_is_one_clear_line(run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    assert run("--only", "redis").wait(40) == 1
    assert _errors(tmp_path).splitlines()[-1].startswith("gateway: ")
    assert "Traceback" not in _errors(tmp_path)
