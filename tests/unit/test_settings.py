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
    assert effective(settings)["REDIS_URL"] == "redis://***@localhost/0"
    monkeypatch.setenv("REDIS_URL", "redis://cache.example:6379/1")
    assert effective(load_settings())["REDIS_URL"] == "redis://cache.example:6379/1"
    assert settings.kafka.client_config()["sasl.password"] == "hunter2"
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_MS", "password=hunter2")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_SESSION_TIMEOUT_MS", "3600001"),
        ("KAFKA_TRANSACTION_TIMEOUT_MS", "900001"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:9092,,b:9092"),
        ("REDIS_URL", "http://:hunter2@localhost"),
        ("REDIS_URL", "redis://"),
        ("REDIS_TIMEOUT_S", "inf"),
        ("SCHEMA_REGISTRY_TIMEOUT_S", "inf"),
        ("GATEWAY_RECONNECT_MAX_S", "inf"),
        ("GATEWAY_HOLD_MAX_S", "nan"),
        ("GATEWAY_BREAKER_OPEN_S", "inf"),
        ("GATEWAY_PREFIX", "a b"),
        ("GATEWAY_PREFIX", "a/"),
        ("GATEWAY_EXCHANGE_URLS", '{"upbit":"http://user:hunter2@localhost"}'),
        ("GATEWAY_EXCHANGE_URLS", '{"upbit":"ws://localhost:99999"}'),
        ("GATEWAY_EXCHANGE_REST_URLS", '{"upbit":"ws://localhost"}'),
    ],
)
def test_a_value_that_cannot_work_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"{name}: ") as caught:
        load_settings()
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("url", ["redis://h", "rediss://u:p@h:1/2", "unix:///run/redis.sock"])
def test_redis_is_reached_in_three_ways(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert load_settings().redis.effective_url() == url


def test_sasl_names_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    for name in ("KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"):
        assert name in caught.value.message
    assert "KAFKA_: " not in caught.value.message
    monkeypatch.setenv("KAFKA_SASL_MECHANISM", "PLAIN")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "u")
    with pytest.raises(SettingsError, match="also needs KAFKA_SASL_PASSWORD"):
        load_settings()
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "p")
    assert load_settings().kafka.client_config()["sasl.username"] == "u"


def test_no_url_shows_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://user:hunter2@a:1,http://user:hunter3@b:2")
    monkeypatch.setenv("GATEWAY_EXCHANGE_URLS", '{"upbit":"wss://user:hunter2@h/"}')
    monkeypatch.setenv("GATEWAY_EXCHANGE_REST_URLS", '{"upbit":"https://user:hunter2@h/"}')
    shown = effective(load_settings())
    assert "hunter" not in str(shown)
    assert shown["SCHEMA_REGISTRY_URL"] == "http://***@a:1,http://***@b:2"
    assert shown["GATEWAY_EXCHANGE_URLS"] == {"upbit": "wss://***@h/"}


def test_a_misspelt_setting_is_named_with_its_nearest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GATEWAY_NUMBRS", "exact")
    with pytest.raises(SettingsError, match=r"GATEWAY_NUMBRS: .*did you mean GATEWAY_NUMBERS\?"):
        load_settings()
    monkeypatch.delenv("GATEWAY_NUMBRS")
    path = tmp_path / "gateway.env"
    path.write_text("# comment\n\nexport GATEWAY_NUMBERS=exact\nGATEWAY_BRAKER_OPEN_S=3\nGATEWAY_PREFIX\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert f"{path}, line 5: this is not NAME=value" in caught.value.message
    assert "GATEWAY_BRAKER_OPEN_S: there is no such setting; did you mean GATEWAY_BREAKER_OPEN_S?" in (
        caught.value.message
    )
    assert "GATEWAY_NUMBERS:" not in caught.value.message


def test_what_kubernetes_sets_for_a_service_named_gateway_is_no_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "GATEWAY_SERVICE_HOST": "10.0.0.1",
        "GATEWAY_SERVICE_PORT": "8080",
        "GATEWAY_SERVICE_PORT_HTTP": "8080",
        "GATEWAY_PORT": "tcp://10.0.0.1:8080",
        "GATEWAY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "GATEWAY_PORT_8080_TCP_ADDR": "10.0.0.1",
        "GATEWAY_METRICS_SERVICE_HOST": "10.0.0.2",
        "GATEWAY_CACHE_DIR": "/tmp/there",
        "gateway_numbers": "exact",
    }.items():
        monkeypatch.setenv(name, value)
    assert load_settings().gateway.numbers == "exact"
    monkeypatch.setenv("GATEWAY_PORT", "8080")
    with pytest.raises(SettingsError, match="GATEWAY_PORT: there is no such setting"):
        load_settings()
