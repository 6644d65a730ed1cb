"""Stop, then settings, then compaction, then a restart: the desired state is what the last commands say."""

import asyncio
from collections import Counter

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from core.partitioning import partition_of
from tests.faults.conftest import MakeField
from tests.faults.field import Field, faults_of, say, until

COMPACTING = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    "max.compaction.lag.ms": "100",
    "delete.retention.ms": "100",
}
PARTITIONS = 12


async def test_what_was_stopped_or_refused_stays_away_after_compaction_and_restart(
    make_field: MakeField,
) -> None:
    async with make_field(GATEWAY_URL_ALLOW_LIST='["127.0.0.1"]', KAFKA_SESSION_TIMEOUT_MS=3000) as field:
        sim = await field.simulate("upbit", symbols=["BTC-KRW", "ETH-KRW", "XRP-KRW"], rate=200)
        field.audit()
        gateway = await field.gateway("one").started()
        ticker = field.connect("upbit|ticker", ["BTC-KRW", "ETH-KRW", "NOPE-KRW"])
        trade = field.connect("upbit|trade", ["BTC-KRW", "ETH-KRW"])
        await until(lambda: settled(field, {ticker: 2, trade: 2}), 20, "the listed symbols run")
        ended = field.disconnect("upbit|ticker", ["ETH-KRW"])
        stopped = field.disconnect("upbit|trade")
        await until(lambda: settled(field, {ended: 1, stopped: 2}), 20, "they end")
        # New settings behind the stop, and one symbol: the others must not come back under them.
        again = field.connect("upbit|trade", ["XRP-KRW"], url=sim.url)
        await until(lambda: settled(field, {again: 1, ticker: 3}), 30, "it runs, and the unlisted is refused")
        assert await running(gateway) == {"ticker": ["BTC-KRW"], "trade": ["XRP-KRW"]}
        outcomes = await field.outcomes()
        assert outcomes[again, "XRP-KRW", "ws.connect_success"] == 1
        assert outcomes[ticker, "NOPE-KRW", "ws.error"] == 1
        assert set(outcomes.values()) == {1}

        before, seconds = await compacted(field)
        gateway.kill()
        successor = await field.gateway("two").started()
        await until(lambda: both_flow(successor), 20, "both streams are resumed without a command")
        # As long as the exchange would need to refuse the unlisted symbol again, were it asked.
        asked_again = await watch_for(successor, "NOPE-KRW", 3.0)

        say(f"compacted from {before} to {len(await keys(field))} facts in {seconds:.1f} s")
        assert not asked_again
        assert await running(successor) == {"ticker": ["BTC-KRW"], "trade": ["XRP-KRW"]}
        assert (await successor.streams())["upbit|korea|trade"]["url"] == sim.url
        assert (await successor.terminate())[0] == 0
        assert await field.outcomes() == outcomes
        assert faults_of(await field.proof()) == {}


async def settled(field: Field, wanted: dict[str, int]) -> bool:
    have = Counter(correlation_id for correlation_id, _, _ in (await field.outcomes()).elements())
    return all(have[correlation_id] >= count for correlation_id, count in wanted.items())


async def running(gateway) -> dict[str, list[str]]:
    streams = (await gateway.streams()).values()
    return {stream["request_type"]: sorted(stream["symbols"]) for stream in streams}


async def both_flow(gateway) -> bool:
    streams = await gateway.streams()
    return len(streams) == 2 and all(stream["delivered"] > 20 for stream in streams.values())


async def watch_for(gateway, symbol: str, seconds: float) -> bool:
    """Whether any stream asks for ``symbol`` within so many seconds."""
    for _ in range(round(seconds / 0.1)):
        if any(symbol in stream["symbols"] for stream in (await gateway.streams()).values()):
            return True
        await asyncio.sleep(0.1)
    return False


async def keys(field: Field) -> list[str]:
    """The keys on ``ws.streams`` with the values that stand, without the fillers."""
    found = [m.key().decode() for m in await field.messages("ws.streams")]
    return [key for key in found if not key.startswith("filler")]


async def compacted(field: Field) -> tuple[int, float]:
    """Have the broker compact ``ws.streams`` until no key stands there twice; how many facts it had before."""
    before = len(await keys(field))
    topic = f"{field.prefix}ws.streams"
    admin = AdminClient({"bootstrap.servers": field.kafka.bootstrap_servers})
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in COMPACTING.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(20)
    producer = Producer({"bootstrap.servers": field.kafka.bootstrap_servers})
    places = {partition_of(f"upbit|korea|{kind}", PARTITIONS) for kind in ("ticker", "trade")}

    async def each_key_once() -> bool:
        # Only a rolled segment is compacted, and only a new message rolls it; this one says nothing.
        for partition in places:
            producer.produce(topic, None, "filler|none|ticker#outcome", partition)
        producer.flush(20)
        await asyncio.sleep(0.3)
        counts = Counter(await keys(field))
        # The tombstone of the ended symbol goes too, once it is old enough.
        return max(counts.values()) == 1 and "upbit|korea|ticker|ETH-KRW" not in counts

    return before, await until(each_key_once, 60, "the topic is compacted")
