"""Topics remembered by their text."""

from core.exchanges.topics import Topics


def test_a_topic_is_read_once_and_what_is_too_long_for_one_each_time() -> None:
    read: list[str] = []

    def length(text: str) -> int:
        read.append(text)
        return len(text)

    topics = Topics(length)
    short, long = "market.btcusdt.ticker", "market." + "a" * 100
    assert [topics[text] for text in (short, long, short, long)] == [21, 107, 21, 107]
    assert read == [short, long, long]
    assert list(topics) == [short]


def test_their_number_is_bounded_and_those_in_use_find_room_again() -> None:
    topics = Topics(str.upper)
    for number in range(10_000):
        assert topics[f"market.x{number}.ticker"] == f"MARKET.X{number}.TICKER"
    assert len(topics) <= 4096
    assert topics["market.btcusdt.ticker"] == "MARKET.BTCUSDT.TICKER"
    assert "market.btcusdt.ticker" in topics
