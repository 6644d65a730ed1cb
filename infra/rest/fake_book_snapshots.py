"""The ``BookSnapshots`` port from memory, for tests."""

from collections import deque

from core.errors import ConnectFailedError


class FakeBookSnapshots:
    """Answers by path with what was put in, in order and the last one again; ``asked`` lists the paths."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self._answers: dict[tuple[str, str], deque[bytes | ConnectFailedError]] = {}

    def answer(self, exchange: str, path: str, *answers: bytes | ConnectFailedError) -> None:
        """What ``fetch`` gives next for a path: bodies, or errors to raise."""
        self._answers.setdefault((exchange, path), deque()).extend(answers)

    async def fetch(self, exchange: str, path: str) -> bytes:
        """The next answer; ``ConnectFailedError`` where there is none."""
        self.asked.append((exchange, path))
        answers = self._answers.get((exchange, path))
        if not answers:
            raise ConnectFailedError(f"nothing is known of {path}", status=404)
        answer = answers[0] if len(answers) == 1 else answers.popleft()
        if isinstance(answer, ConnectFailedError):
            raise answer
        return answer
