"""The official Python checker, a real registry and the check here, over every kind of change and rule."""

import asyncio
import warnings
from pathlib import Path

import avro.compatibility
import avro.errors
import avro.schema
import pytest

from core.errors import RegistryError
from infra.messaging.avro.schema_evolution import incompatibilities
from infra.messaging.avro.schema_registry import SchemaRegistryClient
from infra.messaging.schemas.schema_loader import COMPATIBILITIES
from infra.settings import RegistrySettings
from tests.evolution.cases import CHANGES, DIFFERENCES, NEITHER, Change, differences_table

RULES = sorted(COMPATIBILITIES)


def official(change: Change, rule: str) -> bool:
    """Whether the ``avro`` package lets the change pass."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            old, new = avro.schema.parse(change.old), avro.schema.parse(change.new)
    except avro.errors.AvroException:
        return False
    stem = rule.removesuffix("_TRANSITIVE")
    pairs = {"BACKWARD": [(new, old)], "FORWARD": [(old, new)], "FULL": [(new, old), (old, new)]}.get(stem, [])
    compatible = avro.compatibility.SchemaCompatibilityType.compatible
    checker = avro.compatibility.ReaderWriterCompatibilityChecker
    return all(checker().get_compatibility(*pair).compatibility is compatible for pair in pairs)


def ours(change: Change, rule: str) -> bool:
    try:
        return not incompatibilities(change.new, [change.old], rule)
    except RegistryError:
        return False


async def registrys(client: SchemaRegistryClient, subject: str, change: Change) -> dict[str, bool]:
    """Whether the registry lets it pass, rule by rule; asked, and not registered."""
    await client.set_compatibility("NONE", subject)
    await client.register(subject, change.old)
    answers = {}
    for rule in RULES:
        await client.set_compatibility(rule, subject)
        try:
            answers[rule] = (await client.test_compatibility(subject, change.new)).is_compatible
        except RegistryError as exc:
            if "(422)" not in exc.message:  # "invalid schema"; anything else is no answer
                raise
            answers[rule] = False
    return answers


async def test_the_stricter_answer_counts_and_every_difference_is_known(registry, prefix):
    found: dict[str, tuple[set[str], str]] = {}
    gate = asyncio.Semaphore(4)
    async with SchemaRegistryClient(RegistrySettings(url=registry.url, timeout_s=30)) as client:

        async def asked(number: int, change: Change) -> dict[str, bool]:
            async with gate:
                return await registrys(client, f"{prefix}{number}-value", change)

        answers = await asyncio.gather(*(asked(number, change) for number, change in enumerate(CHANGES)))
    for change, by_registry in zip(CHANGES, answers, strict=True):
        for rule in RULES:
            by_avro, by_check = official(change, rule), ours(change, rule)
            assert not by_check or (by_avro and by_registry[rule]), (
                f"{change.name} passes the check under {rule}"
            )
            if by_avro != by_registry[rule]:
                who = "registry" if by_avro else "avro package"
            elif by_check != by_avro:
                who = NEITHER
            else:
                continue
            rules, _who = found.setdefault(change.name, (set(), who))
            assert _who == who
            rules.add(rule.removesuffix("_TRANSITIVE"))
    everything = {rule.removesuffix("_TRANSITIVE") for rule in RULES}
    told = {
        name: ("all" if rules == everything else ", ".join(sorted(rules)), who)
        for name, (rules, who) in found.items()
    }
    assert told == {name: (rule, who) for name, (rule, who, _why) in DIFFERENCES.items()}


def test_every_kind_of_change_comes_once():
    assert len({change.name for change in CHANGES}) == len(CHANGES) > 90


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_the_check_has_words_for_what_it_refuses(change):
    if ours(change, "FULL"):
        return
    try:
        reasons = incompatibilities(change.new, [change.old], "FULL")
    except RegistryError as exc:
        reasons = [exc.message]
    assert all("`" in reason or "the record" in reason or "new schema" in reason for reason in reasons)


def test_the_table_in_the_documentation_is_this_one():
    page = Path(__file__).parents[2] / "docs" / "schemas.md"
    assert differences_table() in page.read_text("utf-8")
