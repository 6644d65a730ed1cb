"""What a consumer must do on any broker; inherited for the mock cluster and for the real one.

A subclass gives ``bootstrap`` (address) and ``topic`` (a fresh topic of one partition or more).
"""

import asyncio
from uuid import uuid4

from core.errors import PayloadError
from infra.messaging.clients.cb.base import CircuitBreakerConsumer
from infra.messaging.clients.cb.config import CircuitBreakerConfig
from infra.messaging.clients.json_client import AsyncConsumerWrapper, JsonProducerWrapper
from tests.kafka_mock import settings_for
from tests.waiting import until


async def fill(bootstrap: str, topic: str, count: int, first: int = 0) -> None:
    async with JsonProducerWrapper(settings=settings_for(bootstrap)) as producer:
        calls = (producer.send(topic, {"n": n}, "k") for n in range(first, first + count))
        await asyncio.gather(*calls)


async def take(consumer: AsyncConsumerWrapper, count: int) -> list[int]:
    """The numbers of at least ``count`` messages; every batch taken is committed."""
    found: list[int] = []
    async with asyncio.timeout(30):
        async for batch in consumer.batches():
            found += [message.value["n"] for message in batch]
            await consumer.commit()
            if len(found) >= count:
                return found
    raise AssertionError(f"{len(found)} of {count}")


class ConsumerSuite:
    """Batches, commits, bad messages, pausing."""

    def consumer(self, bootstrap: str, topic: str, group: str, **more) -> AsyncConsumerWrapper:
        return AsyncConsumerWrapper(topic, group_id=group, settings=settings_for(bootstrap), **more)

    async def test_goes_on_where_it_committed(self, bootstrap, topic):
        group = uuid4().hex
        await fill(bootstrap, topic, 50)
        async with self.consumer(bootstrap, topic, group, max_batch=20) as consumer:
            assert await take(consumer, 50) == list(range(50))
        await fill(bootstrap, topic, 5, first=50)
        async with self.consumer(bootstrap, topic, group) as consumer:
            assert await take(consumer, 5) == list(range(50, 55))

    async def test_what_was_not_committed_comes_again(self, bootstrap, topic):
        group = uuid4().hex
        await fill(bootstrap, topic, 10)
        async with self.consumer(bootstrap, topic, group) as consumer, asyncio.timeout(30):
            async for batch in consumer.batches():
                assert batch[0].value == {"n": 0}
                break
        async with self.consumer(bootstrap, topic, group) as consumer:
            assert await take(consumer, 10) == list(range(10))

    async def test_a_bad_message_comes_as_what_it_is(self, bootstrap, topic):
        async with JsonProducerWrapper(settings=settings_for(bootstrap)) as producer:
            await producer.send(topic, b"{not json", "k", headers={"h": "v"})
            await producer.send(topic, None, "k")
            await producer.send(topic, {"n": 1}, "k")
        found = []
        async with self.consumer(bootstrap, topic, uuid4().hex) as consumer, asyncio.timeout(30):
            async for message in consumer:
                found.append(message)
                if len(found) == 3:
                    break
        assert isinstance(found[0].error, PayloadError)
        assert (found[0].value, found[0].raw, found[0].headers) == (None, b"{not json", {"h": b"v"})
        assert (found[1].value, found[1].raw, found[1].error) == (None, None, None)
        assert (found[2].value, found[2].key, found[2].error) == ({"n": 1}, b"k", None)

    async def test_a_slow_reader_and_a_pause_lose_nothing(self, bootstrap, topic):
        await fill(bootstrap, topic, 60)
        async with self.consumer(bootstrap, topic, uuid4().hex, max_batch=5) as consumer:
            await until(lambda: consumer.core._queue.qsize() == 2, 30)  # two batches ahead, then it waits
            await asyncio.sleep(1.5)  # longer than the thread's patience: it has paused its partitions
            assert consumer.core._queue.qsize() == 2
            consumer.pause()
            await fill(bootstrap, topic, 20, first=60)
            consumer.resume()
            assert await take(consumer, 80) == list(range(80))

    async def test_behind_a_breaker_no_batch_is_lost(self, bootstrap, topic):
        await fill(bootstrap, topic, 30)
        config = CircuitBreakerConfig(failure_threshold=1, open_s=0.2, success_threshold=1, tick_s=0.02)
        group = uuid4().hex
        consumer = self.consumer(bootstrap, topic, group, max_batch=10)
        seen: list[int] = []
        raised: list[int] = []

        async def handler(batch):
            if not raised:
                raised.append(len(seen))
                raise OSError("away")
            seen.extend(message.value["n"] for message in batch)

        async with CircuitBreakerConsumer(consumer, config=config) as guarded:
            task = asyncio.create_task(guarded.run(handler))
            await until(lambda: len(seen) == 30, 30)
        await task
        assert seen == list(range(30))
