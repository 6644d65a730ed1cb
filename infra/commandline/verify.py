"""``gateway verify``: the auditor on the shell."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from core.audit_report import AuditReport
from core.source_log import SentFrame, SourceLog
from infra.commandline.audit_table import render
from infra.commandline.console import AsJson, EnvFile, complain, errors_in_one_line, wrong_use
from infra.messaging.audit.topic_auditor import REALTIME_TOPICS, TopicAuditor
from infra.messaging.topic_reader import FIRST_ANSWER_S
from infra.settings import load_settings

_PATIENCE_S = 10.0
_PROGRESS_S = 2.0
_BROKEN_OFF_S = 3.0
"""How long the reading may still go on to complete the report after Ctrl-C or ``--seconds``."""
_PIPED_WIDTH = 160


def register(app: typer.Typer) -> None:
    """Add the sub-command."""
    app.command("verify")(verify)


def verify(
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Read all that the topics hold (the default).")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Begin at the present ends and go on until Ctrl-C.")
    ] = False,
    simulator_log: Annotated[
        Path | None,
        typer.Option("--simulator-log", help="Compare with the simulator's own log.", show_default=False),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Every frame of the log has to be there (the simulator was paused first)."
        ),
    ] = False,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Report after so long.", show_default=False)
    ] = None,
    until_idle: Annotated[
        float | None,
        typer.Option(min=0.1, help="Read until nothing came for so many seconds.", show_default=False),
    ] = None,
    topics: Annotated[
        list[str] | None,
        typer.Option(
            "--topics", help="Only these, with commas or repeated (default: all).", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    env_file: EnvFile = None,
) -> None:
    """Prove from the topics that no record was lost, doubled or reordered.

    Reads up to the ends that the topics have when it starts, unless told otherwise. Ctrl-C reports on what was
    read until then, and so does --seconds: where that is not all, the report is marked incomplete.

    Exit status 0: nothing wrong in what was read, be it incomplete. 1: a record is missing, doubled or out of
    order, or there was nothing to prove it from. 2: wrong use.
    """
    names = _topics(topics)
    if from_beginning and follow:
        wrong_use("--from-beginning and --follow exclude each other")
    if seconds is not None and until_idle is not None:
        wrong_use("--seconds and --until-idle exclude each other")
    if exact and simulator_log is None:
        wrong_use("--exact needs --simulator-log")
    if simulator_log is not None and not simulator_log.is_file():
        wrong_use(f"--simulator-log {simulator_log}: there is no such file")
    if simulator_log is not None:
        _check_log(simulator_log, may_be_empty=follow)
    to_present_ends = until_idle is None and seconds is None and not follow
    with errors_in_one_line():
        auditor = TopicAuditor(
            load_settings(env_file),
            topics=names,
            from_beginning=not follow,
            to_present_ends=to_present_ends,
            keep_exchange_times=simulator_log is not None,
            patience_s=_PATIENCE_S,
        )
        auditor.start(timeout_s=FIRST_ANSWER_S)
        _wait(auditor, seconds=seconds, until_idle_s=until_idle)
        auditor.stop(_BROKEN_OFF_S, partial=True)
        source = None if simulator_log is None else _read_log(simulator_log)
        report = auditor.report(source, exact=exact)
        _print(report, auditor.absent, as_json=as_json)
        if report.totals.records == 0:
            complain(
                "there was no record to prove anything from; are KAFKA_BOOTSTRAP_SERVERS and GATEWAY_PREFIX "
                "those of the gateway?"
            )
            raise typer.Exit(1)
        raise typer.Exit(0 if report.ok else 1)


def _topics(topics: list[str] | None) -> list[str]:
    names = [name.strip() for part in topics or REALTIME_TOPICS for name in part.split(",")]
    unknown = [name for name in names if name not in REALTIME_TOPICS]
    if unknown:
        wrong_use(f"--topics {', '.join(unknown)}: not one of {', '.join(REALTIME_TOPICS)}")
    return list(dict.fromkeys(names))


def _wait(auditor: TopicAuditor, *, seconds: float | None, until_idle_s: float | None) -> None:
    """Until it is time to stop, the auditor is at its end or gave up, or Ctrl-C."""
    begin_s = said_s = time.monotonic()
    try:
        while auditor.running:
            if seconds is not None and time.monotonic() - begin_s >= seconds:
                return
            if until_idle_s is not None and auditor.idle_s >= until_idle_s:
                return
            if time.monotonic() - said_s >= _PROGRESS_S:
                said_s += _PROGRESS_S
                _say_progress(auditor.records, auditor.expected)
            time.sleep(0.05)
    except KeyboardInterrupt:
        return


def _say_progress(records: int, expected: int | None) -> None:
    total = "" if expected is None else f" of about {max(records, expected):,}"
    complain(f"read {records:,}{total} records; Ctrl-C reports now")


def _check_log(path: Path, *, may_be_empty: bool) -> None:
    """Before topics are read: that there is a line, and that the first is one of a simulator's log."""
    with path.open("rb") as lines:
        whole = ((number, line) for number, line in enumerate(lines, 1) if line.endswith(b"\n"))
        number, first = next(((number, line) for number, line in whole if line.strip()), (0, b""))
    if not first:
        if not may_be_empty:
            wrong_use(f"--simulator-log {path} holds no frame: no client was sent anything by that simulator")
        return
    try:
        msgspec.json.decode(first, type=SentFrame)
    except msgspec.MsgspecError as exc:
        wrong_use(f"--simulator-log {path}, line {number}: not what `gateway simulate --log` writes: {exc}")


def _read_log(path: Path) -> SourceLog:
    """The simulator's log, a JSON object a line; the last line may be cut off by the simulator's end."""
    decode = msgspec.json.Decoder(SentFrame).decode
    log = SourceLog()
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n") or not line.strip():
                continue
            try:
                log.add(decode(line))
            except (msgspec.MsgspecError, ValueError) as exc:
                wrong_use(f"--simulator-log {path}, line {number}: {exc}")
    return log


def _print(report: AuditReport, absent: list[str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        console = Console()
        render(report, console if console.is_terminal else Console(width=_PIPED_WIDTH), absent=absent)
