"""An advisory lock between processes that ends with the process that holds it."""

import sys
from pathlib import Path
from typing import IO


class FileLock:
    """Locks ``path`` (made if missing). On Windows, which has no ``flock``, it always succeeds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: IO[str] | None = None

    def acquire(self, *, wait: bool) -> bool:
        """Take the lock; without ``wait``, false when another holds it. Taking it twice changes nothing."""
        if self._handle is not None:
            return True
        handle = self._path.open("w")
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                handle.close()
                return False
        self._handle = handle
        return True

    def release(self) -> None:
        """Give it up; nothing to do when it is not held."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()
