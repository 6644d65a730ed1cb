"""The packaged schemas and their table."""

import pytest

from core.errors import RegistryError
from core.records import BookKind, OrderBook, Side, StreamType, Ticker, Trade
from infra.messaging.schemas.schema_loader import SchemaLoader


def test_each_schema_has_its_line_in_the_table_and_the_other_way():
    loader = SchemaLoader()
    assert sorted(loader.subjects()) == loader.names()
    assert loader.subject("ticker_data").topics == ("realtime.ticker",)
    assert loader.subject("error_event").avro_topics() == ()
    assert loader.subject("error_event").avro_topics(["ws.error", "ws.dlq"]) == ("ws.error",)


def test_unknown_names_say_what_there_is():
    with pytest.raises(RegistryError, match=r"no schema 'tickr'; there are .*ticker_data"):
        SchemaLoader().text("tickr")
    with pytest.raises(RegistryError, match=r"no \[tickr\]; it lists .*ticker_data"):
        SchemaLoader().subject("tickr")
    with pytest.raises(RegistryError, match="no schema"):
        SchemaLoader().text("../subjects")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("x", "cannot be read"),
        ('[x]\nsubject = "s"\n', "cannot be read"),
        ('[x]\nsubject = "s"\ncompatibility = "FORWARDS"\n', "'FORWARDS' is none of BACKWARD"),
        ('[x]\nsubject = "s"\ncompatibility = "FULL"\ntopic = "t"\n', "cannot be read"),
    ],
)
def test_a_wrong_table(tmp_path, table, said):
    (tmp_path / "subjects.toml").write_text(table)
    with pytest.raises(RegistryError, match=said):
        SchemaLoader(tmp_path).subjects()


def test_a_file_that_is_no_json(tmp_path):
    (tmp_path / "avro").mkdir()
    (tmp_path / "avro" / "x.avsc").write_text("{")
    with pytest.raises(RegistryError, match=r"x\.avsc is not JSON"):
        SchemaLoader(tmp_path).text("x")


@pytest.mark.parametrize(
    ("record", "name"), [(Ticker, "ticker_data"), (Trade, "trade_data"), (OrderBook, "orderbook_data")]
)
def test_records_are_the_schemas_field_for_field(record, name):
    schema = SchemaLoader().schema(name)
    assert list(record.__struct_fields__) == [field["name"] for field in schema["fields"]]
    enums = {
        field["type"]["name"]: field["type"]["symbols"]
        for field in schema["fields"]
        if isinstance(field["type"], dict) and field["type"]["type"] == "enum"
    }
    ours = {kind.__name__: [str(member) for member in kind] for kind in (StreamType, Side, BookKind)}
    assert all(ours[kind] == symbols for kind, symbols in enums.items())
    assert enums
