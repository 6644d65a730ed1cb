"""How Bitfinex names currencies and pairs: ``tBTCUSD``, ``tDOGE:USD``, and its own codes.

Pairs begin with ``t``; a colon stands between codes where one of them is not of three letters.
"""

from typing import Final

from core.identity import Symbol

_CODE_LETTERS: Final = 3

_CODES: Final = {
    "AIX": "AI", "ALG": "ALGO", "AMP": "AMPL", "ATO": "ATOM", "B21X": "B21", "BCHABC": "XEC",
    "DAT": "DATA", "DSH": "DASH", "EDO": "PNT", "EUS": "EURS", "EUT": "EURT", "FBT": "FB", "GNT": "GLM",
    "HIX": "HI", "IDX": "ID", "IOT": "IOTA", "IQX": "IQ", "LBT": "LBTC", "MNA": "MANA", "OMN": "OMNI",
    "PAS": "PASS", "QSH": "QASH", "QTM": "QTUM", "RBT": "RBTC", "SNG": "SNGLS", "SPK": "SPANK",
    "STJ": "STORJ", "TSD": "TUSD", "UDC": "USDC", "USK": "USDK", "UST": "USDT", "VSY": "VSYS",
    "WBT": "WBTC", "YYW": "YOYOW",
}  # fmt: skip
"""The exchange's codes for currencies that others call otherwise, as its map of symbols has them
(``/v2/conf/pub:map:currency:sym``), in capital letters."""
_OWN_CODES: Final = {name: code for code, name in _CODES.items()}


def parse_pair(text: str) -> Symbol:
    """``BTC-USD``, or Bitfinex's own ``tBTCUSD`` and ``tDOGE:USD``, in any case; its own codes become the
    usual ones. Raises ``ValueError`` for what is no pair."""
    base, dash, quote = text.upper().partition("-")
    if not dash:
        base, quote = _split(text)
    return Symbol(_CODES.get(base, base), _CODES.get(quote, quote))


def spell_pair(symbol: Symbol) -> str:
    """``tBTCUSD`` for BTC-USD, ``tDOGE:USD`` for DOGE-USD, ``tUSTUSD`` for USDT-USD."""
    base, quote = (_OWN_CODES.get(part, part) for part in (symbol.base, symbol.quote))
    colon = "" if len(base) == len(quote) == _CODE_LETTERS else ":"
    return f"t{base}{colon}{quote}"


def _split(text: str) -> tuple[str, str]:
    """The codes of ``tBTCUSD``, ``tDOGE:USD``; the ``t`` may be missing from the first."""
    upper = text.upper()
    base, colon, quote = upper.partition(":")
    if colon:
        if text.startswith("t") or (base.startswith("T") and len(base) > _CODE_LETTERS):
            base = base[1:]
        return base, quote
    pair = upper[1:] if len(upper) == 2 * _CODE_LETTERS + 1 and upper.startswith("T") else upper
    if len(pair) != 2 * _CODE_LETTERS:
        raise ValueError(f"{text[:64]!r} is no pair such as BTC-USD, tBTCUSD or tDOGE:USD")
    return pair[:_CODE_LETTERS], pair[_CODE_LETTERS:]
