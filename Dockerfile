# syntax=docker/dockerfile:1
# The gateway: its wheel and what it needs at run time, in the versions the tests ran with.

FROM python:3.13-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY core ./core
COPY application ./application
COPY infra ./infra
COPY schemas ./schemas
# Wheels only: nothing is compiled here, so the image needs no compiler and builds the same everywhere.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/gateway \
    && pip wheel --no-deps --wheel-dir /wheel . \
    && /opt/gateway/bin/pip install --only-binary :all: --constraint constraints.txt /wheel/*.whl \
    && /opt/gateway/bin/python -m compileall -q /opt/gateway/lib

FROM python:3.13-slim-bookworm
RUN groupadd --system --gid 10001 gateway \
    && useradd --system --uid 10001 --gid gateway --no-create-home --shell /usr/sbin/nologin gateway
COPY --from=build /opt/gateway /opt/gateway
COPY deploy/healthcheck.py /opt/gateway/healthcheck.py
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_HTTP_HOST=0.0.0.0 \
    GATEWAY_HTTP_PORT=8080 \
    GATEWAY_LOG_FORMAT=json
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
# It drains within GATEWAY_DRAIN_TIMEOUT_S (8 s by default): give it longer than that, as Docker's 10 s do.
STOPSIGNAL SIGTERM
# Liveness: who is merely waiting for Kafka is not to be restarted. What is ready says /readyz.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "/opt/gateway/healthcheck.py", "/healthz"]
ENTRYPOINT ["gateway"]
CMD ["run"]
