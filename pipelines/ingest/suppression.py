"""Erased users are kept out: every way into bronze goes through here."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.ingest.reasons import ERASED
from pipelines.suppressed import Suppressed, suppressed
from pipelines.warehouse import Warehouse

BLOCK_BYTES: Final = 64
"""Of SHA-256; a longer HMAC key is hashed first (RFC 2104)."""

PAYLOAD: Final = ("raw", "layout", "file")

_TOKEN: Final = re.compile(r"\w+")
_FIELD: Final = re.compile(r"[^,;|\t\"'\s{}\[\]]+")
_HEX: Final = re.compile(r"0x((?:[0-9A-Fa-f]{2})+)")

Batches = Iterable[pa.RecordBatch]


def reject_suppressed(checked: DataFrame, warehouse: Warehouse) -> DataFrame:
    """Cleaned rows, those of erased users refused as ``erased`` and without their payload.

    ``checked`` is what ``pipelines.ingest.clean`` makes. Where nobody was erased, nothing is computed.
    """
    found = suppressed(warehouse.root)
    if found is None:
        return checked
    columns = checked.columns
    spark = warehouse.spark
    key = spark.createDataFrame([_pads(found.key.secret)], "inner binary, outer binary")
    rows = [(one,) for one in sorted(found.hashes)]
    listed = spark.createDataFrame(rows, "hash string").withColumn("is_erased", F.lit(True))
    marked = (
        checked.crossJoin(F.broadcast(key))
        .withColumn("hash", hmac_sha256(F.col("user_id"), F.col("inner"), F.col("outer")))
        .join(F.broadcast(listed), "hash", "left")
    )
    erased = F.col("is_erased").isNotNull()
    gone = {name: F.when(~erased, F.col(name)) for name in PAYLOAD}
    reason = F.when(erased, F.lit(ERASED)).otherwise(F.col("reason"))
    return marked.withColumns(gone | {"reason": reason}).select(*columns)


def strip_suppressed(refused: DataFrame, warehouse: Warehouse) -> DataFrame:
    """Refused rows, those that name an erased user anywhere in their payload as ``erased`` and without it.

    A line that cannot be read has no user id, but may hold one.
    """
    found = suppressed(warehouse.root)
    return refused if found is None else refused.mapInArrow(_stripper(found), refused.schema)


def _stripper(found: Suppressed) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """What ``mapInArrow`` runs: refused rows in, the same rows out."""

    def strip(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            named = [
                raw is not None and any(found.key.hash(name) in found.hashes for name in names_in(raw))
                for raw in batch.column("raw").to_pylist()
            ]
            yield without_payload(batch, named)

    return strip


def without_payload(batch: pa.RecordBatch, erased: list[bool]) -> pa.RecordBatch:
    """Refused rows, the ones marked with the reason ``erased`` and no payload."""
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        values = column.to_pylist() if field.name in (*PAYLOAD, "reason") else None
        if values is None:
            columns.append(column)
            continue
        instead = ERASED if field.name == "reason" else None
        kept = [instead if gone else value for gone, value in zip(erased, values, strict=True)]
        columns.append(pa.array(kept, field.type))
    return pa.record_batch(columns, schema=batch.schema)


def names_in(raw: str) -> set[str]:
    """What in a payload could be an id: words, and fields between delimiters, quotes or blanks.

    >>> sorted(names_in("7,a-1"))
    ['1', '7', 'a', 'a-1']
    """
    texts = payload_texts(raw)
    return {name for text in texts for pattern in (_TOKEN, _FIELD) for name in pattern.findall(text)}


def payload_texts(raw: str) -> list[str]:
    """A payload as it is, its bytes as text where it is ``0x`` and hex, JSON's escapes resolved.

    >>> payload_texts("0x7537FF")[1:]
    ['u7ÿ', 'u7�']
    """
    texts = [raw]
    if hexed := _HEX.fullmatch(raw):
        payload = bytes.fromhex(hexed[1])
        texts += [payload.decode("latin-1"), payload.decode("utf-8", "replace")]
    if "\\" in raw:
        escaped = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), raw)
        texts.append(re.sub(r"\\(.)", r"\1", escaped))
    if '""' in raw:
        texts.append(raw.replace('""', '"'))
    return texts


def hmac_sha256(text: Column, inner: Column, outer: Column) -> Column:
    """HMAC-SHA256 of a text column in hex; ``inner`` and ``outer`` are the key's two padded blocks."""
    first = F.unhex(F.sha2(F.concat(inner, F.encode(text, "UTF-8")), 256))
    return F.sha2(F.concat(outer, first), 256)


def _pads(secret: bytes) -> tuple[bytearray, bytearray]:
    """The key's inner and outer block."""
    block = (hashlib.sha256(secret).digest() if len(secret) > BLOCK_BYTES else secret).ljust(
        BLOCK_BYTES, b"\0"
    )
    return bytearray(byte ^ 0x36 for byte in block), bytearray(byte ^ 0x5C for byte in block)
