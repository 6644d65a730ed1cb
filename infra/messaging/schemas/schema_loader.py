"""The packaged ``schemas/``: Avro schemas by name, and the table of their subjects."""

import tomllib
from collections.abc import Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final

import msgspec
import orjson

from core.errors import RegistryError

COMPATIBILITIES: Final = frozenset(
    {
        "NONE",
        "BACKWARD",
        "BACKWARD_TRANSITIVE",
        "FORWARD",
        "FORWARD_TRANSITIVE",
        "FULL",
        "FULL_TRANSITIVE",
    }
)


class SubjectEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of ``schemas/subjects.toml``: what a schema is registered as, and who carries it.

    ``json_topics`` are those that are JSON unless they are switched to Avro; names are without the prefix.
    """

    subject: str
    compatibility: str
    topics: tuple[str, ...] = ()
    json_topics: tuple[str, ...] = ()

    def avro_topics(self, switched: Iterable[str] = ()) -> tuple[str, ...]:
        """The topics that carry this schema as Avro when ``switched`` of the JSON ones do."""
        chosen = set(switched)
        return (*self.topics, *(topic for topic in self.json_topics if topic in chosen))


class SchemaLoader:
    """Reads ``schemas/`` as packaged, or a folder of the same shape given as ``root``.

    What is read once is kept. Raises ``core.errors.RegistryError`` for a name that does not exist or a file
    that cannot be read.
    """

    def __init__(self, root: Traversable | None = None) -> None:
        self._root = root if root is not None else resources.files("schemas")
        self._texts: dict[str, str] = {}
        self._subjects: dict[str, SubjectEntry] | None = None

    def names(self) -> list[str]:
        """Every schema's name, sorted."""
        files = (entry.name for entry in (self._root / "avro").iterdir())
        return sorted(name.removesuffix(".avsc") for name in files if name.endswith(".avsc"))

    def text(self, name: str) -> str:
        """The schema ``name`` as it stands in its file."""
        text = self._texts.get(name)
        if text is None:
            text = self._texts[name] = self._read(name)
        return text

    def schema(self, name: str) -> dict[str, Any]:
        """The schema ``name`` as a new JSON object."""
        schema: dict[str, Any] = orjson.loads(self.text(name))
        return schema

    def subjects(self) -> dict[str, SubjectEntry]:
        """The table of subjects by schema name."""
        if self._subjects is None:
            self._subjects = self._read_subjects()
        return dict(self._subjects)

    def subject(self, name: str) -> SubjectEntry:
        """The line of schema ``name``."""
        subjects = self.subjects()
        if name not in subjects:
            raise RegistryError(
                f"schemas/subjects.toml has no [{name}]; it lists {', '.join(sorted(subjects))}"
            )
        return subjects[name]

    def released(self, name: str) -> list[tuple[int, str]]:
        """The released versions of schema ``name`` as (version, text), oldest first."""
        folder = self._root / "released" / name
        if not folder.is_dir():
            return []
        versions = []
        for entry in folder.iterdir():
            stem = entry.name.removesuffix(".avsc")
            if stem != entry.name and stem[:1] == "v" and stem[1:].isdecimal():
                versions.append((int(stem[1:]), entry.read_text("utf-8")))
        return sorted(versions)

    def _read(self, name: str) -> str:
        known = self.names()
        if name not in known:
            raise RegistryError(f"there is no schema {name!r}; there are {', '.join(known)}")
        text = (self._root / "avro" / f"{name}.avsc").read_text("utf-8")
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as exc:
            raise RegistryError(f"schemas/avro/{name}.avsc is not JSON: {exc}") from exc
        return text

    def _read_subjects(self) -> dict[str, SubjectEntry]:
        try:
            table = tomllib.loads((self._root / "subjects.toml").read_text("utf-8"))
            entries = msgspec.convert(table, dict[str, SubjectEntry])
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as exc:
            raise RegistryError(f"schemas/subjects.toml cannot be read: {exc}") from exc
        for name, entry in entries.items():
            if entry.compatibility not in COMPATIBILITIES:
                raise RegistryError(
                    f"schemas/subjects.toml: [{name}] compatibility {entry.compatibility!r} is none of "
                    f"{', '.join(sorted(COMPATIBILITIES))}"
                )
        return entries
