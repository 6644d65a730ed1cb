"""Where an exchange's REST is reached."""

import pytest

from infra.settings import GatewaySettings

PUBLIC = "https://api.example.com"


@pytest.mark.parametrize(
    ("urls", "rest_urls", "public", "address"),
    [
        ({}, {}, PUBLIC, PUBLIC),
        ({}, {"binance": "http://127.0.0.1:9"}, PUBLIC, "http://127.0.0.1:9"),
        ({"binance": "ws://127.0.0.1:5000/stream"}, {}, PUBLIC, "http://127.0.0.1:5000"),
        ({"binance": "wss://elsewhere.example.com/stream"}, {}, PUBLIC, PUBLIC),
        ({"binance": "ws://127.0.0.1:5000/stream"}, {"binance": PUBLIC}, PUBLIC, PUBLIC),
        ({"binance": "ws://127.0.0.1:5000/stream"}, {}, None, None),
        ({"upbit": "ws://127.0.0.1:5000/"}, {}, PUBLIC, PUBLIC),
    ],
)
def test_address(urls: dict, rest_urls: dict, public: str | None, address: str | None) -> None:
    settings = GatewaySettings(exchange_urls=urls, exchange_rest_urls=rest_urls)
    assert settings.rest_url("binance", public) == address
