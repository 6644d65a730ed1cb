"""``gateway streams``: a scope's key is whole, however narrow the terminal."""

import pytest

from infra.commandline import streams


def test_the_scope_key_is_whole_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = {
        "scope": "bitfinex|europe|orderbook",
        "symbols": [f"COIN{n}-USDT" for n in range(12)],
        "status": "connected",
        "instance": "a-host-with-a-long-name.example.com-12345-abcdef",
    }
    streams._print([row])
    lines = capsys.readouterr().out.splitlines()
    assert any("bitfinex|europe|orderbook" in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
