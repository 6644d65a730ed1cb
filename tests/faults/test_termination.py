"""SIGTERM under load: the sockets close, what was accepted is delivered, the figures agree with the topics."""

import asyncio

import pytest

from infra.services.kafka import KafkaBroker
from tests.faults.conftest import MakeField
from tests.faults.field import faults_of, say, until

SYMBOLS = ["BTC-KRW", "ETH-KRW", "XRP-KRW", "SOL-KRW", "DOGE-KRW"]


async def test_sigterm_at_2000_records_a_second_delivers_everything_and_exits_0(make_field: MakeField) -> None:
    async with make_field() as field:
        await field.simulate("upbit", symbols=SYMBOLS, rate=2_000)
        field.audit()
        gateway = await field.gateway().started()
        field.connect("upbit|ticker", SYMBOLS)
        await until(lambda: field.auditor.records > 1_000, 20)
        began = field.auditor.records
        await asyncio.sleep(3)
        rate = (field.auditor.records - began) / 3

        status, seconds = await gateway.terminate()

        assert status == 0, gateway.tail()
        assert seconds < 10
        assert rate > 1_200, "the machine was too busy for this test to mean anything"
        report = await field.proof()
        events = await field.metrics()
        say(f"{rate:.0f}/s before; exit after {seconds:.2f} s; {report.totals}")
        assert faults_of(report) == {}
        assert report.totals.tails == {"proven": len(SYMBOLS), "lost": 0, "open": 0, "ended_without_report": 0}
        # The metrics' closing figures: all that was produced, delivered, and in the topic.
        assert sum(e["delivered"] for e in events) == report.totals.records
        assert sum(e["delivery_failed"] for e in events) == 0
        assert sum(i["total"] for e in events for i in e["batch"]["items"]) == report.totals.records
        assert await field.errors() == []


@pytest.mark.faults
async def test_sigterm_while_the_broker_is_dead_ends_in_time(
    make_field: MakeField, own_kafka: KafkaBroker
) -> None:
    async with make_field(kafka=own_kafka) as field:
        await field.simulate("upbit", symbols=SYMBOLS, rate=500)
        field.audit()
        gateway = await field.gateway().started()
        field.connect("upbit|ticker", SYMBOLS)
        await field.flowing(500)
        own_kafka.kill()
        await until(lambda: gateway.said("circuit_opened", breaker="data"), 10)

        status, seconds = await gateway.terminate()

        say(f"status {status} after {seconds:.1f} s; {gateway.said('producer_gave_up_records')}")
        assert status == 0, gateway.tail()
        assert seconds < 15
        assert gateway.said("producer_gave_up_records"), "what could not be delivered is told"
