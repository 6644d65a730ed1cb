"""The auditor on histories written by hand: one case for each thing it can say."""

import pytest

from core.audit import Auditor
from core.audit_report import Tail
from core.ranges import RangeSet
from core.source_log import SentFrame, SourceLog

MINUTE_US = 60_000_000
T0_US = 1_700_000_040 * 1_000_000  # a whole minute


def put(auditor, sequences, *, session=7, symbol="BTC-KRW", partition=0, at_us=T0_US, ts=None):
    for sequence in sequences:
        exchange_ts_ms = sequence * 10 if ts is None else ts[sequence]
        auditor.record(
            "ticker", "upbit", "korea", symbol, session, sequence, partition, exchange_ts_ms, at_us + sequence
        )


def metrics(sequences, *, total=None, shed=(), minute_us=T0_US, symbol="BTC-KRW"):
    produced = sum(last - first + 1 for _, first, last in sequences)
    number = produced if total is None else total

    def ranges(parts):
        return [{"session_id": s, "symbol": symbol, "first": a, "last": b} for s, a, b in parts]

    start_ms = minute_us // 1000
    return {
        "exchange": "upbit",
        "region": "korea",
        "request_type": "ticker",
        "batch": {
            "range_start_ts_kst": start_ms,
            "range_end_ts_kst": start_ms + 60_000,
            "bucket_size_sec": 60,
            "items": [
                {"minute_start_ts_kst": start_ms, "total": number, "details": {f"{symbol}_COUNT": number}}
            ],
            "version": 1,
        },
        "sequences": ranges(sequences),
        "shed": ranges(shed),
    }


def only_track(report):
    (session,) = report.sessions
    (track,) = session.tracks
    return track


def test_a_clean_closed_session_is_proven():
    auditor = Auditor()
    put(auditor, range(1, 101))
    auditor.metrics(metrics([(7, 1, 100)]))
    report = auditor.report()
    assert report.ok
    assert only_track(report).tail is Tail.PROVEN
    assert report.totals.records == 100
    assert report.totals.minutes_checked == 1


def test_a_hole_is_lost():
    auditor = Auditor()
    put(auditor, [1, 2, 5, 6])
    report = auditor.report()
    assert not report.ok
    assert only_track(report).missing == [(3, 4)]


def test_a_missing_first_record_is_lost():
    auditor = Auditor()
    put(auditor, [2, 3])
    assert only_track(auditor.report()).missing == [(1, 1)]


def test_a_hole_the_metrics_name_as_shed_is_explained():
    auditor = Auditor()
    put(auditor, [1, 2, 5, 6])
    auditor.metrics(metrics([(7, 1, 6)], total=4, shed=[(7, 3, 4)]))
    report = auditor.report()
    assert report.ok
    assert only_track(report).shed == [(3, 4)]


def test_a_repeat_is_doubled_and_not_out_of_order():
    auditor = Auditor()
    put(auditor, [1, 2, 3, 2])
    report = auditor.report()
    assert not report.ok
    track = only_track(report)
    assert (track.doubled, track.out_of_order) == ([(2, 2)], 0)


def test_a_late_record_is_out_of_order_and_not_lost():
    auditor = Auditor()
    put(auditor, [1, 3, 2])
    report = auditor.report()
    assert not report.ok
    track = only_track(report)
    assert (track.missing, track.out_of_order, track.out_of_order_first) == ([], 1, [2])


def test_one_symbol_in_two_partitions_has_no_order_to_prove():
    auditor = Auditor()
    put(auditor, [1, 2])
    put(auditor, [3], partition=1)
    report = auditor.report()
    assert not report.ok
    assert only_track(report).partitions == [0, 1]
    assert report.totals.scattered == 1


def test_metrics_that_say_more_than_the_topic_holds_are_a_lost_tail():
    auditor = Auditor()
    put(auditor, [1, 2, 3])
    auditor.metrics(metrics([(7, 1, 5)]))
    report = auditor.report()
    assert not report.ok
    track = only_track(report)
    assert (track.tail, track.tail_missing, track.missing) == (Tail.LOST, [(4, 5)], [])
    assert report.totals.lost == 2


def test_a_session_of_which_only_the_metrics_know_is_lost():
    auditor = Auditor()
    auditor.metrics(metrics([(7, 1, 5)]))
    report = auditor.report()
    assert not report.ok
    assert only_track(report).tail_missing == [(1, 5)]


def test_a_killed_session_is_named_and_no_fault():
    auditor = Auditor()
    put(auditor, range(1, 51))
    put(auditor, range(1, 11), session=8, at_us=T0_US + 10_000_000)
    auditor.metrics(metrics([(8, 1, 10)]))
    report = auditor.report()
    assert report.ok
    assert [s.tracks[0].tail for s in report.sessions] == [Tail.ENDED_WITHOUT_REPORT, Tail.PROVEN]
    (handover,) = report.handovers
    assert handover.gap_us == 10_000_001 - 50


def test_a_session_still_running_has_an_open_tail():
    auditor = Auditor()
    put(auditor, range(1, 51))
    auditor.metrics(metrics([(7, 1, 50)]))
    put(auditor, range(51, 61), at_us=T0_US + MINUTE_US)
    report = auditor.report()
    assert report.ok
    assert only_track(report).tail is Tail.OPEN


def test_minute_totals_are_counted_again():
    auditor = Auditor()
    put(auditor, range(1, 51))
    auditor.metrics(metrics([(7, 1, 50)], total=49))
    report = auditor.report()
    assert not report.ok
    (mismatch,) = report.mismatches
    assert (mismatch.symbol, mismatch.metrics, mismatch.counted) == ("BTC-KRW", 49, 50)


def test_what_is_given_up_after_its_minute_was_reported_is_taken_out_again():
    auditor = Auditor()
    put(auditor, [1, 2, 4])
    auditor.metrics(metrics([(7, 1, 4)]))
    assert not auditor.report().ok
    auditor.metrics(metrics([], total=-1, shed=[(7, 3, 3)]))
    assert auditor.report().ok


def test_a_minute_reported_in_two_parts_adds_up():
    auditor = Auditor()
    put(auditor, range(1, 51))
    auditor.metrics(metrics([(7, 1, 20)]))
    assert auditor.report().ok
    auditor.metrics(metrics([(7, 21, 50)]))
    assert auditor.report().ok


def test_settled_minutes_are_forgotten_and_still_counted():
    auditor = Auditor()
    for minute in range(30):
        at_us = T0_US + minute * MINUTE_US
        put(auditor, range(minute * 10 + 1, minute * 10 + 11), at_us=at_us)
        auditor.metrics(metrics([(7, minute * 10 + 1, minute * 10 + 10)], minute_us=at_us))
    assert auditor._recounts["upbit|korea|ticker"].kept_minutes <= 6
    report = auditor.report()
    assert report.ok
    assert report.totals.minutes_checked == 30


def test_reading_that_begins_in_the_midst_holds_no_earlier_record_to_be_lost():
    auditor = Auditor()
    auditor.entered("ticker", 0, 500)
    auditor.metrics_entered(0, 9)
    put(auditor, range(40, 61))
    auditor.metrics(metrics([(7, 1, 60)]))
    auditor.metrics(metrics([(3, 1, 60)], symbol="ETH-KRW"))
    report = auditor.report()
    assert report.ok
    assert report.totals.before_reading > 0
    put(auditor, [63])
    assert auditor.report().totals.lost == 2


def test_live_sessions_show_a_symbol_that_runs_twice():
    auditor = Auditor()
    put(auditor, range(1, 11))
    put(auditor, range(1, 11), session=8, at_us=T0_US + 5)
    put(auditor, range(1, 11), session=8, symbol="ETH-KRW", at_us=T0_US + 5)
    live = auditor.live_sessions(T0_US, T0_US + 100)
    assert live["upbit|korea|ticker", "BTC-KRW"] == [7, 8]
    assert live["upbit|korea|ticker", "ETH-KRW"] == [8]
    assert auditor.live_sessions(T0_US + 12, T0_US + 100)["upbit|korea|ticker", "BTC-KRW"] == [8]


def test_an_unreadable_message_prevents_the_proof():
    auditor = Auditor()
    put(auditor, [1, 2])
    auditor.undecodable("realtime.ticker", 0, 2, "no Avro")
    report = auditor.report()
    assert not report.ok
    assert report.undecodable == ["realtime.ticker[0]@2: no Avro"]


# -- against the source's own log --------------------------------------------------------------------


def sent(times, connection="c1", symbol="BTC-KRW", kind="realtime"):
    return [SentFrame(connection, "upbit", "ticker", kind, symbol, "KRW-BTC", ts) for ts in times]


def compared(log, sequences, times, *, exact=False):
    auditor = Auditor(keep_exchange_times=True)
    put(auditor, sequences, ts=dict(zip(sequences, times, strict=True)))
    source = log.compare(auditor.tracks(), exact=exact)
    return auditor.report(source), source.tracks[0]


def test_every_frame_became_a_record():
    log = SourceLog(sent([10, 20, 20, 30]))
    report, track = compared(log, [1, 2, 3, 4], [10, 20, 20, 30], exact=True)
    assert report.ok
    assert (track.matched, track.lost, track.unread_tail) == (4, 0, 0)


def test_a_frame_between_two_records_is_lost_before_the_gateway():
    report, track = compared(SourceLog(sent([10, 20, 30])), [1, 2], [10, 30])
    assert not report.ok
    assert track.lost == 1


def test_a_hole_in_frames_and_sequences_is_told_once():
    report, track = compared(SourceLog(sent([10, 20, 30])), [1, 3], [10, 30])
    assert track.lost == 0
    assert report.totals.lost == 1


def test_an_invented_record_is_found():
    report, track = compared(SourceLog(sent([10, 20])), [1, 2, 3], [10, 15, 20])
    assert not report.ok
    assert (track.invented, track.invented_first, track.lost) == (1, [15], 0)


def books(sent_ms, record_ms):
    """Order books: records without an exchange time are those that the gateway publishes of its own."""
    log = SourceLog(SentFrame("c1", "binance", "orderbook", "realtime", "A-B", "AB", ts) for ts in sent_ms)
    auditor = Auditor(keep_exchange_times=True)
    for sequence, ts in enumerate(record_ms, 1):
        auditor.record("orderbook", "binance", "asia", "A-B", 7, sequence, 0, ts, T0_US + sequence)
    return log.compare(auditor.tracks(), exact=True)


@pytest.mark.parametrize("record_ms", [[None, 10, 20, 30], [10, None, None, 20, 30], [10, 20, 30, None]])
def test_books_that_the_gateway_publishes_of_its_own_stand_for_no_frame(record_ms):
    source = books([10, 20, 30], record_ms)
    assert source.ok
    assert (source.tracks[0].matched, source.tracks[0].invented) == (3, 0)


def test_a_frame_lost_beside_a_book_of_its_own_is_lost():
    source = books([10, 20, 30], [10, None, 30])
    assert not source.ok
    assert source.tracks[0].lost == 1


@pytest.mark.parametrize("exact", [False, True])
def test_an_unread_tail_is_a_fault_only_after_a_pause(exact):
    report, track = compared(SourceLog(sent([10, 20, 30])), [1, 2], [10, 20], exact=exact)
    assert track.unread_tail == 1
    assert report.ok is not exact


def test_a_connection_nobody_read_is_a_fault_only_after_a_pause():
    log = SourceLog([*sent([10, 20]), *sent([10, 20, 30], connection="c2")])
    assert compared(log, [1, 2], [10, 20])[0].ok
    assert not compared(log, [1, 2], [10, 20], exact=True)[0].ok


def test_records_newer_than_a_running_sources_log_were_not_invented():
    late = SourceLog(sent([10, 20, 30]))
    report, track = compared(late, [1, 2, 3, 4, 5], [10, 20, 30, 40, 50], exact=False)
    assert report.ok
    assert (track.matched, track.lost, track.invented, track.unlogged) == (3, 0, 0, 2)
    report, track = compared(late, [1, 2, 3, 4, 5], [10, 20, 30, 40, 50], exact=True)
    assert not report.ok
    assert (track.invented, track.unlogged) == (2, 0)


def test_behind_a_late_log_an_older_record_is_still_invented():
    report, track = compared(SourceLog(sent([10, 20, 30])), [1, 2, 3, 4, 5], [10, 20, 30, 40, 15], exact=False)
    assert not report.ok
    assert (track.invented_first, track.unlogged) == ([15], 1)


def test_a_frame_lost_at_the_end_of_a_late_log_is_lost():
    report, track = compared(SourceLog(sent([10, 20, 30])), [1, 2, 3], [10, 20, 40], exact=False)
    assert not report.ok
    assert (track.lost, track.unlogged, track.unread_tail) == (1, 1, 0)


def test_a_symbol_the_late_log_does_not_name_yet_was_not_invented():
    log = SourceLog(sent([10, 20], symbol="ETH-KRW"))
    assert compared(log, [1, 2], [30, 40], exact=False)[0].ok
    assert not compared(log, [1, 2], [5, 15], exact=False)[0].ok
    assert not compared(log, [1, 2], [30, 40], exact=True)[0].ok


def test_of_an_incomplete_reading_the_metrics_judge_nothing_behind_the_last_record():
    auditor = Auditor()
    put(auditor, [1, 2, 4, 5])
    auditor.metrics(metrics([(7, 1, 2), (7, 4, 9)], shed=[(7, 3, 3)]))
    auditor.metrics(metrics([(8, 1, 5)]))
    assert auditor.report().totals.lost == 9
    report = auditor.report(complete=False)
    assert report.ok
    assert not report.complete
    assert (report.mismatches, report.totals.lost, report.totals.shed) == ([], 0, 1)
    assert only_track(report).tail is Tail.OPEN
    put(auditor, [7])
    assert auditor.report(complete=False).totals.lost == 1


def test_two_sessions_that_carry_the_same_updates_each_have_their_connection():
    log = SourceLog([*sent([10, 20, 30]), *sent([20, 30, 40], connection="c2")])
    auditor = Auditor(keep_exchange_times=True)
    put(auditor, [1, 2, 3], session=8, ts={1: 20, 2: 30, 3: 40})
    put(auditor, [1, 2, 3], session=7, ts={1: 10, 2: 20, 3: 30})
    source = log.compare(auditor.tracks(), exact=True)
    assert source.ok
    assert {(t.session_id, t.connection) for t in source.tracks} == {(8, "c2"), (7, "c1")}


def test_a_session_of_an_exchange_without_a_log_is_left_out():
    auditor = Auditor(keep_exchange_times=True)
    put(auditor, [1, 2])
    other = SentFrame("c1", "binance", "ticker", "realtime", "BTC-USDT", "BTCUSDT", 5)
    assert SourceLog([other]).compare(auditor.tracks(), exact=False).ok


def test_a_trade_that_a_further_request_repeats_is_no_frame_of_its_own():
    def trade(ts, kind):
        return SentFrame("c1", "upbit", "trade", kind, "BTC-KRW", "KRW-BTC", ts)

    log = SourceLog([trade(10, "snapshot"), trade(20, "realtime"), trade(20, "repeat"), trade(30, "snapshot")])
    assert log.frames == 3


def test_what_is_outside_the_request_types_is_passed_over():
    log = SourceLog([SentFrame("c1", "binance", "bookTicker", "other", "BTC-USDT", "BTCUSDT"), *sent([10])])
    assert log.frames == 1


def test_a_range_set_joins_what_touches():
    ranges = RangeSet([(1, 2), (6, 9), (3, 4)])
    assert list(ranges) == [(1, 4), (6, 9)]
    ranges.add(5)
    assert list(ranges) == [(1, 9)]
    assert len(ranges) == 9
    assert list(ranges.missing(0, 11)) == [(0, 0), (10, 11)]


def test_a_symbol_that_ended_before_its_session_was_replaced_ended_with_it():
    auditor = Auditor()
    put(auditor, range(1, 5), symbol="ETH-KRW", partition=1)
    put(auditor, range(1, 9))
    put(auditor, range(1, 4), session=8, at_us=T0_US + 1_000)
    tails = {
        (session.session_id, track.symbol): track.tail
        for session in auditor.report().sessions
        for track in session.tracks
    }
    assert tails[7, "BTC-KRW"] is Tail.ENDED_WITHOUT_REPORT
    assert tails[7, "ETH-KRW"] is Tail.ENDED_WITHOUT_REPORT
    assert tails[8, "BTC-KRW"] is Tail.OPEN
