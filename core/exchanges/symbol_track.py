"""One symbol on one session."""

import msgspec

from core.exchanges.kept_book import KeptBook


class SymbolTrack(msgspec.Struct):
    """One symbol on one session: both spellings, and where its sequence stands.

    ``sequence`` is the last one given out (0: none yet). ``confirmed`` turns true once the exchange
    acknowledged the subscription or the first record came; ``asked_s`` is when the subscription went out.
    A track outlives an unsubscription (``active`` false), so that the sequence goes on. ``beats`` counts the
    heartbeats of this symbol's own channel, where the exchange sends such. ``book`` is the order book that
    ``BookKeeper`` keeps of it.
    """

    symbol: str
    exchange_symbol: str
    session_id: int
    sequence: int = 0
    active: bool = True
    confirmed: bool = False
    asked_s: float | None = None
    beats: int = 0
    book: KeptBook | None = None
