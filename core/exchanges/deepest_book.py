"""Which book of a symbol is kept, where an exchange has several depths of it."""

from typing import NamedTuple

from core.exchanges.book_keeper import BookKeeper
from core.exchanges.symbol_track import SymbolTrack


class _Kept(NamedTuple):
    name: str
    levels: int


class DeepestBook:
    """The subscribed one; in a recording that has several, the deepest."""

    def __init__(self, books: BookKeeper) -> None:
        self._books = books
        self._kept: dict[str, _Kept] = {}

    def choose(self, exchange_symbol: str, name: str, levels: int) -> None:
        """Keep the book of ``levels`` that the exchange calls ``name``.

        A level that is pushed out of the subscribed depth comes again when it is back in it, so the book holds
        exactly that many.
        """
        self._kept[exchange_symbol] = _Kept(name, levels)
        self._books.depth, self._books.exact = levels, True

    def keeps(self, track: SymbolTrack, name: str, levels: int, *, replaceable: bool) -> bool:
        """Whether it is this one; a deeper one takes its place if ``replaceable``."""
        kept = self._kept.get(track.exchange_symbol)
        if kept is not None:
            if kept.name == name:
                return True
            if not (replaceable and levels > kept.levels):
                return False
            self._books.forget(track)
        self.choose(track.exchange_symbol, name, levels)
        return True
