"""Order books as JSON: levels by name, and nothing of what else a level remembers of its frame."""

from typing import Final

import orjson
import pytest

from core.exchanges.table import PROFILES
from core.identity import Exchange, RequestType
from core.order_books import TextLevel
from core.records import BookKind, Level, OrderBook, json_form
from core.session import StreamSession
from infra.messaging.clients.json_client import json_bytes
from infra.messaging.serializers.unified_serializer import UnifiedSerializer
from tests.frames import frame

NOW_US: Final = 1_793_604_700_000_000
HEAD: Final = ("okx", "asia", "BTC-USDT", "BTC-USDT", None, NOW_US, 1, 1)


class Remembering(Level, frozen=True, gc=False):
    """What a dialect may keep beside the numbers."""

    digits: bytes


def whole_book(exchange: Exchange, symbol: str, name: str) -> OrderBook:
    profile = PROFILES[exchange]
    session = StreamSession(profile, RequestType.ORDERBOOK, 1, now_s=0.0)
    session.subscribe([profile.parse_symbol(symbol)], 0.0)
    (record,) = session.receive(frame(exchange, name), NOW_US)
    assert isinstance(record, OrderBook)
    return record


BOOKS: Final = {
    "plain, and as texts": OrderBook(
        *HEAD, BookKind.DELTA, [Level(8476.97, 0.0)], [TextLevel.parse("8476.980", "415")], 1, 2, None, True
    ),
    "with bytes": OrderBook(*HEAD, BookKind.SNAPSHOT, [Remembering(1.5, 2.0, b"152")], []),
    "okx": whole_book(Exchange.OKX, "BTC-USDT", "orderbook"),
    "okx with checksum": whole_book(Exchange.OKX, "ETH-USDT", "orderbook.checked"),
    "kraken": whole_book(Exchange.KRAKEN, "BTC-USD", "orderbook.snapshot"),
}


@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
def test_levels_are_price_and_quantity_by_name(book: OrderBook) -> None:
    written = json_bytes(book)
    assert written is not None
    read = orjson.loads(written)
    for side in ("bids", "asks"):
        assert read[side] == [{"price": x.price, "quantity": x.quantity} for x in getattr(book, side)]
    assert read["kind"] == book.kind.value
    assert list(read) == list(OrderBook.__struct_fields__)
    assert orjson.loads(UnifiedSerializer().serialize(book)) == read
    assert orjson.loads(orjson.dumps(json_form(book))) == read


@pytest.mark.parametrize(
    "level", [Level(1.5, 2.0), TextLevel.parse("1.50", "2"), Remembering(1.5, 2.0, b"152")]
)
def test_also_a_level_alone(level: Level) -> None:
    """As in a dict that somebody made of a book."""
    for written in (json_bytes({"bids": [level]}), UnifiedSerializer().serialize({"bids": [level]})):
        assert written == b'{"bids":[{"price":1.5,"quantity":2.0}]}'
