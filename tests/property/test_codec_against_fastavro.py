"""The generated writers against fastavro, the reference: same bytes, same values, or one clear error."""

import io
import math
import string
from decimal import Context, Decimal

import fastavro
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import PayloadError
from core.records import BookKind, Level, OrderBook, Side, StreamType, Ticker, Trade
from infra.messaging.avro.codec.checked_writer import write_checked
from infra.messaging.avro.codec.compiled_writer import compile_writer
from infra.messaging.avro.codec.framing import header_of
from infra.messaging.avro.codec.reader import compile_reader
from infra.messaging.avro.codec.record_codec import RecordCodec
from infra.messaging.avro.codec.schema_nodes import parse_schema
from infra.messaging.avro.codec.varint import LONG_MAX, LONG_MIN, encode_long
from infra.messaging.schemas.schema_loader import SchemaLoader

LOADER = SchemaLoader()
CODEC = RecordCodec({"ticker_data": 7, "trade_data": 8, "orderbook_data": 2**32 - 1})

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
longs = st.one_of(
    st.integers(LONG_MIN, LONG_MAX),
    st.integers(-200, 20_000),
    st.sampled_from([LONG_MIN, LONG_MAX, 0, -1, 8191, 8192, 2**27 - 1, 2**27, 2**34, -(2**27) - 1]),
)
exact = st.decimals(min_value=0, max_value=Decimal(10) ** 20 - 1, places=18) | st.sampled_from(
    [Decimal("0"), Decimal("1E-18"), Decimal("0.5"), Decimal("135660000"), Decimal("99999999999999999999")]
)
doubles = st.floats(allow_nan=True, allow_infinity=True)
head = {
    "exchange": texts,
    "region": texts,
    "symbol": texts,
    "exchange_symbol": texts,
    "exchange_ts_ms": st.none() | longs,
    "received_ts_us": longs,
    "session_id": longs,
    "sequence": longs,
}
levels = st.lists(st.builds(Level, doubles, doubles), max_size=12)
records = st.one_of(
    st.builds(
        Ticker,
        **head,
        price=doubles,
        **{
            name: st.none() | doubles
            for name in ("open", "high", "low", "prev_close", "change_rate", "volume_24h", "quote_volume_24h")
        },
        **{name: st.none() | doubles for name in ("bid", "bid_quantity", "ask", "ask_quantity")},
        stream_type=st.sampled_from(StreamType),
        price_exact=st.none() | exact,
    ),
    st.builds(
        Trade,
        **head,
        price=doubles,
        quantity=doubles,
        side=st.sampled_from(Side),
        trade_id=st.none() | texts,
        price_exact=st.none() | exact,
        quantity_exact=st.none() | exact,
    ),
    st.builds(
        OrderBook,
        **head,
        kind=st.sampled_from(BookKind),
        bids=levels,
        asks=levels,
        first_update_id=st.none() | longs,
        last_update_id=st.none() | longs,
        checksum=st.none() | longs,
        valid=st.booleans(),
    ),
)


def reference(schema, value) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


def plain(value):
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    return str(value) if isinstance(value, str) else value


def same(one, other) -> bool:
    """Equality in which NaN equals itself."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other


NAMES = {Ticker: ("ticker_data", 7), Trade: ("trade_data", 8), OrderBook: ("orderbook_data", 2**32 - 1)}


@given(records)
@settings(max_examples=300, deadline=None)
def test_records_are_written_as_fastavro_writes_them(record):
    name, schema_id = NAMES[type(record)]
    framed = CODEC.encode(record)
    assert framed == header_of(schema_id) + reference(LOADER.schema(name), plain(record))
    assert same(compile_reader(LOADER.schema(name))(framed), plain(record))


@given(longs)
def test_longs(value):
    assert encode_long(value) == reference("long", value)


@given(st.integers())
def test_longs_beyond_64_bits_are_refused(value):
    if LONG_MIN <= value <= LONG_MAX:
        assert encode_long(value) == reference("long", value)
    else:
        with pytest.raises(OverflowError):
            encode_long(value)


# -- any schema the generator covers, and values of it -------------------------------------------------

names = st.text(string.ascii_lowercase, min_size=1, max_size=6)
VALUES = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": longs,
    "float": st.floats(width=32),
    "double": doubles,
    "bytes": st.binary(max_size=8),
    "string": texts,
}


@st.composite
def schemas_with_values(draw, depth=3, counter=None):
    """(schema, strategy of its values); names of types are counted up, so that none comes twice."""
    counter = counter if counter is not None else iter(range(1000))
    kinds = [*VALUES, "decimal"]
    if depth:
        kinds += ["array", "map", "record", "enum", "optional", "optional", "record"]
    kind = draw(st.sampled_from(kinds))
    if kind in VALUES:
        return kind, VALUES[kind]
    if kind == "decimal":
        scale = draw(st.integers(0, 20))
        precision = draw(st.integers(max(scale, 1), 40))
        top = Decimal(10**precision - 1).scaleb(-scale, Context(prec=60))
        decimals = st.decimals(min_value=top.copy_negate(), max_value=top, places=scale)
        return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}, decimals
    if kind == "enum":
        symbols = [f"S{number}" for number in range(draw(st.integers(1, 5)))]
        schema = {"type": "enum", "name": f"E{next(counter)}", "symbols": symbols}
        return schema, st.sampled_from(symbols)
    inner, values = draw(schemas_with_values(depth - 1, counter))
    if kind == "array":
        return {"type": "array", "items": inner}, st.lists(values, max_size=3)
    if kind == "map":
        return {"type": "map", "values": inner}, st.dictionaries(texts, values, max_size=3)
    if kind == "optional":
        if inner == "null" or isinstance(inner, list):
            return inner, values
        order = draw(st.booleans())
        return (["null", inner] if order else [inner, "null"]), st.none() | values
    fields = [{"name": "first", "type": inner}]
    shapes = {"first": values}
    for name in draw(st.lists(names, max_size=4, unique=True)):
        field_schema, field_values = draw(schemas_with_values(depth - 1, counter))
        fields.append({"name": "f_" + name, "type": field_schema})
        shapes["f_" + name] = field_values
    return {"type": "record", "name": f"R{next(counter)}", "fields": fields}, st.fixed_dictionaries(shapes)


class Attributes:
    """The fields of a mapping as attributes."""

    def __init__(self, values):
        for name, value in values.items():
            setattr(self, name, value)


def as_attributes(schema, value):
    if isinstance(schema, list):
        branch = next(branch for branch in schema if branch != "null")
        return None if value is None else as_attributes(branch, value)
    if not isinstance(schema, dict):
        return value
    if "logicalType" in schema:
        return value
    if schema["type"] == "record":
        types = {field["name"]: field["type"] for field in schema["fields"]}
        return Attributes({name: as_attributes(types[name], item) for name, item in value.items()})
    if schema["type"] == "array":
        return [as_attributes(schema["items"], item) for item in value]
    if schema["type"] == "map":
        return {key: as_attributes(schema["values"], item) for key, item in value.items()}
    return value


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_schema_is_written_as_fastavro_writes_it(data):
    inner, values = data.draw(schemas_with_values())
    schema = {"type": "record", "name": "Top", "fields": [{"name": "it", "type": inner}]}
    value = {"it": data.draw(values)}
    expected = reference(schema, value)
    assert compile_writer(schema, access="item")(value) == expected
    assert compile_writer(schema, access="attribute")(as_attributes(schema, value)) == expected
    assert compile_writer(schema, access="item")(as_attributes(schema, value)) == expected
    assert compile_writer(schema, access="attribute")(value) == expected
    assert write_checked(parse_schema(schema), value) == expected
    assert same(compile_reader(schema)(b"\0\0\0\0\1" + expected), value)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_the_fast_and_the_checked_writer_judge_alike(data):
    """Whatever the value: both write the same, or both refuse with one PayloadError that says where."""
    inner, _values = data.draw(schemas_with_values())
    schema = {"type": "record", "name": "Top", "fields": [{"name": "it", "type": inner}]}
    value = {"it": data.draw(anything)}
    outcomes = [
        outcome(write, value)
        for write in (
            compile_writer(schema, access="item"),
            compile_writer(schema, access="attribute"),
            lambda value: write_checked(parse_schema(schema), value),
        )
    ]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert isinstance(outcomes[0], bytes) or outcomes[0].startswith("it")


def outcome(write, value) -> bytes | str:
    try:
        return write(value)
    except PayloadError as error:
        return error.message


@given(records, st.data())
@settings(max_examples=200, deadline=None)
def test_bytes_that_are_cut_or_too_long_are_refused(record, data):
    framed = CODEC.encode(record)
    read = compile_reader(LOADER.schema(NAMES[type(record)][0]))
    cut = data.draw(st.integers(5, len(framed) - 1))
    for broken in (framed[:cut], framed + b"\0"):
        with pytest.raises(PayloadError):
            read(broken)


@given(records, st.binary(min_size=1, max_size=60))
@settings(max_examples=300, deadline=None)
def test_rubbish_is_read_or_refused_and_nothing_else(record, rubbish):
    read = compile_reader(LOADER.schema(NAMES[type(record)][0]))
    assert outcome(read, b"\0\0\0\0\7" + rubbish)
