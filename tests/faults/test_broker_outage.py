"""The broker dies under load: the breaker opens, what is not taken is counted, what was taken arrives once."""

import asyncio
import time

import pytest

from infra.services.kafka import KafkaBroker
from tests.faults.conftest import MakeField
from tests.faults.field import Field, faults_of, say, until
from tests.faults.gateway_process import GatewayProcess

SYMBOLS = ["BTC-KRW", "ETH-KRW", "XRP-KRW", "SOL-KRW", "DOGE-KRW"]
SCOPES = ("upbit|korea|ticker", "upbit|korea|trade")


@pytest.mark.parametrize(
    ("rate", "dead_s", "settings"),
    [
        (1_500, 10, {"GATEWAY_BREAKER_OPEN_S": 5, "GATEWAY_HOLD_MAX_S": 1}),
        pytest.param(3_000, 70, {}, marks=[pytest.mark.faults, pytest.mark.timeout(300)]),
    ],
    ids=["short", "70 s at 3000/s"],
)
async def test_broker_dead_under_load(
    make_field: MakeField, own_kafka: KafkaBroker, rate: int, dead_s: int, settings: dict[str, object]
) -> None:
    async with make_field(kafka=own_kafka, **settings) as field:
        await field.simulate("upbit", symbols=SYMBOLS, rate=rate)
        field.audit()
        gateway = await field.gateway().started()
        for request_type in ("ticker", "trade"):
            field.connect(f"upbit|{request_type}", SYMBOLS)
        await until(lambda: field.auditor.records > 2 * rate, 30)
        lines, rss_mb = len(gateway.log), gateway.rss_mb

        own_kafka.kill()
        died_s = time.monotonic()
        opened_s = await until(lambda: gateway.said("circuit_opened", breaker="data"), 10, "the breaker opens")
        highest_mb = await watch_memory(gateway, died_s + dead_s - time.monotonic())
        assert gateway.process.poll() is None
        await asyncio.to_thread(own_kafka.start)
        back_s = time.monotonic()
        dead_for_s = back_s - died_s
        await until(lambda: gateway.said("circuit_closed", breaker="data"), 90, "the breaker closes")
        closed_s = time.monotonic() - back_s
        await field.flowing(rate * 2, 60)
        highest_mb = max(highest_mb, gateway.rss_mb)
        await until(lambda: all_told(field), 40, "one report a stream")
        during = gateway.log[lines:]
        figures = await gateway.streams()
        assert (await gateway.terminate())[0] == 0

        report = await field.proof()
        events = await field.metrics()
        reported = await field.errors("circuit_open")
        say(
            f"dead {dead_for_s:.0f} s; open after {opened_s:.1f} s, closed {closed_s:.1f} s after the return; "
            f"memory {rss_mb:.0f} MB before, {highest_mb:.0f} at most; {len(during)} log lines; {report.totals}"
        )
        assert faults_of(report) == {}
        assert report.totals.tails["proven"] == len(SCOPES) * len(SYMBOLS)
        # Given up: as the log of sequences says, as the metrics' lists say, as the one report a stream says.
        listed = dict.fromkeys(SCOPES, 0)
        for event in events:
            scope = f"{event['exchange']}|{event['region']}|{event['request_type']}"
            listed[scope] += sum(part["last"] - part["first"] + 1 for part in event["shed"])
        assert sum(listed.values()) == report.totals.shed > 0
        assert {scope: figures[scope]["shed"] for scope in SCOPES} == listed
        assert {told(e): count_of(e) for e in reported} == listed
        assert len(reported) == len(SCOPES)
        assert sum(e["delivered"] for e in events) == report.totals.records
        # Bounded: memory, and the log.
        assert highest_mb < rss_mb + 150
        assert len(during) < 60 + dead_s, [line["event"] for line in during]


async def watch_memory(gateway: GatewayProcess, seconds: float) -> float:
    """The most it had while waiting so long."""
    highest_mb, until_s = gateway.rss_mb, time.monotonic() + seconds
    while time.monotonic() < until_s:
        await asyncio.sleep(0.5)
        highest_mb = max(highest_mb, gateway.rss_mb)
    return highest_mb


async def all_told(field: Field) -> bool:
    return {told(event) for event in await field.errors("circuit_open")} == set(SCOPES)


def told(event: dict) -> str:
    target = event["target"]
    return f"{target['exchange']}|{target['region']}|{target['request_type']}"


def count_of(event: dict) -> int:
    return int(event["error"]["error_message"]["message"].split()[0])
