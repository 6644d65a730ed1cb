"""Logging: an event name and keys, one line each, as JSON or for a terminal."""

import logging
import sys
from typing import Any, Literal

import structlog

from core.events import masked


def _mask_secrets(_logger: Any, _method: str, event: Any) -> Any:
    return masked(event)


def set_up_logging(level: str = "info", fmt: Literal["auto", "json", "console"] = "auto") -> None:
    """Configure structlog for this process; ``auto`` is console on a terminal and JSON elsewhere."""
    to_terminal = sys.stderr.isatty() if fmt == "auto" else fmt == "console"
    renderer: Any = structlog.dev.ConsoleRenderer() if to_terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _mask_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
