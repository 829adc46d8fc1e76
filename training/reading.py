"""One epoch of a table's row groups through Petastorm, shuffled by a seed, with no row lost."""

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
from petastorm.cache import NullCache
from petastorm.fs_utils import get_filesystem_and_path_or_paths
from petastorm.reader import Reader

from features.spec import SequenceSpec
from training.errors import DataError, TrainingError
from training.gold import COLUMNS, Block, to_block
from training.pools import PoolKind, TableWorker, make_pool
from training.table import SequenceFile

_WIDTH_OF: Final = "events__item"


class RowsLostError(TrainingError):
    """An epoch did not deliver the rows that the Delta log names."""


def read_epoch(
    files: Sequence[SequenceFile], spec: SequenceSpec, seed: int | None, pool: PoolKind, workers: int
) -> Iterator[Block]:
    """Every row group of the files once, as blocks, in an order drawn from ``seed`` (None: as listed).

    A Petastorm reader lives for one epoch, as it would repeat its first order in the next. One reader
    serves all length buckets: it hands over Arrow tables of one row group each, so that rows of different
    lengths never meet in one array. RowsLostError where the rows are not those of the log.
    """
    left: dict[int, int] = {}
    for file in files:
        left[file.bucket] = left.get(file.bucket, 0) + file.rows
    for rows in _tables([file.uri for file in files if file.rows], seed, pool, workers):
        width = len(rows.column(_WIDTH_OF).combine_chunks().flatten()) / len(rows)
        if width not in left:
            raise DataError(
                f"a row group has {width:g} events a row, which is no bucket of {sorted(left)}; "
                "rebuild gold/user_sequences"
            )
        left[int(width)] -= len(rows)
        yield to_block(rows, int(width), spec)
    wrong = {bucket: count for bucket, count in left.items() if count}
    if wrong:
        raise RowsLostError(
            f"an epoch over {len(files)} files missed rows by the Delta log, by length bucket: {wrong} "
            "(negative: too many); the files changed after they were written, or the reader dropped some: "
            "restore the table, or read with pool = 'dummy'"
        )


def _tables(uris: list[str], seed: int | None, pool: PoolKind, workers: int) -> Iterator[pa.Table]:
    if not uris:
        return
    filesystem, paths = get_filesystem_and_path_or_paths([_url(uri) for uri in uris])
    reader = Reader(
        filesystem,
        paths,
        schema_fields=[f"^{name}$" for name in COLUMNS],
        worker_class=TableWorker,
        reader_pool=make_pool(pool, workers),
        cache=NullCache(),
        is_batched_reader=True,
        shuffle_row_groups=seed is not None,
        seed=None if seed is None else seed + 1,  # to Petastorm, 0 means an order that nobody can repeat
    )
    try:
        yield from reader
    finally:
        reader.stop()
        reader.join()


def _url(uri: str) -> str:
    """A URL as Petastorm takes it: nothing is decoded, so that '#' and '?' would end the path."""
    url = uri if "://" in uri else f"file://{uri}"
    if "#" in url or "?" in url:
        raise DataError(f"{uri}: Petastorm cannot read paths that hold # or ?; move the warehouse")
    return url
