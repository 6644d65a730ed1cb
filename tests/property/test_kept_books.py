"""Whatever is lost, late or stale: who trusts ``valid`` never holds a book that is not the exchange's."""

import json
from random import Random
from typing import ClassVar

import pytest

from core.exchanges._template import Template
from core.exchanges.base import BookSettings, SnapshotWanted, SymbolBroken, SymbolWhole
from core.exchanges.binance import Binance
from core.identity import RequestType, Symbol
from core.records import BookKind, OrderBook, Record
from core.session import Stale, StreamSession

Sides = tuple[dict[float, float], dict[float, float]]


class Reader:
    """A consumer of the records: starts at a valid snapshot, applies valid changes, rests otherwise."""

    seen: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        self.book: Sides | None = None
        self.at: int | None = None
        self.sequence = 0

    def take(self, record: Record) -> None:
        assert isinstance(record, OrderBook)
        self.sequence += 1
        assert record.sequence == self.sequence
        if record.kind is BookKind.SNAPSHOT:
            assert record.valid
            self.seen["snapshots"] += 1
            self.book = tuple({x.price: x.quantity for x in side} for side in (record.bids, record.asks))
        elif record.valid:
            assert self.book is not None
            self.seen["valid"] += 1
            for side, levels in zip(self.book, (record.bids, record.asks), strict=True):
                for level in levels:
                    side.pop(level.price, None)
                    if level.quantity:
                        side[level.price] = level.quantity
        else:
            self.seen["invalid"] += 1
            return
        self.at = record.last_update_id


class World:
    """An exchange with one book, a wire that loses frames, and the session in between."""

    def __init__(self, source: Random) -> None:
        self.source = source
        self.now_s = 0.0
        self.id = 100
        self.truth: Sides = ({1.0: 1.0}, {9.0: 1.0})
        self.history = {100: self.copy()}
        self.reader = Reader()
        self.broken = 0
        self.session = self.connect()

    def copy(self) -> Sides:
        return dict(self.truth[0]), dict(self.truth[1])

    def change(self, changes: list[tuple[bool, int, int]]) -> tuple[int, list, list]:
        """Move the true book on; the range's first id and both sides' changed levels."""
        first, sides = self.id + 1, ([], [])
        for is_ask, price, quantity in changes:
            self.id += 1
            self.truth[is_ask].pop(float(price), None)
            if quantity:
                self.truth[is_ask][float(price)] = float(quantity)
            sides[is_ask].append([str(price), str(quantity)])
        self.history[self.id] = self.copy()
        return first, *sides

    def levels(self, sides: Sides) -> tuple[list, list]:
        return tuple([[str(price), str(quantity)] for price, quantity in side.items()] for side in sides)

    def receive(self, frame: object) -> None:
        for record in self.session.receive(json.dumps(frame), round(self.now_s * 1e6)):
            self.reader.take(record)

    def step(self) -> None:
        """Something happens, and what a reader holds is held against the truth."""
        if self.source.random() < 0.7:
            self.update()
        else:
            self.time_passes()
        self.notices()
        if self.reader.at is not None:
            assert self.reader.book == self.history[self.reader.at]

    def update(self) -> None:
        source = self.source
        changes = [
            (source.random() < 0.5, source.randint(1, 8), source.randint(0, 3))
            for _ in range(source.randint(1, 4))
        ]
        frame = self.delta(*self.change(changes))
        if source.random() < 0.9 and self.connected():
            self.receive(frame)

    def time_passes(self) -> None:
        self.now_s += self.source.choice([0.25, 0.25, 1.0, 5.0, 60.0])
        self.session.on_time(self.now_s, round(self.now_s * 1e6))
        for record in self.session.take_records():
            self.reader.take(record)
        for message in self.session.take_outbox():
            self.answer(str(message))
        self.notices()

    def notices(self) -> None:
        for notice in self.session.take_notices():
            match notice:
                case SymbolBroken():
                    self.broken += 1
                    assert self.broken == 1, "an incident is told once"
                case SymbolWhole():
                    self.broken -= 1
                    assert self.broken == 0
                case SnapshotWanted():
                    self.wanted()
                case Stale():
                    pass

    def connected(self) -> bool:
        return True

    def answer(self, message: str) -> None:
        raise NotImplementedError

    def wanted(self) -> None:
        raise NotImplementedError

    def connect(self) -> StreamSession:
        raise NotImplementedError

    def delta(self, first: int, bids: list, asks: list) -> object:
        raise NotImplementedError


class FetchedBooks(World):
    """Binance: the snapshot comes by REST, at any time later, and may be of before."""

    def connect(self) -> StreamSession:
        self.fetching, self.fetch_began_s = False, 0.0
        books = BookSettings(depth=50, snapshot_every_s=20.0)
        session = StreamSession(Binance(), RequestType.ORDERBOOK, 7, now_s=0.0, books=books)
        session.subscribe([Symbol("BTC", "USDT")], 0.0)
        session.take_outbox()
        session.receive('{"result":null,"id":1}', 0)
        session.take_notices()
        return session

    def answer(self, message: str) -> None:
        assert "LIST_SUBSCRIPTIONS" in message

    def wanted(self) -> None:
        assert not self.fetching or self.now_s - self.fetch_began_s >= 120.0, "one at a time"
        self.fetching, self.fetch_began_s = True, self.now_s

    def delta(self, first: int, bids: list, asks: list) -> object:
        event = {"e": "depthUpdate", "s": "BTCUSDT", "U": first, "u": self.id, "b": bids, "a": asks}
        return {"stream": "x", "data": event}

    def step(self) -> None:
        super().step()
        if self.fetching and self.source.random() < 0.3:
            self.rest_answers()

    def rest_answers(self) -> None:
        self.fetching = False
        age = self.source.choice([0, 0, 0, 1, 3])
        if self.source.random() < 0.2:
            self.session.snapshot_failed("BTC-USDT")
            return
        last = sorted(self.history)[-1 - min(age, len(self.history) - 1)]
        bids, asks = self.levels(self.history[last])
        body = json.dumps({"lastUpdateId": last, "bids": bids, "asks": asks}).encode()
        for record in self.session.snapshot("BTC-USDT", body, round(self.now_s * 1e6)):
            self.reader.take(record)


class ResubscribedBooks(World):
    """The template: a subscription begins with the snapshot, each delta names the one before."""

    def connect(self) -> StreamSession:
        self.subscribed = False
        self.last_told = 0
        books = BookSettings(depth=50, snapshot_every_s=20.0)
        session = StreamSession(Template(), RequestType.ORDERBOOK, 7, now_s=0.0, books=books)
        session.subscribe([Symbol("BTC", "USD")], 0.0)
        return session

    def connected(self) -> bool:
        return self.subscribed

    def wanted(self) -> None:
        raise AssertionError("nothing to fetch")

    def answer(self, message: str) -> None:
        if message == "ping":
            self.session.receive("pong", 1)
        else:
            self.subscribed = json.loads(message)["op"] == "subscribe"
            if self.subscribed:
                bids, asks = self.levels(self.truth)
                self.receive(self.book("full", bids, asks, None))

    def delta(self, first: int, bids: list, asks: list) -> object:
        return self.book("part", bids, asks, first - 1)

    def book(self, kind: str, bids: list, asks: list, prev: int | None) -> object:
        data = {"kind": kind, "bids": bids, "asks": asks, "id": self.id, "prev": prev}
        return {"ch": "book", "m": "BTC_USD", "d": data}


@pytest.mark.parametrize("world", [FetchedBooks, ResubscribedBooks])
def test_what_is_valid_is_true(world: type[World]) -> None:
    seen = Reader.seen = dict.fromkeys(("snapshots", "valid", "invalid"), 0)
    for seed in range(60):
        it = world(Random(seed))
        for _ in range(300):
            it.step()
    assert min(seen.values()) > 200
