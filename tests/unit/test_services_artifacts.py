"""Programs come from a Maven repository once, whole or not at all, and without a network afterwards."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.services.artifacts import MavenArtifacts
from infra.services.errors import ArtifactError, ServiceNotInstalledError


class _Repository:
    """A Maven repository on loopback: what it has, and what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.fails_first = 0
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.asked.append(self.path)
                content = repository.files.get(self.path)
                if len(repository.asked) <= repository.fails_first:
                    content = None
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.urls = {"local": f"http://127.0.0.1:{self._server.server_port}"}

    def add(self, name: str, content: bytes, suffix: str = ".jar", needs: tuple[str, ...] = ()) -> None:
        dependencies = "".join(
            f"<dependency><groupId>org.example</groupId><artifactId>{one}</artifactId><version>1</version></dependency>"
            for one in needs
        )
        pom = (
            "<project><modelVersion>4.0.0</modelVersion><groupId>org.example</groupId>"
            f"<artifactId>{name}</artifactId><version>1</version><dependencies>{dependencies}</dependencies></project>"
        ).encode()
        for path, body in ((f"{name}-1.pom", pom), (f"{name}-1{suffix}", content)):
            self.files[f"/org/example/{name}/1/{path}"] = body
            self.files[f"/org/example/{name}/1/{path}.sha1"] = hashlib.sha1(body).hexdigest().encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def repository() -> Iterator[_Repository]:
    one = _Repository()
    yield one
    one.close()


def _jar(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as jar:
        for name, content in members.items():
            jar.writestr(name, content)
    return buffer.getvalue()


def _tar(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_a_class_path_is_fetched_once_with_what_it_needs(repository: _Repository, tmp_path: Path) -> None:
    repository.add("server", _jar(Main=b"1"), needs=("library",))
    repository.add("library", _jar(Help=b"2"))
    said: list[str] = []
    artifacts = MavenArtifacts(tmp_path / "cache", said.append, repositories=repository.urls, attempts=1)

    class_path = artifacts.class_path("server-1", ["org.example:server:1"])

    assert class_path == str(tmp_path / "cache" / "server-1" / "*")
    assert {jar.name for jar in (tmp_path / "cache" / "server-1").iterdir()} == {
        "server-1.jar",
        "library-1.jar",
    }
    assert len(said) == 1
    assert "fetching org.example:server:1" in said[0]

    repository.asked.clear()
    again = MavenArtifacts(tmp_path / "cache", said.append, repositories=repository.urls, attempts=1)
    assert again.class_path("server-1", ["org.example:server:1"]) == class_path
    assert repository.asked == []
    assert len(said) == 1


def test_what_cannot_be_fetched_whole_leaves_nothing_behind(repository: _Repository, tmp_path: Path) -> None:
    repository.add("server", _jar(Main=b"1"), needs=("library",))
    repository.add("library", b"not a jar at all")
    artifacts = MavenArtifacts(tmp_path, repositories=repository.urls, attempts=1)
    with pytest.raises(ArtifactError, match=r"library-1\.jar arrived damaged"):
        artifacts.class_path("server-1", ["org.example:server:1"])
    assert [path.name for path in tmp_path.iterdir()] == ["server-1.lock"]

    repository.add("library", _jar(Help=b"2"))
    artifacts.class_path("server-1", ["org.example:server:1"])
    assert len(list((tmp_path / "server-1").iterdir())) == 2


def test_a_repository_that_fails_for_a_moment_is_asked_again(repository: _Repository, tmp_path: Path) -> None:
    repository.add("server", _jar(Main=b"1"))
    repository.fails_first = 1
    artifacts = MavenArtifacts(tmp_path, repositories=repository.urls, attempts=2)
    artifacts.class_path("server-1", ["org.example:server:1"])
    assert [jar.name for jar in (tmp_path / "server-1").iterdir()] == ["server-1.jar"]


def test_an_archive_is_unpacked_and_may_not_write_outside(repository: _Repository, tmp_path: Path) -> None:
    repository.add("app", _tar(**{"run.jar": b"x", "lib/a.jar": b"y"}), suffix="-all.tar.gz")
    repository.add("evil", _tar(**{"../../outside": b"x"}), suffix="-all.tar.gz")
    artifacts = MavenArtifacts(tmp_path / "cache", repositories=repository.urls, attempts=1)
    folder = artifacts.unpacked("app-1", "org.example:app:1", classifier="all", packaging="tar.gz")
    assert (folder / "lib" / "a.jar").read_bytes() == b"y"
    with pytest.raises(ArtifactError, match=r"org\.example:evil:1 could not be fetched"):
        artifacts.unpacked("evil-1", "org.example:evil:1", classifier="all", packaging="tar.gz")
    assert not list(tmp_path.rglob("outside"))


def test_programs_inside_a_jar_can_be_run(repository: _Repository, tmp_path: Path) -> None:
    content = _jar(
        **{"tool-linux": b"#!/bin/sh\n", "tool-mac": b"#!/bin/sh\n", "META-INF/x": b"", "other": b""}
    )
    repository.add("tools", content)
    folder = MavenArtifacts(tmp_path, repositories=repository.urls, attempts=1).members(
        "tools", "org.example:tools:1", "tool-"
    )
    assert {(path.name, path.stat().st_mode & 0o777) for path in folder.iterdir()} == {
        ("tool-linux", 0o755),
        ("tool-mac", 0o755),
    }


def test_no_network_is_one_clear_error(repository: _Repository, tmp_path: Path) -> None:
    urls = dict(repository.urls)
    repository.close()
    artifacts = MavenArtifacts(tmp_path, repositories=urls, attempts=1)
    with pytest.raises(ArtifactError, match=r"org\.example:server:1 could not be fetched") as caught:
        artifacts.class_path("server-1", ["org.example:server:1"])
    assert "\n" not in caught.value.message
    assert caught.value.retriable


def test_a_cache_that_cannot_be_written_is_one_clear_error(repository: _Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    artifacts = MavenArtifacts(tmp_path / "file" / "cache", repositories=repository.urls, attempts=1)
    with pytest.raises(ArtifactError, match=r"cache folder .* cannot be used"):
        artifacts.class_path("server-1", ["org.example:server:1"])


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.services.artifacts.importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ServiceNotInstalledError, match=r"jgo.*pip install 'streamgateway\[services\]'"):
        MavenArtifacts(tmp_path).class_path("server-1", ["org.example:server:1"])
