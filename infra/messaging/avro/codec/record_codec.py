"""Market records to framed Avro: the hot path."""

from collections.abc import Mapping
from typing import Final

from core.errors import RegistryError
from core.records import OrderBook, Record, Ticker, Trade
from infra.messaging.avro.codec.compiled_writer import Write, compile_writer
from infra.messaging.avro.codec.framing import header_of
from infra.messaging.schemas.schema_loader import SchemaLoader

SCHEMA_OF_RECORD: Final[Mapping[type[Record], str]] = {
    Ticker: "ticker_data",
    Trade: "trade_data",
    OrderBook: "orderbook_data",
}

_REPEATED_TEXTS = ("exchange", "region", "symbol", "exchange_symbol")
_REPEATED_LONGS = ("session_id",)


class RecordCodec:
    """Encodes records under the schema ids of ``register_all`` (name -> id); knows no registry.

    Raises ``core.errors.RegistryError`` when built without one of the three ids.
    """

    def __init__(self, schema_ids: Mapping[str, int], loader: SchemaLoader | None = None) -> None:
        loader = loader or SchemaLoader()
        self._writers: dict[type, Write] = {}
        for kind, name in SCHEMA_OF_RECORD.items():
            if name not in schema_ids:
                raise RegistryError(f"the schema id of {name} is not known; register the schemas first")
            self._writers[kind] = compile_writer(
                loader.schema(name),
                access="attribute",
                header=header_of(schema_ids[name]),
                repeated_texts=_REPEATED_TEXTS,
                repeated_longs=_REPEATED_LONGS,
            )

    def encode(self, record: Record) -> bytes:
        """One record as the value of one Kafka message.

        Raises ``core.errors.PayloadError`` naming the field when a value does not fit the schema, and
        ``TypeError`` for anything that is no record.
        """
        try:
            write = self._writers[type(record)]
        except KeyError:
            raise TypeError(f"{type(record).__name__} is not a market record") from None
        return write(record)
