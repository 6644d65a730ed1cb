"""Looks from time to time whether the registry still has what is written with; never on the way of a record."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final, Protocol

import structlog

from core.backoff import full_jitter
from core.errors import ErrorCode, RegistryError, RegistryUnavailableError

_log = structlog.get_logger("schemas")

_FIRST_RETRY_S: Final = 1.0


class Follower(Protocol):
    """Writes with ids that a registry gave out."""

    async def look_again(self) -> None:
        """Ask whether they still stand, and mend what does not.

        Raises ``RegistryUnavailableError`` when the registry does not answer, and any other
        ``RegistryError`` for what is gone and cannot be had again; from a ``RegistryUnavailableError`` where
        the registry stopped to answer in the midst of it.
        """
        ...


class RegistryWatch:
    """Has its followers look again every ``every_s`` seconds, and sooner while something is wrong.

    ``problem`` says what is gone and cannot be mended; ``on_lost(problem)`` is told once an incident, and
    once more where its code becomes another. Mending that only broke off is tried again before it is called
    one. A registry that only does not answer is no incident: what was
    registered goes on, and is looked at as soon as it answers.
    """

    def __init__(
        self,
        followers: Callable[[], Iterable[Follower]],
        *,
        every_s: float,
        on_lost: Callable[[RegistryError], None] = lambda _problem: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.problem: RegistryError | None = None
        self._followers = followers
        self._every_s = every_s
        self._on_lost = on_lost
        self._sleep = sleep
        self._told: set[ErrorCode] = set()
        self._away = False
        self._broke_off = False
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Look, until cancelled."""
        retries = self._retries()
        wait_s = self._every_s
        while True:
            await self._sleep(wait_s)
            if await self.look():
                retries, wait_s = self._retries(), self._every_s
            else:
                wait_s = next(retries)

    def start(self) -> None:
        """Run beside whoever calls; again does nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self.run(), name="registry watch")

    async def stop(self) -> None:
        """Look no more; safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def look(self) -> bool:
        """Look once; True when all stands, or stands again."""
        problems: list[RegistryError] = []
        for follower in list(self._followers()):
            try:
                await follower.look_again()
            except RegistryUnavailableError as exc:
                self._begin_away(exc)
                return False
            except RegistryError as exc:
                problems.append(exc)
        self._away = False
        broke_off_before, self._broke_off = self._broke_off, False
        if problems:
            self._broke_off = isinstance(problems[0].__cause__, RegistryUnavailableError)
            if self._broke_off and not broke_off_before:
                _log.warning("schemas lost, trying again", reason=problems[0].message)
            else:
                self._lost(problems[0])
            return False
        if self.problem is not None:
            _log.warning("the registry has every schema again")
            self.problem = None
            self._told.clear()
        return True

    def _retries(self) -> Iterator[float]:
        return full_jitter(random.uniform, first_s=_FIRST_RETRY_S, max_s=self._every_s)

    def _begin_away(self, error: RegistryUnavailableError) -> None:
        self._broke_off = False
        if not self._away:
            self._away = True
            _log.warning("the registry does not answer, known schemas go on", reason=error.message)

    def _lost(self, problem: RegistryError) -> None:
        self.problem = problem
        if problem.code not in self._told:
            self._told.add(problem.code)
            _log.error("schemas lost", code=str(problem.code), reason=problem.message)
            self._on_lost(problem)
