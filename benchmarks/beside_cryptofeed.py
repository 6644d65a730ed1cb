"""cryptofeed beside the session: a process with a virtual environment of its own, fed the same frames."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.session_case import Case
from core.exchanges.table import PROFILES
from core.identity import Exchange
from core.records import OrderBook, Record, Ticker
from core.session import StreamSession

_PROCESS: Final = Path(__file__).with_name("cryptofeed_process.py")
_UNREAD: Final = {
    "upbit ticker": "no tickers",
    "upbit trade": "the short format alone: trade.simple",
    "upbit orderbook": "the short format alone: orderbook.simple",
    "bithumb": "the former API",
    "coinone": "no such exchange",
    "korbit": "no such exchange",
    "binance ticker": "bookTicker, not the 24 hours' ticker",
    "binance trade": "aggTrade: trade.aggregate",
    "huobi orderbook": "whole books alone: orderbook.whole",
    "coinbase": "Advanced Trade",
    "kraken": "version 1",
    "bitfinex ticker": "no time behind the sequence: ticker.sequence",
    "bitfinex trade": "no time behind the sequence: trade.sequence",
    "bitfinex orderbook": "neither time nor checksum: orderbook.sequence",
}
"""What cryptofeed 2.4.1 reads instead of these frames."""


def unread(case: Case) -> str | None:
    """What cryptofeed reads instead; None where it reads the case's frames."""
    return _UNREAD.get(case.exchange) or _UNREAD.get(str(case))


class Cryptofeed:
    """The process. It keeps the cases that it was given, and tells the CPU time of reading one once more."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, str(_PROCESS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def open(
        self, case: Case, frames: Sequence[bytes], session: StreamSession, records: list[Record]
    ) -> Callable[[], float]:
        """Hand over a case, and answer with what takes the CPU seconds of a round by a feed made anew.

        It is read once, and what cryptofeed called back has to agree with the session.
        """
        profile = PROFILES[Exchange(case.exchange)]
        told = self._ask(
            {
                "name": str(case),
                "exchange": case.exchange,
                "kind": case.kind,
                "symbol": case.symbol,
                "spelled": profile.spell_symbol(profile.parse_symbol(case.symbol)),
                "before": [frame.decode("latin-1") for frame in case.before],
                "rest": None if case.rest is None else case.rest.decode(),
                "frames": [frame.decode("latin-1") for frame in frames],
            }
        )
        if told != [len(records), *_last(session, records[-1])]:
            raise SystemExit(f"{case}: cryptofeed called back {told}")
        return lambda: float(self._ask(str(case)))

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=10)

    def _ask(self, request: object) -> Any:
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        to.write(json.dumps(request) + "\n")
        to.flush()
        answer = back.readline()
        if not answer:
            raise SystemExit("cryptofeed's process ended")
        return json.loads(answer)


def _last(session: StreamSession, record: Record) -> list[float]:
    """What the last callback has to show: bid and ask, price and quantity, or the best of both sides."""
    if isinstance(record, Ticker):
        return [record.bid or 0.0, record.ask or 0.0]
    if not isinstance(record, OrderBook):
        return [record.price, record.quantity]
    (track,) = session.tracks
    assert track.book is not None
    book = track.book.record or track.book.book
    best = [(side if isinstance(side, list) else side.best(1))[0] for side in (book.bids, book.asks)]
    return [number for level in best for number in (level.price, level.quantity)]
