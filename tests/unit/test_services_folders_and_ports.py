"""Where the services' files go, and which ports they take."""

import socket
from pathlib import Path

import pytest

from infra.services.file_lock import FileLock
from infra.services.folders import cache_folder
from infra.services.tcp_ports import LOOPBACK, free_port, is_free


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", Path.home() / ".cache/streamgateway"),
        ({"XDG_CACHE_HOME": "/var/tmp/c"}, "linux", Path("/var/tmp/c/streamgateway")),
        ({"XDG_CACHE_HOME": "relative"}, "linux", Path.home() / ".cache/streamgateway"),
        ({}, "darwin", Path.home() / "Library/Caches/streamgateway"),
        ({"LOCALAPPDATA": "/users/me/local"}, "win32", Path("/users/me/local/streamgateway")),
        ({}, "win32", Path.home() / "AppData/Local/streamgateway"),
        ({"GATEWAY_CACHE_DIR": "/data/gw", "XDG_CACHE_HOME": "/c"}, "linux", Path("/data/gw")),
        ({"GATEWAY_CACHE_DIR": "~/gw"}, "linux", Path.home() / "gw"),
    ],
)
def test_the_cache_folder_follows_the_platform(environ: dict[str, str], platform: str, expected: Path) -> None:
    assert cache_folder(environ, platform) == expected


def test_a_free_port_is_outside_the_range_of_outgoing_connections() -> None:
    ports = {free_port() for _ in range(20)}
    assert len(ports) > 1
    assert all(port < 32_768 and is_free(port) for port in ports)


def test_the_preferred_port_is_taken_when_it_is_free() -> None:
    wanted = free_port()
    assert free_port(wanted) == wanted
    with socket.socket() as server:
        server.bind((LOOPBACK, wanted))
        server.listen()
        assert not is_free(wanted)
        assert free_port(wanted) != wanted


def test_a_file_lock_is_held_once(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire(wait=False)
    assert first.acquire(wait=False)
    assert not second.acquire(wait=False)
    first.release()
    assert second.acquire(wait=True)
    second.release()
