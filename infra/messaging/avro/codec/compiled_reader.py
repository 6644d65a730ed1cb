"""Readers generated from a schema: plain Python functions from Avro binary to dicts, lists and plain values.

They are stricter than fastavro where it matters for bytes of unknown origin: an enum's or union's index must be
one of the schema's, a boolean is 0 or 1, a long fits 64 bits, a length is not negative, and values without
bytes cannot be counted up to fill the memory.
"""

import itertools
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from infra.messaging.avro.codec.decimal_bytes import decimal_reader
from infra.messaging.avro.codec.schema_nodes import (
    ArrayNode,
    DecimalNode,
    EnumNode,
    MapNode,
    Node,
    Primitive,
    RecordNode,
    UnionNode,
)
from infra.messaging.avro.codec.varint import INT_MAX, INT_MIN

ReadAt = Callable[[bytes, int], tuple[Any, int]]
"""``read(data, position)``: the value and the position after it."""

_DOUBLE: Final = Primitive("double")
_MAX_EMPTY_ITEMS: Final = 100_000


class MalformedError(Exception):
    """The bytes do not fit the schema; the text says in which way."""


class CutOffError(MalformedError):
    """The bytes end before the value does."""


def compile_reader_at(node: Node) -> ReadAt:
    """A reader of ``node``.

    It raises ``MalformedError``, or ``IndexError``, ``struct.error`` (cut off) and ``UnicodeDecodeError``.
    """
    return _Source(node).compile()


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at ``position`` before zigzag, and the position after it."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise MalformedError("a number has more than 64 bits")
    if number >> 64:
        raise MalformedError("a number has more than 64 bits")
    return number, position


def _strict_decimal(precision: int, scale: int) -> Callable[[bytes], Decimal]:
    read = decimal_reader(precision, scale)

    def strict(raw: bytes) -> Decimal:
        try:
            return read(raw)
        except ValueError as exc:
            raise MalformedError(str(exc)) from exc

    return strict


def _empty_items(count: int) -> None:
    if count > _MAX_EMPTY_ITEMS:
        raise MalformedError(f"an array of {count} items that take no bytes")


def _is_empty(node: Node) -> bool:
    """Whether a value of ``node`` may take no bytes at all."""
    if isinstance(node, RecordNode):
        return all(_is_empty(field.node) for field in node.fields)
    return node == Primitive("null")


class _Source:
    """Python source of one reader: ``d`` is the data, ``p`` the position, ``v0`` … the values."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lines: list[str] = []
        self._count = 0
        self._names: dict[str, Any] = {
            "read_varint": read_varint,
            "empty_items": _empty_items,
            "Malformed": MalformedError,
            "CutOff": CutOffError,
            "double": struct.Struct("<d").unpack_from,
            "float_": struct.Struct("<f").unpack_from,
        }

    def compile(self) -> ReadAt:
        result = self._value(self._node, 1)
        source = "def read(d, p):\n    end = len(d)\n" + "\n".join(self._lines) + f"\n    return {result}, p\n"
        exec(compile(source, "<avro reader>", "exec"), self._names)
        read: ReadAt = self._names["read"]
        return read

    def _new(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def _name(self, value: Any) -> str:
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name

    def _add(self, depth: int, *lines: str) -> None:
        self._lines += ["    " * depth + line for line in lines]

    def _varint(self, depth: int) -> str:
        """Lines that leave the number before zigzag in a new variable."""
        value = self._new()
        self._add(
            depth,
            f"{value} = d[p]",
            f"if {value} < 128: p += 1",
            f"else: {value}, p = read_varint(d, p)",
        )
        return value

    def _long(self, depth: int) -> str:
        value = self._varint(depth)
        self._add(depth, f"{value} = {value} >> 1 ^ -({value} & 1)")
        return value

    def _sized(self, depth: int) -> str:
        """Lines that leave bytes with their length before them in a new variable."""
        size = self._varint(depth)
        self._add(
            depth,
            f'if {size} & 1: raise Malformed("a length is negative")',
            f"{size} = p + ({size} >> 1)",
            f"if {size} > end: raise CutOff",
            f"{size}, p = d[p:{size}], {size}",
        )
        return size

    def _value(self, node: Node, depth: int) -> str:
        """Lines that read a value, and the expression that holds it."""
        match node:
            case Primitive():
                return self._primitive(node.kind, depth)
            case DecimalNode():
                raw, value = self._sized(depth), self._new()
                read = self._name(_strict_decimal(node.precision, node.scale))
                self._add(depth, f"{value} = {read}({raw})")
                return value
            case RecordNode():
                return self._record(node, depth)
            case EnumNode():
                index, value = self._long(depth), self._new()
                self._add(
                    depth,
                    f'if not 0 <= {index} < {len(node.symbols)}: raise Malformed("an enum has no such symbol")',
                    f"{value} = {self._name(node.symbols)}[{index}]",
                )
                return value
            case UnionNode():
                return self._union(node, depth)
            case ArrayNode():
                result = self._new()
                self._add(depth, f"{result} = []")
                self._blocks(node.items, depth, lambda item, _: f"{result}.append({item})")
                return result
            case MapNode():
                result = self._new()
                self._add(depth, f"{result} = {{}}")
                self._blocks(node.values, depth, lambda item, key: f"{result}[{key}] = {item}", keyed=True)
                return result

    def _record(self, node: RecordNode, depth: int) -> str:
        """Doubles that follow one another are read by one call."""
        values: list[str] = []
        for kind, group in itertools.groupby(node.fields, key=lambda field: field.node == _DOUBLE):
            fields = list(group)
            if kind:
                names = [self._new() for _ in fields]
                unpack = self._name(struct.Struct(f"<{len(names)}d").unpack_from)
                self._add(depth, f"{', '.join(names)}, = {unpack}(d, p)", f"p += {8 * len(names)}")
            else:
                names = [self._value(field.node, depth) for field in fields]
            values += [f"{field.name!r}: {name}" for field, name in zip(fields, names, strict=True)]
        return "{" + ", ".join(values) + "}"

    def _primitive(self, kind: str, depth: int) -> str:
        match kind:
            case "null":
                return "None"
            case "long":
                return self._long(depth)
            case "int":
                value = self._long(depth)
                self._add(
                    depth,
                    f"if not {INT_MIN} <= {value} <= {INT_MAX}:",
                    '    raise Malformed("an int has more than 32 bits")',
                )
                return value
            case "double" | "float":
                value, size = self._new(), 8 if kind == "double" else 4
                reader = "double" if kind == "double" else "float_"
                self._add(depth, f"({value},) = {reader}(d, p)", f"p += {size}")
                return value
            case "boolean":
                value = self._new()
                self._add(
                    depth,
                    f"{value} = d[p]",
                    "p += 1",
                    f'if {value} > 1: raise Malformed("a boolean is neither 0 nor 1")',
                    f"{value} = {value} == 1",
                )
                return value
            case "bytes":
                return self._sized(depth)
            case _:
                value = self._sized(depth)
                self._add(depth, f"{value} = {value}.decode()")
                return value

    def _union(self, node: UnionNode, depth: int) -> str:
        index, result = self._varint(depth), self._new()
        for number, branch in enumerate(node.branches):
            self._add(depth, f"{'elif' if number else 'if'} {index} == {number << 1}:")
            value = self._value(branch, depth + 1)
            self._add(depth + 1, f"{result} = {value}")
        self._add(depth, 'else: raise Malformed("a union has no such branch")')
        return result

    def _blocks(self, item: Node, depth: int, keep: Callable[[str, str], str], *, keyed: bool = False) -> None:
        """Items in blocks, each with its count before it; with a negative count comes the size in bytes.

        ``keep(value, key)`` is the statement that keeps an item; ``keyed`` items have a text before them.
        """
        self._add(depth, "while True:")
        count = self._long(depth + 1)
        self._add(depth + 1, f"if not {count}: break", f"if {count} < 0:", f"    {count} = -{count}")
        self._long(depth + 2)
        if not keyed and _is_empty(item):
            self._add(depth + 1, f"empty_items({count})")
        self._add(depth + 1, f"for _ in range({count}):")
        key = self._primitive("string", depth + 2) if keyed else ""
        value = self._value(item, depth + 2)
        self._add(depth + 2, keep(value, key))
