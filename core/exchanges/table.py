"""The exchanges that the gateway speaks to: one line each."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from core.errors import CommandError, ErrorCode
from core.exchanges.base import ExchangeProfile
from core.exchanges.binance import Binance
from core.exchanges.bitfinex import Bitfinex
from core.exchanges.bithumb import Bithumb
from core.exchanges.bybit import Bybit
from core.exchanges.coinbase import Coinbase
from core.exchanges.coinone import Coinone
from core.exchanges.huobi import Huobi
from core.exchanges.korbit import Korbit
from core.exchanges.kraken import Kraken
from core.exchanges.okx import Okx
from core.exchanges.upbit import Upbit
from core.identity import Exchange

PROFILES: Final[Mapping[Exchange, ExchangeProfile]] = MappingProxyType(
    {
        Exchange.UPBIT: Upbit(),
        Exchange.BITHUMB: Bithumb(),
        Exchange.COINONE: Coinone(),
        Exchange.KORBIT: Korbit(),
        Exchange.BINANCE: Binance(),
        Exchange.COINBASE: Coinbase(),
        Exchange.KRAKEN: Kraken(),
        Exchange.BITFINEX: Bitfinex(),
        Exchange.BYBIT: Bybit(),
        Exchange.OKX: Okx(),
        Exchange.HUOBI: Huobi(),
    }
)


def profile_of(exchange: str) -> ExchangeProfile:
    """The profile by an exchange's name; raises ``CommandError`` for one that is not spoken to."""
    for known, profile in PROFILES.items():
        if known == exchange:
            return profile
    spoken = ", ".join(sorted(PROFILES))
    raise CommandError(
        f"exchange {exchange[:64]!r} is not one this gateway speaks to: {spoken}",
        code=ErrorCode.UNKNOWN_EXCHANGE,
    )
