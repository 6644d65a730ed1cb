"""Symbols as Korean exchanges write them: the quote currency first, as in ``KRW-BTC``."""

from core.exchanges.base import ExchangeProfile
from core.identity import Region, Symbol

_QUOTE_RANK = {"KRW": 0, "USDT": 1, "BTC": 2}


class QuoteFirstProfile(ExchangeProfile):
    """A Korean exchange whose markets are in KRW, USDT or BTC."""

    region = Region.KOREA

    def parse_symbol(self, text: str) -> Symbol:
        """``BTC-KRW`` or the exchange's own ``KRW-BTC``: the stronger of KRW, USDT, BTC is the quote."""
        first, dash, second = text.upper().partition("-")
        if not dash:
            raise ValueError(f"{text[:64]!r} is not a pair such as BTC-KRW or KRW-BTC")
        quote, base = sorted((first, second), key=lambda part: _QUOTE_RANK.get(part, len(_QUOTE_RANK)))
        if quote not in _QUOTE_RANK:
            exchange = self.exchange.value.capitalize()
            raise ValueError(f"{text[:64]!r} has no quote currency of {exchange}: KRW, USDT or BTC")
        if base == quote:
            raise ValueError(f"{text[:64]!r} names one currency twice")
        return Symbol(base, quote)

    def spell_symbol(self, symbol: Symbol) -> str:
        """``KRW-BTC`` for BTC-KRW."""
        return f"{symbol.quote}-{symbol.base}"
