"""What stands on ``ws.streams`` without belonging there is passed over, and ends nothing."""

from collections.abc import Iterable

import pytest
from confluent_kafka import Message
from structlog.testing import capture_logs

from core.identity import ConnectionScopeDomain
from core.partitioning import partition_of
from core.streams import Fact, scope_of_key
from infra.messaging.streams.desired_state_consumer import DesiredStateConsumer
from infra.messaging.topics import TopicAdmin
from infra.settings import load_settings

K = "upbit|korea|ticker"
BTC = b'{"symbol":"BTC-KRW","ticket_id":"1"}'
BAD = [
    ("upbit|korea|candles|BTC-KRW", BTC),
    ("upbit|korea|trade|garbage", b'{"symbol":"garbage","ticket_id":"1"}'),
    ("upbit|korea|trade|garbage", None),
    ("upbit|asia|ticker|BTC-KRW", BTC),
    ("nowhere|korea|ticker|BTC-KRW", BTC),
    (f"{K}|ETH-KRW", BTC),
    (f"{K}|BTC-KRW", b'{"symbol":"BTC-KRW","ticket_id":"1","projection":["price","colour"]}'),
    (f"{K}|BTC-KRW", b"{"),
    (f"{K}#settings", b'{"ticket_id":"1","url":"wss://me:secret@api.upbit.com/websocket/v1"}'),
    (f"{K}#settings", b'{"ticket_id":"1","url":"wss://elsewhere.example/ws"}'),
    (f"{K}#settings", b'{"ticket_id":"1","symbols":["garbage"]}'),
    (f"{K}#settings", b'{"ticket_id":"1","socket_params":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    (f"{K}|BTC-KRW#settings", b'{"ticket_id":"1"}'),
    (f"{K}|BTC-KRW#stop", b'{"ticket_id":"1"}'),
    (f"{K}#refused", b'{"offset":1,"refused":true}'),
    (f"{K}#colour", b"{}"),
]


class Owner:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Fact]] = []
        self.caught: list[int] = []

    def assigned(self, partition: int) -> None: ...

    def facts(self, partition: int, batch: Iterable[tuple[int, Fact]]) -> None:
        self.told += batch

    def caught_up(self, partition: int) -> None:
        self.caught.append(partition)

    async def revoked(self, partitions: Iterable[int]) -> None: ...

    async def lost(self, partitions: Iterable[int], *, brokers_answer: bool) -> None: ...

    async def group_answers(self, assigned: Iterable[int]) -> None: ...


async def told(key: str, value: bytes | None) -> tuple[list[tuple[int, Fact]], int]:
    """What the owner hears of a fact that is followed by a good one, and how often one was ignored."""
    settings = load_settings()
    owner, topics = Owner(), TopicAdmin(settings)
    consumer = DesiredStateConsumer(settings, owner, topics)
    topics.streams_partitions = 1
    messages = [
        Message(topic="ws.streams", partition=0, offset=0, key=key.encode(), value=value),
        Message(topic="ws.streams", partition=0, offset=1, key=f"{K}|BTC-KRW".encode(), value=BTC),
    ]
    with capture_logs() as logs:
        await consumer._handle(messages)
    return owner.told, sum(entry["event"] == "fact ignored" for entry in logs)


@pytest.mark.parametrize(("key", "value"), BAD, ids=range(len(BAD)))
async def test_a_fact_that_does_not_belong_is_reported_and_passed_over(key: str, value: bytes | None) -> None:
    facts, ignored = await told(key, value)
    assert [offset for offset, _ in facts] == [1]
    assert ignored == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (f"{K}|BTC-KRW", b'{"symbol":"BTC-KRW","ticket_id":"1","projection":["price"]}'),
        (f"{K}|BTC-KRW", None),
        (f"{K}#settings", b'{"ticket_id":"1","url":"wss://api.upbit.com/websocket/v1"}'),
        (f"{K}#stop", b'{"ticket_id":"1"}'),
        (f"{K}|BTC-KRW#refused", b'{"offset":1,"refused":true}'),
        (f"{K}#outcome", b'{"offset":1}'),
    ],
)
async def test_a_fact_that_belongs_is_told(key: str, value: bytes | None) -> None:
    facts, ignored = await told(key, value)
    assert [offset for offset, _ in facts] == [0, 1]
    assert ignored == 0
    assert facts[0][1].scope.stream == ConnectionScopeDomain("upbit", "korea", "ticker")
    assert partition_of(scope_of_key(key).key, 1) == 0
