"""Liveness, readiness and figures over HTTP: ``/healthz``, ``/readyz``, ``/streams``, ``/metrics``."""

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def health_app(
    parts: Callable[[], Mapping[str, str]],
    streams: Callable[[], list[dict[str, Any]]],
    metrics: CollectorRegistry,
) -> Starlette:
    """``parts()`` names each part and its state; ready when all are ``ready`` or ``optional``."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        states = dict(parts())
        ready = all(state == "ready" or state.startswith("optional") for state in states.values())
        return JSONResponse(
            {"status": "ready" if ready else "not ready", "parts": states},
            status_code=200 if ready else 503,
        )

    async def list_streams(_request: Request) -> Response:
        return JSONResponse(streams())

    async def prometheus(_request: Request) -> Response:
        return Response(generate_latest(metrics), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/streams", list_streams),
            Route("/metrics", prometheus),
        ]
    )
