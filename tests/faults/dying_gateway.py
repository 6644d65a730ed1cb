"""``gateway run`` that kills itself (SIGKILL) at one point of its control plane's work.

``DIE_IN``: the role of the writer, ``command`` or ``outcomes``. ``DIE``: ``before`` its commit, when facts,
events and positions stand in the open transaction, or ``after`` it, when nobody has heard of it yet.
``DIE_AT``: in the how manieth transaction. Everything else is the gateway as it is.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

import infra.cli
import infra.container
from infra.messaging.connect.control_writers import TransactionalWriter


class DyingWriter(TransactionalWriter):
    """The writer, with one end."""

    def __init__(self, config: Any, transactional_id: str, *args: Any, **more: Any) -> None:
        super().__init__(config, transactional_id, *args, **more)
        self._left = int(os.environ["DIE_AT"]) if transactional_id.endswith(os.environ["DIE_IN"]) else -1

    def _patiently(self, call: Callable[[float], None]) -> None:
        commits = getattr(call, "__name__", "") == "commit_transaction"
        if commits:
            self._left -= 1
        if commits and self._left == 0 and os.environ["DIE"] == "before":
            self._die()
        super()._patiently(call)
        if commits and self._left == 0:
            self._die()

    @staticmethod
    def _die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    infra.container.TransactionalWriter = DyingWriter  # type: ignore[misc]
    infra.cli.main()
