"""Bithumb's public WebSocket, version 1 (``ws-api.bithumb.com/websocket/v1``): Upbit's protocol.

Written after Bithumb's documentation (read 2026-11): "기본 정보", "요청 방법 및 포맷", "현재가 (Ticker)",
"체결 (Trade)", "호가 (Orderbook)", "연결 관리", "웹소켓 에러" under apidocs.bithumb.com/reference, and the
same in versions 2.1.4 and 2.1.5; what is called measured is from a published survey of the live socket
(2026-09).

- An order book has up to 15 levels a side. Sizes are printed with four decimals: what is less comes as 0 and is
  no level (a trade of 0 is no record).
- Times are epoch milliseconds, those of order books microseconds (milliseconds in the versions before).
  ``trade_date`` and ``trade_time`` are Korean local time and not needed.
- After an error the server closes. A listed code gets its snapshot within a second.
- The former API (``pubwss.bithumb.com``) wraps its data in ``content``: recognised, not read.
- An idle connection is closed after 120 s (60 s as measured). 10 connects a second and address; messages and
  codes are not limited in writing (493 codes in one request were served).
"""

import msgspec
from msgspec import UNSET, UnsetType

from core.exchanges.base import ConnectionLimits
from core.exchanges.upbit_frames import AnyFrame, MarketFrame
from core.exchanges.upbit_protocol import UpbitProtocol, UpbitProtocolProfile
from core.identity import Exchange, RequestType


class _Former(msgspec.Struct, frozen=True):
    content: msgspec.Raw | UnsetType = UNSET


_FORMER = msgspec.json.Decoder(_Former)


class BithumbDialect(UpbitProtocol):
    """One connection to Bithumb."""

    def read_other(self, frame: AnyFrame) -> MarketFrame | None:
        """As in Upbit's protocol; a frame of the former API may have a type of the same name."""
        if _FORMER.decode(frame).content is not UNSET:
            self.ignore("frame of the former API")
            return None
        return super().read_other(frame)


class Bithumb(UpbitProtocolProfile):
    """Bithumb (Korea)."""

    exchange = Exchange.BITHUMB
    url = "wss://ws-api.bithumb.com/websocket/v1"
    allowed_hosts = frozenset({"ws-api.bithumb.com"})
    # Half of the documented connects, since who exceeds them is shut out for 10 minutes. Messages are not
    # limited in writing: few are needed.
    limits = ConnectionLimits(
        max_symbols=1000,
        max_symbols_per_message=1000,
        max_connects=5,
        connect_window_s=1.0,
        max_messages=5,
        message_window_s=1.0,
    )

    def dialect(self, request_type: RequestType, session_id: int) -> BithumbDialect:
        """A new connection's protocol."""
        return BithumbDialect(self, request_type, session_id, self.wire_format)
