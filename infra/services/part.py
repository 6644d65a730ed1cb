"""What every local service has in common: prepare, launch, wait until it answers, stop, kill, pause."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from infra.services.errors import PortInUseError, ServiceError
from infra.services.file_lock import FileLock
from infra.services.process import ServerProcess
from infra.services.tcp_ports import LOOPBACK, free_port, is_free

Say = Callable[[str], None]
"""Is told in one line what takes time."""


class ServicePart(ABC):
    """A server on the loopback interface, with its port and its data kept over stop, kill and start.

    ``data_dir``: the folder that this part alone writes to. ``port``: 0 chooses a free one when this object is
    made, so that addresses are known before anything runs.
    """

    name: ClassVar[str]

    def __init__(self, *, data_dir: Path, port: int = 0) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self._process = ServerProcess(self.name, data_dir / f"{self.name}.log")
        self._lock = FileLock(data_dir / "in-use.lock")

    @property
    @abstractmethod
    def address(self) -> str:
        """What a client is given."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The gateway's settings that lead to this part."""

    @abstractmethod
    def fetch(self) -> None:
        """Have the server's programs on disk: downloads them the first time. Raises ``ServiceError``."""

    @abstractmethod
    def prepare(self) -> None:
        """Fetch, and have everything else on disk that a start needs. Raises ``ServiceError``."""

    @abstractmethod
    def _command(self) -> Sequence[str]: ...

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server serves, asked over its own protocol; false for every kind of not yet."""

    def _process_environment(self) -> dict[str, str] | None:
        return None

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        return self._process.running

    @property
    def exit_status(self) -> int | None:
        """How the last run ended (negative: the signal); None while it runs."""
        return self._process.exit_status

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._process.log_path

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        return self._process.log_tail()

    def launch(self) -> None:
        """Start the prepared server without waiting; raises ``PortInUseError`` or ``ServiceStartError``."""
        if self.running:
            raise ServiceError(f"{self.name} runs already")
        if not self._lock.acquire(wait=False):
            raise ServiceError(
                f"{self.name}: the data in {self.data_dir} are in use by another process; end that "
                "one, or give another folder (gateway services --data FOLDER)"
            )
        if not is_free(self.port):
            raise PortInUseError(self.name, self.port)
        self._process.launch(self._command(), env=self._process_environment())

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Return once it answers; raises ``ServiceStartError`` with the end of its log in ``detail``."""
        self._process.wait_until(self._answers, timeout_s)

    def start(self, timeout_s: float = 60.0) -> None:
        """Prepare, launch, wait until it answers. Again after stop or kill: same port, same data."""
        self.prepare()
        self.launch()
        self.wait_ready(timeout_s)

    def stop(self) -> None:
        """End it in order (SIGTERM, SIGKILL after 15 s); safe when it does not run."""
        self._process.stop()
        self._lock.release()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._lock.release()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._process.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._process.resume()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def host_and_port(port: int) -> str:
    """``127.0.0.1:port``."""
    return f"{LOOPBACK}:{port}"
