"""The two commands as they cross the wire, and the events' DTOs that share their target.

These models say what a message must look like; whether the exchange, the region, the symbols and the URL
make sense together is decided by ``core.command_rules``.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Wire(BaseModel):
    """Strict and closed: a wrong type or an unknown field is refused by name."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ConnectionTargetDTO(_Wire):
    """What a command is about. ``region`` may be left out: the exchange has only one."""

    exchange: str = Field(min_length=1, max_length=32)
    region: str | None = Field(default=None, max_length=32)
    request_type: str = Field(min_length=1, max_length=32)


class ConnectionOverridesDTO(_Wire):
    """Replaces what the gateway would do by itself: the address, or the whole subscription message."""

    url: str | None = Field(default=None, max_length=2048)
    socket_params: dict[str, Any] | list[Any] | None = None


class CommandDTO(_Wire):
    """connect_and_subscribe on ``ws.command``. Times are epoch milliseconds."""

    type: Literal["status"]
    action: Literal["connect_and_subscribe"]
    target: ConnectionTargetDTO
    symbols: list[str] = Field(min_length=1, max_length=5000)
    connection: ConnectionOverridesDTO | None = None
    projection: list[str] | None = None
    ttl_ms: int | None = Field(default=None, ge=0)
    schema_version: str = "1.0"
    routing: dict[str, Any] | None = None
    ts_issue: int | None = None
    ts_ingest: int | None = None
    timestamp: int | None = None
    correlation_id: str | None = Field(default=None, max_length=256)
    ticket_id: str | None = Field(default=None, max_length=256)


class DisconnectCommandDTO(_Wire):
    """disconnect on ``ws.disconnection``: with symbols those end, without the whole stream does."""

    type: Literal["status"]
    action: Literal["disconnect"]
    target: ConnectionTargetDTO
    symbols: list[str] | None = Field(default=None, min_length=1, max_length=5000)
    reason: str | None = Field(default=None, max_length=1024)
    correlation_id: str | None = Field(default=None, max_length=256)
    ticket_id: str | None = Field(default=None, max_length=256)
    meta: dict[str, Any] | None = None
