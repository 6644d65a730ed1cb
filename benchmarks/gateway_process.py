"""``gateway run`` in a process of its own, and its figures as its own HTTP endpoint tells them."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2 as httpx
import orjson

from benchmarks.measured_process import MeasuredProcess
from infra.commandline.outcome_wait import send_and_wait_for_outcomes
from infra.services.tcp_ports import free_port
from infra.settings import KafkaSettings, Settings


class GatewayProcess:
    """A gateway with the settings ``environment``, whose Upbit is at ``exchange_url``; logs to ``log_path``.

    ``profile_path``: the loop's thread runs under cProfile, and its figures are written there at the end.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        exchange_url: str,
        log_path: Path,
        *,
        profile_path: Path | None = None,
    ) -> None:
        port = free_port()
        self._environment = {
            **environment,
            "GATEWAY_EXCHANGE_URLS": orjson.dumps({"upbit": exchange_url}).decode(),
            "GATEWAY_HTTP_PORT": str(port),
            "GATEWAY_LOG_LEVEL": "info",
            "GATEWAY_LOG_FORMAT": "json",
        }
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10.0)
        self._log_path = log_path
        profiling = ["-m", "cProfile", "-o", str(profile_path)] if profile_path else []
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *profiling, "-m", "infra.cli", "run"],
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.measured = MeasuredProcess(self._process.pid)

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until ``/readyz`` says so."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                break
            try:
                if self._http.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise SystemExit(f"the gateway did not get ready; its log:\n{self.log_tail()}")

    def connect(self, kind: str, symbols: tuple[str, ...]) -> None:
        """Publish a connect command like any user, and wait until every symbol runs."""
        command = {
            "type": "status",
            "action": "connect_and_subscribe",
            "target": {"exchange": "upbit", "request_type": kind},
            "symbols": list(symbols),
        }
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=self._environment["KAFKA_BOOTSTRAP_SERVERS"]))
        outcomes, trouble = send_and_wait_for_outcomes(settings, "ws.command", command, len(symbols), 60.0)
        if sum(outcome.ok for outcome in outcomes) != len(symbols):
            raise SystemExit(
                f"not every symbol of {kind} runs: {outcomes}, {trouble}; its log:\n{self.log_tail()}"
            )

    def streams(self) -> list[dict[str, Any]]:
        """Every stream's figures."""
        streams: list[dict[str, Any]] = self._http.get("/streams").json()
        return streams

    def stream(self, kind: str) -> dict[str, Any]:
        """The figures of the one stream of ``kind``."""
        return next(stream for stream in self.streams() if stream["request_type"] == kind)

    def total(self, name: str) -> int:
        """One figure summed over the streams."""
        return int(sum(stream[name] for stream in self.streams()))

    def log_tail(self) -> str:
        """The last lines of its log."""
        return self._log_path.read_bytes()[-4000:].decode(errors="replace")

    def stop(self) -> None:
        """SIGTERM, as an operator would."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._http.close()
