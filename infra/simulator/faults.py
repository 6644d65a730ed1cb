"""What can be made to go wrong by itself, and the kinds of rubbish an exchange can be made to send."""

import base64
import gzip
import re
from typing import Any, Final, Literal, get_args

import msgspec

RubbishKind = Literal["broken_json", "truncated", "wrong_types", "unknown_type", "huge", "invalid_utf8"]
RUBBISH_KINDS: Final[tuple[RubbishKind, ...]] = get_args(RubbishKind)

_GZIP = b"\x1f\x8b"
_NUMBER_TEXT = re.compile(r"-?\d+(\.\d+)?")


class FaultPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Faults that come by themselves; None or 0: never.

    ``drop_every_s``: all connections are cut each so many seconds. ``stall_after_s``: the exchange falls
    silent once, so many seconds after the start, for ``stall_for_s`` (None: for good). ``rubbish_every``:
    after so many data frames of a connection one frame of rubbish, of the kinds in ``rubbish_kinds`` in turn.
    """

    drop_every_s: float | None = None
    stall_after_s: float | None = None
    stall_for_s: float | None = None
    rubbish_every: int = 0
    rubbish_kinds: tuple[RubbishKind, ...] = ("broken_json", "truncated", "wrong_types", "unknown_type")


def rubbish(kind: RubbishKind, good: bytes, unknown_type: bytes, huge_bytes: int) -> bytes:
    """One payload of rubbish made from a good frame.

    ``broken_json``: the frame with a comma too many. ``truncated``: its first half. ``wrong_types``: each
    number, also one in quotes, is a list. ``unknown_type``: well-formed, of a kind nobody knows. ``huge``: a
    well-formed frame of ``huge_bytes``. ``invalid_utf8``: bytes in a string that are no UTF-8; in a text
    frame the client's WebSocket library must fail the connection over it (RFC 6455, 8.1), in a binary frame
    the parser meets it. Raises ``ValueError`` for another kind.

    A frame of gzip is inflated, spoilt and deflated again, and a huge one has its size once it is inflated; a
    truncated one is cut as it is on the wire, so that it cannot be inflated.
    """
    if kind == "unknown_type":
        return unknown_type
    if kind == "truncated":
        return good[: len(good) // 2]
    if good.startswith(_GZIP):
        return gzip.compress(_spoilt_text(kind, gzip.decompress(good), huge_bytes), 1)
    return _spoilt_text(kind, good, huge_bytes)


def _spoilt_text(kind: RubbishKind, good: bytes, huge_bytes: int) -> bytes:
    if kind == "broken_json":
        return good.replace(b",", b",,", 1)
    if kind == "wrong_types":
        return msgspec.json.encode(_spoilt(msgspec.json.decode(good)))
    if kind == "huge":
        padding = base64.b64encode(b"\0" * (huge_bytes * 3 // 4))
        return b'{"type":"padding","data":"' + padding + b'"}'
    if kind == "invalid_utf8":
        spoilt = good.replace(b'":"', b'":"\xff\xfe', 1)
        return spoilt if spoilt != good else good[:-1] + b',"\xff\xfe"' + good[-1:]
    raise ValueError(f"unknown kind of rubbish {kind!r}; there are {', '.join(RUBBISH_KINDS)}")


def _spoilt(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _spoilt(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_spoilt(item) for item in value]
    if isinstance(value, bool):
        return value
    number = isinstance(value, int | float) or (isinstance(value, str) and _NUMBER_TEXT.fullmatch(value))
    return [] if number else value
