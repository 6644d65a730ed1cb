"""Where the ``gateway`` command begins: Ctrl-C ends it without a word while its modules are imported."""

import os
import signal
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Run the command line.

    An exception in the midst of an import may come out as anything, and nothing is open yet: until
    ``let_interrupts_raise``, an interrupt ends the process at once, with status 130.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    from infra.cli import main as run

    run()


def let_interrupts_raise() -> None:
    """From here on Ctrl-C is ``KeyboardInterrupt``, unless who started us had it ignored."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(_INTERRUPTED)
