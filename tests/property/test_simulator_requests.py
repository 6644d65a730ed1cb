"""Whatever a client sends, the simulated exchanges answer and never fall over."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.simulator.binance_requests import BinanceConversation, streams_of_path
from infra.simulator.bitfinex_requests import BitfinexConversation
from infra.simulator.bithumb_requests import BithumbConversation
from infra.simulator.bybit_requests import BybitConversation
from infra.simulator.coinbase import CoinbaseVenue
from infra.simulator.coinbase_requests import CoinbaseConversation
from infra.simulator.coinone_requests import CoinoneConversation
from infra.simulator.huobi_requests import HuobiConversation
from infra.simulator.korbit_requests import KorbitConversation
from infra.simulator.kraken_requests import KrakenConversation
from infra.simulator.okx_requests import OkxConversation
from infra.simulator.upbit_requests import UpbitConversation
from infra.simulator.venue import Answer, Close, Conversation, Snapshot
from tests.simulated_exchange import inflated

WORDS = st.sampled_from(
    ["ticker", "trade", "orderbook", "candle.1s", "KRW-BTC", "KRW-BTC.5", "KRW-BTC.", ".", "SIMPLE", "DEFAULT",
     "btcusdt@trade", "btcusdt@depth@100ms", "@", "!", "combined", "SUBSCRIBE", "UNSUBSCRIBE",
     "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY", "\ud800", "", "TICKER", "ORDERBOOK", "KRW", "btc",
     "subscribe", "unsubscribe", "btc_krw", "PING", "SHORT", "ping", "tickers.BTCUSDT", "orderbook.50.BTCUSDT",
     "tickers", "books", "BTC-USDT", "market.btcusdt.ticker", "market.btcusdt.mbp.150",
     "matches", "level2_batch", "heartbeat", "book", "trades", "tBTCUST", "conf", "P0", "F0", "25"]
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "ticket",
        "type",
        "codes",
        "format",
        "method",
        "level",
        "is_only_snapshot",
        "is_only_realtime",
        "params",
        "id",
        "request_type",
        "channel",
        "topic",
        "quote_currency",
        "target_currency",
        "symbols",
        "requestId",
        "op",
        "args",
        "instId",
        "sub",
        "unsub",
        "req",
        "ping",
        "pong",
        "req_id",
        "channels",
        "name",
        "product_ids",
        "symbol",
        "depth",
        "snapshot",
        "event",
        "chanId",
        "flags",
        "prec",
        "len",
        "subId",
        "cid",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
REQUESTS = (
    st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=4)
    | st.lists(st.fixed_dictionaries({"method": WORDS, "type": WORDS, "symbols": st.lists(WORDS)}), max_size=2)
    | st.fixed_dictionaries(
        {
            "request_type": WORDS,
            "channel": WORDS,
            "topic": st.fixed_dictionaries({"quote_currency": WORDS, "target_currency": WORDS}),
        }
    )
    | st.fixed_dictionaries({"method": WORDS, "params": st.lists(VALUES, max_size=3), "id": SCALARS})
    | st.fixed_dictionaries(
        {
            "method": WORDS,
            "params": st.fixed_dictionaries(
                {"channel": WORDS, "symbol": st.lists(WORDS, max_size=3)}, optional={"depth": SCALARS}
            ),
            "req_id": SCALARS,
        }
    )
    | st.fixed_dictionaries({"op": WORDS, "args": st.lists(VALUES, max_size=3), "req_id": SCALARS})
    | st.fixed_dictionaries(
        {"type": WORDS, "channels": st.lists(VALUES, max_size=3), "product_ids": st.lists(WORDS, max_size=3)}
    )
    | st.fixed_dictionaries(
        {"event": st.sampled_from(["subscribe", "unsubscribe", "conf", "ping"]), "symbol": WORDS},
        optional={
            "channel": st.sampled_from(["ticker", "trades", "book"]),
            "chanId": st.integers(0, 4) | SCALARS,
            "flags": SCALARS,
            "len": SCALARS,
            "subId": SCALARS,
            "cid": SCALARS,
        },
    )
    | st.dictionaries(KEYS, SCALARS, max_size=3)
    | VALUES
)
MESSAGES = REQUESTS.map(json.dumps) | st.text(max_size=50) | st.binary(max_size=50)


def conversation(exchange: str) -> Conversation:
    if exchange == "upbit":
        return UpbitConversation(frozenset({"KRW-BTC"}))
    if exchange == "bithumb":
        return BithumbConversation(frozenset({"KRW-BTC"}))
    if exchange == "coinone":
        return CoinoneConversation(frozenset({"KRW-BTC"}), 1)
    if exchange == "korbit":
        return KorbitConversation(frozenset({"btc_krw"}))
    if exchange == "bybit":
        return BybitConversation(frozenset({"BTCUSDT"}), "c")
    if exchange == "okx":
        return OkxConversation(frozenset({"BTC-USDT"}), "c")
    if exchange == "coinbase":
        return CoinbaseConversation(CoinbaseVenue(["BTC-USDT"], 1).markets)
    if exchange == "bitfinex":
        return BitfinexConversation(frozenset({"tBTCUST"}), 1)
    if exchange == "kraken":
        return KrakenConversation(frozenset({"BTC-USDT"}), 1)
    if exchange == "huobi":
        return HuobiConversation(frozenset({"btcusdt"}))
    return BinanceConversation({"BTCUSDT"}, True, [])


@pytest.mark.parametrize(
    "exchange",
    [
        "upbit",
        "binance",
        "bitfinex",
        "bybit",
        "okx",
        "huobi",
        "bithumb",
        "coinone",
        "korbit",
        "coinbase",
        "kraken",
    ],
)
@given(messages=st.lists(MESSAGES, max_size=6))
@settings(max_examples=150, deadline=None)
def test_any_message_gets_replies_that_can_be_sent(exchange: str, messages: list[Any]) -> None:
    talk = conversation(exchange)
    for now_s, message in enumerate(messages):
        for reply in talk.receive(message, float(now_s)):
            assert isinstance(reply, Answer | Snapshot | Close)
            if isinstance(reply, Answer):
                assert reply.text == "pong" or isinstance(inflated(reply.text), dict)
        symbols = {feed.exchange_symbol for feed in talk.feeds}
        assert symbols <= {"KRW-BTC", "BTCUSDT", "BTC-USDT", "btcusdt", "btc_krw", "tBTCUST"}


@given(path=st.text(max_size=40) | st.text("/wstream?=&%@.", max_size=40).map(lambda tail: f"/stream{tail}"))
@example(path="//[")
@settings(max_examples=150, deadline=None)
def test_any_path_is_understood_or_refused(path: str) -> None:
    asked = streams_of_path(path)
    if asked is not None:
        BinanceConversation({"BTCUSDT"}, *asked)
