"""Every setting of the gateway: environment variables, or a file given by ``--env-file``.

Names are those of the environment. All are validated when this is built; ``load_settings`` turns what is
wrong into one ``SettingsError`` that lists each by name.
"""

import json
import os
import re
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.errors import SettingsError
from core.events import without_secrets
from core.identity import Exchange
from infra.setting_names import read_env_file, unknown_names

_WITHOUT_PASSWORD = frozenset({"GSSAPI", "OAUTHBEARER"})
"""SASL mechanisms that know the client otherwise than by a user name and a password."""


class ProducerProfile(StrEnum):
    """How the data producer trades latency for batching."""

    BALANCED = "balanced"
    THROUGHPUT = "throughput"
    LATENCY = "latency"


class _Section(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True, allow_inf_nan=False)


class KafkaSettings(_Section):
    """The cluster and how to speak to it; ``KAFKA_…``."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_")

    bootstrap_servers: str = "localhost:9092"
    client_id: str = "streamgateway"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_location: str | None = None
    ssl_certificate_location: str | None = None
    ssl_key_location: str | None = None
    ssl_key_password: SecretStr | None = None
    group_protocol: Literal["classic", "consumer"] = "classic"
    session_timeout_ms: int = Field(default=10_000, ge=1_000, le=3_600_000)
    transaction_timeout_ms: int = Field(default=10_000, ge=1_000, le=900_000)
    queue_max_messages: int = Field(default=200_000, ge=100)
    """How many records a producer holds at most while the broker does not answer."""
    queue_max_kbytes: int = Field(default=128 * 1024, ge=1024)
    delivery_timeout_ms: int = Field(default=30_000, ge=1_000)
    """How long ``send_and_wait`` waits for the broker before it answers False."""
    compression: Literal["none", "lz4", "zstd", "snappy", "gzip"] = "lz4"
    profile: ProducerProfile = ProducerProfile.BALANCED

    @field_validator("bootstrap_servers")
    @classmethod
    def _servers(cls, value: str) -> str:
        servers = [server.strip() for server in value.split(",")]
        if not all(servers):
            raise ValueError("a server between the commas is empty; give host:port,host:port")
        return ",".join(servers)

    @model_validator(mode="after")
    def _sasl_is_whole(self) -> Self:
        if not self.security_protocol.startswith("SASL_"):
            return self
        needed: dict[str, object] = {"KAFKA_SASL_MECHANISM": self.sasl_mechanism}
        if (self.sasl_mechanism or "").upper() not in _WITHOUT_PASSWORD:
            needed |= {"KAFKA_SASL_USERNAME": self.sasl_username, "KAFKA_SASL_PASSWORD": self.sasl_password}
        missing = ", ".join(name for name, value in needed.items() if value is None)
        if missing:
            raise ValueError(f"KAFKA_SECURITY_PROTOCOL={self.security_protocol} also needs {missing}")
        return self

    def client_config(self) -> dict[str, Any]:
        """What every confluent-kafka client of this process shares."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": self.client_id,
            "security.protocol": self.security_protocol,
            "socket.keepalive.enable": True,
            "reconnect.backoff.ms": 100,
            "reconnect.backoff.max.ms": 2_000,
            "log.connection.close": False,
        }
        optional = {
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password,
            "ssl.ca.location": self.ssl_ca_location,
            "ssl.certificate.location": self.ssl_certificate_location,
            "ssl.key.location": self.ssl_key_location,
            "ssl.key.password": self.ssl_key_password,
        }
        for name, value in optional.items():
            if value is not None:
                config[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
        return config


class RegistrySettings(_Section):
    """The Schema Registry; ``SCHEMA_REGISTRY_…``. Several URLs are separated by commas."""

    model_config = SettingsConfigDict(env_prefix="SCHEMA_REGISTRY_")

    url: str = "http://localhost:8081"
    basic_auth: SecretStr | None = None
    """``user:password``."""
    bearer_token: SecretStr | None = None
    ssl_ca_location: str | None = None
    timeout_s: float = Field(default=5.0, gt=0)
    check_s: float = Field(default=30.0, gt=0)
    """How often who writes Avro looks whether the registry still has its schemas."""


class RedisSettings(_Section):
    """Redis; ``REDIS_…``. ``REDIS_URL`` wins over host, port and password."""

    model_config = SettingsConfigDict(env_prefix="REDIS_")

    url: SecretStr | None = None
    host: str = "localhost"
    port: int = Field(default=6379, ge=1, le=65535)
    password: SecretStr | None = None
    timeout_s: float = Field(default=1.0, gt=0)

    @field_validator("url")
    @classmethod
    def _of_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_scheme(value.get_secret_value(), "redis", "rediss", "unix")
        return value

    def effective_url(self) -> str:
        """The one URL to connect to (with its password: never log it)."""
        if self.url is not None:
            return self.url.get_secret_value()
        secret = f":{self.password.get_secret_value()}@" if self.password else ""
        return f"redis://{secret}{self.host}:{self.port}/0"


class BreakerSettings(_Section):
    """The circuit breaker around producers; ``GATEWAY_BREAKER_…``."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_BREAKER_")

    failure_threshold: int = Field(default=5, ge=1)
    open_s: float = Field(default=60.0, gt=0)
    half_open_max_calls: int = Field(default=3, ge=1)
    success_threshold: int = Field(default=2, ge=1)
    max_unacknowledged_age_s: float = Field(default=5.0, gt=0)


class GatewaySettings(_Section):
    """The gateway's own; ``GATEWAY_…``."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    prefix: str = ""
    """Goes before every topic, consumer group and Redis key."""
    instance_id: str | None = None
    """A stable name of this instance; by default host name and a random part."""
    topics: Literal["create", "check"] = "create"
    replication_factor: int | None = Field(default=None, ge=1)
    retention_ms: int | None = Field(default=None, ge=1)
    control_partitions: int = Field(default=3, ge=1)
    streams_partitions: int = Field(default=12, ge=1)
    realtime_partitions: int = Field(default=12, ge=1)
    schema_register: Literal["on", "off"] = "on"
    topic_subjects: Literal["on", "off"] = "on"
    numbers: Literal["double", "exact"] = "double"
    """``exact`` also fills ``price_exact`` and ``quantity_exact``, from the exchange's own text."""
    message_timestamp: Literal["received", "exchange"] = "received"
    command_max_bytes: int = Field(default=256 * 1024, ge=1024)
    url_allow_list: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts (``host`` or ``host:port``) that a command's URL may name beside the exchange's own; separated by
    commas, or as a JSON list."""
    exchange_urls: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)
    """JSON object exchange -> WebSocket URL to use in place of the public one, as for a simulator."""
    exchange_rest_urls: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)
    """JSON object exchange -> REST URL (``http(s)://host[:port]``) in place of the public one. By default where
    ``exchange_urls`` names a plain ``ws://`` address, as a simulator has, that host and port by HTTP."""
    book_depth: int = Field(default=1000, ge=1, le=5000)
    """Levels a side of the order books that are kept."""
    book_snapshot_s: float = Field(default=60.0, ge=0)
    """How often each kept order book is published whole; 0: never."""
    egress: str | None = None
    """Names the address that exchanges see, when several hosts are behind one: they share connect budgets
    through Redis. By default the host's name."""
    probe_after_s: float = Field(default=10.0, gt=0)
    stale_after_s: float = Field(default=20.0, gt=0)
    reconnect_max_s: float = Field(default=30.0, gt=0)
    hold_max_s: float = Field(default=5.0, ge=0)
    """How long reading stops when no record can be taken, before records are given up and counted."""
    drain_timeout_s: float = Field(default=8.0, gt=0)
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8080, ge=0, le=65535)
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("prefix")
    @classmethod
    def _of_topic_characters(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]*", value):
            raise ValueError("it goes before topic names: only letters, digits, '.', '_' and '-'")
        return value

    @field_validator("instance_id", "egress")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("url_allow_list", mode="before")
    @classmethod
    def _hosts(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return tuple(_json(value))
        return tuple(host.strip() for host in value.split(",") if host.strip())

    @field_validator("exchange_urls", "exchange_rest_urls", mode="before")
    @classmethod
    def _object(cls, value: Any) -> Any:
        return _json(value) if isinstance(value, str) else value

    @field_validator("exchange_urls", "exchange_rest_urls")
    @classmethod
    def _of_exchanges(cls, value: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(value) - {exchange.value for exchange in Exchange})
        if unknown:
            raise ValueError(f"no such exchange: {', '.join(unknown)}")
        return value

    @field_validator("exchange_urls")
    @classmethod
    def _of_sockets(cls, value: dict[str, str]) -> dict[str, str]:
        for exchange, url in value.items():
            _check_scheme(url, "ws", "wss", whose=f"{exchange}: ")
        return value

    @field_validator("exchange_rest_urls")
    @classmethod
    def _of_http(cls, value: dict[str, str]) -> dict[str, str]:
        for exchange, url in value.items():
            _check_scheme(url, "http", "https", whose=f"{exchange}: ")
        return value

    def rest_url(self, exchange: str, public: str | None) -> str | None:
        """Where an exchange's REST is reached; None for one that needs none."""
        given = self.exchange_rest_urls.get(exchange)
        if given is not None or public is None:
            return given
        socket_url = self.exchange_urls.get(exchange, "")
        if socket_url.startswith("ws://"):
            return f"http://{urlsplit(socket_url).netloc}"
        return public

    def topic(self, name: str) -> str:
        """A topic's or group's full name."""
        return self.prefix + name


def _check_scheme(url: str, *schemes: str, whose: str = "") -> None:
    """Raise ``ValueError``, without the URL itself, for one of another scheme or that cannot be read."""
    expected = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise ValueError(f"{whose}it cannot be read as a URL; it begins with {expected}") from exc
    if parts.scheme not in schemes or not (parts.path if parts.scheme == "unix" else parts.hostname):
        raise ValueError(f"{whose}it has to begin with {expected} and name a {_place(parts.scheme)}")


def _place(scheme: str) -> str:
    return "path" if scheme == "unix" else "host"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise ValueError(f"this is not JSON: {exc}") from exc


class Settings(_Section):
    """All of them."""

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    registry: RegistrySettings = Field(default_factory=RegistrySettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    breaker: BreakerSettings = Field(default_factory=BreakerSettings)
    gateway: GatewaySettings = Field(default_factory=GatewaySettings)


_SECTIONS: dict[str, type[_Section]] = {
    "kafka": KafkaSettings,
    "registry": RegistrySettings,
    "redis": RedisSettings,
    "breaker": BreakerSettings,
    "gateway": GatewaySettings,
}


def default_instance_id() -> str:
    """A name for this process that no other has: host name, process id and a random part."""
    import secrets

    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def load_settings(env_file: Path | None = None) -> Settings:
    """Read and validate everything; raises ``SettingsError`` naming each wrong variable."""
    if env_file is not None and not env_file.is_file():
        raise SettingsError(f"--env-file {env_file}: there is no such file")
    sections: dict[str, Any] = {}
    wrong = _misspelt(env_file)
    for name, section in _SECTIONS.items():
        prefix = str(section.model_config.get("env_prefix", ""))
        try:
            sections[name] = section(_env_file=env_file)  # type: ignore[call-arg]  # pydantic-settings' own
        except ValidationError as exc:
            for error in exc.errors(include_url=False, include_input=False):
                said = error["msg"].removeprefix("Value error, ")
                variable = f"{prefix}{error['loc'][0]}".upper() if error["loc"] else None
                wrong.append(f"{variable}: {said}" if variable else said)
    if wrong:
        raise SettingsError(without_secrets("; ".join(wrong)))
    return Settings(**sections)


def _misspelt(env_file: Path | None) -> list[str]:
    """What is set, in the environment or the file, and is no setting of ours."""
    known = [
        f"{section.model_config.get('env_prefix', '')}{field}".upper()
        for section in _SECTIONS.values()
        for field in section.model_fields
    ]
    wrong = unknown_names(os.environ, known)
    if env_file is not None:
        variables, unreadable = read_env_file(env_file)
        wrong += unreadable + [f"{env_file}: {said}" for said in unknown_names(variables, known)]
    return wrong
