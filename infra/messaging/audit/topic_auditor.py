"""``core.audit.Auditor`` on a live cluster: a thread that reads the topics along."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from core.audit import Auditor
from core.audit_report import AuditReport
from core.errors import GatewayError, PayloadError, RegistryUnavailableError
from core.identity import RequestType
from core.source_log import SourceLog
from infra.messaging.audit.record_decoding import METRICS_FIELDS, RECORD_FIELDS, PrefixDecoder
from infra.messaging.avro.writer_schemas import WriterSchemas
from infra.messaging.topic_reader import TopicReader
from infra.settings import Settings

METRICS_TOPIC = "ws.metrics"
REALTIME_TOPICS = {f"realtime.{request_type}": str(request_type) for request_type in RequestType}
"""Name without prefix to request type."""

_BATCH = 500
_REGISTRY_PAUSE_S = 0.5
_SETTLE_S = 1.0
"""How long records may follow the metrics that count them: the producer's linger and acknowledgement."""

_EXPLAIN_S = 1.0
"""How long a reading that was broken off may still look for what explains the holes it has seen."""


class TopicAuditor:
    """Reads ``realtime.*`` and ``ws.metrics`` in a thread of its own, between ``start`` and ``stop``.

    The topics need not exist yet. ``from_beginning`` false begins at their present ends.
    ``to_present_ends`` ends by itself at the ends that the topics have when it starts.
    ``keep_exchange_times`` is needed to compare with a source's log (16 bytes a record).
    ``patience_s``: how long broker or registry may be away before it gives up (None: for ever).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        topics: Sequence[str] = tuple(REALTIME_TOPICS),
        from_beginning: bool = True,
        to_present_ends: bool = False,
        keep_exchange_times: bool = False,
        patience_s: float | None = None,
    ) -> None:
        unknown = [topic for topic in topics if topic not in REALTIME_TOPICS]
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(REALTIME_TOPICS)}")
        prefixed = settings.gateway.topic
        self._request_types = {prefixed(topic): REALTIME_TOPICS[topic] for topic in topics}
        self._metrics_topic = prefixed(METRICS_TOPIC)
        self._patience_s = patience_s
        self._to_present_ends = to_present_ends
        self._auditor = Auditor(keep_exchange_times=keep_exchange_times)
        self._schemas = WriterSchemas(settings.registry)
        self._records = PrefixDecoder(self._schemas, RECORD_FIELDS)
        self._metrics = PrefixDecoder(self._schemas, METRICS_FIELDS)
        self._reader = TopicReader(
            settings.kafka,
            [*self._request_types, self._metrics_topic],
            from_beginning=from_beginning,
            patience_s=patience_s,
            on_entered=self._entered,
            on_deleted=self._deleted,
        )
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._drain_s = 0.0
        self._partial = False
        self._expected: int | None = None
        self.complete = True
        self._last_message_s = 0.0
        self._taking = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="topic-auditor", daemon=True)

    @property
    def records(self) -> int:
        """How many records were read so far."""
        return self._auditor.records

    @property
    def expected(self) -> int | None:
        """About how many records stand before the ends it reads to; None while it does not know any."""
        return self._expected

    @property
    def absent(self) -> list[str]:
        """Full names of topics that do not exist yet."""
        return self._reader.absent

    @property
    def idle_s(self) -> float:
        """Seconds since the last message was taken in, or since the start; 0 while some are."""
        return 0.0 if self._taking else time.monotonic() - self._last_message_s

    @property
    def running(self) -> bool:
        """False before ``start``, after ``stop``, and when it had to give up."""
        return self._thread.is_alive()

    def start(self, timeout_s: float = 10.0) -> None:
        """Begin to read; raises ``BrokerUnavailableError`` when no broker answers within ``timeout_s``.

        What is produced after it returns is read also where ``from_beginning`` is false.
        """
        try:
            self._reader.open(timeout_s)
        except GatewayError:
            self._reader.close()
            raise
        self._last_message_s = time.monotonic()
        self._thread.start()

    def stop(self, timeout_s: float = 30.0, *, partial: bool = False) -> None:
        """Read what is there by now to its end, at most for ``timeout_s``, and stop; safe to call twice.

        Metrics are read to their present end first and then no more, so that none counts a record which is
        still on its way. With ``partial``, what was read until then will do where the end is too far: the
        report says that it is not ``complete``. One that reads to the ends it started with reads no further.
        """
        self._drain_s = timeout_s
        self._partial = partial
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def report(self, source: SourceLog | None = None, *, exact: bool = False) -> AuditReport:
        """What is known by now; with ``source`` also against its log (``exact``: every frame of it).

        Raises what made the reading stop, if something did, and ``BrokerUnavailableError`` when the topics
        could not be read to their ends in time, unless a partial report will do.
        """
        if self._failure is not None:
            raise self._failure
        with self._lock:
            compared = source and source.compare(self._auditor.tracks(), exact=exact and self.complete)
            return self._auditor.report(compared or None, complete=self.complete)

    def live_sessions(self, from_us: int, to_us: int) -> dict[tuple[str, str], list[int]]:
        """``Auditor.live_sessions``, at any time."""
        with self._lock:
            return self._auditor.live_sessions(from_us, to_us)

    # -- in the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._to_present_ends:
                self.complete = self._read_to_present_ends()
            else:
                while not self._stopping.is_set():
                    self._read(0.1)
                self.complete = self._drain(time.monotonic() + self._drain_s)
            if not self.complete:
                self._give_up()
        except Exception as exc:  # noqa: BLE001 - the owner gets it from report()
            self._failure = exc
            self.complete = False
        finally:
            self._reader.close()
            self._schemas.close()

    def _read_to_present_ends(self) -> bool:
        """Whether it came so far before it was stopped.

        The ends of the metrics are noted first and those of the records when all that these count has arrived,
        so a running gateway's metrics are never held against records that were not read.
        """
        metrics, records = [self._metrics_topic], list(self._request_types)
        counted = self._reader.ends()
        self._reader.limit(metrics, counted)
        self._expected = self._reader.left(counted, records)
        settled_s = time.monotonic() + _SETTLE_S
        while time.monotonic() < settled_s and not self._stopping.is_set():
            self._read(0.1)
        settled = not self._stopping.is_set()
        ends = self._reader.ends() if settled else dict(counted)
        self._reader.limit(records, ends)
        ends |= {place: end for place, end in counted.items() if place[0] == self._metrics_topic}
        while not self._reader.reached(ends, metrics + records):
            if self._stopping.is_set():
                return False
            self._read(0.1)
        return settled

    def _drain(self, deadline_s: float) -> bool:
        if not self._read_to(deadline_s, [self._metrics_topic]):
            return False
        self._reader.leave(self._metrics_topic)
        settled_s = time.monotonic() + _SETTLE_S
        while time.monotonic() < settled_s:
            self._read(0.1)
        return self._read_to(deadline_s, list(self._request_types))

    def _read_to(self, deadline_s: float, topics: list[str]) -> bool:
        ends = self._reader.ends()
        while not self._reader.reached(ends, topics):
            if time.monotonic() > deadline_s:
                if self._partial:
                    return False
                raise GatewayError(
                    "the auditor could not read to the ends of the topics in the time given; give it more"
                )
            self._read(0.1)
        return True

    def _give_up(self) -> None:
        """Read no more records, only the metrics that explain their holes, for a moment."""
        for topic in self._request_types:
            self._reader.leave(topic)
        ends, deadline_s = self._reader.ends(), time.monotonic() + _EXPLAIN_S
        while time.monotonic() < deadline_s and not self._reader.reached(ends, [self._metrics_topic]):
            self._read(0.1)

    def _read(self, timeout_s: float) -> None:
        messages = self._reader.read(_BATCH, timeout_s)
        if not messages:
            return
        self._taking = True
        decoded = [(message, self._decode(message)) for message in messages]
        with self._lock:
            for message, fields in decoded:
                self._take(message, fields)
        self._last_message_s = time.monotonic()
        self._taking = False

    def _decode(self, message: Any) -> Mapping[str, Any] | PayloadError:
        decoder = self._metrics if message.topic() == self._metrics_topic else self._records
        asked_s = time.monotonic()
        while True:
            try:
                return decoder.decode(message.value())
            except PayloadError as exc:
                return exc
            except RegistryUnavailableError:
                limits = [self._patience_s, self._drain_s if self._stopping.is_set() else None]
                if any(s is not None and time.monotonic() - asked_s >= s for s in limits):
                    raise
                self._stopping.wait(_REGISTRY_PAUSE_S)

    def _take(self, message: Any, fields: Mapping[str, Any] | PayloadError) -> None:
        topic, partition = message.topic(), message.partition()
        if isinstance(fields, PayloadError):
            self._auditor.undecodable(topic, partition, message.offset(), fields.message)
        elif topic == self._metrics_topic:
            if fields["request_type"] in self._request_types.values():
                self._auditor.metrics(fields, partition)
        else:
            self._auditor.record(
                self._request_types[topic],
                fields["exchange"],
                fields["region"],
                fields["symbol"],
                fields["session_id"],
                fields["sequence"],
                partition,
                fields["exchange_ts_ms"],
                fields["received_ts_us"],
            )

    def _deleted(self, topic: str, partition: int, first: int, last: int) -> None:
        with self._lock:
            self._auditor.deleted(topic, partition, first, last)

    def _entered(self, topic: str, partition: int, offset: int) -> None:
        with self._lock:
            if topic == self._metrics_topic:
                self._auditor.metrics_entered(partition, offset)
            else:
                self._auditor.entered(self._request_types[topic], partition, offset)
