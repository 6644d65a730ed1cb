"""What a Schema Registry keeps, and its rules; no HTTP.

Subjects have versions 1, 2, 3 …; the same schema has the same id under every subject; deletion is soft first,
and an id answers for ever. (Schema Registry API Reference, Confluent Platform 7.)
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import fastavro
import msgspec
import orjson

from core.errors import RegistryError

CompatibilityCheck = Callable[[str, Sequence[str], str], Sequence[str]]
"""``check(new_schema, earlier_schemas, level)``: why the new may not follow (empty: it may).

Schemas are JSON texts, the earlier ones oldest first; one that is invalid is a ``RegistryError``. ``level`` is
BACKWARD, FORWARD, FULL, a _TRANSITIVE form of these, or NONE.
"""

LEVELS: Final = (
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
    "NONE",
)
MODES: Final = ("READWRITE", "READONLY", "READONLY_OVERRIDE", "IMPORT")


class RegistryRefusal(Exception):
    """A request the registry refuses: Confluent's ``code`` (its first three digits are the HTTP status)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StoredVersion(msgspec.Struct):
    """One version of a subject."""

    version: int
    id: int
    deleted: bool = False


class RegistryStore:
    """Subjects, schemas, levels and modes. Every refusal is a ``RegistryRefusal``."""

    def __init__(self, check: CompatibilityCheck) -> None:
        self._check = check
        self._texts: dict[int, str] = {}
        self._id_of_canonical: dict[str, int] = {}
        self._subjects: dict[str, list[StoredVersion]] = {}
        self._level = "BACKWARD"
        self._levels: dict[str, str] = {}
        self._mode = "READWRITE"
        self._modes: dict[str, str] = {}

    # -- schemas ---------------------------------------------------------------------------------------

    def schema_of_id(self, schema_id: int) -> str:
        """The text of a schema."""
        if schema_id not in self._texts:
            raise RegistryRefusal(40403, f"Schema {schema_id} not found")
        return self._texts[schema_id]

    def uses_of_id(self, schema_id: int, *, deleted: bool = False) -> list[tuple[str, int]]:
        """(subject, version) of every use of a schema."""
        self.schema_of_id(schema_id)
        return [
            (subject, stored.version)
            for subject, versions in sorted(self._subjects.items())
            for stored in versions
            if stored.id == schema_id and (deleted or not stored.deleted)
        ]

    # -- subjects --------------------------------------------------------------------------------------

    def subjects(self, *, deleted: bool = False, prefix: str = "") -> list[str]:
        """Names of all subjects that have a version."""
        return sorted(
            subject
            for subject, versions in self._subjects.items()
            if subject.startswith(prefix) and any(deleted or not stored.deleted for stored in versions)
        )

    def versions(self, subject: str, *, deleted: bool = False) -> list[int]:
        """The versions of a subject."""
        return [stored.version for stored in self._of(subject, deleted=deleted)]

    def version(self, subject: str, version: str, *, deleted: bool = False) -> StoredVersion:
        """One version; ``version`` is a number, ``latest`` or ``-1``."""
        stored = self._of(subject, deleted=deleted)
        if version in ("latest", "-1"):
            return stored[-1]
        if not version.isdecimal() or not 1 <= int(version) <= 2**31 - 1:
            raise RegistryRefusal(
                42202,
                f"The specified version '{version}' is not a valid version id. Allowed values are between "
                '[1, 2^31-1] and the string "latest"',
            )
        for candidate in stored:
            if candidate.version == int(version):
                return candidate
        raise RegistryRefusal(40402, f"Version {version} not found.")

    def register(self, subject: str, text: str) -> int:
        """Register a schema, or find it under the subject; its id."""
        canonical = _canonical(text)
        if self.mode(subject) in ("READONLY", "READONLY_OVERRIDE"):
            raise RegistryRefusal(42205, f"Subject {subject} is in read-only mode")
        versions = self._subjects.get(subject, [])
        live = [stored for stored in versions if not stored.deleted]
        known = self._id_of_canonical.get(canonical)
        if known is not None and any(stored.id == known for stored in live):
            return known
        reasons = self._reasons(subject, text, [self._texts[stored.id] for stored in live])
        if reasons:
            level = self.effective_level(subject)
            raise RegistryRefusal(
                409,
                f'Schema being registered is incompatible with an earlier schema for subject "{subject}", '
                f"details: [{'; '.join(reasons)}] (compatibility {level})",
            )
        if known is None:
            known = len(self._texts) + 1
            self._texts[known] = text
            self._id_of_canonical[canonical] = known
        number = versions[-1].version + 1 if versions else 1
        self._subjects.setdefault(subject, []).append(StoredVersion(number, known))
        return known

    def find(self, subject: str, text: str, *, deleted: bool = False) -> StoredVersion:
        """The version under which exactly this schema stands."""
        canonical = _canonical(text)
        for stored in self._of(subject, deleted=deleted):
            if stored.id == self._id_of_canonical.get(canonical):
                return stored
        raise RegistryRefusal(40403, "Schema not found")

    def delete_subject(self, subject: str, *, permanent: bool = False) -> list[int]:
        """Delete a subject: softly first, then for good; its versions."""
        if permanent:
            everything = self._of(subject, deleted=True)
            if any(not stored.deleted for stored in everything):
                raise RegistryRefusal(
                    40405, f"Subject '{subject}' was not deleted first before being permanently deleted"
                )
            del self._subjects[subject]
            self._levels.pop(subject, None)
            self._modes.pop(subject, None)
            return [stored.version for stored in everything]
        if not self.versions(subject, deleted=True):
            raise RegistryRefusal(40401, f"Subject '{subject}' not found.")
        live = [stored for stored in self._subjects[subject] if not stored.deleted]
        if not live:
            raise RegistryRefusal(
                40404, f"Subject '{subject}' was soft deleted. Set permanent=true to delete permanently"
            )
        for stored in live:
            stored.deleted = True
        self._levels.pop(subject, None)
        return [stored.version for stored in live]

    def delete_version(self, subject: str, version: str, *, permanent: bool = False) -> int:
        """Delete one version: softly first, then for good; its number."""
        stored = self.version(subject, version, deleted=permanent)
        if not permanent:
            stored.deleted = True
        elif not stored.deleted:
            raise RegistryRefusal(
                40407,
                f"Subject '{subject}' Version {stored.version} was not deleted first before being "
                "permanently deleted",
            )
        else:
            self._subjects[subject].remove(stored)
            if not self._subjects[subject]:
                del self._subjects[subject]
        return stored.version

    # -- compatibility ---------------------------------------------------------------------------------

    def incompatibilities(self, subject: str, text: str, version: str | None) -> list[str]:
        """Why a schema may not follow one version (None: those that the level compares with)."""
        _canonical(text)
        if version is not None:
            earlier = [self._texts[self.version(subject, version).id]]
        else:
            earlier = [
                self._texts[stored.id] for stored in self._subjects.get(subject, []) if not stored.deleted
            ]
        return self._reasons(subject, text, earlier)

    def level(self, subject: str | None) -> str | None:
        """The level of a subject (None when it has none of its own), or the global one."""
        return self._level if subject is None else self._levels.get(subject)

    def effective_level(self, subject: str) -> str:
        """The level that holds for a subject."""
        return self._levels.get(subject, self._level)

    def set_level(self, subject: str | None, level: str) -> None:
        """Set the level of a subject, or the global one."""
        if level not in LEVELS:
            raise RegistryRefusal(
                42203,
                "Invalid compatibility level. Valid values are none, backward, forward, full, "
                "backward_transitive, forward_transitive, and full_transitive",
            )
        if subject is None:
            self._level = level
        else:
            self._levels[subject] = level

    def delete_level(self, subject: str | None) -> str:
        """Go back to the default level; the level that was."""
        if subject is None:
            before, self._level = self._level, "BACKWARD"
            return before
        if subject not in self._levels:
            raise RegistryRefusal(
                40408, f"Subject '{subject}' does not have subject-level compatibility configured"
            )
        return self._levels.pop(subject)

    # -- mode ------------------------------------------------------------------------------------------

    def mode(self, subject: str | None) -> str:
        """The mode that holds for a subject, or the global one."""
        return self._mode if subject is None else self._modes.get(subject, self._mode)

    def set_mode(self, subject: str | None, mode: str) -> None:
        """Set the mode of a subject, or the global one."""
        if mode not in MODES:
            raise RegistryRefusal(42204, f"Invalid mode. Valid values are {', '.join(MODES)}")
        if subject is None:
            self._mode = mode
        else:
            self._modes[subject] = mode

    # --------------------------------------------------------------------------------------------------

    def _of(self, subject: str, *, deleted: bool) -> list[StoredVersion]:
        found = [stored for stored in self._subjects.get(subject, []) if deleted or not stored.deleted]
        if not found:
            raise RegistryRefusal(40401, f"Subject '{subject}' not found.")
        return found

    def _reasons(self, subject: str, text: str, earlier: list[str]) -> list[str]:
        level = self.effective_level(subject)
        if level == "NONE" or not earlier:
            return []
        try:
            return list(self._check(text, earlier, level))
        except RegistryError as exc:
            raise RegistryRefusal(42201, f"Invalid schema: {exc.message}") from exc


def _canonical(text: Any) -> str:
    """A schema's text without what whitespace and the order of keys may differ in; refuses what is no Avro."""
    try:
        schema = orjson.loads(text)
        fastavro.parse_schema(schema)
    except Exception as exc:
        raise RegistryRefusal(42201, f"Invalid schema: {exc}") from exc
    return orjson.dumps(schema, option=orjson.OPT_SORT_KEYS).decode()
