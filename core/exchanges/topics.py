"""What topics mean, remembered by their text: nearly all frames carry one of a few."""

from collections.abc import Callable
from typing import Final, TypeVar

_LONGEST_REMEMBERED: Final = 64
"""Characters; no exchange has topics as long. What is longer is read each time, so that it takes no memory."""
_MOST_REMEMBERED: Final = 4096

T = TypeVar("T")


class Topics(dict[str, T]):
    """``topics[text]`` is what ``read(text)`` makes of it; for all sessions, bounded in number and size.

    Once there are too many all are forgotten, so that the topics in use find room again.
    """

    def __init__(self, read: Callable[[str], T]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: str) -> T:
        topic = self._read(text)
        if len(text) <= _LONGEST_REMEMBERED:
            if len(self) >= _MOST_REMEMBERED:
                self.clear()
            self[text] = topic
        return topic
