"""What an exchange sends does not make a live session grow: whatever nobody asked for is forgotten again."""

import gc
import gzip
import json
import re
import tracemalloc
from collections.abc import Callable

import pytest

from core.exchanges.base import BookSettings
from core.exchanges.table import PROFILES, profile_of
from core.identity import RequestType, Symbol
from core.session import StreamSession
from tests.frames import all_frames
from tests.simulated_exchange import SYMBOLS

ROUNDS = 24
NAME_BYTES = 12_000
US = 1_793_604_700_000_000
GZIP = b"\x1f\x8b"
BASES = re.compile(
    rb"(?<![a-z])(BTC|ETH|XRP|BCH|ALGO|MATIC|btc|eth|xrp|bch)(?=[-_/:.\"]|KRW|USD|krw|usd)|(?<=t)(BTC|ETH)(?=USD)"
)
NUMBERS = re.compile(rb'(?<="chanId":)\d+|(?<=^\[)\d+')


def strange(frame: bytes, number: int) -> bytes:
    """The frame with other and very long names of currencies, and other numbers of channels."""
    name = b"%dN" % number + b"A" * NAME_BYTES
    if frame.startswith(GZIP):
        return gzip.compress(strange(gzip.decompress(frame), number), 1)
    return NUMBERS.sub(
        b"%d" % (1_000_000 + number), BASES.sub(lambda m: name if m[0].isupper() else name.lower(), frame)
    )


def live(exchange: str, request_type: RequestType) -> StreamSession:
    session = StreamSession(
        profile_of(exchange), request_type, 1, now_s=0.0, books=BookSettings(depth=25), exact=True
    )
    session.subscribe([Symbol.parse(text) for text in SYMBOLS[exchange]], 0.0)
    return session


def drain(session: StreamSession) -> None:
    session.take_outbox()
    session.take_notices()
    session.take_records()


@pytest.mark.parametrize("request_type", list(RequestType))
@pytest.mark.parametrize("exchange", sorted(PROFILES))
def test_names_nobody_asked_for_are_not_kept(exchange: str, request_type: RequestType) -> None:
    session = live(exchange, request_type)
    frames = all_frames(exchange)
    assert sum(len(strange(frame, 1)) > len(frame) + NAME_BYTES / 200 for frame in frames) >= 5

    def feed(numbers: range) -> None:
        for number in numbers:
            for frame in frames:
                session.receive(strange(frame, number), US + number)
                drain(session)
            session.on_time(number / 4, US + number)
            drain(session)

    tracemalloc.start()
    try:
        feed(range(2))
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        feed(range(2, ROUNDS))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 5 * NAME_BYTES
    assert set(session.active_symbols) <= set(SYMBOLS[exchange])
    assert len(session.ignored) < 20


def kraken_update(number: int, digits: str) -> str:
    level = f'{{"price":{number + 1}.{digits}1,"qty":1}}'
    return '{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[' + level + '],"asks":[]}]}'


def okx_update(number: int, digits: str) -> str:
    data = {
        "bids": [[f"{number + 1}.{digits}1", "1", "0", "1"]],
        "asks": [],
        "ts": "1793604700000",
        "checksum": 5,
        "seqId": number + 1,
        "prevSeqId": number,
    }
    arg = {"channel": "books", "instId": "BTC-USDT"}
    return json.dumps({"arg": arg, "action": "snapshot" if number == 0 else "update", "data": [data]})


def bitfinex_update(number: int, digits: str) -> str:
    return f"[10092,[{number + 1}.{digits}1,1,1]]"


def bitfinex_entries(number: int, digits: str) -> str:
    return f"[10092,[[{number + 1}.{digits}1,1,1],[{number + 9}.{digits}1,1,-1]]]"


@pytest.mark.parametrize(
    ("exchange", "update"),
    [
        ("kraken", kraken_update),
        ("okx", okx_update),
        ("bitfinex", bitfinex_update),
        ("bitfinex", bitfinex_entries),
    ],
)
def test_a_number_of_many_digits_is_an_error_and_not_kept_in_a_book(
    exchange: str, update: Callable[[int, str], str]
) -> None:
    session = live(exchange, RequestType.ORDERBOOK)
    if exchange == "bitfinex":
        session.receive(
            '{"event":"subscribed","channel":"book","chanId":10092,"symbol":"tBTCUSD","prec":"P0","freq":"F0",'
            '"len":"25","pair":"BTCUSD"}',
            US,
        )
    if exchange == "kraken":
        session.receive(
            '{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[],"asks":[]}]}', US
        )
    drain(session)
    assert len(session.receive(update(0, "0" * 30), US)) == 1
    drain(session)
    assert session.parse_failed == 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1, 21):
            assert session.receive(update(number, "0" * 50_000), US + number) == ()
            drain(session)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert session.parse_failed == 20
    assert grown < 200_000
