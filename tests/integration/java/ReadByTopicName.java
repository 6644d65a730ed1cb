import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.CachedSchemaRegistryClient;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.formats.avro.registry.confluent.ConfluentRegistryAvroDeserializationSchema;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Prints all records of topics as JSON lines: Kafka's own consumer, Confluent's registry client, Flink's Avro reader.
 *
 * <p>Of the schemas it knows nothing but the rule {topic}-value: the latest version of that subject is the reader
 * schema, and Flink's reader resolves each record from the schema that it was written with.
 *
 * <p>Arguments: bootstrap servers, registry URL, topics.
 */
public final class ReadByTopicName {
    private static final int CACHED_SCHEMAS = 100;

    private ReadByTopicName() {}

    public static void main(String[] arguments) throws Exception {
        String registryUrl = arguments[1];
        Map<String, ConfluentRegistryAvroDeserializationSchema<GenericRecord>> readers = new TreeMap<>();
        try (var registry = new CachedSchemaRegistryClient(registryUrl, CACHED_SCHEMAS)) {
            for (String topic : List.of(arguments).subList(2, arguments.length)) {
                String text = registry.getLatestSchemaMetadata(topic + "-value").getSchema();
                Schema schema = new Schema.Parser().parse(text);
                readers.put(topic, ConfluentRegistryAvroDeserializationSchema.forGeneric(schema, registryUrl));
            }
        }
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("enable.auto.commit", "false");
        var bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
            List<TopicPartition> partitions =
                    readers.keySet().stream()
                            .flatMap(topic -> consumer.partitionsFor(topic).stream())
                            .map(partition -> new TopicPartition(partition.topic(), partition.partition()))
                            .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    // Avro's generic records print as JSON.
                    GenericRecord value = readers.get(record.topic()).deserialize(record.value());
                    System.out.printf(
                            "{\"topic\": \"%s\", \"partition\": %d, \"offset\": %d, \"record\": %s}%n",
                            record.topic(), record.partition(), record.offset(), value);
                }
            }
        }
    }
}
