"""An exchange that wants no connection: it is left alone, not for longer than it means, and that is told."""

from core.errors import ConnectFailedError
from infra.cache.local_connect_budgets import LocalConnectBudgets
from infra.manual_clock import ManualClock
from infra.websocket.fake import FakeConnector
from tests.hand_run_stream import HandRunStream, hand_run

KEY = "upbit|korea|ticker"
DAY_S = 86_400


def refusal(status: int, retry_after_s: float | None = 3.0 * DAY_S) -> ConnectFailedError:
    return ConnectFailedError(f"refused with HTTP {status}", status=status, retry_after_s=retry_after_s)


def messages(world: HandRunStream) -> list[str]:
    return [message for _, _, message in world.told()]


async def test_a_503_that_asks_for_days_is_left_alone_for_minutes() -> None:
    clock = ManualClock()
    fake = FakeConnector(clock.epoch_us)
    fake.refusing = refusal(503)
    async with hand_run(KEY, "BTC-KRW", clock=clock, fake=fake) as world:
        await clock.advance(590)
        assert fake.attempts == 1
        (told,) = messages(world)
        assert told == "refused with HTTP 503; upbit is left alone for 600 s (it asked for 259200 s)"
        fake.refusing = None
        await clock.advance(20)
        assert len(fake.connections) == 1


async def test_a_ban_is_kept_to() -> None:
    clock = ManualClock()
    fake = FakeConnector(clock.epoch_us)
    fake.refusing = refusal(429)
    async with hand_run(KEY, "BTC-KRW", clock=clock, fake=fake) as world:
        await clock.advance(1)
        fake.refusing = None
        await clock.advance(DAY_S)
        assert fake.attempts == 1
        assert "left alone for 259200 s" in messages(world)[0]


async def test_an_outage_that_began_otherwise_tells_a_long_wait_too_and_once() -> None:
    clock = ManualClock()
    async with hand_run(KEY, "BTC-KRW", clock=clock) as world:
        world.fake.refusing = refusal(429, None)
        world.connection.end(1006)
        await clock.advance(30)
        (first,) = messages(world)
        assert "ended the connection" in first
        await clock.advance(300)
        assert world.fake.attempts == 4
        world.fake.refusing = "no route"
        await clock.advance(600)
        _, second = messages(world)
        assert second == "refused with HTTP 429; upbit is left alone for 120 s (as it is after such a refusal)"


async def test_a_stream_that_begins_while_the_exchange_is_left_alone_says_why_nothing_comes() -> None:
    clock = ManualClock()
    budgets = LocalConnectBudgets(monotonic_s=clock.monotonic_s)
    await budgets.hold_off("upbit", 5, 1.0, 300.0)
    async with hand_run(KEY, "BTC-KRW", clock=clock, budgets=budgets) as world:
        await clock.advance(1)
        (told,) = messages(world)
        assert "connects in 300 s and not before: upbit refused connections" in told
        await clock.advance(300)
        assert len(world.fake.connections) == 1
        world.connection.receive(
            b'{"type":"ticker","code":"KRW-BTC","trade_price":1.5,"stream_type":"REALTIME"}'
        )
        assert world.stream.live == {"BTC-KRW"}
        assert len(messages(world)) == 1
