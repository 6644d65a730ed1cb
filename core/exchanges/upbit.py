"""Upbit's public WebSocket; its protocol is in ``upbit_protocol``.

Written after Upbit's documentation (read 2026-11): "WebSocket 사용 및 에러 안내", "현재가 (Ticker)",
"체결 (Trade)", "호가 (Orderbook)", "구독 중인 스트림 목록 조회" and "요청 수 제한 (Rate Limits)" under
docs.upbit.com/kr/reference, and the same in versions 1.5.7 to 1.6.4; what is called measured is from a
published survey of the live socket (2026-09).

- That a new request replaces the former one is measured (and reported in ccxt's pull request 26954, where all
  subscriptions are sent again for that reason).
- An order book has up to 30 levels a side. Times are epoch milliseconds. Numbers come in exponent notation too.
- No error is documented for a code that Upbit does not list, and a listed one always gets its snapshot: silence
  is a refusal.
- An idle connection is closed after 120 s (60 s as measured).
"""

from core.exchanges.base import ConnectionLimits
from core.exchanges.upbit_protocol import UpbitProtocolProfile
from core.identity import Exchange


class Upbit(UpbitProtocolProfile):
    """Upbit (Korea)."""

    exchange = Exchange.UPBIT
    url = "wss://api.upbit.com/websocket/v1"
    allowed_hosts = frozenset({"api.upbit.com"})
    # Connections: 5 a second and address. Messages: 5 a second and 100 a minute and connection; 5 in any
    # 3 seconds keeps to both. A bound on codes is not documented: a request may list the whole market.
    limits = ConnectionLimits(
        max_symbols=1000,
        max_symbols_per_message=1000,
        max_connects=5,
        connect_window_s=1.0,
        max_messages=5,
        message_window_s=3.0,
    )
