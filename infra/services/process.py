"""One server process: start it, wait until it answers, end it by its id, leave no orphan."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infra.services.errors import ServiceError, ServiceStartError

_GUARD = Path(__file__).with_name("guard.py")
_POLL_S = 0.05
_TAIL_LINES = 20


class ServerProcess:
    """A server that writes its log to ``log_path``; it ends when this process does, even by SIGKILL.

    It can be launched again after it ended. The server runs in its own session, so Ctrl-C in a terminal
    reaches only the process that started it, which then stops its servers in order.
    """

    def __init__(self, name: str, log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._paused = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether the process is there (a paused one is)."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """How the last run ended (negative: the signal); None while it runs or before the first run."""
        return self._process.poll() if self._process is not None else None

    def launch(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        """Start the server without waiting for it; raises ``ServiceStartError`` if it cannot be executed."""
        if self.running:
            raise ServiceError(f"{self.name} runs already")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        # The first launch starts a new log, a later one (after a kill, say) goes on in it.
        mode = "wb" if self._process is None else "ab"
        with self.log_path.open(mode) as log:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=None if env is None else dict(env),
                    cwd=self.log_path.parent,
                    start_new_session=True,
                )
            except OSError as exc:
                raise ServiceStartError(f"{self.name}: {command[0]} cannot be executed: {exc}") from exc
        self._paused = False
        self._guard = self._start_guard(self._process.pid)

    def wait_until(self, answers: Callable[[], bool], timeout_s: float) -> None:
        """Return once ``answers()`` is true.

        Raises ``ServiceStartError`` with the end of the log when the process ends before, or when the time is
        over; in both cases nothing of it is left running.
        """
        until = time.monotonic() + timeout_s
        while True:
            if not self.running:
                status = self.exit_status
                self._reap_guard()
                raise ServiceStartError(
                    f"{self.name} ended with status {status} before it answered; its log: {self.log_path}",
                    detail=self.log_tail(),
                )
            if answers():
                return
            if time.monotonic() >= until:
                self.kill()
                raise ServiceStartError(
                    f"{self.name} did not answer within {timeout_s:g} s; its log: {self.log_path}",
                    detail=self.log_tail(),
                )
            time.sleep(_POLL_S)

    def stop(self, grace_s: float = 15.0) -> None:
        """SIGTERM, and SIGKILL when it has not ended after ``grace_s``; safe when it is not running."""
        process = self._process
        if process is None:
            return
        if self.running:
            process.terminate()
            self.resume()
            try:
                process.wait(grace_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._reap_guard()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._paused = False
        self._reap_guard()

    def pause(self) -> None:
        """SIGSTOP: the process keeps its sockets and answers nothing. Raises ``ServiceError`` if it is not
        running."""
        self._signal_running(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """SIGCONT after ``pause``."""
        if self._paused:
            self._signal_running(signal.SIGCONT)
            self._paused = False

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines of the log."""
        with contextlib.suppress(OSError), self.log_path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - lines * 500))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
        return ""

    def _signal_running(self, number: int) -> None:
        if self._process is None or not self.running:
            raise ServiceError(f"{self.name} is not running")
        self._process.send_signal(number)

    @staticmethod
    def _start_guard(pid: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _reap_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            # Ended before its pipe is closed, so that it does not act.
            guard.kill()
            guard.wait()
            if guard.stdin is not None:
                guard.stdin.close()
