import java.io.DataInputStream;
import java.io.File;
import java.lang.reflect.Method;
import java.lang.reflect.RecordComponent;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;

/** CLASS WRITER_SCHEMA VALUES: reads length-prefixed Avro values as records of an exported class, twice each:
 *  as they were written, and as the class's own schema says. */
public final class ReadExported {
    public static void main(String[] arguments) throws Exception {
        Class<?> type = Class.forName(arguments[0]);
        Schema writer = new Schema.Parser().parse(new File(arguments[1]));
        Schema reader = (Schema) type.getField("SCHEMA").get(null);
        Method fromGeneric = type.getMethod("fromGeneric", GenericRecord.class);
        try (DataInputStream values = new DataInputStream(Files.newInputStream(Path.of(arguments[2])))) {
            while (values.available() > 0) {
                byte[] value = values.readNBytes(values.readInt());
                for (Schema wanted : List.of(writer, reader)) {
                    GenericDatumReader<GenericRecord> datum = new GenericDatumReader<>(writer, wanted);
                    GenericRecord read = datum.read(null, DecoderFactory.get().binaryDecoder(value, null));
                    System.out.println(shown(fromGeneric.invoke(null, read)));
                }
            }
        }
    }

    /** Components in their order, doubles by their bits. */
    private static String shown(Object value) throws Exception {
        if (value instanceof Record) {
            List<String> parts = new ArrayList<>();
            for (RecordComponent component : value.getClass().getRecordComponents()) {
                parts.add(component.getName() + "=" + shown(component.getAccessor().invoke(value)));
            }
            return "{" + String.join(",", parts) + "}";
        }
        if (value instanceof List<?> list) {
            List<String> parts = new ArrayList<>();
            for (Object item : list) {
                parts.add(shown(item));
            }
            return "[" + String.join(",", parts) + "]";
        }
        if (value instanceof Map<?, ?> map) {
            Map<String, String> parts = new TreeMap<>();
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                parts.put(entry.getKey().toString(), shown(entry.getValue()));
            }
            return parts.toString();
        }
        if (value instanceof Double number) {
            return Long.toHexString(Double.doubleToLongBits(number));
        }
        return value instanceof BigDecimal exact ? exact.toPlainString() : String.valueOf(value);
    }
}
