"""The auditor's report for people; the demo shows the same."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from core.audit_report import AuditReport, SessionReport, SourceReport, Tail, TrackReport, size
from core.ranges import Range

_MAX_LINES = 20
_TAIL_TEXT = {
    Tail.PROVEN: "proven",
    Tail.OPEN: "open",
    Tail.ENDED_WITHOUT_REPORT: "ended without its report",
    Tail.LOST: "lost",
}


def render(report: AuditReport, console: Console, *, absent: Sequence[str] = ()) -> None:
    """A table of sessions, what was found in each, and the verdict in the last line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (
        "stream",
        "session",
        "symbols",
        "records",
        "lost",
        "doubled",
        "out of order",
        "shed",
        "tails",
    ):
        left = title in ("stream", "session", "tails")
        table.add_column(title, justify="left" if left else "right", no_wrap=title in ("stream", "session"))
    for session in report.sessions:
        table.add_row(*_row(session), style=None if session.ok else "red")
    console.print(table)
    for line in _limited(_findings(report)):
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    for line in _limited(_remarks(report, absent)):
        console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
    console.print(verdict(report), style=_style(report), highlight=False, soft_wrap=True)


def verdict(report: AuditReport) -> str:
    """One line: what was read, what was found."""
    totals = report.totals
    head = (
        f"{totals.records:,} records, {totals.sessions:,} sessions, {totals.symbols:,} symbols, "
        f"{totals.minutes_checked:,} minutes recounted"
    )
    if totals.records == 0:
        return f"{head}: nothing to prove anything from"
    if not report.complete:
        head += " (incomplete: broken off before the ends of the topics; tails and minutes were not judged)"
    if report.ok:
        return f"{head}: nothing lost, doubled or out of order"
    faults = [
        f"{number:,} {word}"
        for number, word in (
            (totals.lost, "lost"),
            (totals.doubled, "doubled"),
            (totals.out_of_order, "out of order"),
            (totals.scattered, "in several partitions"),
            (len(report.mismatches), "minute counts that differ"),
            (report.undecodable_count, "unreadable"),
            (sum(part.last - part.first + 1 for part in report.deleted), "deleted before they were read"),
            (_source_faults(report.source), "not as the source sent them"),
        )
        if number
    ]
    return f"{head}: {', '.join(faults)}"


def _style(report: AuditReport) -> str:
    if not report.ok:
        return "bold red"
    return "bold green" if report.complete else "bold yellow"


def _row(session: SessionReport) -> list[str]:
    tracks = session.tracks
    tails = {state: sum(track.tail is state for track in tracks) for state in Tail}
    return [
        session.scope,
        str(session.session_id),
        f"{len(tracks):,}",
        f"{session.records:,}",
        f"{sum(size(t.missing) + size(t.tail_missing) for t in tracks):,}",
        f"{sum(t.doubled_count for t in tracks):,}",
        f"{sum(t.out_of_order for t in tracks):,}",
        f"{sum(size(t.shed) for t in tracks):,}",
        ", ".join(f"{n:,} {_TAIL_TEXT[state]}" for state, n in tails.items() if n),
    ]


def _findings(report: AuditReport) -> list[str]:
    lines = [
        f"{session.scope} {track.symbol}, session {session.session_id}: {what}"
        for session in report.sessions
        for track in session.tracks
        for what in _track_findings(track)
    ]
    for m in report.mismatches:
        minute = datetime.fromtimestamp(m.minute_start_ms / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")
        lines.append(
            f"{m.scope} {m.symbol or 'in total'}, minute {minute}: the metrics say {m.metrics:,}, "
            f"counted were {m.counted:,}"
        )
    if report.undecodable_count:
        lines.append(f"{report.undecodable_count:,} unreadable messages, such as {report.undecodable[0]}")
    lines += [
        f"{d.topic}[{d.partition}]: offsets {d.first} to {d.last} were deleted before they were read"
        for d in report.deleted
    ]
    return lines + (_source_findings(report.source) if report.source is not None else [])


def _track_findings(track: TrackReport) -> list[str]:
    lines = []
    if track.missing:
        lines.append(f"lost {_ranges(track.missing)}")
    if track.tail_missing:
        lines.append(f"lost at its end {_ranges(track.tail_missing)}: the metrics count them")
    if track.doubled_count:
        lines.append(f"doubled {_ranges(track.doubled)}")
    if track.out_of_order:
        lines.append(f"{track.out_of_order:,} out of order, first {track.out_of_order_first}")
    if len(track.partitions) > 1:
        lines.append(f"in partitions {track.partitions}, so that no order holds")
    return lines


def _source_findings(source: SourceReport) -> list[str]:
    lines = []
    for track in source.tracks:
        if not source.faulty(track):
            continue
        parts = [
            (track.lost, "frames never became records"),
            (track.unread_head if source.exact else 0, "frames before the first record"),
            (track.unread_tail if source.exact else 0, "frames behind the last record"),
            (track.invented, "records that were never sent"),
        ]
        said = ", ".join(f"{number:,} {what}" for number, what in parts if number)
        session = "no session" if track.session_id is None else f"session {track.session_id}"
        lines.append(f"{track.scope} {track.symbol}, connection {track.connection or '?'}, {session}: {said}")
    return lines


def _remarks(report: AuditReport, absent: Sequence[str]) -> list[str]:
    totals, lines = report.totals, []
    killed = totals.tails[Tail.ENDED_WITHOUT_REPORT]
    if killed:
        lines.append(
            f"{killed:,} tails end with their session, which sent no closing report (its process was killed): "
            "explained, not proven"
        )
    if totals.shed:
        lines.append(f"{totals.shed:,} records were given up and reported as such")
    if totals.before_reading:
        lines.append(f"{totals.before_reading:,} sequences stand before the place where reading began")
    for h in report.handovers:
        how = f"{h.gap_us / 1e6:.3f} s between" if h.gap_us >= 0 else f"{-h.gap_us / 1e6:.3f} s side by side"
        lines.append(f"{h.scope} {h.symbol}: session {h.before} to {h.after}, {how}")
    source = report.source
    if source is not None:
        unread = sum(track.unread_tail + track.unread_head for track in source.tracks)
        sent = (
            f"the source sent {source.frames:,} frames on {source.connections:,} connections "
            f"({source.rubbish:,} of rubbish beside them)"
        )
        if unread:
            sent += f"; {unread:,} of them stand before the first or behind the last record that there is"
        lines.append(sent)
        unlogged = sum(track.unlogged for track in source.tracks)
        if unlogged:
            lines.append(f"{unlogged:,} records are newer than the source's log and were not compared")
    if absent:
        lines.append(f"not there: {', '.join(absent)}")
    return lines


def _source_faults(source: SourceReport | None) -> int:
    if source is None:
        return 0
    return sum(
        track.lost + track.invented + (track.unread_head + track.unread_tail if source.exact else 0)
        for track in source.tracks
    )


def _limited(lines: list[str]) -> list[str]:
    if len(lines) <= _MAX_LINES:
        return lines
    return [*lines[:_MAX_LINES], f"… and {len(lines) - _MAX_LINES:,} more (--json has all)"]


def _ranges(ranges: Sequence[Range]) -> str:
    shown = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in ranges[:5])
    return shown if len(ranges) <= 5 else f"{shown} and {len(ranges) - 5:,} more ranges"
