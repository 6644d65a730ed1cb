"""A command's URL: what readers of URLs disagree about is refused, and the reason can be read."""

import pytest

from core.command_rules import check_url
from core.errors import CommandError
from core.exchanges.table import PROFILES
from core.identity import Exchange

GOOD = "wss://api.upbit.com/websocket/v1"


@pytest.mark.parametrize(
    "url",
    [
        "wss:\n//api.upbit.com",
        "WSS://API.UPBIT.COM/x y",
        f"{GOOD}#frag",
        f"{GOOD}\x7f",
        f"{GOOD}\\x",
        f" {GOOD}",
        "wss://api.upbit.com:99999/",
        "wss://api.upbit.com:abc/",
    ],
)
def test_odd_urls_are_refused_as_unreadable(url: str) -> None:
    profile = PROFILES[Exchange.UPBIT]
    assert check_url(GOOD, profile, ()) == GOOD
    with pytest.raises(CommandError, match="cannot be read as a WebSocket URL"):
        check_url(url, profile, ())
