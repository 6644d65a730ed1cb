"""Exact numbers: from the exchange's text to the record and the bytes, without a float on the way."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exact_numbers import fitting
from core.exchanges.table import PROFILES
from core.identity import Exchange, RequestType
from core.records import Ticker, Trade
from core.session import StreamSession
from infra.messaging.avro.codec.framing import header_of
from infra.messaging.avro.codec.reader import compile_reader
from infra.messaging.avro.codec.record_codec import RecordCodec
from infra.messaging.schemas.schema_loader import SchemaLoader

CODEC = RecordCodec({"ticker_data": 1, "trade_data": 2, "orderbook_data": 3})
PRICE, QUANTITY = "12345678901234567.123456789012345678", "0.100000000000000001"


def session(exchange: Exchange, kind: RequestType, *, exact: bool = True) -> StreamSession:
    profile = PROFILES[exchange]
    made = StreamSession(profile, kind, 1, now_s=0.0, exact=exact)
    made.subscribe([profile.parse_symbol("BTC-KRW" if exchange is Exchange.UPBIT else "BTC-USDT")], 0.0)
    return made


def upbit(kind: str, price: str, quantity: str, *, short: bool) -> str:
    names = ("ty", "cd", "tp", "tv") if short else ("type", "code", "trade_price", "trade_volume")
    return f'{{"{names[0]}":"{kind}","{names[1]}":"KRW-BTC","{names[2]}":{price},"{names[3]}":{quantity}}}'


def binance(kind: str, price: str, quantity: str, *, wrapped: bool) -> str:
    event = {"ticker": "24hrTicker", "trade": "trade", "aggTrade": "aggTrade"}[kind]
    names = ("c", "v") if kind == "ticker" else ("p", "q")
    data = f'{{"e":"{event}","s":"BTCUSDT","{names[0]}":"{price}","{names[1]}":"{quantity}"}}'
    return f'{{"stream":"btcusdt@{kind}","data":{data}}}' if wrapped else data


FRAMES = [
    *[
        (Exchange.UPBIT, kind, upbit, {"short": short})
        for kind in ("ticker", "trade")
        for short in (False, True)
    ],
    *[
        (Exchange.BINANCE, kind, binance, {"wrapped": wrapped})
        for kind in ("ticker", "trade", "aggTrade")
        for wrapped in (False, True)
    ],
]


@pytest.mark.parametrize(("exchange", "kind", "make", "form"), FRAMES)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_every_digit_arrives(exchange, kind, make, form, as_bytes):
    """More digits than a double has: what is read from the bytes is what the exchange wrote."""
    request_type = RequestType.TICKER if kind == "ticker" else RequestType.TRADE
    frame = make(kind, "999999999999999.123456789012345678", QUANTITY, **form)
    (record,) = session(exchange, request_type).receive(frame.encode() if as_bytes else frame, 1)
    name = "ticker_data" if kind == "ticker" else "trade_data"
    value = compile_reader(SchemaLoader().schema(name))(CODEC.encode(record))
    assert format(value["price_exact"], "f") == "999999999999999.123456789012345678"
    assert value["price"] == 999999999999999.1
    if kind != "ticker":
        assert format(value["quantity_exact"], "f") == QUANTITY


@pytest.mark.parametrize(("exchange", "kind", "make", "form"), FRAMES)
def test_by_default_they_are_null(exchange, kind, make, form):
    request_type = RequestType.TICKER if kind == "ticker" else RequestType.TRADE
    frame = make(kind, "1.5", "2.5", **form)
    (record,) = session(exchange, request_type, exact=False).receive(frame, 1)
    assert record.price_exact is None
    assert getattr(record, "quantity_exact", None) is None


@pytest.mark.parametrize(
    "text", ["1.5", "1", "0.00240000", "1e-7", "1E5", "135660000.0", "0.000000000000000001", "1.50e1"]
)
def test_how_a_number_is_written_does_not_matter(text):
    frame = upbit("trade", text, text, short=False)
    (record,) = session(Exchange.UPBIT, RequestType.TRADE).receive(frame, 1)
    assert record.price_exact == record.quantity_exact == Decimal(text)
    assert float(record.price_exact) == record.price


def test_what_does_not_fit_is_null_and_never_rounded():
    frame = upbit("trade", "0.1234567890123456789", "1e20", short=False)
    (record,) = session(Exchange.UPBIT, RequestType.TRADE).receive(frame, 1)
    assert (record.price, record.quantity) == (0.1234567890123456789, 1e20)
    assert (record.price_exact, record.quantity_exact) == (None, None)
    assert CODEC.encode(record)


def test_an_order_book_has_none():
    frame = (
        '{"type":"orderbook","code":"KRW-BTC","orderbook_units":'
        '[{"ask_price":2,"bid_price":1,"ask_size":1,"bid_size":1}]}'
    )
    (record,) = session(Exchange.UPBIT, RequestType.ORDERBOOK).receive(frame, 1)
    assert record.bids[0].price == 1.0


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_what_fits_can_be_encoded_and_comes_back(number):
    kept = fitting(number)
    if kept is None:
        if number.is_finite():
            _sign, digits, exponent = number.normalize().as_tuple()
            assert number.adjusted() >= 20 or exponent < -18 or len(digits) >= 28
        return
    assert kept == number
    record = Trade("u", "k", "s", "S", None, 1, 2, 3, 1.0, 1.0, price_exact=kept, quantity_exact=kept)
    value = compile_reader(SchemaLoader().schema("trade_data"))(CODEC.encode(record))
    assert value["price_exact"] == value["quantity_exact"] == number


def test_a_default_record_costs_a_null_byte_each():
    record = Ticker("u", "k", "s", "S", None, 1, 2, 3, 1.0)
    assert CODEC.encode(record).startswith(header_of(1))
    assert CODEC.encode(record)[-1:] == b"\0"
