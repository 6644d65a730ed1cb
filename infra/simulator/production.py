"""The stream of market data: updates in turn over everything subscribed, at one rate, or a recording."""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Sequence

from infra.simulator.connection import FrameBatch, Link
from infra.simulator.delivery import Delivery, SimulatorStats
from infra.simulator.pace import Pace
from infra.simulator.replay import RecordedFrame
from infra.simulator.venue import Beat, Feed, Snapshot, Venue

_SMALLEST_WAIT_S = 0.004
_LARGEST_WAIT_S = 0.05
_MOST_PER_TURN = 500
"""Updates made without yielding to the loop, so that requests are answered promptly at any rate."""


class Production:
    """Makes updates while ``running`` is set; ``follow`` tells it who wants what.

    ``watch`` is given each task that is begun here, so that none can end of an error unseen.
    """

    def __init__(
        self,
        venue: Venue,
        delivery: Delivery,
        stats: SimulatorStats,
        rate: float,
        recording: Sequence[RecordedFrame] | None,
        replay_speed: float | None,
        watch: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self.running = asyncio.Event()
        self.pace = Pace(rate)
        self._venue = venue
        self._delivery = delivery
        self._stats = stats
        self._recording = recording
        self._replay_speed = replay_speed
        self._watch = watch
        self._subscribers: dict[Feed, list[tuple[Link, Hashable]]] = {}
        self._rotation: list[Feed] = []
        self._turn = 0

    def follow(self, links: Iterable[Link]) -> None:
        """Take note of all subscriptions; feeds nobody wants any more make no updates."""
        subscribers: dict[Feed, list[tuple[Link, Hashable]]] = {}
        for link in links:
            for feed, form in link.conversation.feeds.items():
                subscribers.setdefault(feed, []).append((link, form))
            if self._recording is not None and link.replay is None and link.conversation.subscribed:
                link.replay = asyncio.create_task(self._replay(link, self._recording))
                self._watch(link.replay)
        if not self._subscribers:
            self.pace.restart()
        self._subscribers, self._rotation = subscribers, sorted(subscribers)

    def snapshot(self, link: Link, wanted: Snapshot) -> None:
        """Send a feed's present state; a recording has none."""
        if self._recording is None:
            update = self._venue.latest(wanted.feed, self._delivery.now_ms())
            link.send(self._delivery.frame(link, update, wanted.form, "snapshot"))

    def beat(self, link: Link, beat: Beat) -> None:
        """Send a feed's heartbeat, behind its data; a recording has its own."""
        if self._recording is None:
            link.send(self._delivery.beat(link, beat))

    async def run(self) -> None:
        """Make updates until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if not self.running.is_set():
                await self.running.wait()
                self.pace.restart()
            due = self.pace.due(loop.time()) if self._rotation else 0
            while due > 0 and self.running.is_set():
                turn = min(due, _MOST_PER_TURN)
                self._send_updates(turn)
                due -= turn
                await asyncio.sleep(0)
            await asyncio.sleep(self.pace.wait_s(loop.time(), _SMALLEST_WAIT_S, _LARGEST_WAIT_S))

    def _send_updates(self, count: int) -> None:
        now_ms = self._delivery.now_ms()
        batches: dict[Link, FrameBatch] = {}
        for _ in range(count if self._rotation and self._recording is None else 0):
            self._turn = (self._turn + 1) % len(self._rotation)
            feed = self._rotation[self._turn]
            update = self._venue.advance(feed, now_ms)
            self._stats.updates += 1
            for link, form in self._subscribers[feed]:
                batches.setdefault(link, []).extend(self._delivery.frame(link, update, form, "realtime"))
        for link, batch in batches.items():
            link.send(batch)
            self._delivery.spoil(link)

    async def _replay(self, link: Link, recording: Sequence[RecordedFrame]) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number, recorded in enumerate(recording, 1):
            if self._replay_speed is not None:
                ahead_s = began_s + recorded.after_s / self._replay_speed - loop.time()
                if ahead_s > 0:
                    await asyncio.sleep(ahead_s)
            if not self.running.is_set():
                stopped_s = loop.time()
                await self.running.wait()
                began_s += loop.time() - stopped_s
            await link.wait_for_room()
            link.send(self._delivery.recorded(link, recorded, number))
            self._delivery.spoil(link)
            if number % 64 == 0:
                await asyncio.sleep(0)
        self._stats.replays_finished += 1
