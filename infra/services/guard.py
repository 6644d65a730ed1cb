"""Ends a server when the process that started it is gone, however that one ended.

Run as ``python -I -S guard.py PID`` with a pipe as standard input whose other end the starting process holds
and nobody else: the pipe closes when that process dies. Works the same on every POSIX system; Linux's
``PR_SET_PDEATHSIG`` follows the starting *thread* and needs code between fork and exec, so it is not used.
"""

import contextlib
import os
import select
import signal
import sys
import time

GRACE_S = 5.0


class Target:
    """The guarded process; by pidfd where there is one, so that a re-used process id is never hit."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor: int | None = None
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._descriptor = os.pidfd_open(pid)

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the process is gone."""
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "linux" and self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, number)
            else:
                os.kill(self._pid, number)

    def wait(self, timeout_s: float) -> bool:
        """Whether the process ended within the time."""
        if self._descriptor is not None:
            return bool(select.select([self._descriptor], [], [], timeout_s)[0])
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            try:
                os.kill(self._pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.05)
        return False


def main(pid: int) -> None:
    """Wait for the end of the pipe, then end the target: SIGTERM, and SIGKILL after a grace period."""
    target = Target(pid)
    sys.stdin.buffer.read()
    target.signal(signal.SIGTERM)
    target.signal(signal.SIGCONT)
    if not target.wait(GRACE_S):
        target.signal(signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
