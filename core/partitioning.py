"""Kafka's murmur2 and the partition it gives, as Java's default partitioner computes it.

Source: ``org.apache.kafka.common.utils.Utils.murmur2`` and ``toPositive`` (Apache Kafka); the test vectors
are those of Kafka's own ``UtilsTest``.
"""

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


def murmur2(data: bytes) -> int:
    """The 32-bit hash, unsigned."""
    length = len(data)
    h = (0x9747B28C ^ length) & _MASK
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * _M) & _MASK
        k ^= k >> 24
        k = (k * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    rest = data[whole:]
    if rest:
        h ^= int.from_bytes(rest, "little")
        h = (h * _M) & _MASK
    h ^= h >> 13
    h = (h * _M) & _MASK
    return h ^ (h >> 15)


def partition_of(key: str, partitions: int) -> int:
    """The partition of ``key`` in a topic of ``partitions``."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
