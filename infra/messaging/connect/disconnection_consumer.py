"""The consumer of ``ws.disconnection``: symbols, or whole streams, end."""

from typing import ClassVar

from infra.messaging.connect.consumer_client import KafkaConsumerClient


class DisconnectionConsumerClient(KafkaConsumerClient):
    """The same loop as for ``ws.command``, in its own group and with the other DTO."""

    group: ClassVar[str] = "gateway-disconnection"
    disconnects: ClassVar[bool] = True
