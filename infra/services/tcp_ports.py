"""Free TCP ports on the loopback interface."""

import random
import socket
import sys

LOOPBACK = "127.0.0.1"

# Below every platform's range for outgoing connections (32768 and up on Linux, 49152 elsewhere). A server that
# is stopped and started again on a port inside that range could find it taken by some client's outgoing
# connection, and a client that retries a dead port inside it can even connect to itself.
_CANDIDATES = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface now."""
    with socket.socket() as probe:
        if sys.platform != "win32":
            # As servers do: connections of a former server in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """``preferred`` if it is free, else a random free port below the range of outgoing connections."""
    if preferred is not None and is_free(preferred):
        return preferred
    for _ in range(200):
        port = random.choice(_CANDIDATES)
        if is_free(port):
            return port
    raise OSError(f"no free port found in {_CANDIDATES.start} to {_CANDIDATES.stop}")
