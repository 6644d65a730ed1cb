"""A server process is started, watched, ended, and never outlives the one who started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infra.services.errors import ServiceError, ServiceStartError
from infra.services.process import ServerProcess

_SERVER = "import time; print('serving', flush=True); time.sleep(600)"
_STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_SERVER}"


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _wait(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def _gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def process(tmp_path: Path):
    one = ServerProcess("thing", tmp_path / "thing.log")
    yield one
    one.kill()


def _serving(process: ServerProcess) -> Callable[[], bool]:
    return lambda: "serving" in process.log_tail()


def test_it_starts_answers_stops_and_starts_again(process: ServerProcess) -> None:
    for round_ in (1, 2):
        process.launch(_python(_SERVER))
        process.wait_until(lambda wanted=round_: process.log_tail().count("serving") == wanted, 20)
        assert process.running
        assert process.pid is not None
        process.stop()
        assert not process.running
        assert process.pid is None
        assert process.exit_status == -signal.SIGTERM


def test_stop_and_kill_are_safe_when_nothing_runs(process: ServerProcess) -> None:
    process.stop()
    process.kill()
    with pytest.raises(ServiceError, match="not running"):
        process.pause()


def test_it_is_not_launched_twice(process: ServerProcess) -> None:
    process.launch(_python(_SERVER))
    with pytest.raises(ServiceError, match="thing runs already"):
        process.launch(_python(_SERVER))


def test_who_ends_before_answering_is_reported_with_its_log(process: ServerProcess) -> None:
    process.launch(_python("import sys; print('no disk left'); sys.exit(7)"))
    with pytest.raises(
        ServiceStartError, match=r"thing ended with status 7 before it answered.*thing\.log"
    ) as caught:
        process.wait_until(lambda: False, 20)
    assert caught.value.detail == "no disk left"


def test_who_does_not_answer_in_time_is_killed_and_reported_with_its_log(process: ServerProcess) -> None:
    process.launch(_python(_STUBBORN))
    assert _wait(_serving(process))
    with pytest.raises(ServiceStartError, match=r"did not answer within 0\.2 s") as caught:
        process.wait_until(lambda: False, 0.2)
    assert caught.value.detail == "serving"
    assert not process.running


def test_what_cannot_be_executed_is_reported(process: ServerProcess) -> None:
    with pytest.raises(ServiceStartError, match="thing: /nowhere/server cannot be executed"):
        process.launch(["/nowhere/server"])
    assert not process.running


def test_who_ignores_sigterm_is_killed(process: ServerProcess) -> None:
    process.launch(_python(_STUBBORN))
    process.wait_until(_serving(process), 20)
    process.stop(grace_s=0.2)
    assert process.exit_status == -signal.SIGKILL


def test_a_paused_one_can_be_stopped(process: ServerProcess) -> None:
    process.launch(_python(_SERVER))
    process.wait_until(_serving(process), 20)
    process.pause()
    pid = process.pid
    assert pid is not None
    assert _wait(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    process.stop()
    assert process.exit_status == -signal.SIGTERM


def test_its_log_shows_the_last_lines(process: ServerProcess) -> None:
    process.launch(_python("print('\\n'.join(str(n) for n in range(5000)))"))
    with pytest.raises(ServiceStartError):
        process.wait_until(lambda: False, 20)
    assert process.log_tail(3).splitlines() == ["4997", "4998", "4999"]


@pytest.mark.parametrize("paused", [False, True])
def test_no_orphan_is_left_when_the_starter_is_killed(tmp_path: Path, paused: bool) -> None:
    starter_code = f"""
import sys, time
from pathlib import Path
from infra.services.process import ServerProcess
process = ServerProcess("thing", Path({str(tmp_path / "thing.log")!r}))
process.launch([sys.executable, "-c", {_SERVER!r}])
process.wait_until(lambda: "serving" in process.log_tail(), 20)
if {paused}:
    process.pause()
print(process.pid, process._guard.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen(_python(starter_code), stdout=subprocess.PIPE, text=True, cwd=os.getcwd()) as starter:
        assert starter.stdout is not None
        pid, guard_pid = map(int, starter.stdout.readline().split())
        assert not _gone(pid)
        starter.kill()
        assert _wait(lambda: _gone(pid))
        assert _wait(lambda: _gone(guard_pid))
