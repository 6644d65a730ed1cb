"""The tree of errors: what went wrong, whose domain it is, whether trying again can help.

    GatewayError
    ├── CommandError            a message on a control topic cannot be taken
    ├── ExchangeError           an exchange refused, went silent, or could not be reached
    │   ├── ConnectFailedError
    │   │   └── ConnectHeldOffError
    │   ├── SubscribeRejectedError
    │   └── StreamStaleError
    ├── PayloadError            a value cannot be encoded or decoded
    ├── DeliveryError           a broker did not take a record
    │   ├── QueueFullError
    │   ├── CircuitOpenError
    │   └── ProducerNotStartedError
    ├── BrokerUnavailableError  no broker answers, so nothing can be read
    ├── RegistryError
    │   ├── RegistryUnavailableError
    │   ├── SchemaNotFoundError
    │   └── SchemaIncompatibleError
    ├── CacheError
    ├── OrchestratorError
    └── SettingsError

Every error says by ``retriable`` whether the same call may succeed later, so no caller lists types.
"""

from enum import StrEnum
from typing import Any, ClassVar


class ErrorDomain(StrEnum):
    """Which part of the gateway an error belongs to (``error.error_domain`` on ``ws.error``)."""

    CONNECTION = "connection"
    PROTOCOL = "protocol"
    PAYLOAD = "payload"
    DESERIALIZATION = "deserialization"
    ORCHESTRATOR = "orchestrator"
    CACHE = "cache"
    DELIVERY = "delivery"
    REGISTRY = "registry"
    UNKNOWN = "unknown"


class ErrorCode(StrEnum):
    """What went wrong (``error.error_code`` on ``ws.error``)."""

    CONNECT_FAILED = "connect_failed"
    DISCONNECT_FAILED = "disconnect_failed"
    SUBSCRIBE_REJECTED = "subscribe_rejected"
    INVALID_SCHEMA = "invalid_schema"
    MISSING_FIELD = "missing_field"
    UNKNOWN_EXCHANGE = "unknown_exchange"
    UNKNOWN_SYMBOL = "unknown_symbol"
    UNSUPPORTED_REQUEST_TYPE = "unsupported_request_type"
    URL_NOT_ALLOWED = "url_not_allowed"
    TOO_LARGE = "too_large"
    EXPIRED = "expired"
    DESERIALIZATION_ERROR = "deserialization_error"
    FRAME_TOO_LARGE = "frame_too_large"
    STREAM_STALE = "stream_stale"
    RATE_LIMITED = "rate_limited"
    SEQUENCE_GAP = "sequence_gap"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    CIRCUIT_OPEN = "circuit_open"
    DELIVERY_FAILED = "delivery_failed"
    SPOOL_OVERFLOW = "spool_overflow"
    SCHEMA_INCOMPATIBLE = "schema_incompatible"
    REGISTRY_UNAVAILABLE = "registry_unavailable"
    ORCHESTRATOR_ERROR = "orchestrator_error"
    CACHE_CONFLICT = "cache_conflict"
    DLQ_PUBLISH_FAILED = "dlq_publish_failed"
    UNKNOWN_ERROR = "unknown_error"


class GatewayError(Exception):
    """Base of all errors of the gateway.

    ``message`` is one sentence for a person; ``detail`` (optional) is the longer technical text.
    """

    code: ErrorCode = ErrorCode.UNKNOWN_ERROR
    domain: ErrorDomain = ErrorDomain.UNKNOWN
    retriable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        detail: str | None = None,
        code: ErrorCode | None = None,
        domain: ErrorDomain | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        if code is not None:
            self.code = code
        if domain is not None:
            self.domain = domain


class CommandError(GatewayError):
    """A message on a control topic cannot be taken; ``code`` says why."""

    code = ErrorCode.INVALID_SCHEMA
    domain = ErrorDomain.PAYLOAD


class ExchangeError(GatewayError):
    """An exchange refused something or broke its protocol."""

    domain = ErrorDomain.PROTOCOL


class ConnectFailedError(ExchangeError):
    """The WebSocket could not be opened, or was closed by the other side; or a REST request failed.

    ``status`` is the HTTP status of a refusal, ``retry_after_s`` what the exchange asked for with it.
    """

    code = ErrorCode.CONNECT_FAILED
    domain = ErrorDomain.CONNECTION
    retriable = True

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None, **rest: Any
    ) -> None:
        super().__init__(message, **rest)
        self.status = status
        self.retry_after_s = retry_after_s


class ConnectHeldOffError(ConnectFailedError):
    """No connection is tried for minutes: the exchange wants it so, or its limit of connects is used up."""


class SubscribeRejectedError(ExchangeError):
    """The exchange will not stream a symbol."""

    code = ErrorCode.SUBSCRIBE_REJECTED


class StreamStaleError(ExchangeError):
    """The exchange stopped talking on an open connection."""

    code = ErrorCode.STREAM_STALE
    domain = ErrorDomain.CONNECTION
    retriable = True


class PayloadError(GatewayError):
    """A value cannot be encoded, or bytes cannot be decoded; the message names the field's path."""

    code = ErrorCode.DESERIALIZATION_ERROR
    domain = ErrorDomain.DESERIALIZATION


class DeliveryError(GatewayError):
    """A broker did not take a record."""

    code = ErrorCode.DELIVERY_FAILED
    domain = ErrorDomain.DELIVERY
    retriable = True


class QueueFullError(DeliveryError):
    """The producer's local queue is at its bound; the record was not taken."""


class CircuitOpenError(DeliveryError):
    """The breaker is open; the record was not taken."""

    code = ErrorCode.CIRCUIT_OPEN


class ProducerNotStartedError(DeliveryError):
    """A caller's mistake: the producer was not started, or is stopped already."""

    retriable = False


class BrokerUnavailableError(GatewayError):
    """No broker answers, or the cluster refuses us: topics can neither be listed nor read."""

    code = ErrorCode.DELIVERY_FAILED
    domain = ErrorDomain.DELIVERY
    retriable = True


class RegistryError(GatewayError):
    """The schema registry refused, or answered what it should not."""

    code = ErrorCode.REGISTRY_UNAVAILABLE
    domain = ErrorDomain.REGISTRY


class RegistryUnavailableError(RegistryError):
    """The schema registry cannot be reached or does not answer in time."""

    retriable = True


class SchemaNotFoundError(RegistryError):
    """The schema registry answers, and has no such schema, subject or version."""

    code = ErrorCode.INVALID_SCHEMA


class SchemaIncompatibleError(RegistryError):
    """A schema may not follow the registered ones under the subject's compatibility."""

    code = ErrorCode.SCHEMA_INCOMPATIBLE


class CacheError(GatewayError):
    """Redis cannot be reached or refused."""

    code = ErrorCode.CACHE_CONFLICT
    domain = ErrorDomain.CACHE
    retriable = True


class OrchestratorError(GatewayError):
    """A stream could not be brought to its desired state."""

    code = ErrorCode.ORCHESTRATOR_ERROR
    domain = ErrorDomain.ORCHESTRATOR


class SettingsError(GatewayError):
    """A setting is missing or wrong; the message names it."""

    code = ErrorCode.INVALID_SCHEMA
