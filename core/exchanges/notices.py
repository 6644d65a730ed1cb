"""What a session tells its shell beside records: each an event to act on, in order."""

import msgspec

from core.errors import ErrorCode


class Confirmed(msgspec.Struct, frozen=True):
    """The exchange acknowledged these canonical symbols."""

    symbols: tuple[str, ...]


class Refused(msgspec.Struct, frozen=True):
    """The exchange will not stream these canonical symbols; asking again makes no sense."""

    symbols: tuple[str, ...]
    code: ErrorCode
    message: str


class Complaint(msgspec.Struct, frozen=True):
    """The exchange reports a problem that concerns the connection, not a symbol."""

    code: ErrorCode
    message: str


class Interrupted(msgspec.Struct, frozen=True):
    """The exchange announced that its data stops: an outage, which what follows of it belongs to.

    ``reconnect``: it wants a new connection instead of this one; otherwise data comes again on this one.
    """

    message: str
    reconnect: bool


class Unparsed(msgspec.Struct, frozen=True):
    """A frame that could not be read; the session counts it and goes on."""

    reason: str
    frame: bytes


class SymbolBroken(msgspec.Struct, frozen=True):
    """One symbol alone is not to be relied on: its book's chain broke, or its channel fell silent.

    ``code`` is ``sequence_gap``, ``checksum_mismatch`` or ``stream_stale``. Told once an incident; the session
    repairs it itself and says ``SymbolWhole`` when it has. Trades that did not come are told in the same way,
    and nothing brings them back.
    """

    symbol: str
    code: ErrorCode
    message: str


class SymbolWhole(msgspec.Struct, frozen=True):
    """The incident that ``SymbolBroken`` told is over; ``attempts`` is how often it had to be tried."""

    symbol: str
    attempts: int


class SnapshotWanted(msgspec.Struct, frozen=True):
    """Fetch the book of ``symbol`` by REST: ``path`` with its query, at the exchange's REST address.

    Answered by ``session.snapshot`` with the body, or by ``session.snapshot_failed``.
    """

    symbol: str
    path: str


Notice = Confirmed | Refused | Complaint | Interrupted | Unparsed | SymbolBroken | SymbolWhole | SnapshotWanted
