"""``gateway replay``: recorded frames through the session, without a connection or Kafka."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import IO, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from core.errors import CommandError, ErrorCode, PayloadError
from core.exchanges.base import Complaint, ExchangeProfile, SymbolBroken, Unparsed
from core.exchanges.inflate import inflate
from core.exchanges.table import profile_of
from core.identity import RequestType
from core.records import OrderBook, Record, Trade, json_form
from core.session import StreamSession
from infra.commandline.console import AsJson, complain, wrong_use
from infra.commandline.recording import Recorded, read_recording

_GAPS = frozenset({ErrorCode.SEQUENCE_GAP, ErrorCode.CHECKSUM_MISMATCH})
_GZIP = b"\x1f\x8b"
_MAX_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the sub-command."""
    app.command("replay")(replay)


def replay(
    file: Annotated[Path, typer.Argument(help="JSON lines of recorded frames, also gzip.", show_default=False)],
    exchange: Annotated[str, typer.Option(help="Whose frames they are.", show_default=False)],
    records: Annotated[
        Path | None,
        typer.Option(help="Write the records here, as JSON lines.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run recorded frames through the session: what they become, and what could not be read.

    Every symbol and request type is taken, as if all had been subscribed. A line of the file is {"t": seconds,
    "conn": connection, "frame": text} or has "b64" and "enc" for a binary frame. Exit status 1 if a frame could
    not be read.
    """
    try:
        profile = profile_of(exchange)
    except CommandError as exc:
        wrong_use(exc.message)
    with ExitStack() as stack:
        sink = None if records is None else stack.enter_context(_writing(records))
        run = _Replay(profile, sink)
        try:
            for frame in read_recording(file):
                run.take(frame)
        except OSError as exc:
            wrong_use(f"{exc.filename or file}: {exc.strerror}")
        except ValueError as exc:
            wrong_use(str(exc))
    if not run.frames:
        wrong_use(f"{file} holds no frame")
    if as_json:
        typer.echo(orjson.dumps(run.summary()).decode())
    else:
        run.print()
    for reason in run.reasons:
        complain(reason)
    if run.errors:
        raise typer.Exit(1)


class _Replay:
    """One session for each recorded connection, and what came of all of them."""

    def __init__(self, profile: ExchangeProfile, sink: IO[bytes] | None) -> None:
        self.frames = 0
        self.seconds = 0.0
        self.records: Counter[str] = Counter()
        self.gaps = 0
        self._first_reasons: list[str] = []
        self._said = 0
        self._profile = profile
        self._sink = sink
        self._sessions: dict[str, StreamSession] = {}

    def take(self, recorded: Recorded) -> None:
        """One frame; its time counts, what is done with its records does not."""
        session = self._sessions.get(recorded.connection)
        if session is None:
            session = self._sessions[recorded.connection] = StreamSession(
                self._profile, RequestType.TRADE, len(self._sessions) + 1, now_s=0.0, accept_all=True
            )
        self.frames += 1
        frame = recorded.frame if self._profile.compressed else self._unpacked(recorded.frame)
        began_s = perf_counter()
        records = session.receive(frame, recorded.received_us)
        self.seconds += perf_counter() - began_s
        for record in records:
            self.records[_type_of(record)] += 1
            if self._sink is not None:
                self._sink.write(orjson.dumps(_plain(record)) + b"\n")
        if session.pending:
            self._note(session)

    @property
    def errors(self) -> int:
        """Frames that could not be read."""
        return sum(session.parse_failed for session in self._sessions.values())

    @property
    def reasons(self) -> list[str]:
        """The first things that were wrong, and how many more there are."""
        more = self._said - len(self._first_reasons)
        reasons = [*self._first_reasons, *([f"… and {more:,} more"] if more else [])]
        if self.errors > self.frames / 2:
            reasons.append(f"most frames are none of {self._profile.exchange}: is --exchange right?")
        return reasons

    def summary(self) -> dict[str, Any]:
        """The counts, as JSON has them."""
        ignored: Counter[str] = Counter()
        for session in self._sessions.values():
            ignored.update(session.ignored)
        return {
            "frames": self.frames,
            "records": dict(self.records),
            "controls": sum(session.controls for session in self._sessions.values()),
            "ignored": dict(ignored),
            "errors": self.errors,
            "gaps": self.gaps,
        }

    def print(self) -> None:
        """The counts, for people."""
        summary = self.summary()
        table = Table("what", "count", title=f"{self._profile.exchange}")
        table.columns[1].justify = "right"
        table.add_row("frames", f"{self.frames:,}")
        for kind, count in sorted(self.records.items()):
            table.add_row(f"records: {kind}", f"{count:,}")
        table.add_row("controls", f"{summary['controls']:,}")
        for reason, count in sorted(summary["ignored"].items()):
            table.add_row(f"ignored: {reason}", f"{count:,}")
        table.add_row("errors", f"{self.errors:,}")
        table.add_row("gaps", f"{self.gaps:,}")
        total = sum(self.records.values())
        table.add_row("records/s", f"{total / self.seconds:,.0f}" if self.seconds else "–")
        Console().print(table)

    def _unpacked(self, frame: str | bytes) -> str | bytes:
        """A frame that the recorder packed, as the exchange sent it; as it is where it is none."""
        if not isinstance(frame, bytes) or not frame.startswith(_GZIP):
            return frame
        try:
            return inflate(frame, self._profile.limits.max_frame_bytes)
        except PayloadError:
            return frame

    def _note(self, session: StreamSession) -> None:
        session.take_outbox()
        for notice in session.take_notices():
            match notice:
                case SymbolBroken(_, code, message) | Complaint(code, message) if code in _GAPS:
                    self.gaps += 1
                    self._say(message)
                case Unparsed(reason, frame):
                    kind = "gzip, not text: " if frame.startswith(_GZIP) else ""
                    self._say(f"frame {self.frames}: {kind}{reason}: {frame[:80]!r}")

    def _say(self, reason: str) -> None:
        self._said += 1
        if len(self._first_reasons) < _MAX_SHOWN:
            self._first_reasons.append(reason)


@contextmanager
def _writing(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("wb")
    except OSError as exc:
        wrong_use(f"--records {path}: {exc.strerror}")
    with file:
        yield file


def _type_of(record: Record) -> str:
    if isinstance(record, OrderBook):
        return "orderbook"
    return "trade" if isinstance(record, Trade) else "ticker"


def _plain(record: Record) -> dict[str, Any]:
    """The record's fields with its type, levels as the schemas have them."""
    return {"type": _type_of(record), **json_form(record)}
