"""Which connection carries which symbol."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec


class Placement(msgspec.Struct, frozen=True):
    """Symbols to add by slot; slots beyond the given ones are new."""

    added: dict[int, list[str]]
    removed: dict[int, list[str]]


def place(
    wanted: Iterable[str], slots: Sequence[Mapping[str, object] | Sequence[str]], capacity: int
) -> Placement:
    """Fit ``wanted`` into connections of ``capacity`` symbols, moving none that already has its place.

    ``slots`` are the symbols of each existing connection. Symbols that are no longer wanted leave; new ones
    fill the first slot with room, and further slots are opened as needed.
    """
    target = dict.fromkeys(wanted)
    removed = {
        index: gone
        for index, slot in enumerate(slots)
        if (gone := [symbol for symbol in slot if symbol not in target])
    }
    placed = {symbol for slot in slots for symbol in slot}
    missing = [symbol for symbol in target if symbol not in placed]
    used = [len(slot) - len(removed.get(index, ())) for index, slot in enumerate(slots)]
    added: dict[int, list[str]] = {}
    index = 0
    for symbol in missing:
        while index < len(used) and used[index] >= capacity:
            index += 1
        if index == len(used):
            used.append(0)
        used[index] += 1
        added.setdefault(index, []).append(symbol)
    return Placement(added, removed)
