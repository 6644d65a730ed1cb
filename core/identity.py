"""Who and what: exchanges, regions, request types, symbols, and the scope with its one key."""

import re
from enum import StrEnum
from typing import Final

import msgspec


class Exchange(StrEnum):
    """Exchanges by the names used in commands and records."""

    UPBIT = "upbit"
    BITHUMB = "bithumb"
    COINONE = "coinone"
    KORBIT = "korbit"
    BINANCE = "binance"
    BYBIT = "bybit"
    OKX = "okx"
    HUOBI = "huobi"
    COINBASE = "coinbase"
    KRAKEN = "kraken"
    BITFINEX = "bitfinex"


class Region(StrEnum):
    """Where an exchange belongs; one region an exchange."""

    KOREA = "korea"
    ASIA = "asia"
    NA = "na"
    EUROPE = "europe"


class RequestType(StrEnum):
    """What a stream carries."""

    TICKER = "ticker"
    TRADE = "trade"
    ORDERBOOK = "orderbook"


REGION_OF: Final[dict[Exchange, Region]] = {
    Exchange.UPBIT: Region.KOREA,
    Exchange.BITHUMB: Region.KOREA,
    Exchange.COINONE: Region.KOREA,
    Exchange.KORBIT: Region.KOREA,
    Exchange.BINANCE: Region.ASIA,
    Exchange.BYBIT: Region.ASIA,
    Exchange.OKX: Region.ASIA,
    Exchange.HUOBI: Region.ASIA,
    Exchange.COINBASE: Region.NA,
    Exchange.KRAKEN: Region.NA,
    Exchange.BITFINEX: Region.EUROPE,
}

_ASSET = re.compile(r"[A-Z0-9]{1,20}")


class Symbol(msgspec.Struct, frozen=True, order=True):
    """A pair in canonical form, ``BASE-QUOTE``: each part 1 to 20 characters of A-Z and 0-9.

    Raises ``ValueError`` for anything else.
    """

    base: str
    quote: str

    def __post_init__(self) -> None:
        for part in (self.base, self.quote):
            if not _ASSET.fullmatch(part):
                raise ValueError(f"{part[:64]!r} is not 1 to 20 characters of A-Z, 0-9")

    @classmethod
    def parse(cls, canonical: str) -> "Symbol":
        """Read ``BASE-QUOTE``; raises ``ValueError`` for another form."""
        base, dash, quote = canonical.partition("-")
        if not dash:
            raise ValueError(f"{canonical[:64]!r} is not BASE-QUOTE")
        return cls(base, quote)

    def __str__(self) -> str:
        return f"{self.base}-{self.quote}"


class ConnectionScopeDomain(msgspec.Struct, frozen=True):
    """Exchange, region and request type together, optionally with a canonical symbol.

    ``key`` is ``upbit|korea|ticker`` or ``upbit|korea|ticker|BTC-KRW``: the one spelling used for
    Kafka keys, Redis keys, circuit breakers and logs.
    """

    exchange: str
    region: str
    request_type: str
    symbol: str | None = None

    @property
    def key(self) -> str:
        """The scope's key, with the symbol if there is one."""
        stem = f"{self.exchange}|{self.region}|{self.request_type}"
        return stem if self.symbol is None else f"{stem}|{self.symbol}"

    @property
    def stream(self) -> "ConnectionScopeDomain":
        """The same scope without a symbol: the unit that one gateway owns."""
        if self.symbol is None:
            return self
        return ConnectionScopeDomain(self.exchange, self.region, self.request_type)

    def with_symbol(self, symbol: str) -> "ConnectionScopeDomain":
        """The same scope narrowed to one canonical symbol."""
        return ConnectionScopeDomain(self.exchange, self.region, self.request_type, symbol)

    @classmethod
    def parse(cls, key: str) -> "ConnectionScopeDomain":
        """Read a key back; raises ``ValueError`` when it does not have three or four parts."""
        parts = key.split("|")
        if len(parts) not in (3, 4) or not all(parts):
            raise ValueError(f"{key!r} is not exchange|region|request_type[|SYMBOL]")
        return cls(*parts)
