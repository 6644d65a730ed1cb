"""Symbols, scopes and their one key."""

import pytest

from core.identity import REGION_OF, ConnectionScopeDomain, Exchange, Symbol


@pytest.mark.parametrize(
    "text", ["BTC-KRW", "1INCH-USDT", "T-KRW", "1000SATS-FDUSD", "A" * 20 + "-" + "9" * 20]
)
def test_a_canonical_symbol_reads_back(text: str) -> None:
    assert str(Symbol.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "BTC",
        "BTC-",
        "-KRW",
        "btc-krw",
        "BTC_KRW",
        "BTC-KRW-X",
        "BTC KRW",
        "A" * 21 + "-KRW",
        "BTC-KRW\n",
        "Ａ-KRW",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        Symbol.parse(text)


def test_a_refusal_quotes_little_of_a_long_text() -> None:
    with pytest.raises(ValueError, match="is not") as refusal:
        Symbol.parse("A" * 1_000_000)
    assert len(str(refusal.value)) < 200


def test_every_exchange_has_its_region() -> None:
    assert set(REGION_OF) == set(Exchange)


def test_a_scope_has_one_key_with_and_without_a_symbol() -> None:
    scope = ConnectionScopeDomain("upbit", "korea", "ticker")
    assert scope.key == "upbit|korea|ticker"
    narrowed = scope.with_symbol("BTC-KRW")
    assert narrowed.key == "upbit|korea|ticker|BTC-KRW"
    assert narrowed.stream == scope
    assert scope.stream is scope
    assert ConnectionScopeDomain.parse(scope.key) == scope
    assert ConnectionScopeDomain.parse(narrowed.key) == narrowed


@pytest.mark.parametrize(
    "key", ["", "upbit", "upbit|korea", "upbit||ticker", "a|b|c|d|e", "upbit|korea|ticker|"]
)
def test_other_keys_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="is not exchange"):
        ConnectionScopeDomain.parse(key)
