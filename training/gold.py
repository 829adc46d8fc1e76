"""Gold rows as NumPy blocks: the columns that training reads, in the layout of the tensor contract.

The reader of the loader (Petastorm) and the plain one below end in the same blocks.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.chunks import has_room
from features.codes import NO_POSITION
from features.spec import SequenceSpec
from training.errors import DataError
from training.hindsight import compact, moved, seen_by_first_target

if TYPE_CHECKING:  # serving makes blocks, and has no delta-rs
    from training.table import SequenceFile, SequenceTable

EVENTS: Final = {
    "item": "events__item",
    "category": "events__category",
    "type": "events__type",
    "mode": "events__mode",
    "session": "events__session",
    "theme": "events__theme_running",
    "session_theme": "events__theme_session",
    "ts": "events__ts",
}
"""Field of ``Block`` and of ``training.batch.Rows`` -> column of the table."""

SCALARS: Final = ("user_id", "chunk", "length")
TARGETS: Final = ("targets__pos", "targets__read_pos")
COLUMNS: Final = (*SCALARS, *EVENTS.values(), *TARGETS)

_CHUNK_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)  # odd, so that chunks of a user differ

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Block:
    """N rows of one length bucket L as the table holds them: padded on the left, the pipeline's codes."""

    bucket: int  # L
    length: NDArray[np.int64]  # (N,) at least 1
    chunk: NDArray[np.int64]  # (N,)
    row_id: NDArray[np.int64]  # (N,) hash of user and chunk
    user_id: NDArray[np.int64]  # (N,) hash of the user's id: the same in every version
    events: dict[str, NDArray[Any]]  # (N, L) int32, ts int64, by the names of EVENTS
    target_pos: Ints  # (N, P), -1 where there are fewer
    read_pos: Ints  # (N, P) last event with ts strictly before the target's

    def __len__(self) -> int:
        return len(self.length)

    def take(self, rows: NDArray[np.int64]) -> "Block":
        """The rows asked for, in that order."""
        return Block(
            self.bucket,
            self.length[rows],
            self.chunk[rows],
            self.row_id[rows],
            self.user_id[rows],
            {name: values[rows] for name, values in self.events.items()},
            self.target_pos[rows],
            self.read_pos[rows],
        )


Blocks = Callable[[], Iterator[Block]]
"""Where blocks come from; each call starts over in the same order."""


def to_block(rows: pa.Table, bucket: int, spec: SequenceSpec) -> Block:
    """Rows of one bucket (columns ``COLUMNS``) as a block that tells no target of a later one.

    DataError where shapes are not the spec's.
    """
    return _without_hindsight(to_whole_block(rows, bucket, spec), spec)


def to_whole_block(rows: pa.Table, bucket: int, spec: SequenceSpec) -> Block:
    """The same with all events that the rows hold, for whoever asks at their end."""
    user = user_numbers(rows.column("user_id"))
    chunk = rows.column("chunk").to_numpy().astype(np.int64)
    row_id = user.view(np.uint64) ^ (chunk.astype(np.uint64) * _CHUNK_MULTIPLIER)
    return Block(
        bucket,
        rows.column("length").to_numpy().astype(np.int64),
        chunk,
        row_id.view(np.int64),
        user,
        {name: _matrix(rows, column, bucket, spec) for name, column in EVENTS.items()},
        *(_matrix(rows, column, bucket, spec) for column in TARGETS),
    )


def user_numbers(ids: pa.ChunkedArray) -> NDArray[np.int64]:
    """(N,) the hash that names each user in blocks and batches."""
    found: NDArray[np.uint64] = pd.util.hash_array(ids.to_numpy(), categorize=False)
    return found.view(np.int64)


def at_end(block: Block, spec: SequenceSpec) -> Block:
    """The block without targets, for whoever asks at the rows' ends: what the event that follows would see.

    A user's first chunk is whole as long as that event would join it. Other rows hold what the strands at
    their end hold, as the first target of a chunk finds it; so does ``features.chunks.ending_rows``.
    """
    none = np.full_like(block.target_pos, NO_POSITION)
    joins = has_room(block.length, (block.target_pos >= 0).sum(axis=1), spec)
    later = np.flatnonzero((block.chunk > 0) | ~joins)
    end = np.full(len(later), block.bucket - 1)
    return _keep_seen(replace(block, target_pos=none, read_pos=none), later, end, spec)


def _without_hindsight(block: Block, spec: SequenceSpec) -> Block:
    """The block less the old events that tell of later targets; see ``training.hindsight``."""
    later = np.flatnonzero((block.chunk > 0) & (block.target_pos[:, 0] >= 0))
    return _keep_seen(block, later, block.read_pos[later, 0].astype(np.int64), spec)


def _keep_seen(block: Block, rows: NDArray[np.int64], read: NDArray[np.int64], spec: SequenceSpec) -> Block:
    """The block whose ``rows`` (M,) keep, of what a target reading up to ``read`` (M,) sees, its strands."""
    if not len(rows):
        return block
    part = block.take(rows)
    kept = seen_by_first_target(part.events, read, spec)
    events = {name: values.copy() for name, values in block.events.items()}
    for name, values in part.events.items():
        events[name][rows] = compact(values, kept)
    length, target, read_pos = block.length.copy(), block.target_pos.copy(), block.read_pos.copy()
    length[rows] = kept.sum(axis=1)
    target[rows], read_pos[rows] = moved(part.target_pos, kept), moved(part.read_pos, kept)
    return replace(block, length=length, events=events, target_pos=target, read_pos=read_pos)


def _matrix(rows: pa.Table, column: str, bucket: int, spec: SequenceSpec) -> NDArray[np.int32]:
    width = int(np.prod(spec.shape(column, bucket)))
    values = rows.column(column).combine_chunks()
    flat = values.flatten()
    if len(flat) != len(values) * width or values.null_count or flat.null_count:
        raise DataError(
            f"{column} of bucket {bucket}: {len(flat)} elements and {flat.null_count} nulls in {len(values)} "
            f"rows, but the spec declares {width} a row and no nulls; rebuild gold/user_sequences"
        )
    matrix: NDArray[np.int32] = flat.to_numpy(zero_copy_only=False).reshape(len(values), width)
    return matrix


def read_row_groups(files: Iterable["SequenceFile"]) -> Iterator[tuple[int, pa.Table]]:
    """Bucket and rows of every row group, in order, by pyarrow alone.

    DataError where a file does not hold the rows that the log names.
    """
    for file in files:
        filesystem, path = pafs.FileSystem.from_uri(file.uri)
        with filesystem.open_input_file(path) as source:
            parquet = pq.ParquetFile(source)
            if parquet.metadata.num_rows != file.rows:
                raise DataError(
                    f"{file.uri} holds {parquet.metadata.num_rows} rows, but the Delta log says {file.rows}; "
                    "bring the file back from a backup, or pin another version"
                )
            for group in range(parquet.num_row_groups):
                yield file.bucket, parquet.read_row_group(group, columns=list(COLUMNS))


def table_blocks(table: "SequenceTable") -> Blocks:
    """Blocks of a pinned table in the order of its files; memory is one row group."""

    def blocks() -> Iterator[Block]:
        for bucket, rows in read_row_groups(table.files):
            yield to_block(rows, bucket, table.spec)

    return blocks


def arrow_blocks(rows: pa.Table, spec: SequenceSpec) -> Blocks:
    """Blocks of rows in memory (columns of ``features.rows.arrow_schema``), buckets ascending."""
    buckets = rows.column("length_bucket").to_numpy()
    found = []
    for bucket in np.unique(buckets).tolist():
        places = pa.array(np.flatnonzero(buckets == bucket))
        found.append(to_block(rows.select(list(COLUMNS)).take(places), bucket, spec))
    return lambda: iter(found)
