"""Order books by REST: the port's fake, and the adapter against the simulated Binance and a hostile server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest

from application.ports import BookSnapshots
from core.errors import ConnectFailedError
from infra.rest.book_snapshots import MAX_BODY_BYTES, RestAddress, RestBookSnapshots
from infra.rest.fake_book_snapshots import FakeBookSnapshots
from infra.simulator.server import ExchangeSimulator

PATH = "/api/v3/depth?symbol=BTCUSDT&limit=5"


class Suite:
    """Both answer bodies, also of explained errors, and raise one kind of error."""

    async def test_a_book(self, snapshots: BookSnapshots) -> None:
        book = json.loads(await snapshots.fetch("binance", PATH))
        assert sorted(book) == ["asks", "bids", "lastUpdateId"]
        assert len(book["bids"]) == len(book["asks"]) == 5
        assert float(book["bids"][0][0]) < float(book["asks"][0][0])

    async def test_an_error_that_the_exchange_explains_is_an_answer(self, snapshots: BookSnapshots) -> None:
        body = json.loads(await snapshots.fetch("binance", PATH.replace("BTC", "NONE")))
        assert body["code"] == -1121

    async def test_no_answer_of_use_is_an_error(self, snapshots: BookSnapshots) -> None:
        for exchange, path in (("binance", "/nothing"), ("upbit", PATH)):
            with pytest.raises(ConnectFailedError) as caught:
                await snapshots.fetch(exchange, path)
            assert caught.value.retriable


class TestFake(Suite):
    @pytest.fixture
    def snapshots(self) -> FakeBookSnapshots:
        fake = FakeBookSnapshots()
        sides = {"bids": [["1", "1"]] * 5, "asks": [["2", "1"]] * 5}
        fake.answer("binance", PATH, json.dumps({"lastUpdateId": 1, **sides}).encode())
        fake.answer("binance", PATH.replace("BTC", "NONE"), b'{"code":-1121,"msg":"Invalid symbol."}')
        return fake


class TestRest(Suite):
    @pytest.fixture
    async def snapshots(self) -> AsyncIterator[RestBookSnapshots]:
        async with ExchangeSimulator("binance", symbols=["BTC-USDT"]) as simulator:
            rest = RestBookSnapshots({"binance": RestAddress(simulator.rest_url, (100, 1.0))})
            yield rest
            await rest.close()


@pytest.fixture
async def answering() -> AsyncIterator[Callable[[bytes], str]]:
    """A server that says to each request what the test gave, and its address."""
    what = {"say": b"", "asked": 0}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            what["asked"] += 1
            writer.write(what["say"])
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def answer(say: bytes) -> str:
        what["say"] = say
        return url

    answer.what = what
    yield answer
    server.close()


@pytest.mark.parametrize("status", ["429 Too Many Requests", "418 I'm a teapot"])
async def test_an_exchange_that_refuses_is_asked_no_more_until_it_said(
    answering: Callable[[bytes], str], status: str
) -> None:
    url = answering(f"HTTP/1.1 {status}\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n".encode())
    rest = RestBookSnapshots({"binance": RestAddress(url, (10, 1.0))})
    for _ in range(5):
        with pytest.raises(ConnectFailedError) as caught:
            await rest.fetch("binance", PATH)
    assert caught.value.retry_after_s == pytest.approx(600, abs=5)
    assert answering.what["asked"] == 1
    await rest.close()


@pytest.mark.parametrize(
    "say",
    [
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"rubbish\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + bytes(MAX_BODY_BYTES + 1),
    ],
    ids=["500", "short", "not-http", "hung-up", "too-large"],
)
async def test_what_is_no_answer_is_our_error(answering: Callable[[bytes], str], say: bytes) -> None:
    rest = RestBookSnapshots({"binance": RestAddress(answering(say), (10, 1.0))}, timeout_s=5.0)
    with pytest.raises(ConnectFailedError):
        await rest.fetch("binance", PATH)
    await rest.close()


async def test_requests_are_paced_over_all_symbols() -> None:
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    async with ExchangeSimulator("binance", symbols=["BTC-USDT"]) as simulator:
        rest = RestBookSnapshots({"binance": RestAddress(simulator.rest_url, (1, 5.0))}, sleep=note)
        for _ in range(3):
            await rest.fetch("binance", PATH)
        await rest.close()
    assert waits == pytest.approx([5.0, 10.0], abs=1.0)
