"""Line breaks inside quoted CSV fields: put the physical lines of a record back together.

Spark's multiLine reader would let one unclosed quote swallow the rest of its file. Here lines are
joined only where the result parses strictly into the expected number of fields, so an unclosed
quote costs its own line and nothing more.
"""

import csv
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

MAX_LINES = 1_000
"""The most physical lines that one record may span (our choice)."""


def join_quoted(lines: Iterable[bytes], delimiter: str, fields: int) -> Iterator[bytes]:
    r"""Records of one file from its lines in order.

    >>> list(join_quoted([b'1,"a', b'b",2', b'3,c,4'], ",", 3))
    [b'1,"a\nb",2', b'3,c,4']
    """
    waiting: list[bytes] = []  # lines from one that opened a quoted field on
    odd = False  # whether `waiting` holds an odd number of quotes
    queue = iter(lines)
    again: list[bytes] = []  # lines to look at once more, the next one last
    while True:
        line = again.pop() if again else next(queue, None)
        if line is None or len(waiting) >= MAX_LINES:
            if line is not None:
                again.append(line)
            if not waiting:
                return
            yield waiting[0]  # never closed: it stands alone, and what follows is read afresh
            again.extend(reversed(waiting[1:]))
            waiting, odd = [], False
            continue
        line_odd = line.count(b'"') % 2 == 1
        if not waiting and (not line_odd or _fields(line, delimiter)):
            yield line
            continue
        waiting.append(line)
        odd ^= line_odd
        if not odd and len(waiting) > 1:
            record = b"\n".join(waiting)
            if _fields(record, delimiter) == fields:
                yield record
            else:
                yield waiting[0]
                again.extend(reversed(waiting[1:]))
            waiting = []


def join_batches(batches: Iterable[pa.RecordBatch], delimiter: str, fields: int) -> Iterator[pa.RecordBatch]:
    """``join_quoted`` over Arrow batches of ``(value: binary, file: string)``, sorted by file and line."""
    for file, lines in _by_file(batches):
        chunk: list[bytes] = []
        for record in join_quoted(lines, delimiter, fields):
            chunk.append(record)
            if len(chunk) == 10_000:
                yield _batch(chunk, file)
                chunk = []
        if chunk:
            yield _batch(chunk, file)


def _batch(records: list[bytes], file: str) -> pa.RecordBatch:
    names = pa.DictionaryArray.from_arrays(pa.array([0] * len(records), pa.int32()), pa.array([file]))
    return pa.record_batch([pa.array(records, pa.binary()), names.cast(pa.string())], names=["value", "file"])


def _by_file(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """One (file, its lines) after the other; each iterator must be used up before the next is asked for."""
    pieces = _pieces(batches)
    piece = next(pieces, None)

    def lines(file: str) -> Iterator[bytes]:
        nonlocal piece
        while piece is not None and piece[0] == file:
            yield from piece[1]
            piece = next(pieces, None)

    while piece is not None:
        yield piece[0], lines(piece[0])


def _pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, list[bytes]]]:
    for batch in batches:
        for file in pc.unique(batch["file"]).to_pylist():
            yield file, batch.filter(pc.equal(batch["file"], file))["value"].to_pylist()


def _fields(record: bytes, delimiter: str) -> int:
    """Number of fields where the record parses strictly, else 0."""
    try:
        rows = list(csv.reader([record.decode("latin-1")], delimiter=delimiter, strict=True))
    except csv.Error:
        return 0
    return len(rows[0]) if len(rows) == 1 else 0
