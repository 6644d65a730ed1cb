"""What changed from one schema to another, in words."""

from typing import Any

from infra.messaging.avro.schema_outline import Outline, parsed_json


def changes(old: str, new: str) -> list[str]:
    """Each change as a sentence that names the field; empty when nothing a reader could notice changed.

    Both are JSON texts; raises ``core.errors.RegistryError`` for what is no JSON.
    """
    before, after = Outline(parsed_json(old, "the old schema")), Outline(parsed_json(new, "the new schema"))
    said = [
        f"`{path}` was added: {after.types[path]}{_default(field)}"
        for path, field in after.fields.items()
        if path not in before.fields
    ]
    said += [f"`{path}` was removed: {kind}" for path, kind in before.types.items() if path not in after.fields]
    for path, field in after.fields.items():
        former = before.fields.get(path)
        if former is None:
            continue
        if before.types[path] != after.types[path]:
            said.append(f"`{path}` changed from {before.types[path]} to {after.types[path]}")
        if _default(former) != _default(field):
            said.append(f"`{path}`: the default changed from{_was(former)} to{_was(field)}")
        if former.get("aliases", []) != field.get("aliases", []):
            said.append(f"`{path}`: aliases are now {', '.join(field.get('aliases', [])) or 'none'}")
        if former.get("doc") != field.get("doc"):
            said.append(f"`{path}`: its description changed")
    for path, enum in after.enums.items():
        if path in before.enums:
            said += _enum_changes(path, before.enums[path], enum)
    said += _record_changes(parsed_json(old, "the old schema"), parsed_json(new, "the new schema"))
    return said


def _enum_changes(path: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    said = []
    for word, these, those in (("got", new, old), ("lost", old, new)):
        symbols = [symbol for symbol in these["symbols"] if symbol not in those["symbols"]]
        if symbols:
            said.append(f"`{path}`: the enum {new['name']} {word} {', '.join(symbols)}")
    if old.get("default") != new.get("default"):
        default = f"from {old.get('default', 'none')} to {new.get('default', 'none')}"
        said.append(f"`{path}`: the default symbol of {new['name']} changed {default}")
    return said


def _record_changes(old: Any, new: Any) -> list[str]:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new else ["the whole type changed"]
    return [
        f"the {new.get('type')}'s {key} changed from {old.get(key)!r} to {new.get(key)!r}"
        for key in ("type", "namespace", "name", "aliases", "doc")
        if old.get(key) != new.get(key)
    ]


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return ", without default"
    return f", default {'null' if field['default'] is None else repr(field['default'])}"


def _was(field: dict[str, Any]) -> str:
    return _default(field).removeprefix(", default").removeprefix(", without default") or " none"
