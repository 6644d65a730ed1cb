"""Symbols written without a dash between base and quote: ``BTCUSDT``."""

from core.identity import Symbol


class UndashedSymbols:
    """Reads them by the quote currencies of an exchange, also former ones: recordings have those."""

    def __init__(self, exchange: str, quotes: str) -> None:
        """``exchange`` is its name for people; ``quotes`` in capital letters, between spaces."""
        self._exchange = exchange
        self._quotes = sorted(quotes.split(), key=len, reverse=True)

    def parse(self, text: str) -> Symbol:
        """``BTC-USDT``, or ``BTCUSDT`` in any case with a known quote currency, the longest that fits.

        Raises ``ValueError`` for neither.
        """
        upper = text.upper()
        if "-" in upper:
            return Symbol.parse(upper)
        for quote in self._quotes:
            if upper.endswith(quote) and len(upper) > len(quote):
                return Symbol(upper[: -len(quote)], quote)
        raise ValueError(
            f"{text[:64]!r} ends in no known quote currency of {self._exchange}; write it as BASE-QUOTE"
        )
