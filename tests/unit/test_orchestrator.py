"""Desired streams against running ones: outcomes once, hand-over, orphans, standing still."""

from collections import Counter

import pytest

from application.stream import Stream
from core.streams import ScopeFold
from infra.manual_clock import settled
from tests.orchestra import HOME, SCOPE, Orchestra

BTC, ETH, XRP = "BTC-KRW", "ETH-KRW", "XRP-KRW"
PARAMS = [{"ticket": "mine"}, {"type": "ticker", "codes": ["KRW-BTC", "KRW-ETH"]}]


async def test_a_connect_succeeds_with_the_first_record_of_each_symbol() -> None:
    async with Orchestra() as o:
        o.instance(owns=[HOME])
        o.upbit.silent = True
        name = await o.connect(BTC, ETH)
        assert not o.outcomes()
        o.upbit.emit("KRW-BTC")
        await settled()
        assert o.outcomes() == {(name, BTC, "connect_success"): 1}
        o.upbit.answer()
        await settled()
        o.upbit.answer()
        await settled()
        assert o.outcomes() == {(name, BTC, "connect_success"): 1, (name, ETH, "connect_success"): 1}


async def test_doing_it_again_is_acknowledged_and_changes_nothing() -> None:
    async with Orchestra() as o:
        o.instance(owns=[HOME])
        await o.connect(BTC, url="wss://api.upbit.com/websocket/v1")
        requests = list(o.upbit.requests)
        again = await o.connect(BTC, url="wss://api.upbit.com/websocket/v1")
        assert o.outcomes(again) == {(again, BTC, "connect_success"): 1}
        assert o.upbit.requests == requests
        assert o.upbit.connector.attempts == 1


async def test_symbols_are_added_and_removed_on_the_live_connection() -> None:
    async with Orchestra() as o:
        o.instance(owns=[HOME])
        await o.connect(BTC)
        await o.connect(ETH)
        (connection,) = o.upbit.open
        assert o.upbit.codes(connection) == ["KRW-BTC", "KRW-ETH"]
        gone = await o.disconnect(BTC)
        assert o.upbit.codes(connection) == ["KRW-ETH"]
        assert o.outcomes(gone) == {(gone, BTC, "disconnect_success"): 1}
        assert o.upbit.connector.attempts == 1
        last = await o.disconnect(ETH)
        await o.clock.advance(1)
        assert o.upbit.open == []
        assert o.outcomes(last) == {(last, ETH, "disconnect_success"): 1}


async def test_another_address_opens_the_stream_anew() -> None:
    async with Orchestra() as o:
        o.instance(owns=[HOME])
        await o.connect(BTC)
        name = await o.connect(ETH, url="wss://api.upbit.com/other")
        await o.clock.advance(5)
        (connection,) = o.upbit.open
        assert connection.url == "wss://api.upbit.com/other"
        assert o.upbit.codes(connection) == ["KRW-BTC", "KRW-ETH"]
        assert o.outcomes(name) == {(name, ETH, "connect_success"): 1}


async def test_a_stop_is_said_once_a_symbol_or_once_for_a_stream_without_any() -> None:
    async with Orchestra() as o:
        o.instance(owns=[HOME])
        await o.connect(BTC, ETH)
        first, second = await o.disconnect(), await o.disconnect()
        assert o.outcomes(first) == {
            (first, BTC, "disconnect_success"): 1,
            (first, ETH, "disconnect_success"): 1,
        }
        assert o.outcomes(second) == {(second, None, "disconnect_success"): 1}
        assert o.outcomes(await o.disconnect(XRP)).total() == 1


async def test_an_end_before_the_exchanges_word_fails_the_connect() -> None:
    async with Orchestra() as o:
        o.instance(owns=[HOME])
        o.upbit.silent = True
        connect, end = await o.connect(BTC, ETH), await o.disconnect(BTC)
        stop = await o.disconnect()
        assert o.outcomes() == {
            (connect, BTC, "orchestrator_error"): 1,
            (connect, ETH, "orchestrator_error"): 1,
            (end, BTC, "disconnect_success"): 1,
            (stop, ETH, "disconnect_success"): 1,
        }


async def test_what_only_the_exchange_can_refuse_is_said_once_and_never_tried_again() -> None:
    async with Orchestra() as o:
        o.upbit.unlisted = {"KRW-XRP"}
        first = o.instance(owns=[HOME])
        name = await o.connect(BTC, XRP)
        for _ in range(40):
            o.upbit.emit("KRW-BTC")
            await o.clock.advance(0.5)
        assert o.outcomes() == {(name, BTC, "connect_success"): 1, (name, XRP, "unknown_symbol"): 1}
        assert first.orchestrator.streams[SCOPE.key].symbols == [BTC]
        await o.log.take(HOME)
        o.instance(owns=[HOME])
        await o.clock.advance(30)
        assert o.outcomes().total() == 2
        assert o.upbit.requests[-1] == ["KRW-BTC"]
        again = await o.connect(XRP)
        for _ in range(40):
            o.upbit.emit("KRW-BTC")
            await o.clock.advance(0.5)
        assert o.outcomes(again) == {(again, XRP, "unknown_symbol"): 1}


async def test_socket_params_take_no_further_symbols_and_may_be_given_again() -> None:
    async with Orchestra() as o:
        o.instance(owns=[HOME])
        first = await o.connect(BTC, ETH, socket_params=PARAMS)
        again = await o.connect(BTC, ETH, socket_params=PARAMS)
        further = await o.connect(XRP)
        plain = await o.connect(BTC)
        assert o.upbit.connector.attempts == 1
        assert o.outcomes() == {
            **{(name, symbol, "connect_success"): 1 for name in (first, again) for symbol in (BTC, ETH)},
            (further, XRP, "subscribe_rejected"): 1,
            (plain, BTC, "connect_success"): 1,
        }


async def test_socket_params_displace_what_they_do_not_name() -> None:
    async with Orchestra() as o:
        o.instance(owns=[HOME])
        await o.connect(BTC, XRP)
        before = o.outcomes()
        name = await o.connect(BTC, ETH, socket_params=PARAMS)
        await o.clock.advance(5)
        assert o.outcomes(name) == {(name, BTC, "connect_success"): 1, (name, ETH, "connect_success"): 1}
        displaced = o.outcomes() - before - o.outcomes(name)
        assert [key[1:] for key in displaced.elements()] == [(XRP, "subscribe_rejected")]


async def test_another_instance_resumes_without_a_command_and_repeats_no_outcome() -> None:
    async with Orchestra() as o:
        first = o.instance(owns=[HOME])
        await o.connect(BTC, ETH)
        said = o.outcomes()
        await o.log.take(HOME)
        assert o.upbit.open == []
        assert first.orchestrator.streams == {}
        second = o.instance(owns=[HOME])
        await settled()
        (connection,) = o.upbit.open
        assert o.upbit.codes(connection) == ["KRW-BTC", "KRW-ETH"]
        o.upbit.answer()
        await settled()
        assert o.outcomes() == said
        assert {r.session_id for r in first.sink.records}.isdisjoint(r.session_id for r in second.sink.records)


async def test_what_waits_for_its_outcome_gets_it_from_the_next_owner() -> None:
    async with Orchestra() as o:
        o.instance(owns=[HOME])
        o.upbit.silent = True
        name = await o.connect(BTC)
        await o.log.take(HOME)
        end = await o.disconnect(ETH)
        o.upbit.silent = False
        o.instance(owns=[HOME])
        await settled()
        assert o.outcomes() == {(name, BTC, "connect_success"): 1, (end, ETH, "disconnect_success"): 1}


async def test_streams_go_on_while_no_broker_answers_and_end_when_others_own_them() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        (connection,) = o.upbit.open
        await one.orchestrator.lost([HOME], brokers_answer=False)
        o.log.owners.clear()
        o.upbit.emit("KRW-BTC")
        assert len(one.sink.records) == 2
        o.log.give(HOME, one.orchestrator)
        await one.orchestrator.group_answers([HOME])
        await settled()
        assert o.upbit.open == [connection]
        await one.orchestrator.lost([HOME], brokers_answer=False)
        await one.orchestrator.group_answers([])
        await settled()
        assert o.upbit.open == []
        assert one.orchestrator.streams == {}


async def test_lost_while_brokers_answer_closes_at_once() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        await one.orchestrator.lost([HOME], brokers_answer=True)
        assert o.upbit.open == []


async def test_a_stream_stopped_while_orphaned_ends_when_it_is_read_again() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        await one.orchestrator.lost([HOME], brokers_answer=False)
        o.log.owners.clear()
        stop = await o.disconnect()
        assert len(o.upbit.open) == 1
        o.log.give(HOME, one.orchestrator)
        await settled()
        assert o.upbit.open == []
        assert o.outcomes(stop) == {(stop, BTC, "disconnect_success"): 1}


async def test_who_stood_still_publishes_nothing_until_the_group_had_its_time() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        assert len(one.sink.records) == 1
        for task in one.tasks:
            task.cancel()
        o.clock.jump(60)
        o.upbit.emit("KRW-BTC")
        assert len(one.sink.records) == 1
        one.orchestrator.tick()
        await settled()
        assert o.upbit.open == []
        for _ in range(12):
            one.orchestrator.tick()
            await o.clock.advance(1)
        o.upbit.answer()
        assert len(o.upbit.open) == 1
        assert len({r.session_id for r in one.sink.records}) == 2


async def test_one_report_an_outage_however_many_attempts() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        o.upbit.connector.refusing = "no route"
        o.upbit.open[0].end(1006)
        await o.clock.advance(30)
        attempts = o.upbit.connector.attempts
        assert attempts > 10
        assert len(one.reports.sent) == 1
        o.upbit.connector.refusing = None
        await o.clock.advance(5)
        o.upbit.answer()
        o.upbit.open[0].end(1001, "going away")
        await o.clock.advance(5)
        assert [e["error"]["error_code"] for e in one.reports.sent] == ["connect_failed", "connect_failed"]
        assert "going away" in one.reports.sent[1]["error"]["error_message"]["message"]


@pytest.mark.parametrize("takeover", [False, True])
async def test_what_ran_is_not_refused_for_silence(takeover: bool) -> None:
    async with Orchestra() as o:
        first = o.instance(owns=[HOME])
        name = await o.connect(BTC, ETH)
        o.upbit.silent = True
        if takeover:
            await o.log.take(HOME)
            last = o.instance(owns=[HOME])
        else:
            last = first
            o.upbit.open[0].end(1001)
        await o.clock.advance(60)
        asked = len(o.upbit.requests)
        assert asked >= 4
        (stream,) = last.orchestrator.streams.values()
        assert sorted(stream.symbols) == [BTC, ETH]
        o.upbit.answer()
        await o.clock.advance(300)
        assert len(o.upbit.requests) <= asked + 1
        assert o.outcomes() == {(name, BTC, "connect_success"): 1, (name, ETH, "connect_success"): 1}
        errors = [event["error"]["error_code"] for event in last.reports.sent]
        assert sorted(errors) == [*([] if takeover else ["connect_failed"]), "stream_stale", "stream_stale"]


async def test_silence_is_found_and_the_connection_opened_anew() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        connection = o.upbit.open[0]
        connection._on_send = None  # answers nothing any more, not even a ping
        await o.clock.advance(25)
        await o.clock.advance(5)
        assert not connection.open
        assert len(o.upbit.open) == 1
        assert [e["error"]["error_code"] for e in one.reports.sent] == ["stream_stale"]


async def test_a_frame_that_is_too_large_says_so() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        o.upbit.open[0].receive(b"x" * (5 * 1024 * 1024))
        await o.clock.advance(5)
        assert [e["error"]["error_code"] for e in one.reports.sent] == ["frame_too_large"]
        assert len(o.upbit.open) == 1


async def test_rubbish_is_sampled_and_the_connection_stays() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        for _ in range(50):
            o.upbit.open[0].receive(b"\xff{")
            await settled(2)
        assert [e["action"] for e in one.reports.sent] == ["dlq"] * 10
        assert one.orchestrator.streams[SCOPE.key].accounting.totals()["parse_failed"] == 50
        assert o.upbit.connector.attempts == 1


async def test_sequences_go_on_over_unsubscribe_and_subscribe() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC, ETH)
        await o.disconnect(BTC)
        await o.connect(BTC)
        o.upbit.answer()
        sequences = [r.sequence for r in one.sink.records if r.symbol == BTC]
        assert sequences == list(range(1, len(sequences) + 1))
        assert len({r.session_id for r in one.sink.records}) == 1
        assert Counter(r.symbol for r in one.sink.records)[BTC] >= 3


async def test_a_connection_opened_while_records_are_given_up_reads() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        taken = len(one.sink.records)
        one.sink.full = True
        o.upbit.answer()
        assert o.upbit.open[0].paused
        await o.clock.advance(6)
        assert not o.upbit.open[0].paused
        o.upbit.open[0].end()
        await o.clock.advance(3)
        (connection,) = o.upbit.open
        assert not connection.paused
        one.sink.full = False
        o.upbit.answer()
        assert len(one.sink.records) == taken + 1
        await settled()
        assert [e["error"]["error_code"] for e in one.reports.sent][-1] == "circuit_open"


async def test_what_is_held_when_a_stream_ends_still_goes_out() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        one.sink.full = True
        o.upbit.answer()
        await o.disconnect()
        await o.clock.advance(1)
        assert one.orchestrator.take_ended() == []
        one.sink.full = False
        await o.clock.advance(1)
        (stream,) = one.orchestrator.take_ended()
        assert (stream.accounting.produced, stream.accounting.shed) == (2, 0)
        assert len(one.sink.records) == 2


async def test_a_refusal_while_orphaned_is_said_by_the_owner() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        o.upbit.unlisted = {"KRW-XRP"}
        name = await o.connect(BTC, XRP)
        await one.orchestrator.lost([HOME], brokers_answer=False)
        o.log.owners.clear()
        for _ in range(40):
            o.upbit.emit("KRW-BTC")
            await o.clock.advance(0.5)
        assert o.outcomes() == {(name, BTC, "connect_success"): 1}
        o.log.give(HOME, one.orchestrator)
        await settled()
        assert o.outcomes() == {(name, BTC, "connect_success"): 1, (name, XRP, "unknown_symbol"): 1}
        assert one.orchestrator.streams[SCOPE.key].symbols == [BTC]


async def test_a_command_of_many_symbols_is_reconciled_a_few_times_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: Counter[str] = Counter()
    desired, run = ScopeFold.desired, Stream.run

    def counted_desired(fold: ScopeFold) -> object:
        calls["desired"] += 1
        return desired(fold)

    def counted_run(stream: Stream, *args: object, **more: object) -> None:
        calls["run"] += 1
        run(stream, *args, **more)

    monkeypatch.setattr(ScopeFold, "desired", counted_desired)
    monkeypatch.setattr(Stream, "run", counted_run)
    symbols = [f"S{n}-KRW" for n in range(5_000)]
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        calls.clear()
        connect = await o.connect(*symbols)
        await o.clock.advance(30)
        await settled(50)
        assert sorted(one.orchestrator.streams[SCOPE.key].live) == sorted(symbols)
        assert o.outcomes() == Counter({(connect, symbol, "connect_success"): 1 for symbol in symbols})
        assert calls["run"] <= 2
        assert calls["desired"] <= 4
        calls.clear()
        end = await o.disconnect(*symbols)
        await o.clock.advance(5)
        await settled(50)
        assert o.outcomes(end) == Counter({(end, symbol, "disconnect_success"): 1 for symbol in symbols})
        assert calls["run"] <= 1
        assert calls["desired"] <= 4
        assert one.orchestrator.streams == {}


async def test_facts_told_together_give_the_outcomes_they_give_one_by_one() -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        await o.connect(BTC)
        owner = o.log.owners.pop(HOME)
        told = len(o.log.partitions[HOME])
        again, end = await o.connect(BTC, ETH), await o.disconnect(BTC, ETH)
        last, stop, after = await o.connect(XRP), await o.disconnect(), await o.connect(BTC)
        o.log.owners[HOME] = owner
        owner.facts(HOME, list(enumerate(o.log.partitions[HOME]))[told:])
        await settled()
        await o.clock.advance(5)
        assert o.outcomes(again) == {(again, BTC, "connect_success"): 1, (again, ETH, "orchestrator_error"): 1}
        assert o.outcomes(end) == {(end, BTC, "disconnect_success"): 1, (end, ETH, "disconnect_success"): 1}
        assert o.outcomes(last) == {(last, XRP, "orchestrator_error"): 1}
        assert o.outcomes(stop) == {(stop, XRP, "disconnect_success"): 1}
        assert o.outcomes(after) == {(after, BTC, "connect_success"): 1}
        assert one.orchestrator.streams[SCOPE.key].symbols == [BTC]


async def test_a_stream_that_fails_unexpectedly_is_reported_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Orchestra() as o:
        one = o.instance(owns=[HOME])
        opened = o.upbit.connector.connect
        attempts: list[str] = []

        async def fails(url: str, *args: object, **more: object) -> object:
            attempts.append(url)
            if len(attempts) < 4:
                raise ValueError("unforeseen")
            return await opened(url, *args, **more)

        monkeypatch.setattr(o.upbit.connector, "connect", fails)
        name = await o.connect(BTC)
        await o.clock.advance(10)
        assert o.outcomes(name) == {(name, BTC, "connect_success"): 1}
        assert len(attempts) == 4
        assert len(one.reports.sent) == 1
