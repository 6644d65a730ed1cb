"""Frames in which an exchange left fields blank.

Where there is nothing to say, an exchange writes null or leaves the field out, and the decoders take both as
they are. An empty text, or 0 for a time, says the same; these come too seldom to be looked for in every frame,
so they are looked for in those that could not be read.
"""

from typing import Any, TypeVar

import msgspec

_Data = TypeVar("_Data")

_ANYTHING = msgspec.json.Decoder()
_NEVER = (0, "0")


def read_with_blanks(
    decoder: "msgspec.json.Decoder[_Data]", frame: str | bytes | msgspec.Raw, times: frozenset[str]
) -> _Data:
    """The frame as ``decoder`` reads it, if need be as though its blank fields were not there.

    ``times`` are the names of the fields that hold a time, where 0 is blank. Raises ``msgspec.MsgspecError``
    when that does not help.
    """
    try:
        return decoder.decode(frame)
    except msgspec.ValidationError:
        value = _without_blanks(_ANYTHING.decode(frame), times)
        return msgspec.convert(value, decoder.type, strict=decoder.strict)


def _without_blanks(value: Any, times: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [_without_blanks(item, times) for item in value]
    if isinstance(value, dict):
        return {
            name: _without_blanks(held, times)
            for name, held in value.items()
            if held != "" and not (name in times and held in _NEVER)
        }
    return value
