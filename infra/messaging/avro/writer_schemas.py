"""The schemas messages were written with, fetched from the registry by the id in their first bytes, once each.

Confluent's wire format: byte 0, the schema's id as 4 bytes big-endian, Avro binary.
"""

import json
from typing import Any

import httpx
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from core.errors import PayloadError, RegistryUnavailableError
from core.events import without_secrets
from infra.settings import RegistrySettings

HEADER_BYTES = 5


def schema_id_of(value: bytes) -> int:
    """The schema's id of a framed message; raises ``PayloadError`` when it is not framed."""
    if len(value) < HEADER_BYTES or value[0] != 0:
        raise PayloadError("not in Confluent's wire format: no zero byte and schema id at its start")
    return int.from_bytes(value[1:HEADER_BYTES], "big")


class WriterSchemas:
    """Id to Avro schema. What the registry does not know is remembered too, and not asked again."""

    def __init__(self, settings: RegistrySettings) -> None:
        self.url = without_secrets(settings.url)
        config: dict[str, Any] = {"url": settings.url, "timeout": settings.timeout_s, "max.retries": 0}
        if settings.basic_auth is not None:
            config["basic.auth.user.info"] = settings.basic_auth.get_secret_value()
        if settings.bearer_token is not None:
            config |= {
                "bearer.auth.credentials.source": "STATIC_TOKEN",
                "bearer.auth.token": settings.bearer_token.get_secret_value(),
                "bearer.auth.logical.cluster": "",
                "bearer.auth.identity.pool.id": "",
            }
        if settings.ssl_ca_location is not None:
            config["ssl.ca.location"] = settings.ssl_ca_location
        self._client = SchemaRegistryClient(config)
        self._unknown: dict[int, str] = {}
        self._known: dict[int, Any] = {}

    def get(self, schema_id: int) -> Any:
        """The schema as parsed JSON.

        Raises ``PayloadError`` for an id the registry does not know, ``RegistryUnavailableError`` when it
        cannot be asked.
        """
        if schema_id in self._known:
            return self._known[schema_id]
        if schema_id in self._unknown:
            raise PayloadError(self._unknown[schema_id])
        try:
            found = self._client.get_schema(schema_id)
        except SchemaRegistryError as exc:
            if exc.http_status_code != 404:
                raise self._unavailable(f"{exc.http_status_code} {exc.error_message}") from exc
            reason = f"the registry at {self.url} knows no schema {schema_id}"
            self._unknown[schema_id] = reason
            raise PayloadError(reason) from exc
        except (httpx.HTTPError, OSError, ValueError, KeyError, TypeError) as exc:
            raise self._unavailable(str(exc) or type(exc).__name__) from exc
        if (found.schema_type or "AVRO") != "AVRO" or not found.schema_str:
            self._unknown[schema_id] = f"schema {schema_id} is {found.schema_type}, not Avro"
            raise PayloadError(self._unknown[schema_id])
        schema = json.loads(found.schema_str)
        self._known[schema_id] = schema
        return schema

    def _unavailable(self, why: str) -> RegistryUnavailableError:
        return RegistryUnavailableError(
            f"the schema registry at {self.url} does not answer as one ({without_secrets(why)}); "
            "start it or set SCHEMA_REGISTRY_URL"
        )
