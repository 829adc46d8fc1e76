"""Numbers that Spark's ``repartition`` hashes to the partition that we want."""

import numpy as np
from numpy.typing import NDArray

_SEED = 42


def hashing_to(partitions: int) -> list[int]:
    """For each partition the smallest number that ``repartition(partitions, …)`` puts there."""
    limit = 64
    while True:
        found, first = np.unique(spark_hash(np.arange(limit)) % partitions, return_index=True)
        if len(found) == partitions:
            return [int(number) for number in first]
        limit *= 4


def spark_hash(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Spark's ``hash`` of ints: 32-bit Murmur 3 of their four bytes, as signed numbers."""
    k = _rotated(numbers.astype(np.uint32) * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
    h = _rotated(k ^ np.uint32(_SEED), 13) * np.uint32(5) + np.uint32(0xE6546B64)
    h ^= np.uint32(4)  # bytes
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return (h ^ (h >> np.uint32(16))).astype(np.int32).astype(np.int64)


def _rotated(values: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return (values << np.uint32(bits)) | (values >> np.uint32(32 - bits))
