"""A source's own log against the topics: was every frame that was sent on a connection made a record?

A session is one connection, so the exchange times of a symbol's records, in the order of their sequences, have
to be a run of consecutive frames of that symbol on one connection. Several connections may have carried the
same updates; the one that fits best is taken, each for one session. A hole in the frames with no hole in the
sequences was lost before the gateway counted it; a hole in both is the topics' loss and told there.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Literal

import msgspec

from core.audit_report import SourceReport, SourceTrack
from core.audit_track import Track

_EXAMPLES = 10
_NEVER = 2**63
_MAX_STARTS = 16
"""An exchange time repeats only where a snapshot repeats the last update, or an update takes several frames: a
few starts are all there are."""


class SentFrame(msgspec.Struct, frozen=True):
    """One line of the simulator's log: a frame that was written to a connection.

    ``symbol`` is canonical. Only rubbish is without request type, symbol and time;
    ``other`` (market data outside the request types) may be. ``repeat`` is a trade that its connection was told
    of before: the same trade, so no second record.
    """

    connection: str | int
    exchange: str
    request_type: str | None
    kind: Literal["snapshot", "realtime", "repeat", "other", "rubbish"]
    symbol: str | None = None
    exchange_symbol: str | None = None
    exchange_ts_ms: int | None = None
    n: int | None = None


Times = list[int]


class SourceLog:
    """Every data frame sent, by connection and symbol, as the list of their exchange times."""

    def __init__(self, frames: Iterable[SentFrame] = ()) -> None:
        self.frames = 0
        self.rubbish = 0
        self._sent: dict[tuple[str, str, str], dict[str, Times]] = {}
        for frame in frames:
            self.add(frame)

    def add(self, frame: SentFrame) -> None:
        """Take in one line; ``ValueError`` for a data frame without request type, symbol or time."""
        if frame.kind == "rubbish":
            self.rubbish += 1
            return
        if frame.kind in ("other", "repeat"):
            return
        if frame.request_type is None or frame.symbol is None or frame.exchange_ts_ms is None:
            raise ValueError("a data frame names its request_type, symbol and exchange_ts_ms")
        key = (frame.exchange, frame.request_type, str(frame.connection))
        times = self._sent.setdefault(key, {}).setdefault(frame.symbol, [])
        self.frames += 1
        times.append(frame.exchange_ts_ms)

    def compare(self, tracks: Iterable[Track], *, exact: bool) -> SourceReport:
        """Hold the topics' tracks against the log; with ``exact`` every frame of it has to be there.

        Without ``exact`` the source may be running, and its log be behind what it sent: records newer than
        the last entry of their connection are counted as ``unlogged``, not as invented.
        """
        logged = {key[:2] for key in self._sent}
        sessions: dict[tuple[str, str, int], list[Track]] = {}
        for track in tracks:
            exchange, _, request_type = track.scope.split("|")
            if (track.seen or track.reported_last) and (exchange, request_type) in logged:
                sessions.setdefault((exchange, request_type, track.session_id), []).append(track)
        out: list[SourceTrack] = []
        used: set[tuple[str, str, str]] = set()
        for session, connection, compared in self._pair(sessions, exact):
            out += compared
            if connection is None:
                continue
            used.add((*session[:2], connection))
            have = {track.symbol for track in compared}
            sent = self._sent[(*session[:2], connection)]
            out += [
                _unread(compared[0].scope, connection, symbol, times)
                for symbol, times in sent.items()
                if symbol not in have
            ]
        for key, sent in self._sent.items():
            if key not in used:
                scope = f"{key[0]}|{key[1]}"
                out += [_unread(scope, key[2], symbol, times) for symbol, times in sent.items()]
        return SourceReport(exact, self.frames, self.rubbish, len(self._sent), out)

    def _pair(
        self, sessions: dict[tuple[str, str, int], list[Track]], exact: bool
    ) -> Iterable[tuple[tuple[str, str, int], str | None, list[SourceTrack]]]:
        """Each session with the connection it fits best; every connection is given to one session only."""
        fits = []
        for session, tracks in sessions.items():
            kept = [(track, track.times()) for track in tracks]
            for exchange, request_type, connection in self._sent:
                if session[:2] != (exchange, request_type):
                    continue
                sent = self._sent[exchange, request_type, connection]
                newest = _NEVER if exact else max(times[-1] for times in sent.values())
                compared = [_compare(t, times, connection, sent.get(t.symbol, []), newest) for t, times in kept]
                if any(track.matched for track in compared):
                    faults = sum(track.lost + track.invented for track in compared)
                    unread = sum(t.unread_head + t.unread_tail + t.unlogged for t in compared)
                    unread += sum(len(v) for s, v in sent.items() if s not in {t.symbol for t in tracks})
                    fits.append((faults, unread, session, connection, compared))
        fits.sort(key=lambda fit: fit[:4])
        paired: set[tuple[str, str, int]] = set()
        taken: set[tuple[str, str, str]] = set()
        for _, _, session, connection, compared in fits:
            key = (*session[:2], connection)
            if session not in paired and key not in taken:
                paired.add(session)
                taken.add(key)
                yield session, connection, compared
        for session, tracks in sessions.items():
            if session not in paired:
                newest = _NEVER if exact else self._newest(*session[:2])
                yield session, None, [_compare(track, track.times(), None, [], newest) for track in tracks]

    def _newest(self, exchange: str, request_type: str) -> int:
        """The latest exchange time of any connection's frames."""
        return max(
            times[-1]
            for key, sent in self._sent.items()
            if key[:2] == (exchange, request_type)
            for times in sent.values()
        )


def _unread(scope: str, connection: str, symbol: str, times: Times) -> SourceTrack:
    """Frames of a symbol of which no record came."""
    return SourceTrack(scope, None, symbol, connection, len(times), 0, 0, 0, len(times), 0, [])


def _compare(
    track: Track, records: list[tuple[int, int | None]], connection: str | None, sent: Times, newest: int
) -> SourceTrack:
    """The best fit of one symbol's records among the frames of one connection.

    ``newest`` is the latest exchange time in the connection's log, behind which the log may not have come yet;
    ``_NEVER`` says that it is whole. A symbol that is in the log has its own last time for it: the times of
    different symbols on one connection need not follow each other.
    """
    best: SourceTrack | None = None
    for start in _starts(records, sent):
        fit = _fit(track, records, connection, sent, start, whole=newest == _NEVER)
        if best is None or _badness(fit) < _badness(best):
            best = fit
        if _badness(best)[0] == 0 and not best.unread_head:
            break
    if best is not None:
        return best
    behind = sent[-1] if sent and newest != _NEVER else newest
    times = [ts for _, ts in records if ts is None or ts <= behind]
    tail = max(0, len(sent) - track.reported_last)
    return SourceTrack(
        track.scope,
        track.session_id,
        track.symbol,
        connection,
        len(sent),
        matched=0,
        lost=0,
        unread_head=0,
        unread_tail=tail,
        invented=len(times),
        invented_first=times[:_EXAMPLES],
        unlogged=len(records) - len(times),
    )


def _badness(fit: SourceTrack) -> tuple[int, int]:
    return fit.lost + fit.invented, fit.unread_head + fit.unread_tail + fit.unlogged


def _starts(records: list[tuple[int, int | None]], sent: Times) -> list[int]:
    """Where in ``sent`` (never decreasing) the first record with a known time may stand."""
    for _, ts in records:
        if ts is None:
            continue
        low, high = bisect_left(sent, ts), bisect_right(sent, ts)
        if low < high:
            return list(range(low, min(high, low + _MAX_STARTS)))
    return []


def _fit(
    track: Track,
    records: list[tuple[int, int | None]],
    connection: str | None,
    sent: Times,
    start: int,
    *,
    whole: bool,
) -> SourceTrack:
    """Match records one after the other, beginning at frame ``start``.

    From one record to the next, frames and sequences have to advance by the same number. Where they do not,
    more frames than sequences were lost on the way in, and a record whose time is not ahead was invented.
    Sequences the topic lacks before its first record and behind its last stand for frames there. Order books
    without an exchange time are no frames: the gateway publishes the books it keeps. Unless the log is
    ``whole``, a record not in it and not older than its last frame stands for one that is still to be logged.
    """
    matched = lost = own = unlogged = 0
    orderbook = track.scope.endswith("|orderbook")
    invented: list[int | None] = []
    previous: int | None = None
    first_at, at = 0, start - 1
    for sequence, ts in records:
        if ts is None and orderbook:
            own += 1
            continue
        step = 1 if previous is None else max(1, sequence - previous - own)
        own = 0
        there = at + step
        if ts is not None and not (there < len(sent) and sent[there] == ts):
            there = bisect_left(sent, ts, at + 1)
        found = ts is not None and there < len(sent) and sent[there] == ts
        newer = at + 1 >= len(sent) if ts is None else ts >= sent[-1]
        if not found and newer and not whole and previous is not None:
            # It stands behind the log, so it has passed by all frames left in it.
            lost += max(0, len(sent) - at - step)
            unlogged += 1
            at, previous = len(sent) - 1, sequence
            continue
        if not found:
            invented.append(ts)
            continue
        if previous is None:
            first_at = there
        else:
            lost += max(0, there - at - step)
        matched += 1
        at, previous = there, sequence
    first, last = track.seen.first or 1, track.seen.last or 0
    return SourceTrack(
        track.scope,
        track.session_id,
        track.symbol,
        connection,
        len(sent),
        matched=matched,
        lost=lost,
        unread_head=max(0, first_at - (first - 1)),
        unread_tail=max(0, len(sent) - at - 1 - max(0, track.reported_last - last)),
        invented=len(invented),
        unlogged=unlogged,
        invented_first=invented[:_EXAMPLES],
    )
