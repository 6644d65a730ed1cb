"""A gateway as a process of its own: start it, wait for it, stop it in every way there is, read its log."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import psutil

from infra.services.tcp_ports import free_port

ROOT = Path(__file__).resolve().parents[2]
_OURS = ("GATEWAY_", "KAFKA_", "SCHEMA_REGISTRY_", "REDIS_")
READY_WITHIN_S = 40.0


class GatewayProcess:
    """``gateway run`` with the given settings and no others; its log lines are JSON objects.

    ``command`` replaces ``-m infra.cli run``, for a gateway with one part of it changed by the test.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
        command: Sequence[str] = ("-m", "infra.cli", "run"),
    ) -> None:
        self.name = name
        self.log_path = folder / f"{name}.log"
        self.port = free_port()
        self._command = [sys.executable, *command]
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)} | {
            "GATEWAY_LOG_FORMAT": "json",
            "GATEWAY_HTTP_PORT": str(self.port),
            "GATEWAY_INSTANCE_ID": name,
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    # -- life ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Launch it; again after it ended. The log goes on in the same file."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def started(self, within_s: float = READY_WITHIN_S) -> "GatewayProcess":
        """Launch it and wait until it is ready."""
        self.start()
        await self.ready(within_s)
        return self

    async def ready(self, within_s: float = READY_WITHIN_S) -> float:
        """Wait until ``/readyz`` says so; returns after how many seconds."""
        began_s = time.monotonic()
        while True:
            status, parts = await self.readyz()
            if status == 200:
                return time.monotonic() - began_s
            self._must_run()
            assert time.monotonic() - began_s < within_s, f"not ready: {parts}\n{self.tail()}"
            await asyncio.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(10)

    def stand_still(self) -> None:
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    async def terminate(self, within_s: float = 20.0) -> tuple[int, float]:
        """SIGTERM; the exit status, and after how many seconds."""
        began_s = time.monotonic()
        self.process.terminate()
        status = await asyncio.to_thread(self.process.wait, within_s)
        return status, time.monotonic() - began_s

    def end(self) -> None:
        """Whatever its state, have it gone."""
        if self._process is not None and self._process.poll() is None:
            self.go_on()
            self.kill()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process, once started."""
        assert self._process is not None, "start() comes first"
        return self._process

    # -- looking in ------------------------------------------------------------------------------------

    async def readyz(self) -> tuple[int, dict[str, str]]:
        """Status and parts; (0, {}) while nothing listens."""
        answer = await self._get("/readyz")
        return (0, {}) if answer is None else (answer.status_code, answer.json()["parts"])

    async def streams(self) -> dict[str, dict[str, Any]]:
        """Its running streams by scope key."""
        answer = await self._get("/streams")
        return {} if answer is None else {stream["scope"]: stream for stream in answer.json()}

    @property
    def rss_mb(self) -> float:
        """Resident memory."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its log so far; a line that is no JSON object has only ``text``."""
        lines = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            lines.append(entry if isinstance(entry, dict) else {"event": None, "text": line})
        return lines

    def said(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Log entries of an event with these fields."""
        return [e for e in self.log if e["event"] == event and all(e.get(k) == v for k, v in fields.items())]

    def tail(self, lines: int = 25) -> str:
        """The end of its log."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    async def _get(self, path: str) -> Any:
        try:
            async with httpx2.AsyncClient(timeout=2.0, trust_env=False) as client:
                return await client.get(f"http://127.0.0.1:{self.port}{path}")
        except httpx2.HTTPError:
            return None

    def _must_run(self) -> None:
        status = self.process.poll()
        assert status is None, f"{self.name} ended with {status}\n{self.tail()}"
