"""A process that is measured from outside: CPU time of all its threads, and its memory."""

from pathlib import Path

import msgspec
import psutil


class CpuTime(msgspec.Struct, frozen=True):
    """CPU seconds, user and system: of all threads, of the first one (the event loop's), of librdkafka's."""

    total_s: float
    loop_s: float
    librdkafka_s: float

    def since(self, before: "CpuTime") -> "CpuTime":
        """What was spent between two looks."""
        return CpuTime(
            self.total_s - before.total_s,
            self.loop_s - before.loop_s,
            self.librdkafka_s - before.librdkafka_s,
        )

    @property
    def other_s(self) -> float:
        """The rest: the polling threads, consumers, HTTP."""
        return self.total_s - self.loop_s - self.librdkafka_s


class MeasuredProcess:
    """Reads the kernel's figures of process ``pid``."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._names: dict[int, str] = {}

    def cpu(self) -> CpuTime:
        """CPU time since the process began."""
        times = self._process.cpu_times()
        loop_s = librdkafka_s = 0.0
        for thread in self._process.threads():
            spent_s = thread.user_time + thread.system_time
            if thread.id == self._process.pid:
                loop_s = spent_s
            elif self._name(thread.id).startswith("rdk:"):
                librdkafka_s += spent_s
        return CpuTime(times.user + times.system, loop_s, librdkafka_s)

    def rss_mb(self) -> float:
        """Resident memory in MB."""
        return float(self._process.memory_info().rss / 1e6)

    def _name(self, thread_id: int) -> str:
        """librdkafka names its threads ``rdk:…``; where the system does not tell, they count as other."""
        name = self._names.get(thread_id)
        if name is None:
            path = Path(f"/proc/{self._process.pid}/task/{thread_id}/comm")
            name = self._names[thread_id] = path.read_text().strip() if path.exists() else ""
        return name
