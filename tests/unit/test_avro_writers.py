"""What the writers refuse, and how they say so."""

import decimal
from types import SimpleNamespace

import pytest

from core.errors import ErrorDomain, PayloadError, RegistryError
from core.records import BookKind, Level, OrderBook, Ticker, Trade
from infra.messaging.avro.codec.compiled_writer import compile_writer
from infra.messaging.avro.codec.framing import schema_id_of
from infra.messaging.avro.codec.reader import compile_reader
from infra.messaging.avro.codec.record_codec import RecordCodec
from infra.messaging.schemas.schema_loader import SchemaLoader

HEAD = ("upbit", "korea", "BTC-KRW", "KRW-BTC", None, 1, 2, 3)
CODEC = RecordCodec({"ticker_data": 1, "trade_data": 2, "orderbook_data": 3})


def metrics(**changes):
    items = [{"minute_start_ts_kst": 1, "total": n, "details": {"BTC-KRW_COUNT": n}} for n in range(5)]
    batch = {
        "range_start_ts_kst": 1,
        "range_end_ts_kst": 2,
        "bucket_size_sec": 60,
        "items": items,
        "version": 1,
    }
    return {"region": "korea", "exchange": "upbit", "request_type": "ticker", "batch": batch, **changes}


@pytest.fixture(params=["item", "attribute"])
def write_metrics(request):
    return compile_writer(SchemaLoader().schema("metrics_event"), access=request.param)


def at(message, path, value):
    """Put ``value`` at a path of keys and indexes."""
    target = message
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return message


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["batch", "items", 3, "total"], "7", "batch.items[3].total: str '7', where an int"),
        (["batch", "items", 3, "total"], True, "batch.items[3].total: bool True, where an int"),
        (["batch", "items", 3, "total"], 2**31, "batch.items[3].total: 2147483648 does not fit an int"),
        (["batch", "items", 0, "minute_start_ts_kst"], 2**63, "batch.items[0].minute_start_ts_kst: 922"),
        (["batch", "items", 1, "details", "X_COUNT"], None, "batch.items[1].details['X_COUNT']: null"),
        (["batch", "items", 1, "details", 5], 1, "batch.items[1].details: a key must be a text, not 5"),
        (["batch", "items"], "abc", "batch.items: str 'abc', where a list"),
        (["batch", "items", 2], 5, "batch.items[2]: int 5, where an object"),
        (["batch", "bucket_size_sec"], 60.0, "batch.bucket_size_sec: float 60.0, where an int"),
        (["batch", "versoin"], 1, "batch.versoin: streamgateway.v1.MinuteBatch has no such field"),
        (["latency_p50_us"], 1.5, "latency_p50_us: float 1.5, where a long"),
        (["region"], "\ud800", "region: the text is not valid Unicode"),
        (["sequences"], [{"session_id": 1, "symbol": "A", "first": 1}], "sequences[0].last: missing"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(write_metrics, path, value, said):
    with pytest.raises(PayloadError) as caught:
        write_metrics(at(metrics(), path, value))
    assert said in caught.value.message
    assert caught.value.domain is ErrorDomain.PAYLOAD


def test_missing_fields_take_their_defaults(write_metrics):
    read = compile_reader(SchemaLoader().schema("metrics_event"))
    value = read(b"\0\0\0\0\1" + write_metrics(metrics(frames=7)))
    assert value["frames"] == 7
    assert value["delivered"] == 0
    assert value["latency_p50_us"] is None
    assert value["sequences"] == []


def test_a_missing_field_without_default(write_metrics):
    message = metrics()
    del message["batch"]["version"]
    with pytest.raises(PayloadError, match=r"batch\.version: missing, and it has no default"):
        write_metrics(message)


def test_unknown_text_never_becomes_an_enums_default():
    with pytest.raises(PayloadError, match="side: 'HOLD' is none of BUY, SELL, UNKNOWN"):
        CODEC.encode(Trade(*HEAD, 1.0, 1.0, "HOLD"))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Ticker(*HEAD, None), "price: null, where a number"),
        (Ticker(*HEAD, True), "price: bool True, where a number"),
        (Ticker(*HEAD, decimal.Decimal(1)), "price: Decimal"),
        (Ticker(*HEAD, 1.0, open="2"), "open: str '2', where a number"),
        (Ticker(*HEAD[:-1], True, 1.0), "sequence: bool True"),
        (Ticker(*HEAD[:-2], True, 3, 1.0), "session_id: bool True"),
        (Ticker(*HEAD[:-2], 2**63, 3, 1.0), "session_id: 9223372036854775808 does not fit a long"),
        (Ticker(*HEAD[:-1], -(2**63) - 1, 1.0), "sequence: -9223372036854775809 does not fit a long"),
        (Ticker(None, *HEAD[1:], 1.0), "exchange: null, where a text"),
        (Ticker(["x"], *HEAD[1:], 1.0), "exchange: list"),
        (Trade(*HEAD, 1.0, 1.0, trade_id=5), "trade_id: int 5, where a text"),
        (OrderBook(*HEAD, BookKind.DELTA, [Level(1.0, None)], []), "bids[0].quantity: null"),
        (OrderBook(*HEAD, BookKind.DELTA, [], [Level(1.0, 1.0), Level(True, 1.0)]), "asks[1].price: bool"),
        (OrderBook(*HEAD, BookKind.DELTA, None, []), "bids: null, where a list"),
        (OrderBook(*HEAD, BookKind.DELTA, [], [], valid=1), "valid: int 1, where true or false"),
    ],
)
def test_records_are_checked(record, said):
    for _ in range(2):  # what one attempt leaves in a cache must not let the next one through
        with pytest.raises(PayloadError) as caught:
            CODEC.encode(record)
        assert said in caught.value.message


def test_a_number_equal_to_a_cached_session_is_still_checked():
    CODEC.encode(Ticker(*HEAD[:-2], 1, 1, 1.0))
    with pytest.raises(PayloadError, match="session_id: bool True"):
        CODEC.encode(Ticker(*HEAD[:-2], True, 1, 1.0))


def test_ints_may_stand_for_doubles():
    whole = OrderBook(*HEAD, BookKind.DELTA, [Level(1, 2)], [])
    assert CODEC.encode(whole) == CODEC.encode(OrderBook(*HEAD, BookKind.DELTA, [Level(1.0, 2.0)], []))
    with pytest.raises(PayloadError, match=r"price: .* does not fit a double"):
        CODEC.encode(Ticker(*HEAD, 10**400))


def test_caches_stay_bounded():
    """More symbols and sessions than any cache holds come out right all the same."""
    read = compile_reader(SchemaLoader().schema("ticker_data"))
    for number in range(20_000):
        record = Ticker("e", "r", f"S{number}", "x", None, number, number << 40, 1, 1.0)
        framed = CODEC.encode(record)
        if number % 1000 == 0:
            value = read(framed)
            assert (value["symbol"], value["session_id"]) == (f"S{number}", number << 40)


def test_a_number_too_long_to_print(write_metrics):
    with pytest.raises(PayloadError, match="too long to print"):
        write_metrics(metrics(frames=10**5000))


def test_only_records_are_encoded():
    with pytest.raises(TypeError, match="dict is not a market record"):
        CODEC.encode({"price": 1.0})


def test_a_codec_needs_all_three_ids():
    with pytest.raises(RegistryError, match="orderbook_data"):
        RecordCodec({"ticker_data": 1, "trade_data": 2})


def test_general_unions_take_the_first_branch_that_fits():
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "x", "type": ["null", "string", "long", "double"], "default": None}],
    }
    write = compile_writer(schema, access="item")
    assert write({"x": "a"}) == b"\x02\x02a"
    assert write({"x": 1}) == b"\x04\x02"
    assert write({"x": 2**63})[:1] == b"\x06"
    assert write({}) == b"\x00"
    with pytest.raises(PayloadError, match="x: list fits no branch of the union"):
        write({"x": []})


def test_logical_types_and_recursion_are_left_to_fastavro():
    price = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    schema = {"type": "record", "name": "R", "fields": [{"name": "price", "type": price}]}
    write = compile_writer(schema, access="item", header=b"\0\0\0\0\1")
    value = {"price": decimal.Decimal("12.34")}
    assert compile_reader(schema)(write(value)) == value
    with pytest.raises(PayloadError, match="price"):
        write({"price": "no number"})
    tree = {
        "type": "record",
        "name": "Tree",
        "fields": [{"name": "children", "type": {"type": "array", "items": "Tree"}}],
    }
    value = {"children": [{"children": []}]}
    write = compile_writer(tree, access="item", header=b"\0\0\0\0\1")
    assert compile_reader(tree)(write(value)) == value


def test_fields_named_like_a_dicts_methods():
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": name, "type": "string"} for name in ("items", "keys", "get")],
    }
    message = {"items": "a", "keys": "b", "get": "c"}
    for value in (message, SimpleNamespace(**message)):
        assert compile_writer(schema, access="attribute")(value) == b"\x02a\x02b\x02c"


def test_a_first_byte_that_is_not_zero_and_too_few_bytes():
    with pytest.raises(PayloadError, match="first byte is 0x7b"):
        schema_id_of(b'{"a": 1}')
    with pytest.raises(PayloadError, match="3 bytes are too short"):
        schema_id_of(b"\0\0\0")


@pytest.mark.parametrize(
    ("schema", "raw", "said"),
    [
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"\x04", "an enum has no such symbol"),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"\x01", "an enum has no such symbol"),
        (["null", "string"], b"\x01", "a union has no such branch"),
        (["null", "string"], b"\x04", "a union has no such branch"),
        ("boolean", b"\x02", "a boolean is neither 0 nor 1"),
        ("long", b"\xff" * 9 + b"\x02", "more than 64 bits"),
        ("long", b"\xff" * 10 + b"\x01", "more than 64 bits"),
        ("int", b"\x80\x80\x80\x80\x10", "more than 32 bits"),
        ("string", b"\x01", "a length is negative"),
        ("string", b"\x02\xff", "a text is not UTF-8"),
        ("string", b"\x06ab", "cut off"),
        ("double", b"\0" * 7, "cut off"),
        ("string", b"", "cut off"),
        ({"type": "array", "items": "string"}, b"\x02\x02a", "cut off"),
        ({"type": "array", "items": "null"}, b"\xfe\xff\xff\xff\x0f\0", "items that take no bytes"),
        ({"type": "map", "values": "int"}, b"\x04\x02a\x02", "cut off"),
    ],
)
def test_what_cannot_be_read(schema, raw, said):
    with pytest.raises(PayloadError, match=said):
        compile_reader(schema)(b"\0\0\0\0\1" + raw)


def test_blocks_with_their_size_in_bytes():
    """Other writers may cut arrays and maps into several blocks and give their sizes (Avro, Arrays)."""
    read = compile_reader({"type": "array", "items": {"type": "map", "values": "int"}})
    inner = b"\x01\x06\x02a\x02\0"
    assert read(b"\0\0\0\0\1" + b"\x01\x0c" + inner + b"\x02" + inner + b"\0") == [{"a": 1}, {"a": 1}]


def test_maps_of_maps():
    nested = "int"
    for _ in range(3):
        nested = {"type": "map", "values": nested}
    schema = {
        "type": "record",
        "name": "R",
        "fields": [
            {
                "name": "m",
                "type": {"type": "map", "values": {"type": "map", "values": {"type": "map", "values": "int"}}},
            }
        ],
    }
    value = {"m": {"a": {"b": {"c": 1}, "d": {}}, "[key]": {"e": {"f": 2}}}}
    framed = compile_writer(schema, access="item", header=b"\0\0\0\0\1")(value)
    assert compile_reader(schema)(framed) == value


def test_arrays_nested_deeper_than_python_nests_blocks():
    schema, value = "int", 7
    for _ in range(30):
        schema, value = {"type": "array", "items": schema}, [value]
    record = {"type": "record", "name": "R", "fields": [{"name": "x", "type": schema}]}
    framed = compile_writer(record, access="item", header=b"\0\0\0\0\1")({"x": value})
    assert compile_reader(record)(framed) == {"x": value}


@pytest.mark.parametrize("access", ["item", "attribute"])
def test_a_record_without_fields(access):
    schema = {"type": "record", "name": "R", "fields": []}
    write = compile_writer(schema, access=access, header=b"h")
    assert write({}) == b"h"
    for wrong in (None, "x", 5, [], {"a": 1}):
        with pytest.raises(PayloadError):
            write(wrong)
    inside = {"type": "record", "name": "Top", "fields": [{"name": "it", "type": schema}]}
    assert compile_writer(inside, access="item")({"it": {}}) == b""
    with pytest.raises(PayloadError, match="it: null"):
        compile_writer(inside, access="item")({"it": None})
