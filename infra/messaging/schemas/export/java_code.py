"""A Java record of a schema, for consumers: one file, Java 17 or newer, with Apache Avro on the class path."""

import json

from infra.messaging.schemas.export.model import (
    MISSING,
    EnumModel,
    FieldModel,
    RecordModel,
    SchemaModel,
    TypeRef,
)

_BOXED = {
    "boolean": "Boolean",
    "int": "Integer",
    "long": "Long",
    "float": "Float",
    "double": "Double",
    "bytes": "byte[]",
    "string": "String",
    "json": "String",
    "decimal": "BigDecimal",
}
_UNBOXED = {"boolean": "boolean", "int": "int", "long": "long", "float": "float", "double": "double"}
_KEYWORDS = frozenset(
    (
        *("abstract", "assert", "boolean", "break", "byte", "case", "catch", "char", "class", "const"),
        *("continue", "default", "do", "double", "else", "enum", "extends", "false", "final", "finally"),
        *("float", "for", "goto", "if", "implements", "import", "instanceof", "int", "interface", "long"),
        *("native", "new", "null", "package", "private", "protected", "public", "record", "return", "short"),
        *("static", "strictfp", "super", "switch", "synchronized", "this", "throw", "throws", "transient"),
        *("true", "try", "void", "volatile", "while"),
    )
)

_READERS = """\
    private static Object get(GenericRecord record, String name) {
        return record.hasField(name) ? record.get(name) : null;
    }

    private static Object need(GenericRecord record, String name) {
        Object value = get(record, name);
        if (value == null) {
            throw new IllegalArgumentException(record.getSchema().getName() + " has no " + name);
        }
        return value;
    }

    private static <T> T optional(Object value, Function<Object, T> read) {
        return value == null ? null : read.apply(value);
    }

    private static <T> List<T> list(Object values, Function<Object, T> read) {
        List<T> result = new ArrayList<>();
        for (Object value : (Iterable<?>) values) {
            result.add(read.apply(value));
        }
        return Collections.unmodifiableList(result);
    }

    private static <T> Map<String, T> map(Object values, Function<Object, T> read) {
        Map<String, T> result = new LinkedHashMap<>();
        ((Map<?, ?>) values).forEach((key, value) -> result.put(key.toString(), read.apply(value)));
        return Collections.unmodifiableMap(result);
    }

    private static byte[] bytes(Object value) {
        ByteBuffer buffer = ((ByteBuffer) value).duplicate();
        byte[] result = new byte[buffer.remaining()];
        buffer.get(result);
        return result;
    }

    private static BigDecimal decimal(Object value, int scale) {
        return value instanceof BigDecimal ready ? ready : new BigDecimal(new BigInteger(bytes(value)), scale);
    }
"""


def java_code(model: SchemaModel, schema_text: str) -> str:
    """``{Record}.java``: a record with nested records and enums, ``SCHEMA``, and ``fromGeneric``.

    ``fromGeneric`` takes the ``GenericRecord`` of any Avro deserializer, also of a writer with fewer or more
    fields than the schema here.
    """
    lines = [
        f"package {model.namespace};",
        "",
        *(
            f"import {name};"
            for name in (
                "java.math.BigDecimal",
                "java.math.BigInteger",
                "java.nio.ByteBuffer",
                "java.util.ArrayList",
                "java.util.Collections",
                "java.util.LinkedHashMap",
                "java.util.List",
                "java.util.Map",
                "java.util.function.Function",
                "org.apache.avro.Schema",
                "org.apache.avro.generic.GenericRecord",
            )
        ),
        "",
        "// Made by `gateway schemas export --format java`: not to be edited.",
        *_record(model.root, model, ""),
        "",
        "    /** The Avro schema: what to give a reader so that old and new records come alike. */",
        "    public static final Schema SCHEMA = new Schema.Parser().parse(",
        *_text_lines(json.dumps(json.loads(schema_text), ensure_ascii=True)),
        "    );",
    ]
    for one in model.named:
        if one is not model.root:
            body = _enum(one) if isinstance(one, EnumModel) else [*_record(one, model, "    "), "    }"]
            lines += ["", *body]
    return "\n".join([*lines, "", _READERS.rstrip("\n"), "}", ""])


def _text_lines(text: str) -> list[str]:
    """A long text as Java string constants of 80 characters."""
    parts = [text[start : start + 80] for start in range(0, len(text), 80)]
    joined = [f"        {json.dumps(part)}" for part in parts]
    return [f"{line} +" for line in joined[:-1]] + joined[-1:]


def _enum(model: EnumModel) -> list[str]:
    lines = [f"    /** {_doc(model.doc or model.name)} */", f"    public enum {model.name} {{"]
    lines += [f"        {', '.join(model.symbols)};", ""]
    lines.append(f"        static {model.name} of(Object symbol) {{")
    if model.default is None:
        lines.append("            return valueOf(symbol.toString());")
    else:
        lines += [
            f"            for ({model.name} known : values()) {{",
            "                if (known.name().equals(symbol.toString())) {",
            "                    return known;",
            "                }",
            "            }",
            f"            return {model.default}; // a symbol of a later version",
        ]
    return [*lines, "        }", "    }"]


def _record(model: RecordModel, schema: SchemaModel, indent: str) -> list[str]:
    """The record up to, and without, its closing brace when it is the outermost."""
    lines = [f"{indent}/**", f"{indent} * {_doc(model.doc or model.name)}", f"{indent} *"]
    lines += [f"{indent} * @param {_name(f)} {_doc(f.doc)}" for f in model.fields if f.doc]
    lines += [f"{indent} */", f"{indent}public record {model.name}("]
    components = [f"{indent}    {_type(field.type)} {_name(field)}" for field in model.fields]
    lines += [",\n".join(components), f"{indent}) {{"]
    lines += [
        f"{indent}    /** Reads what a deserializer returns; fields that are missing take their defaults. */",
        f"{indent}    public static {model.name} fromGeneric(GenericRecord record) {{",
        f"{indent}        return new {model.name}(",
        ",\n".join(f"{indent}            {_field(field, schema)}" for field in model.fields),
        f"{indent}        );",
        f"{indent}    }}",
    ]
    return lines


def _field(field: FieldModel, schema: SchemaModel) -> str:
    name = json.dumps(field.name)
    if field.type.optional:
        return f"optional(get(record, {name}), v0 -> {_read(field.type, 'v0', schema, 1)})"
    if field.default is MISSING:
        return _read(field.type, f"need(record, {name})", schema, 0)
    default = _default(field, schema)
    return f"get(record, {name}) == null ? {default} : {_read(field.type, f'get(record, {name})', schema, 0)}"


def _default(field: FieldModel, schema: SchemaModel) -> str:
    value = field.default
    match field.type.kind:
        case "named" if isinstance(schema.of(field.type.name), EnumModel):
            return f"{field.type.name}.{value}"
        case "array":
            return "List.of()"
        case "map":
            return "Map.of()"
        case "long":
            return f"{value}L"
        case "float":
            return f"{value}f"
        case _:
            return json.dumps(value)


def _read(kind: TypeRef, value: str, schema: SchemaModel, depth: int) -> str:
    inner = f"v{depth}"
    match kind.kind:
        case "boolean":
            return f"(Boolean) {value}"
        case "int" | "long" | "float" | "double":
            return f"((Number) {value}).{kind.kind}Value()"
        case "string" | "json":
            return f"{value}.toString()"
        case "bytes":
            return f"bytes({value})"
        case "decimal":
            return f"decimal({value}, {kind.scale})"
        case "array" | "map":
            assert kind.item is not None, "arrays and maps have items"
            item = _read(kind.item, inner, schema, depth + 1)
            if kind.item.optional:
                item = f"{inner} == null ? null : {item}"
            return f"{'list' if kind.kind == 'array' else 'map'}({value}, {inner} -> {item})"
        case "named" if isinstance(schema.of(kind.name), EnumModel):
            return f"{kind.name}.of({value})"
        case "named":
            return f"{kind.name}.fromGeneric((GenericRecord) {value})"


def _type(kind: TypeRef, *, boxed: bool = False) -> str:
    match kind.kind:
        case "array" | "map":
            assert kind.item is not None, "arrays and maps have items"
            item = _type(kind.item, boxed=True)
            return f"List<{item}>" if kind.kind == "array" else f"Map<String, {item}>"
        case "named":
            return kind.name
        case _ if kind.kind in _UNBOXED and not kind.optional and not boxed:
            return _UNBOXED[kind.kind]
        case _:
            return _BOXED[kind.kind]


def _name(field: FieldModel) -> str:
    head, *rest = field.name.split("_")
    name = head + "".join(part[:1].upper() + part[1:] for part in rest)
    return f"{name}_" if name in _KEYWORDS else name


def _doc(text: str) -> str:
    return " ".join(text.split()).replace("*/", "* /").replace("&", "&amp;").replace("<", "&lt;")
