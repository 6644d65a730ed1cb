"""Straight-line writers of a record's scalar fields, one for each combination of types that occurs.

A record's *shape* is the tuple of its scalar fields' types (``float`` or ``NoneType`` for a price that may be
missing). What an exchange sends hardly varies, so a few shapes serve everything; each is checked once, when it
first occurs, and its writer then runs without a branch: one ``struct`` call per run of doubles and flags,
table look-ups for longs, one join.
"""

import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from infra.messaging.avro.codec.decimal_bytes import decimal_writer
from infra.messaging.avro.codec.schema_nodes import DecimalNode, EnumNode, Node, Primitive, UnionNode
from infra.messaging.avro.codec.varint import EVEN, FINAL, HIGH, INT_MAX, INT_MIN, MORE, encode_long

_MAX_SHAPES = 1024
_NONE: Final = type(None)


class Scalar(msgspec.Struct, frozen=True):
    """A scalar field: its node, and whether its longs repeat so much that each is kept encoded."""

    node: Primitive | DecimalNode | EnumNode | UnionNode
    repeats: bool = False


class Nested(msgspec.Struct, frozen=True):
    """Any other field, and the function that writes its value."""

    write: Callable[[Any], bytes]


Part = Scalar | Nested


class RepeatedLongs(dict[int, bytes]):
    """Longs of which few occur at a time (session ids), encoded; at most 4096, then it starts anew."""

    def __missing__(self, value: int) -> bytes:
        if len(self) >= 4096:
            self.clear()
        encoded = self[value] = encode_long(value)
        return encoded


def is_scalar(node: Node) -> bool:
    """Whether ``node`` is written from one plain value: a primitive, a decimal, an enum, or null and one."""
    if isinstance(node, UnionNode):
        return node.optional is not None and isinstance(node.optional[2], Primitive | DecimalNode | EnumNode)
    return isinstance(node, Primitive | DecimalNode | EnumNode)


class ShapeWriters(dict[tuple[type, ...], Callable[..., bytes]]):
    """Shape -> writer; the writer takes ``lead`` bytes and all parts' values in order.

    Asking for a shape that the schema does not allow raises ``TypeError``. A shape is of the scalar parts only.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__()
        self._parts = tuple(parts)

    def __missing__(self, shape: tuple[type, ...]) -> Callable[..., bytes]:
        if len(self) >= _MAX_SHAPES:
            self.clear()
        writer = self[shape] = _Source(self._parts, shape).compile()
        return writer


class _Source:
    """Python source of one writer, collected piece by piece."""

    def __init__(self, parts: tuple[Part, ...], shape: tuple[type, ...]) -> None:
        self._names: dict[str, Any] = {
            "FINAL": FINAL,
            "MORE": MORE,
            "EVEN": EVEN,
            "HIGH": HIGH,
            "encode_long": encode_long,
            "join": b"".join,
        }
        self._lines: list[str] = []
        self._pieces: list[str] = ["lead"]
        self._format = ""
        self._packed: list[str] = []
        self._count = len(parts)
        types = iter(shape)
        for index, part in enumerate(parts):
            if isinstance(part, Nested):
                self._nested(part, f"v{index}")
            else:
                self._scalar(part, next(types), f"v{index}")
        self._flush()

    def compile(self) -> Callable[..., bytes]:
        """The function ``(lead, v0, v1, …) -> bytes``."""
        arguments = ", ".join(["lead", *(f"v{index}" for index in range(self._count))])
        body = "".join(f"    {line}\n" for line in self._lines)
        source = f"def write({arguments}):\n{body}    return join(({', '.join(self._pieces)},))\n"
        exec(compile(source, "<avro writer>", "exec"), self._names)
        writer: Callable[..., bytes] = self._names["write"]
        return writer

    # -- pieces ----------------------------------------------------------------------------------------

    def _byte(self, value: int) -> None:
        self._format += "B"
        self._packed.append(str(value))

    def _pack(self, code: str, expression: str) -> None:
        self._format += code
        self._packed.append(expression)

    def _piece(self, expression: str) -> None:
        self._flush()
        self._pieces.append(expression)

    def _flush(self) -> None:
        """End a run of fixed-size values: one ``struct`` call, or a constant when nothing varies in it."""
        if not self._format:
            return
        if all(value.isdigit() for value in self._packed):
            self._pieces.append(repr(bytes(int(value) for value in self._packed)))
        else:
            self._pieces.append(
                f"{self._name(struct.Struct('<' + self._format).pack)}({', '.join(self._packed)})"
            )
        self._format = ""
        self._packed = []

    def _name(self, value: Any) -> str:
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name

    # -- parts -----------------------------------------------------------------------------------------

    def _nested(self, part: Nested, value: str) -> None:
        self._piece(f"{self._name(part.write)}({value})")

    def _scalar(self, part: Scalar, kind: type, value: str) -> None:
        node: Node = part.node
        if isinstance(node, UnionNode):
            assert node.optional is not None, "only unions with null are scalar"
            null_index, other_index, other = node.optional
            if kind is _NONE:
                self._byte(null_index << 1)
                return
            self._byte(other_index << 1)
            node = other
        if isinstance(node, EnumNode):
            if not issubclass(kind, str):
                raise TypeError("an enum is given as text")
            table = {symbol: encode_long(index) for index, symbol in enumerate(node.symbols)}
            self._piece(f"{self._name(table)}[{value}]")
        elif isinstance(node, DecimalNode):
            if kind is not Decimal:
                raise TypeError("a decimal is given as Decimal")
            self._piece(f"{self._name(decimal_writer(node.precision, node.scale))}({value})")
        elif isinstance(node, Primitive):
            self._primitive(node.kind, kind, value, repeats=part.repeats)

    def _primitive(self, name: str, kind: type, value: str, *, repeats: bool) -> None:
        match name:
            case "null" if kind is _NONE:
                pass
            case "boolean" if kind is bool:
                self._pack("?", value)
            case "double" if kind is float:
                self._pack("d", value)
            case "float" if kind is float:
                self._pack("f", value)
            case "long" if kind is int:
                if repeats:
                    self._piece(f"{self._name(RepeatedLongs())}[{value}]")
                else:
                    self._long(value)
            case "int" if kind is int:
                self._lines.append(f"if not {INT_MIN} <= {value} <= {INT_MAX}: raise OverflowError")
                self._piece(f"encode_long({value})")
            case "string" if issubclass(kind, str):
                self._lines.append(f"{value} = {value}.encode()")
                self._sized(value)
            case "bytes" if kind is bytes:
                self._sized(value)
            case _:
                raise TypeError(f"{kind.__name__} is no {name}")

    def _sized(self, value: str) -> None:
        self._piece(f"FINAL[len({value}) << 1] if len({value}) < 8192 else encode_long(len({value}))")
        self._piece(value)

    def _long(self, value: str) -> None:
        """``varint.encode_long`` in place, in up to three pieces.

        For a number that is not negative the zigzag is twice the number, so its lowest 28 bits are the number's
        lowest 27: what is masked and shifted after that is small, which in Python is several times faster.
        """
        middle, high = f"{value}m", f"{value}h"
        self._lines += [
            f"if {value} >= 134217728:",
            f"    {high} = HIGH[{value} >> 27]",
            f"    {middle} = {value} & 134217727",
            f"    {value} = EVEN[{middle} & 8191]",
            f"    {middle} = MORE[{middle} >> 13]",
            "else:",
            f'    {high} = b""',
            f"    if {value} >= 8192: {middle} = FINAL[{value} >> 13]; {value} = EVEN[{value} & 8191]",
            f'    else: {middle} = b""; {value} = encode_long({value})',
        ]
        for piece in (value, middle, high):
            self._piece(piece)
