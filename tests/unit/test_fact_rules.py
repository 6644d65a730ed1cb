"""A fact that no command could have written is told apart; odd URLs do not pass the allow-list."""

import pytest

from core.command_rules import check_fact, check_url
from core.errors import CommandError
from core.exchanges.table import PROFILES
from core.exchanges.upbit import Upbit
from core.identity import ConnectionScopeDomain
from core.streams import EndFact, SettingsFact, StreamSettings, SubscribeFact, Subscription

BTC = ConnectionScopeDomain("upbit", "korea", "ticker", "BTC-KRW")


def subscribe(scope: ConnectionScopeDomain, symbol: str | None = None, **more: object) -> SubscribeFact:
    return SubscribeFact(scope, Subscription(symbol or str(scope.symbol), "ticket", **more))


@pytest.mark.parametrize(
    "fact",
    [
        subscribe(BTC),
        subscribe(BTC, projection=("price",)),
        EndFact(BTC, None),
        SettingsFact(BTC.stream, StreamSettings("t", url="wss://api.upbit.com/websocket/v1")),
    ],
)
def test_what_commands_write_holds(fact: object) -> None:
    check_fact(fact, PROFILES, ())


@pytest.mark.parametrize(
    "fact",
    [
        subscribe(ConnectionScopeDomain("upbit", "korea", "candles", "BTC-KRW")),
        subscribe(ConnectionScopeDomain("upbit", "asia", "ticker", "BTC-KRW")),
        subscribe(ConnectionScopeDomain("nobody", "korea", "ticker", "BTC-KRW")),
        subscribe(ConnectionScopeDomain("upbit", "korea", "trade", "garbage")),
        subscribe(BTC, symbol="ETH-KRW"),
        subscribe(BTC, projection=("nothing",)),
        SettingsFact(BTC.stream, StreamSettings("t", url="wss://user:secret@api.upbit.com/")),
        SettingsFact(BTC.stream, StreamSettings("t", url="wss://example.com/")),
    ],
)
def test_what_no_command_writes_is_refused(fact: object) -> None:
    with pytest.raises((CommandError, ValueError)):
        check_fact(fact, PROFILES, ())


@pytest.mark.parametrize(
    "url",
    [
        "wss:\n//api.upbit.com",
        "WSS://API.UPBIT.COM/x y",
        "wss://api.upbit.com/#frag",
        "wss://api.upbit.com\\@evil/",
        "wss://api.upbit.com:99999/",
        "wss://api.upbit.com:abc/",
    ],
)
def test_an_odd_url_cannot_be_read(url: str) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        check_url(url, Upbit(), ())
