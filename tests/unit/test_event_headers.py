"""An event's correlation id is also a header."""

import pytest

from infra.messaging.clients.event_client import event_headers


@pytest.mark.parametrize(
    ("event", "headers"),
    [
        ({"meta": {"correlation_id": "abc"}}, {"correlation_id": "abc"}),
        ({"meta": {"correlation_id": None}}, {}),
        ({"meta": {}}, {}),
        ({"meta": "?"}, {}),
        ({}, {}),
        (b"bytes", {}),
        (None, {}),
    ],
)
def test_headers_of_an_event(event: object, headers: dict[str, str]) -> None:
    assert event_headers(event) == headers
