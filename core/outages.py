"""Which failures of a stream's connections are told: one an outage, not one a connection or an attempt."""

from collections.abc import Hashable


class StreamOutage:
    """The outage of a stream over one or several connections, named by any hashable.

    It begins with the first connection that goes down. The others that go down meanwhile belong to it, and it
    is over when all that were down are back (have brought a record) or have ended. A connection that was back
    and goes down anew begins another one, though a quiet one may still be down: else one quiet symbol would
    hide every outage after the first.
    """

    def __init__(self) -> None:
        self._down: set[Hashable] = set()
        self._took_part: set[Hashable] = set()
        self._told: set[str] = set()

    def goes_down(self, connection: Hashable, kind: str) -> bool:
        """A connection failed, perhaps not for the first time; True when that is to be told.

        Each ``kind`` of problem is told once an outage.
        """
        anew = connection not in self._down and (not self._down or connection in self._took_part)
        if anew:
            self._took_part = set(self._down)
            self._told.clear()
        self._down.add(connection)
        self._took_part.add(connection)
        if kind in self._told:
            return False
        self._told.add(kind)
        return True

    def is_back(self, connection: Hashable) -> bool:
        """A connection works again; True when it was the last that was down."""
        if connection not in self._down:
            return False
        self._down.remove(connection)
        return not self._down

    def ended(self, connection: Hashable) -> bool:
        """A connection is no longer wanted; True when it was the last that was down."""
        self._took_part.discard(connection)
        return self.is_back(connection)
