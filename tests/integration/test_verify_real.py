"""The auditor on a real broker and registry: what only they can show."""

import time

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from infra.messaging.audit.topic_auditor import TopicAuditor
from infra.messaging.topic_reader import TopicReader
from infra.settings import GatewaySettings, KafkaSettings, RegistrySettings, Settings
from tests.integration.audit_feed import T0_US, Feed


@pytest.fixture
def topics(kafka, prefix):
    """The two topics of a test, and an admin client to do things to them."""
    return make_topics(kafka, prefix)


def make_topics(broker, prefix):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    names = [f"{prefix}realtime.ticker", f"{prefix}ws.metrics"]
    for made in admin.create_topics([NewTopic(name, 3, 1) for name in names]).values():
        made.result(20)
    return admin


def settings(broker, registry, prefix):
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers),
        registry=RegistrySettings(url=registry.url, timeout_s=20),
        gateway=GatewaySettings(prefix=prefix),
    )


def audited(auditor, records):
    """The report once ``records`` were read and the auditor stopped."""
    deadline_s = time.monotonic() + 30
    while auditor.records < records and auditor.running:
        assert time.monotonic() < deadline_s, f"{auditor.records} of {records}"
        time.sleep(0.05)
    auditor.stop()
    return auditor.report()


def test_clean_topics_pass_and_one_hole_does_not(kafka, registry, prefix):
    auditor = TopicAuditor(settings(kafka, registry, prefix), keep_exchange_times=True)
    auditor.start()
    make_topics(kafka, prefix)
    feed = Feed(kafka.bootstrap_servers, registry.url, prefix=prefix)
    feed.records("BTC-KRW", range(1, 2001))
    feed.records("ETH-KRW", [n for n in range(1, 1001) if n != 500])
    feed.metrics([(7, "BTC-KRW", 1, 2000), (7, "ETH-KRW", 1, 1000)])
    report = audited(auditor, 2999)
    assert not report.ok
    assert report.totals.lost == 1
    (session,) = report.sessions
    assert [track.missing for track in session.tracks] == [[], [(500, 500)]]
    assert [(m.symbol, m.metrics, m.counted) for m in report.mismatches] == [("ETH-KRW", 1000, 999)]
    live = auditor.live_sessions(T0_US, T0_US + 10_000)
    assert live["upbit|korea|ticker", "BTC-KRW"] == [7]


def test_an_aborted_transaction_is_not_doubled_and_its_markers_are_no_obstacle(kafka, registry, prefix, topics):
    feed = Feed(kafka.bootstrap_servers, registry.url, prefix=prefix)
    feed.producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": f"{prefix}test"}
    )
    feed.producer.init_transactions(20)
    for commit in (False, True):
        feed.producer.begin_transaction()
        feed.records("BTC-KRW", range(1, 11))
        (feed.producer.commit_transaction if commit else feed.producer.abort_transaction)(20)
    auditor = TopicAuditor(settings(kafka, registry, prefix))
    auditor.start()
    report = audited(auditor, 10)
    assert report.ok
    assert report.totals.records == 10


def test_what_retention_deleted_before_is_not_held_to_be_lost(kafka, registry, prefix, topics):
    feed = Feed(kafka.bootstrap_servers, registry.url, prefix=prefix)
    feed.records("BTC-KRW", range(1, 11))
    delete_up_to(topics, kafka, f"{prefix}realtime.ticker", 4)
    feed.metrics([(7, "BTC-KRW", 1, 10)])
    auditor = TopicAuditor(settings(kafka, registry, prefix))
    auditor.start()
    report = audited(auditor, 6)
    assert report.ok
    assert (report.totals.records, report.totals.before_reading) == (6, 4)


def delete_up_to(admin, broker, topic, offset):
    """Delete what stands before ``offset`` in the one partition that has messages; answers with it."""
    reader = TopicReader(
        KafkaSettings(bootstrap_servers=broker.bootstrap_servers), [topic], from_beginning=True
    )
    reader.open(20)
    ((_, partition),) = [place for place, end in reader.ends().items() if end]
    reader.close()
    place = TopicPartition(topic, partition, offset)
    admin.delete_records([place])[place].result(20)
    return partition


def test_what_is_deleted_under_the_readers_eyes_is_told(kafka, registry, prefix, topics):
    topic = f"{prefix}realtime.ticker"
    deleted = []
    reader = TopicReader(
        KafkaSettings(bootstrap_servers=kafka.bootstrap_servers),
        [topic],
        from_beginning=True,
        on_deleted=lambda *where: deleted.append(where),
    )
    reader.open(20)
    feed = Feed(kafka.bootstrap_servers, registry.url, prefix=prefix)
    feed.records("BTC-KRW", range(1, 11))
    messages = read(reader, 10)
    partition = delete_up_to(topics, kafka, topic, 8)
    # As if the reader had been too slow: it is sent back to where it began.
    reader._next[topic, partition] = 0
    reader._consumer.seek(TopicPartition(topic, partition, 0))
    again = read(reader, 2)
    reader.close()
    assert [m.offset() for m in messages] == list(range(10))
    assert [m.offset() for m in again] == [8, 9]
    assert deleted == [(topic, partition, 0, 7)]


def read(reader, count):
    messages, deadline_s = [], time.monotonic() + 30
    while len(messages) < count:
        assert time.monotonic() < deadline_s, f"{len(messages)} of {count}"
        messages += reader.read(100, 0.2)
    return messages


def test_a_broker_that_dies_and_comes_back_is_read_on(own_kafka, registry, prefix):
    make_topics(own_kafka, prefix)
    feed = Feed(own_kafka.bootstrap_servers, registry.url, prefix=prefix)
    auditor = TopicAuditor(settings(own_kafka, registry, prefix))
    auditor.start()
    feed.records("BTC-KRW", range(1, 101))
    own_kafka.kill()
    own_kafka.start(60)
    feed.records("BTC-KRW", range(101, 201))
    feed.metrics([(7, "BTC-KRW", 1, 200)])
    report = audited(auditor, 200)
    assert report.ok
    assert report.totals.tails["proven"] == 1
