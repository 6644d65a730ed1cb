"""Kafka settings that librdkafka refuses: one error of ours, and nothing left that waits."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import SettingsError
from infra.commandline import run
from infra.commandline.doctor import _kafka
from infra.messaging.connect.consumer_thread import ConsumerThread
from infra.messaging.connect.control_writers import TransactionalWriter
from infra.messaging.topic_reader import TopicReader
from infra.messaging.topics import TopicAdmin
from infra.settings import GatewaySettings, KafkaSettings, Settings

NO_CERTIFICATE = KafkaSettings(
    bootstrap_servers="127.0.0.1:1", security_protocol="SSL", ssl_ca_location="/there/is/none.pem"
)


async def test_a_consumer_that_cannot_be_made_can_be_stopped() -> None:
    async def handle(_batch: Any) -> None: ...

    thread = ConsumerThread({"group.id": "g", "session.timeout.ms": 99_999_999}, ["t"], handle, name="test")
    with pytest.raises(SettingsError, match=r"Kafka settings: .*session\.timeout\.ms.*outside") as caught:
        thread.start()
    assert "\n" not in caught.value.message
    await asyncio.wait_for(thread.stop(), 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TopicAdmin(Settings(kafka=NO_CERTIFICATE))._client(),
        lambda: TopicReader(NO_CERTIFICATE, ["t"], from_beginning=True),
        lambda: TransactionalWriter(NO_CERTIFICATE.client_config(), "id", lambda: 1)._ready(),
    ],
    ids=["admin", "reader", "transactions"],
)
def test_every_client_names_what_was_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(SettingsError, match=r"Kafka settings: .*ssl\.ca\.location"):
        make()


async def test_the_doctor_finds_them_wrong() -> None:
    finding = await _kafka(Settings(kafka=NO_CERTIFICATE))
    assert finding.state == "wrong"
    assert finding.says.startswith("Kafka settings: ")
    assert "start it" not in finding.says


async def test_why_a_start_failed_is_told_though_the_stop_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    class Failing(run.Gateway):
        async def start(self) -> None:
            raise SettingsError("KAFKA_X is wrong")

        async def stop(self) -> None:
            begun.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(run, "Gateway", Failing)
    monkeypatch.setattr(run, "_STOP_AFTER_FAILURE_S", 0.05)
    with pytest.raises(SettingsError, match="KAFKA_X is wrong"):
        await asyncio.wait_for(run._serve(Settings(gateway=GatewaySettings(http_port=0))), 5)
    assert begun.is_set()
