"""Erased users are kept out: every way into bronze goes through here."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.ingest.reasons import ERASED
from pipelines.ingest.records import BAD_ENCODING, BROKEN_JSON, WRONG_FIELD_COUNT
from pipelines.suppressed import Suppressed, suppressed
from pipelines.warehouse import Warehouse
from pipelines.workers import in_workers

BLOCK_BYTES: Final = 64
"""Of SHA-256; a longer HMAC key is hashed first (RFC 2104)."""

PAYLOAD: Final = ("raw", "layout", "file")

RUN: Final = 6
"""An id of so many words is found wherever it stands: a UUID has 5. A longer one as a field of its own."""

_TOKEN: Final = re.compile(r"\w+")
_HARD: Final = r",;\t\r\n\"'{}\[\]"
_FIELDS: Final = tuple(re.compile(f"[^{_HARD}{more}]+") for more in ("", "|", r"|\s", "|:="))
"""What stands between delimiters; the further ones are parts of some ids."""
_LABEL: Final = re.compile(r"[:=]")
_BARE: Final = " \"'"
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_HEX: Final = re.compile(r"0x((?:[0-9A-Fa-f]{2})+)")

UNREADABLE: Final = frozenset((BAD_ENCODING, WRONG_FIELD_COUNT, BROKEN_JSON))
"""Reasons of lines whose fields are not where they should be: any of them may be the user's."""

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
    """Refused rows, those that name an erased user anywhere in their payload without it.

    A line that cannot be read has no user id, but may hold one. The row keeps its own reason: that it names a
    user may be chance, and it is the source's fault all the same. A number is taken for an id only in a line
    that cannot be read or has no user: elsewhere it is as well an item.
    """
    found = suppressed(warehouse.root)
    return refused if found is None else in_workers(refused, _stripper(found), refused.schema)


def _stripper(found: Suppressed) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """What ``mapInArrow`` runs: refused rows in, the same rows out."""

    def strip(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = zip(
                *(batch.column(name).to_pylist() for name in ("raw", "user_id", "reason")), strict=True
            )
            yield without_payload(batch, [names_one(*row) for row in rows])

    def names_one(raw: str | None, user: str | None, reason: str) -> bool:
        if raw is None:
            return False
        anything = user is None or reason in UNREADABLE
        names = (name for name in names_in(raw) if anything or not _NUMBER.fullmatch(name))
        return any(found.key.hash(name) in found.hashes for name in names)

    return strip


def without_payload(batch: pa.RecordBatch, named: list[bool], reason: str | None = None) -> pa.RecordBatch:
    """Refused rows, the ones marked without payload, and for ``reason`` where one is given."""
    instead = dict.fromkeys(PAYLOAD) | ({} if reason is None else {"reason": reason})
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.name in instead:
            values = zip(named, column.to_pylist(), strict=True)
            kept = [instead[field.name] if gone else value for gone, value in values]
            columns.append(pa.array(kept, field.type))
        else:
            columns.append(column)
    return pa.record_batch(columns, schema=batch.schema)


def names_in(raw: str) -> set[str]:
    """What in a payload could be an id, about ten candidates a word.

    Runs of up to ``RUN`` words with what stands between them, and fields between delimiters, less quotes and
    blanks around them, and less a label in front.

    >>> sorted(names_in("7,a-1"))
    ['1', '7', '7,a', '7,a-1', 'a', 'a-1']
    >>> {"John Smith", "+49 12"} <= names_in("cut,John Smith, tel:+49 12")
    True
    """
    return {name for text in payload_texts(raw) for names in (_runs(text), _fields(text)) for name in names}


def _runs(text: str) -> Iterator[str]:
    words = [word.span() for word in _TOKEN.finditer(text)]
    for place, (start, _) in enumerate(words):
        for _, end in words[place : place + RUN]:
            yield text[start:end]


def _fields(text: str) -> Iterator[str]:
    for pattern in _FIELDS:
        for field in pattern.findall(text):
            for name in (field, _LABEL.split(field, maxsplit=1)[-1]):
                if bare := name.strip(_BARE):
                    yield bare


def payload_texts(raw: str) -> list[str]:
    """A payload as it is, its bytes as text where it is ``0x`` and hex, JSON's escapes resolved.

    >>> payload_texts("0x7537FF")[1:]
    ['u7ÿ', 'u7�']
    """
    texts = [raw]
    if hexed := _HEX.fullmatch(raw):
        payload = bytes.fromhex(hexed[1])
        texts += [payload.decode("latin-1"), payload.decode("utf-8", "replace")]
    escaped = [_unescape(text) for text in texts if "\\" in text]
    return [*texts, *escaped, *(text.replace('""', '"') for text in texts if '""' in text)]


def _unescape(text: str) -> str:
    """A text with JSON's escapes resolved; half of a pair of surrogates is U+FFFD, as it cannot be hashed."""
    text = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), text)
    text = re.sub(r"\\(.)", r"\1", text)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


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
