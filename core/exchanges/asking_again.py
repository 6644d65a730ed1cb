"""Subscriptions that an exchange refused together with another's, or for their pace: asked for once more."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from core.errors import ErrorCode
from core.exchanges.base import Complaint, Confirmed, Dialect, Outgoing, Refused, SymbolTrack


class AskingAgain:
    """What a dialect does about a refused request of several symbols."""

    def __init__(self, dialect: Dialect, request: Callable[[Sequence[SymbolTrack]], Outgoing]) -> None:
        """``request`` makes the message that subscribes the given symbols."""
        self._notices = dialect.notices
        self._outbox = dialect.outbox
        self._requests = dialect.requests
        self._request = request
        self._held: deque[SymbolTrack] = deque()

    def too_fast(self, asked: Iterable[SymbolTrack], text: str) -> None:
        """The exchange wants fewer requests: nobody is refused, those who wait are asked for in ``paced``."""
        self._notices.append(Complaint(ErrorCode.RATE_LIMITED, text))
        self._held.extend(waiting(asked))

    def paced(self) -> None:
        """Ask for one of those held back; called at a heartbeat, so that they go out at its pace."""
        while self._held:
            track = self._held.popleft()
            if _waits(track):
                self._outbox.append(self._request([track]))
                return

    def refused(
        self,
        asked: Sequence[SymbolTrack],
        named: Sequence[SymbolTrack],
        code: ErrorCode | None,
        text: str,
    ) -> None:
        """Of the symbols ``asked`` that wait, the refusal names ``named``: they are refused with ``code``
        (None: they run already), and the others asked for again; one by one when it names none."""
        if not named and len(asked) == 1:
            named = asked
        symbols = tuple(track.symbol for track in named)
        if named:
            self._notices.append(Confirmed(symbols) if code is None else Refused(symbols, code, text))
        elif not asked:
            self._notices.append(Complaint(ErrorCode.SUBSCRIBE_REJECTED, text))
        rest = [track for track in asked if track not in named]
        again = [rest] if named and rest else [[track] for track in rest]
        self._requests.extend(self._request(part) for part in again)


def waiting(tracks: Iterable[SymbolTrack]) -> tuple[SymbolTrack, ...]:
    """Those that are subscribed and not answered yet."""
    return tuple(filter(_waits, tracks))


def _waits(track: SymbolTrack) -> bool:
    return track.active and not track.confirmed
