"""What a session does of time: heartbeats, messages of bounded size, channels that fell silent."""

import itertools
import json
from typing import ClassVar

from core.channel_liveness import ChannelPulse
from core.errors import ErrorCode
from core.exchanges._template import Template, TemplateDialect
from core.exchanges.base import Outgoing, SymbolBroken, SymbolWhole
from core.exchanges.binance import Binance
from core.identity import RequestType, Symbol
from core.liveness import LivenessSettings
from core.session import Stale, StreamSession

BTC, ETH = Symbol("BTC", "USD"), Symbol("ETH", "USD")
TICKER = '{"ch":"ticker","m":"%s","d":{"last":"1.5"}}'


class _BeatingDialect(TemplateDialect):
    def heartbeat(self) -> Outgoing:
        return "beat"


class _Beating(Template):
    """Wants a heartbeat of its own every 5 s, and beats itself on each channel every 10 s."""

    heartbeat_s: ClassVar[float | None] = 5.0
    channel_heartbeat_s: ClassVar[float | None] = 10.0

    def dialect(self, request_type: RequestType, session_id: int) -> TemplateDialect:
        return _BeatingDialect(self, request_type, session_id)


def test_no_message_names_more_symbols_than_the_exchange_takes() -> None:
    session = StreamSession(Binance(), RequestType.TRADE, 1, now_s=0.0)
    symbols = [Symbol(f"C{number}", "USDT") for number in range(450)]
    session.subscribe(symbols, 0.0)
    sent = [json.loads(message) for message in session.take_outbox()]
    assert [len(request["params"]) for request in sent] == [200, 200, 50]
    assert [request["id"] for request in sent] == [1, 2, 3]
    session.unsubscribe([str(symbol) for symbol in symbols[:201]], 10.0)
    session.on_time(10.0)
    sent = [json.loads(message) for message in session.take_outbox()]
    ended = [(request["method"], len(request["params"])) for request in sent if "params" in request]
    assert ended == [("UNSUBSCRIBE", 200), ("UNSUBSCRIBE", 1)]


def test_heartbeats_go_out_by_the_exchanges_rule_while_data_flows_and_before_what_waits() -> None:
    session = StreamSession(_Beating(), RequestType.TICKER, 1, now_s=0.0)
    session.subscribe([BTC], 0.0)
    session.take_outbox()
    sent = []
    for quarter in range(1, 81):
        now_s = quarter / 4
        session.receive(TICKER % "BTC_USD", 1)
        if quarter == 40:
            session.subscribe([Symbol(f"C{n}", "USD") for n in range(5000)], now_s)
        session.on_time(now_s)
        sent += [(now_s, str(message)[:5]) for message in session.take_outbox()]
    beats = [now_s for now_s, message in sent if message == "beat"]
    assert beats[0] == 5.0
    assert all(3.9 <= later - earlier <= 6.1 for earlier, later in itertools.pairwise(beats))
    assert session.due_s(20.0) <= 21.0


def test_a_standstill_is_followed_by_one_heartbeat() -> None:
    session = StreamSession(_Beating(), RequestType.TICKER, 1, now_s=0.0)
    session.on_time(100.0)
    assert session.take_outbox().count("beat") == 1
    session.on_time(104.0)
    assert session.take_outbox().count("beat") == 0


def test_a_silent_channel_is_told_once_and_subscribed_anew_alone() -> None:
    session = StreamSession(_Beating(), RequestType.TICKER, 1, now_s=0.0)
    session.subscribe([BTC, ETH], 0.0)
    session.receive('{"id":1,"ok":true}', 1)
    session.take_notices()
    session.take_outbox()
    tracks = {track.symbol: track for track in session.tracks}
    notices, sent = [], []
    for second in range(1, 100):
        if second % 10 == 0:
            tracks["BTC-USD"].beats += 1
        if second == 80:
            session.receive(TICKER % "ETH_USD", 1)
        session.receive("pong", 1)
        session.on_time(float(second))
        notices += session.take_notices()
        sent += [message for message in session.take_outbox() if message != "beat"]
    broken, whole = notices
    assert isinstance(broken, SymbolBroken)
    assert (broken.symbol, broken.code) == ("ETH-USD", ErrorCode.STREAM_STALE)
    assert whole == SymbolWhole("ETH-USD", 1)
    assert sent
    assert all(json.loads(message)["args"] == ["ticker:ETH_USD"] for message in sent)
    assert [json.loads(message)["op"] for message in sent[:2]] == ["unsubscribe", "subscribe"]


def test_a_session_whose_data_stops_while_the_connection_answers_is_given_up() -> None:
    channels = ChannelPulse()
    session = StreamSession(
        Template(), RequestType.TICKER, 1, now_s=0.0, liveness=LivenessSettings(), channels=channels
    )
    session.subscribe([BTC], 0.0)
    session.receive(TICKER % "BTC_USD", 1)
    stale: list[tuple[int, Stale]] = []
    for second in range(1, 400):
        session.receive(TICKER % "BTC_USD" if second < 200 else "pong", 1)
        session.on_time(float(second))
        session.take_outbox()
        stale += [(second, notice) for notice in session.take_notices() if isinstance(notice, Stale)]
    assert [second for second, _ in stale[:1]] == [259]
    assert stale[0][1].data_only
    # The next session knows what is usual, and is more patient.
    again = StreamSession(Template(), RequestType.TICKER, 2, now_s=400.0, channels=channels)
    again.subscribe([BTC], 400.0)
    again.receive(TICKER % "BTC_USD", 1)
    assert channels.alarm_after_s >= 120.0
