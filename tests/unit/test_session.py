"""The session's own rules, on the real dialects: pacing, confirmation, refusal, liveness, counting."""

import json
from collections.abc import Sequence

import pytest

from core.errors import ErrorCode
from core.exchanges.base import Confirmed, Outgoing, Refused, SymbolBroken, SymbolTrack, Unparsed
from core.exchanges.binance import Binance, BinanceDialect
from core.exchanges.table import PROFILES
from core.exchanges.upbit import Upbit
from core.identity import Exchange, RequestType, Symbol
from core.liveness import LivenessSettings
from core.records import Record
from core.session import Stale, StreamSession

BTC, ETH = Symbol("BTC", "KRW"), Symbol("ETH", "KRW")


def ticker(symbol: Symbol, price: float = 1.0) -> bytes:
    return json.dumps(
        {"type": "ticker", "code": f"{symbol.quote}-{symbol.base}", "trade_price": price}
    ).encode()


def upbit(now_s: float = 0.0, **options: object) -> StreamSession:
    return StreamSession(Upbit(), RequestType.TICKER, 7, now_s=now_s, **options)


def codes(message: Outgoing) -> list[str]:
    return json.loads(message)[1]["codes"]


# -- sending -------------------------------------------------------------------------------------------


def test_messages_go_out_in_order_as_fast_as_the_exchange_allows() -> None:
    session = upbit()
    symbols = [Symbol(f"C{number}", "KRW") for number in range(12)]
    for symbol in symbols:
        session.subscribe([symbol], 0.0)
    sent: list[tuple[float, Outgoing]] = [(0.0, message) for message in session.take_outbox()]
    now_s = 0.0
    while len(sent) < len(symbols):
        due_s = session.due_s(now_s)
        assert due_s > now_s
        now_s = due_s
        session.on_time(now_s)
        sent += [(now_s, message) for message in session.take_outbox() if message != "PING"]
    assert [len(codes(message)) for _, message in sent] == list(range(1, 13))
    times = [time_s for time_s, _ in sent]
    window_s, most = Upbit.limits.message_window_s, Upbit.limits.max_messages
    assert all(later - earlier >= window_s for earlier, later in zip(times, times[most:], strict=False))
    assert times[-1] == pytest.approx(2 * window_s)


def test_upbit_pacing_keeps_to_both_documented_limits() -> None:
    limits = Upbit.limits
    assert limits.max_messages <= 5
    assert limits.message_window_s >= 1.0
    assert 60.0 / limits.message_window_s * limits.max_messages <= 100


class _AnsweringDialect(BinanceDialect):
    """Answers every frame, as exchanges with heartbeats in the protocol want it."""

    def receive(self, frame: str | bytes, received_us: int) -> Sequence[Record]:
        self.outbox.append("pong")
        return ()


class _AnsweringExchange(Binance):
    def dialect(self, request_type: RequestType, session_id: int) -> BinanceDialect:
        return _AnsweringDialect(self, request_type, session_id)


def test_answers_go_out_at_once_and_count_against_the_rate() -> None:
    session = StreamSession(_AnsweringExchange(), RequestType.TICKER, 1, now_s=0.0)
    for _ in range(Binance.limits.max_messages):
        session.receive("ping", 1)
    assert session.pending
    assert session.take_outbox() == ["pong"] * 3
    session.subscribe([Symbol("BTC", "USDT")], 0.5)
    assert session.take_outbox() == []
    session.on_time(session.due_s(0.5))
    assert len(session.take_outbox()) == 1


def test_socket_params_replace_the_subscription_and_are_sent_once() -> None:
    params = [{"ticket": "own"}, {"type": "ticker", "codes": ["KRW-BTC"]}]
    session = upbit(socket_params=params)
    session.subscribe([BTC], 0.0)
    session.subscribe([ETH], 0.0)
    session.unsubscribe(["ETH-KRW"], 0.0)
    assert [json.loads(message) for message in session.take_outbox()] == [params]
    assert len(session.receive(ticker(BTC), 1)) == 1


# -- symbols -------------------------------------------------------------------------------------------


def test_symbols_that_run_are_not_asked_for_again() -> None:
    session = upbit()
    session.subscribe([BTC, BTC, ETH], 0.0)
    session.subscribe([BTC], 0.0)
    assert [codes(message) for message in session.take_outbox()] == [["KRW-BTC", "KRW-ETH"]]


def test_the_first_record_confirms_once() -> None:
    session = upbit()
    session.subscribe([BTC, ETH], 0.0)
    session.receive(ticker(BTC), 1)
    session.receive(ticker(BTC), 2)
    assert session.take_notices() == [Confirmed(("BTC-KRW",))]
    assert not session.pending or session.take_outbox()


def test_late_frames_after_an_unsubscription_are_no_records_and_the_sequence_goes_on() -> None:
    session = upbit()
    session.subscribe([BTC, ETH], 0.0)
    sequences = [session.receive(ticker(BTC), 1)[0].sequence for _ in range(3)]
    session.unsubscribe(["BTC-KRW", "NEVER-ASKED"], 1.0)
    assert session.receive(ticker(BTC), 1) == ()
    assert session.ignored == {"not subscribed": 1}
    session.subscribe([BTC], 2.0)
    sequences += [session.receive(ticker(BTC), 1)[0].sequence for _ in range(2)]
    assert sequences == [1, 2, 3, 4, 5]
    (track,) = [track for track in session.tracks if track.symbol == "BTC-KRW"]
    assert track.sequence == 5


def test_other_request_types_are_ignored_live_and_counted_apart_in_a_replay() -> None:
    trade = b'{"type":"trade","code":"KRW-BTC","trade_price":1,"trade_volume":1}'
    live = upbit()
    live.subscribe([BTC], 0.0)
    assert live.receive(trade, 1) == ()
    assert live.ignored == {"other request type": 1}
    replay = upbit(accept_all=True)
    records = [*replay.receive(ticker(BTC), 1), *replay.receive(trade, 1), *replay.receive(trade, 1)]
    assert [(type(record).__name__, record.sequence) for record in records] == [
        ("Ticker", 1),
        ("Trade", 1),
        ("Trade", 2),
    ]
    assert not replay.pending


@pytest.mark.parametrize(
    ("exchange", "frame"),
    [
        (Exchange.UPBIT, '{"type":"ticker","code":"NOT A PAIR","trade_price":1}'),
        (Exchange.BINANCE, '{"e":"trade","s":"BTCUSD_PERP","p":"1","q":"1"}'),
        (Exchange.BINANCE, '{"stream":"x@trade","data":{"e":"trade","s":"币安人生USDT","p":"1","q":"1"}}'),
        (Exchange.BYBIT, '{"topic":"tickers.BTC-6JAN23-17500-C","data":{"symbol":"x","lastPrice":"1"}}'),
        (Exchange.BYBIT, '{"topic":"tickers.BTC-27DEC24","data":{"symbol":"x","lastPrice":"1"}}'),
        (Exchange.BYBIT, '{"topic":"publicTrade.BTCPERP","data":[{"p":"1","v":"1","s":"BTCPERP"}]}'),
        (Exchange.OKX, '{"arg":{"channel":"tickers","instId":"BTC-USDT-SWAP"},"data":[{"last":"1"}]}'),
        (Exchange.OKX, '{"arg":{"channel":"trades","instId":"BTC"},"data":[{"px":"1","sz":"1"}]}'),
        (Exchange.HUOBI, '{"ch":"market.btcnope.detail","tick":{"close":1}}'),
        (Exchange.HUOBI, '{"ch":"market.BTC-USDT.trade.detail","tick":{"data":[{"price":1,"amount":1}]}}'),
    ],
)
def test_a_replay_ignores_symbols_that_are_no_pair_of_the_exchange(exchange: Exchange, frame: str) -> None:
    replay = StreamSession(PROFILES[exchange], RequestType.TICKER, 1, now_s=0.0, accept_all=True)
    for seen in (1, 2):
        assert replay.receive(frame, 1) == ()
        assert replay.ignored == {"symbol of another market": seen}
    assert list(replay.tracks) == []
    assert not replay.pending


# -- refusal by silence --------------------------------------------------------------------------------


def run(
    session: StreamSession, start_s: float, end_s: float, answer: bytes | None
) -> list[tuple[float, object]]:
    """Call ``on_time`` when due from start to end; the other side says ``answer`` before each call."""
    now_s, seen = start_s, []
    while now_s < end_s:
        due_s = session.due_s(now_s)
        assert due_s > now_s, "a shell would spin"
        now_s = due_s
        if answer is not None:
            session.receive(answer, 1)
        session.on_time(now_s)
        seen += [(now_s, notice) for notice in session.take_notices()]
        session.take_outbox()
    return seen


def test_a_symbol_without_a_frame_is_refused_once_its_time_is_over() -> None:
    session = upbit()
    session.subscribe([BTC, Symbol("NOPE", "KRW")], 0.0)
    session.receive(ticker(BTC), 1)
    session.take_notices()
    ((refused_s, refused),) = run(session, 0.0, 15.0, ticker(BTC))
    assert isinstance(refused, Refused)
    assert refused.symbols == ("NOPE-KRW",)
    assert refused.code is ErrorCode.UNKNOWN_SYMBOL
    assert 10.0 <= refused_s <= 11.0
    assert session.active_symbols == ["BTC-KRW"]
    assert session.receive(ticker(Symbol("NOPE", "KRW")), 1) == ()


def test_a_connection_that_stalls_refuses_nobody() -> None:
    session = upbit(liveness=LivenessSettings(probe_after_s=10.0, stale_after_s=20.0))
    session.subscribe([BTC], 0.0)
    session.receive(b'{"status":"UP"}', 1)
    notices = [notice for _, notice in run(session, 0.0, 40.0, None)]
    assert notices == [Stale(20.0)]
    assert session.active_symbols == ["BTC-KRW"]


def test_the_time_counts_from_when_the_request_went_out() -> None:
    session = upbit()
    for number in range(Upbit.limits.max_messages):
        session.subscribe([Symbol(f"C{number}", "KRW")], 0.0)
    session.subscribe([BTC], 0.0)
    by_symbol = {
        symbol: time_s
        for time_s, notice in run(session, 0.0, 20.0, b'{"status":"UP"}')
        if isinstance(notice, Refused)
        for symbol in notice.symbols
    }
    assert 10.0 <= by_symbol["C0-KRW"] <= 11.0
    assert 13.0 <= by_symbol["BTC-KRW"] <= 14.0


def test_time_in_which_the_session_was_not_served_does_not_count() -> None:
    session = upbit()
    session.subscribe([BTC, ETH], 0.0)
    run(session, 0.0, 2.0, None)
    session.receive(ticker(ETH), 1)
    session.on_time(60.0)
    assert session.take_notices() == [Confirmed(("ETH-KRW",))]
    assert run(session, 60.0, 64.0, ticker(ETH)) == []
    session.receive(ticker(BTC), 1)
    assert session.take_notices() == [Confirmed(("BTC-KRW",))]


def test_an_unsubscribed_symbol_is_not_refused() -> None:
    session = upbit()
    session.subscribe([BTC], 0.0)
    session.unsubscribe(["BTC-KRW"], 1.0)
    assert run(session, 1.0, 15.0, b'{"status":"UP"}') == []


def test_where_the_exchange_confirms_silence_refuses_nobody() -> None:
    session = StreamSession(Binance(), RequestType.TRADE, 1, now_s=0.0)
    session.subscribe([Symbol("BTC", "USDT")], 0.0)
    said = run(session, 0.0, 60.0, b'{"result":[],"id":99}')
    assert [(now_s, type(notice)) for now_s, notice in said] == [(30.0, SymbolBroken)]
    assert session.active_symbols == ["BTC-USDT"]


# -- liveness ------------------------------------------------------------------------------------------


def test_a_silent_connection_is_probed_and_given_up_once() -> None:
    session = upbit()
    now_s, sent, stale_s = 0.0, [], []
    while now_s < 60.0:
        now_s = session.due_s(now_s)
        session.on_time(now_s)
        sent += [(now_s, message) for message in session.take_outbox()]
        stale_s += [now_s for notice in session.take_notices() if isinstance(notice, Stale)]
    assert sent == [(10.0, "PING")]
    assert stale_s == [20.0]


def test_a_frame_counts_as_life_within_a_tick() -> None:
    session = upbit()
    now_s = 0.0
    while now_s < 5.0:
        now_s = session.due_s(now_s)
        session.on_time(now_s)
    session.receive(b'{"status":"UP"}', 1)
    while not session.take_outbox():
        now_s = session.due_s(now_s)
        session.on_time(now_s)
    assert 15.0 <= now_s <= 16.0


# -- counting ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"null",
        b"[]",
        b"{}",
        "\ud800",
        '{"type":"ticker","code":"\ud800","trade_price":1}',
        b'{"type":"ticker","code":"\xff","trade_price":1}',
        b'{"type":"ticker","code":"KRW-BTC","trade_price":1,"x":' + b"[" * 100_000,
        b'{"x":' + b'{"x":' * 100_000,
        b"9" * 100_000,
    ],
)
@pytest.mark.parametrize("profile", [Upbit(), Binance()])
def test_no_frame_raises_and_each_is_counted(frame: str | bytes, profile: Upbit | Binance) -> None:
    session = StreamSession(profile, RequestType.TICKER, 1, now_s=0.0)
    assert session.receive(frame, 1) == ()
    assert (session.frames, session.parse_failed) == (1, 1)
    assert session.pending
    (unparsed,) = session.take_notices()
    assert isinstance(unparsed, Unparsed)
    assert unparsed.reason
    assert not session.pending


def test_samples_of_unparsed_frames_are_bounded_in_number_and_size() -> None:
    session = upbit()
    for _ in range(1000):
        session.receive("é" * 100_000, 1)
    notices = session.take_notices()
    assert session.parse_failed == 1000
    assert 1 <= len(notices) <= 16
    assert all(isinstance(notice, Unparsed) and len(notice.frame) <= 16 * 1024 for notice in notices)
    session.receive(b"{", 1)
    assert len(session.take_notices()) == 1


def test_bytes_are_counted_as_they_were_sent() -> None:
    session = upbit()
    session.receive("{é", 1)
    session.receive(b"{abc", 1)
    assert session.bytes_received == 3 + 4


def test_tracks_are_made_per_session() -> None:
    session = upbit()
    session.subscribe([BTC], 0.0)
    assert list(session.tracks) == [SymbolTrack("BTC-KRW", "KRW-BTC", 7, asked_s=0.0)]
