"""Settings: every wrong variable is named, secrets stay secret."""

from pathlib import Path

import pytest

from core.errors import SettingsError
from infra.commandline.run import effective
from infra.settings import load_settings

WRONG = {
    "KAFKA_SESSION_TIMEOUT_MS": "soon",
    "KAFKA_SECURITY_PROTOCOL": "TLS",
    "KAFKA_PROFILE": "fast",
    "SCHEMA_REGISTRY_TIMEOUT_S": "-1",
    "REDIS_PORT": "70000",
    "GATEWAY_BREAKER_OPEN_S": "0",
    "GATEWAY_TOPICS": "maybe",
    "GATEWAY_HTTP_PORT": "http",
    "GATEWAY_EXCHANGE_URLS": "{not json",
    "GATEWAY_URL_ALLOW_LIST": "[",
}


def test_all_wrong_variables_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WRONG.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    for name in WRONG:
        assert f"{name}: " in caught.value.message, name


def test_an_exchange_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_EXCHANGE_URLS", '{"upbitt":"ws://localhost:1"}')
    with pytest.raises(SettingsError, match=r"GATEWAY_EXCHANGE_URLS: .*upbitt"):
        load_settings()


def test_hosts_may_be_given_as_a_plain_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_URL_ALLOW_LIST", "localhost:9001, sim.example.com")
    assert load_settings().gateway.url_allow_list == ("localhost:9001", "sim.example.com")
    monkeypatch.setenv("GATEWAY_URL_ALLOW_LIST", '["localhost:9001"]')
    assert load_settings().gateway.url_allow_list == ("localhost:9001",)


def test_an_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    path = tmp_path / "gateway.env"
    path.write_text("KAFKA_BOOTSTRAP_SERVERS=broker:9\nGATEWAY_PREFIX=x.\n")
    settings = load_settings(path)
    assert settings.kafka.bootstrap_servers == "broker:9"
    assert settings.gateway.topic("ws.error") == "x.ws.error"
    with pytest.raises(SettingsError, match="no such file"):
        load_settings(tmp_path / "other.env")


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_SASL_PASSWORD", "SCHEMA_REGISTRY_BASIC_AUTH", "SCHEMA_REGISTRY_BEARER_TOKEN"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@localhost/0")
    settings = load_settings()
    assert "hunter2" not in str(effective(settings))
    assert "hunter2" not in repr(settings)
    assert settings.kafka.client_config()["sasl.password"] == "hunter2"
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_MS", "password=hunter2")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in caught.value.message
