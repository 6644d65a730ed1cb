"""A Redis stand-in that listens on TCP, so that a second terminal can look into it (fakeredis)."""

import threading
from typing import Any

from core.errors import GatewayError


class EmbeddedRedis:
    """``url`` is its address once started."""

    def __init__(self) -> None:
        self._server: Any = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:PORT/0``."""
        if self._server is None:
            raise GatewayError("the embedded Redis is not started")
        return f"redis://127.0.0.1:{self._server.server_address[1]}/0"

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        from fakeredis import TcpFakeServer

        self._server = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="embedded-redis", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
