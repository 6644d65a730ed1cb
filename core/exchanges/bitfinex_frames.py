"""The frames of Bitfinex's channels, which are arrays.

``[number, body, …]``: behind the body stand the arguments of a word, then the sequence, then the server's time,
as far as they were asked for; arrays may grow. What each means stands in ``bitfinex``.

``TickerFrame``, ``TradeFrame`` and ``BookFrame`` are what comes most, with the sequence and perhaps the time:
they are read at once. Every other array, also with a tail of another form, is an ``Array``, to be read by its
parts.
"""

from typing import Annotated, Final, Literal, final

import msgspec
from msgspec import Meta

from core.errors import PayloadError
from core.exchanges.values import MAX_QUANTITY, EpochMs, Id, Price, PriceOrZero, Quantity, Rate

FIRST_TIME_MS: Final = 1_000_000_000_000
END_TIME_MS: Final = 10_000_000_000_000
"""A number behind the body is a time from the first of these on, and below it a sequence."""

SequenceNumber = Annotated[int, Meta(ge=0, lt=FIRST_TIME_MS)]
Long = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
SignedAmount = Annotated[float, Meta(ge=-MAX_QUANTITY, le=MAX_QUANTITY)]

ABSENT: Final = msgspec.Raw(b"null")
_QUOTE, _BRACKET = ord('"'), ord("[")
_WORDS: Final = {b'"hb"': "hb", b'"te"': "te", b'"tu"': "tu", b'"cs"': "cs"}
_WITH_ARGUMENT: Final = frozenset({"te", "tu", "cs"})


class Array(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Any array, in parts."""

    channel_id: Id
    body: msgspec.Raw
    a: msgspec.Raw = ABSENT
    b: msgspec.Raw = ABSENT
    c: msgspec.Raw = ABSENT

    @property
    def word(self) -> str | None:
        """The word that the body is; "" for one that is not known, None for data.

        Raises ``PayloadError`` for neither.
        """
        first = memoryview(self.body)[0]
        if first == _QUOTE:
            return _WORDS.get(bytes(self.body), "")
        if first != _BRACKET:
            raise PayloadError("the array holds neither data nor a word")
        return None

    @property
    def holds_items(self) -> bool:
        """Whether the body is a list of items, also an empty one, and not one item."""
        return bytes(memoryview(self.body)[1:64]).lstrip()[:1] in (b"[", b"]")

    def tail(self, word: str | None) -> tuple[int | None, int | None]:
        """The sequence and the server's time, behind the argument of a word, told by their size."""
        sequence = time_ms = None
        for raw in (self.a, self.b, self.c)[1 if word in _WITH_ARGUMENT else 0 :]:
            try:
                number = None if raw is ABSENT else NUMBER.decode(raw)
            except msgspec.ValidationError:
                continue  # a field of the future
            if number is None:
                continue
            if number >= FIRST_TIME_MS:
                time_ms = number if number < END_TIME_MS else None
            elif number >= 0:
                sequence = number
        return sequence, time_ms


class TickerBody(msgspec.Struct, frozen=True, gc=False, array_like=True):
    bid: PriceOrZero | None
    bid_sizes: float | None
    ask: PriceOrZero | None
    ask_sizes: float | None
    change: float | None
    change_rate: Rate | None
    last: PriceOrZero | None
    volume: Quantity | None = None
    high: PriceOrZero | None = None
    low: PriceOrZero | None = None


class TradeBody(msgspec.Struct, frozen=True, gc=False, array_like=True):
    trade_id: Id
    time_ms: EpochMs
    amount: SignedAmount
    price: Price


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A level of a book."""

    price: Price
    count: Id
    amount: SignedAmount


class EntryText(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The same as it is written, because the checksum is made of that."""

    price: msgspec.Raw
    count: Id
    amount: msgspec.Raw


@final
class TickerFrame(msgspec.Struct, frozen=True, gc=False, array_like=True):
    channel_id: Id
    body: TickerBody
    sequence: SequenceNumber | None = None
    time_ms: EpochMs | None = None


@final
class TradeFrame(msgspec.Struct, frozen=True, gc=False, array_like=True):
    channel_id: Id
    word: Literal["te", "tu"]
    trade: TradeBody
    sequence: SequenceNumber | None = None
    time_ms: EpochMs | None = None


@final
class BookFrame(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An entry with sequence and time; or the word ``cs`` with checksum, sequence and time."""

    channel_id: Id
    body: Entry | Literal["cs"]
    a: Long | None = None
    b: Long | None = None
    c: EpochMs | None = None


# Not strict: with a flag of its own, decimals come as text.
ARRAY = msgspec.json.Decoder(Array)
NUMBER: msgspec.json.Decoder[int | None] = msgspec.json.Decoder(Long | None)
TICKER = msgspec.json.Decoder(TickerBody, strict=False)
TRADE = msgspec.json.Decoder(TradeBody, strict=False)
TRADES = msgspec.json.Decoder(list[TradeBody], strict=False)
ENTRY = msgspec.json.Decoder(EntryText)
ENTRIES = msgspec.json.Decoder(list[EntryText])
TICKER_FRAME = msgspec.json.Decoder(TickerFrame, strict=False)
TRADE_FRAME = msgspec.json.Decoder(TradeFrame, strict=False)
BOOK_FRAME = msgspec.json.Decoder(BookFrame, strict=False)

MarketFrame = TickerFrame | TradeFrame | BookFrame
