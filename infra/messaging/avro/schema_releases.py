"""Releases: what of the current schemas may be released, and the released files they become."""

from pathlib import Path

from core.errors import RegistryError, SchemaIncompatibleError
from infra.messaging.avro.schema_changes import changes
from infra.messaging.avro.schema_evolution import check_against_released
from infra.messaging.avro.schema_outline import parsed_json
from infra.messaging.schemas.schema_loader import SchemaLoader


def is_unchanged(name: str, loader: SchemaLoader) -> bool:
    """Whether the current schema ``name`` is the last released one (as JSON)."""
    released = loader.released(name)
    current = parsed_json(loader.text(name), name)
    return bool(released) and parsed_json(released[-1][1], f"v{released[-1][0]}") == current


def changes_since(name: str, loader: SchemaLoader, against: int | None = None) -> tuple[int | None, list[str]]:
    """(version compared with, what changed since); None when nothing is released yet.

    ``against`` picks the version (default: the last). Raises ``RegistryError`` for one that does not exist.
    """
    released = dict(loader.released(name))
    if against is not None and against not in released:
        known = ", ".join(f"v{number}" for number in released) or "none"
        raise RegistryError(f"{name} has no released version {against}; there are {known}")
    if not released:
        return None, []
    number = max(released) if against is None else against
    return number, changes(released[number], loader.text(name))


def release(name: str, loader: SchemaLoader, folder: Path) -> tuple[int, Path]:
    """Write the current schema ``name`` as its next version under ``folder``/released; (version, file).

    ``folder`` is where the loader reads. Raises ``SchemaIncompatibleError`` with every reason when it may not
    follow, and ``RegistryError`` when nothing changed or the file cannot be written.
    """
    released = loader.released(name)
    if is_unchanged(name, loader):
        raise RegistryError(f"{name} is as released in v{released[-1][0]}: there is nothing to release")
    reasons = check_against_released(name, loader)
    if reasons:
        raise SchemaIncompatibleError(f"{name} cannot be released: {'; '.join(reasons)}")
    number = released[-1][0] + 1 if released else 1
    file = folder / "released" / name / f"v{number}.avsc"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as out:
            out.write(loader.text(name))
    except OSError as exc:
        raise RegistryError(f"{file} cannot be written: {exc.strerror}") from exc
    return number, file
