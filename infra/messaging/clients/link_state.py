"""What librdkafka says about its connections: broker states, errors, and its log, without the flood.

Everything here runs in the polling thread. librdkafka repeats itself at every attempt to connect; an outage
is one line when it begins, one every 30 seconds, and one when it ends.
"""

import logging
import time
from typing import Any, Final

import orjson
import structlog
from confluent_kafka import KafkaError

REPEAT_S: Final = 30.0

_TRANSPORT_ERRORS: Final = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._SSL,
        KafkaError._AUTHENTICATION,
    }
)
_TRANSPORT_FACILITIES: Final = frozenset({"FAIL", "ERROR", "REQTMOUT", "CONNECT", "GETPID"})


class Repeats:
    """Lets a line through when it is new, and then once per ``every_s``, with the count of those held back."""

    def __init__(self, every_s: float = REPEAT_S) -> None:
        self._every_s = every_s
        self._seen: dict[str, tuple[float, int]] = {}

    def due(self, name: str, now_s: float) -> int | None:
        """None: hold it back. Otherwise how many of this name were held back since the last."""
        last_s, held = self._seen.get(name, (float("-inf"), 0))
        if now_s - last_s < self._every_s:
            self._seen[name] = (last_s, held + 1)
            return None
        self._seen[name] = (now_s, 0)
        return held


class LinkState:
    """The connections of one client, from its error, statistics and log callbacks.

    ``all_brokers_down`` is set by librdkafka's own verdict and cleared by the next delivery, or by statistics
    that show a broker connected. ``idempotence_ready`` says that the broker assigned a producer id.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.all_brokers_down = False
        self.idempotence_ready = False
        self.brokers_up: frozenset[int] = frozenset()
        self.fatal: str | None = None
        self._log = structlog.get_logger().bind(client=name)
        self._repeats = Repeats()
        self._lost_s: float | None = None
        self._errors = 0

    def config(self) -> dict[str, Any]:
        """The part of a client's configuration that reports to this."""
        return {
            "error_cb": self.on_error,
            "stats_cb": self.on_statistics,
            "logger": self,
            "statistics.interval.ms": 250,
        }

    def on_error(self, error: KafkaError) -> None:
        """librdkafka's error callback: informational, except for fatal errors."""
        if error.fatal():
            self.fatal = error.str()
            self._log.error("kafka_client_fatal", reason=error.str())
            return
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.all_brokers_down = True
        if error.code() in _TRANSPORT_ERRORS:
            self._lost(error.str())
        else:
            self._once("kafka_client_error", error.name(), error.str(), logging.WARNING)

    def on_statistics(self, text: str) -> None:
        """librdkafka's statistics (its STATISTICS.md): broker states and the idempotent producer's state."""
        statistics = orjson.loads(text)
        brokers = [b for b in statistics["brokers"].values() if b["source"] != "logical"]
        self.brokers_up = frozenset(b["nodeid"] for b in brokers if b["state"] in ("UP", "UPDATE"))
        self.idempotence_ready = statistics.get("eos", {}).get("idemp_state") == "Assigned"
        if self.brokers_up:
            self.all_brokers_down = False
            failing = [
                b for b in brokers if b["source"] == "learned" and b["state"] not in ("UP", "UPDATE", "INIT")
            ]
            if not failing:
                self._found()

    def delivered(self) -> None:
        """The broker acknowledged something."""
        self.all_brokers_down = False

    def log(self, level: int, _format: str, facility: str, _client: str, text: str) -> None:
        """librdkafka's log, by the signature of ``logging.Logger.log`` as confluent-kafka calls it."""
        if facility in _TRANSPORT_FACILITIES:
            self._lost(text)
        else:
            self._once("kafka_client", facility, text, level)

    def _once(self, event: str, kind: str, text: str, level: int) -> None:
        held = self._repeats.due(kind, time.monotonic())
        if held is not None:
            self._log.log(level, event, kind=kind, detail=text, held_back=held)

    def _lost(self, reason: str) -> None:
        now_s = time.monotonic()
        self._errors += 1
        if self._lost_s is None:
            self._lost_s = now_s
            self._errors = 1
        held = self._repeats.due("link", now_s)
        if held is not None:
            self._log.warning(
                "kafka_broker_unreachable",
                reason=reason,
                for_s=round(now_s - self._lost_s, 1),
                errors=self._errors,
            )

    def _found(self) -> None:
        if self._lost_s is not None:
            self._log.info(
                "kafka_brokers_connected",
                after_s=round(time.monotonic() - self._lost_s, 1),
                errors=self._errors,
            )
            self._lost_s = None
