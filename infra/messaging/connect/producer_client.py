"""The producers by purpose: error events, minute metrics, and market data on the hot path."""

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, Self
from uuid import uuid4

from pydantic import BaseModel

from core.commands import ConnectionTargetDTO
from core.errors import ErrorCode, ErrorDomain, GatewayError, ProducerNotStartedError
from core.events import error_event
from core.identity import REGION_OF, ConnectionScopeDomain, Exchange
from core.records import OrderBook, Record, Ticker, Trade
from infra.messaging.avro.watched_codec import WatchedCodec
from infra.messaging.clients.avro_client import AvroProducerWrapper, ValueSerializer
from infra.messaging.clients.delivery_book import OnDelivery
from infra.messaging.clients.json_client import JsonProducerWrapper
from infra.messaging.clients.kafka_producer import KafkaProducer
from infra.messaging.clients.producer_profiles import control_producer_config, data_producer_config
from infra.messaging.clients.value_producer import Profile
from infra.settings import Settings, load_settings


class Wrapper(Protocol):
    """What a business producer sends through; start and stop are called where it has them."""

    async def send_and_wait(self, topic: str, value: Any, key: Any = None) -> bool:
        """See ``application.ports.EventProducer``."""
        ...


class AvroProducer:
    """A producer that picks its wrapper: Avro with ``use_avro``, JSON without.

    ``serializer`` is for Avro (one, or one per topic; default: the packaged schema of the producer, else of the
    topic, with the registry of the settings); ``wrapper`` takes the place of both, and then belongs
    to whoever made it: it is neither started nor stopped here. ``settings`` default to the environment's,
    read at the start.
    """

    schema_name: ClassVar[str | None] = None
    """The schema this producer writes, where it writes only one."""

    def __init__(
        self,
        use_avro: bool = False,
        *,
        settings: Settings | None = None,
        serializer: ValueSerializer | Mapping[str, ValueSerializer] | None = None,
        wrapper: Wrapper | None = None,
        profile: Profile = control_producer_config,
        name: str = "control",
    ) -> None:
        self.use_avro = use_avro
        self._given_settings = settings
        self._serializer = serializer
        self._given = wrapper
        self._profile = profile
        self._name = name
        self._own: AvroProducerWrapper | JsonProducerWrapper | None = None
        self._settings: Settings | None = settings

    async def start_producer(self) -> None:
        """Open the Kafka client; a second call does nothing. Does not wait for a broker."""
        self._settings = self._given_settings or load_settings()
        if self._given is not None or self._own is not None:
            return
        own = self._make_wrapper(self._settings)
        await own.start()
        self._own = own

    async def stop_producer(self) -> None:
        """Deliver what is in flight within the drain time-out, then close."""
        own, self._own = self._own, None
        if own is not None:
            await own.stop()

    async def __aenter__(self) -> Self:
        await self.start_producer()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop_producer()

    async def produce_sending(self, message: Any, topic: str, key: Any = None) -> bool:
        """True once the broker acknowledged ``message``; False when it was not delivered."""
        return await self.send_and_wait(topic, message, key)

    async def send_and_wait(self, topic: str, value: Any, key: Any = None) -> bool:
        """True once the broker acknowledged; False when it was not delivered (logged and counted)."""
        return await self._wrapper().send_and_wait(topic, value, key)

    def _wrapper(self) -> Wrapper:
        wrapper = self._given or self._own
        if wrapper is None:
            raise ProducerNotStartedError(f"{type(self).__name__}: await start_producer() first")
        return wrapper

    def _topic(self, name: str) -> str:
        settings = self._settings
        if settings is None:
            settings = self._settings = load_settings()
        return settings.gateway.topic(name)

    def _make_wrapper(
        self, settings: Settings, core: KafkaProducer | None = None
    ) -> AvroProducerWrapper | JsonProducerWrapper:
        if self.use_avro:
            return AvroProducerWrapper(
                self._serializer,
                schema_name=self.schema_name,
                settings=settings,
                profile=self._profile,
                name=self._name,
                core=core,
            )
        return JsonProducerWrapper(settings=settings, profile=self._profile, name=self._name, core=core)


# -- errors --------------------------------------------------------------------------------------------

_BY_KIND: dict[str, tuple[ErrorDomain, ErrorCode]] = {
    "ws_connection": (ErrorDomain.CONNECTION, ErrorCode.CONNECT_FAILED),
    "ws_disconnection": (ErrorDomain.CONNECTION, ErrorCode.DISCONNECT_FAILED),
    "ws_subscription": (ErrorDomain.PROTOCOL, ErrorCode.SUBSCRIBE_REJECTED),
    "ws_stale": (ErrorDomain.CONNECTION, ErrorCode.STREAM_STALE),
    "deserialization": (ErrorDomain.DESERIALIZATION, ErrorCode.DESERIALIZATION_ERROR),
    "command": (ErrorDomain.PAYLOAD, ErrorCode.INVALID_SCHEMA),
    "kafka_delivery": (ErrorDomain.DELIVERY, ErrorCode.DELIVERY_FAILED),
    "registry": (ErrorDomain.REGISTRY, ErrorCode.REGISTRY_UNAVAILABLE),
    "orchestrator": (ErrorDomain.ORCHESTRATOR, ErrorCode.ORCHESTRATOR_ERROR),
    "cache": (ErrorDomain.CACHE, ErrorCode.CACHE_CONFLICT),
}


def as_gateway_error(error: BaseException, kind: str) -> GatewayError:
    """``error`` with a domain and a code: its own, or where it has none those of ``kind``."""
    if isinstance(error, GatewayError):
        return error
    domain, code = _BY_KIND.get(kind, (ErrorDomain.UNKNOWN, ErrorCode.UNKNOWN_ERROR))
    text = str(error)
    return GatewayError(
        f"{type(error).__name__}: {text}" if text else type(error).__name__, domain=domain, code=code
    )


class ErrorEventProducer(AvroProducer):
    """Writes ``ws.error``."""

    schema_name = "error_event"

    async def send_error_event(
        self,
        target: ConnectionTargetDTO | Mapping[str, str] | None,
        error: BaseException,
        kind: str = "",
        context: Mapping[str, Any] | None = None,
        *,
        correlation_id: str | None = None,
        observed_key: str | None = None,
        ticket_id: str | None = None,
    ) -> bool:
        """One error as one event; True once the broker acknowledged it.

        ``kind`` (``ws_connection``, ``deserialization``, …) says where an exception that is not the gateway's
        own happened, and stands in ``meta.raw_context`` with ``context``, secrets masked.
        """
        described, key = _target_and_key(target)
        raw_context = {**({"kind": kind} if kind else {}), **(context or {})}
        event = error_event(
            as_gateway_error(error, kind),
            ticket_id=ticket_id or uuid4(),
            now_us=time.time_ns() // 1000,
            target=described,
            correlation_id=correlation_id,
            observed_key=observed_key,
            raw_context=raw_context or None,
        )
        return await self.send_and_wait(self._topic("ws.error"), event, key)


def _target_and_key(
    target: ConnectionTargetDTO | Mapping[str, str] | None,
) -> tuple[dict[str, str] | None, str | None]:
    """The target as an event carries it, and the scope key (None where it cannot be known)."""
    if target is None:
        return None, None
    given = target.model_dump(exclude_none=True) if isinstance(target, BaseModel) else dict(target)
    if "region" not in given and given.get("exchange") in {str(e) for e in Exchange}:
        given["region"] = str(REGION_OF[Exchange(given["exchange"])])
    try:
        key = ConnectionScopeDomain(given["exchange"], given["region"], given["request_type"]).key
    except KeyError:
        return given, None
    return given, key


# -- metrics -------------------------------------------------------------------------------------------


class MetricsProducer(AvroProducer):
    """Writes ``ws.metrics``."""

    schema_name = "metrics_event"

    async def send_counting_batch(
        self,
        region: str,
        exchange: str,
        request_type: str,
        batch: Mapping[str, Any] | BaseModel,
        **figures: Any,
    ) -> bool:
        """One ``metrics_event``; True once the broker acknowledged it.

        ``batch`` is ``metrics_event.batch`` as a dict or its model; ``figures`` are the event's other fields
        (``frames``, ``delivered``, ``sequences``, …), whose schema has defaults.
        """
        event = {
            "region": region,
            "exchange": exchange,
            "request_type": request_type,
            "batch": batch.model_dump() if isinstance(batch, BaseModel) else dict(batch),
            **figures,
        }
        key = ConnectionScopeDomain(exchange, region, request_type).key
        return await self.send_and_wait(self._topic("ws.metrics"), event, key)


# -- market data ---------------------------------------------------------------------------------------


class RecordEncoder(Protocol):
    """Turns a record into the bytes of its topic, ready framed."""

    def encode(self, record: Record) -> bytes:
        """Raises ``PayloadError``."""
        ...


class HotProducer(Protocol):
    """The synchronous way to Kafka: ``KafkaProducer``, or the breaker around it."""

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | str | None = None,
        timestamp_ms: int = 0,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """See ``KafkaProducer.produce``."""
        ...


class RealtimeDataProducer(AvroProducer):
    """Writes ``realtime.*``: ``publish`` is the hot path and implements ``application.ports.RecordSink``.

    ``codec`` encodes records (default: Avro, with the schema ids of the registry of the settings, which
    ``start_producer`` then asks and whose errors it raises; it is asked again every
    ``SCHEMA_REGISTRY_CHECK_S`` whether it still has the schemas). ``producer`` takes the place of its own Kafka
    client (a circuit breaker around one, or a client shared with others) and is then started and stopped by
    whoever made it.
    """

    def __init__(
        self,
        use_avro: bool = True,
        *,
        codec: RecordEncoder | None = None,
        producer: HotProducer | None = None,
        settings: Settings | None = None,
        serializer: ValueSerializer | Mapping[str, ValueSerializer] | None = None,
        wrapper: Wrapper | None = None,
        profile: Profile = data_producer_config,
        name: str = "data",
    ) -> None:
        super().__init__(
            use_avro,
            settings=settings,
            serializer=serializer,
            wrapper=wrapper,
            profile=profile,
            name=name,
        )
        self._codec = codec
        self._own_codec: WatchedCodec | None = None
        self._given_producer = producer
        self._produce: Callable[..., None] = self._refuse
        self._encode: Callable[[Record], bytes] | None = None
        self._topics: dict[type, str] = {}
        self._keys: dict[str, dict[str, bytes]] = {}
        self._by_exchange_time = False

    async def start_producer(self) -> None:
        """Open the Kafka client unless one was given, and get ready to encode; again does nothing."""
        if self._given_producer is not None:
            self._settings = self._given_settings or load_settings()
            client = getattr(self._given_producer, "inner", self._given_producer)
            if self._own is None and isinstance(client, KafkaProducer):
                self._own = self._make_wrapper(self._settings, client)  # what is awaited shares the client
                await self._own.start()
        else:
            await super().start_producer()
        assert self._settings is not None, "read above"
        gateway = self._settings.gateway
        self._by_exchange_time = gateway.message_timestamp == "exchange"
        self._topics = {
            Ticker: gateway.topic("realtime.ticker"),
            Trade: gateway.topic("realtime.trade"),
            OrderBook: gateway.topic("realtime.orderbook"),
        }
        if self._codec is None and self._own_codec is None:
            self._own_codec = await WatchedCodec.opened(self._settings)
        codec = self._codec if self._own_codec is None else self._own_codec.codec
        assert codec is not None, "given, or prepared above"
        self._encode = codec.encode
        if self._given_producer is not None:
            self._produce = self._given_producer.produce
        elif self._own is not None:
            self._produce = self._own.core.produce

    async def stop_producer(self) -> None:
        """Deliver what is in flight within the drain time-out, then close."""
        self._produce = self._refuse
        await super().stop_producer()
        own, self._own_codec = self._own_codec, None
        if own is not None:
            await own.close()

    @property
    def core(self) -> KafkaProducer | None:
        """The Kafka client it writes through, with its account; None when it is not started, or unknown."""
        return self._own.core if self._own is not None else None

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics it writes, once started."""
        return tuple(self._topics.values())

    def publish(self, record: Record, on_delivery: OnDelivery | None = None) -> None:
        """Encode one record and hand it over without waiting.

        The key is ``exchange|SYMBOL``, so order per symbol holds. ``on_delivery(error, message)`` is called
        once from the polling thread; pass one callable for many records. Raises ``QueueFullError`` or
        ``CircuitOpenError`` when it was not taken (the caller keeps it), ``PayloadError``.
        """
        encode = self._encode
        if encode is None:
            raise self._not_started()
        try:
            key = self._keys[record.exchange][record.symbol]
        except KeyError:
            key = f"{record.exchange}|{record.symbol}".encode()
            self._keys.setdefault(record.exchange, {})[record.symbol] = key
        timestamp_ms = record.received_ts_us // 1000
        if self._by_exchange_time and record.exchange_ts_ms is not None:
            timestamp_ms = record.exchange_ts_ms
        self._produce(self._topics[type(record)], encode(record), key, timestamp_ms, on_delivery)

    def _refuse(self, *_args: Any) -> None:
        raise self._not_started()

    def _not_started(self) -> ProducerNotStartedError:
        return ProducerNotStartedError("RealtimeDataProducer: await start_producer() first")
