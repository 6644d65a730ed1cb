"""Ten thousand broken frames an exchange: no exception, no record that makes no sense, nothing grows."""

import pytest

from core.exchanges.table import PROFILES
from core.identity import Exchange
from tests.property.fuzzing import fuzz

FRAMES = 10_000


@pytest.mark.parametrize("accept_all", [False, True], ids=["live", "replay"])
@pytest.mark.parametrize("exchange", list(PROFILES))
def test_broken_frames(exchange: Exchange, accept_all: bool) -> None:
    result = fuzz(exchange, FRAMES, accept_all=accept_all)
    assert result.records > FRAMES / 40
    assert result.parse_failed > FRAMES / 100
