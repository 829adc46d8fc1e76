"""Mosaic's StreamingDataset over the rows of one Parquet file, for loader_lengths.py.

python mosaic.py ROWS.parquet FOLDER WORKERS

Writes the rows in its format; then each line of stdin, ``seconds`` or ``hash``, is an epoch whose seconds, or
the hash of whose rows, is a line of stdout. Workers live on between epochs.
"""

import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from streaming import MDSWriter, StreamingDataset
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.engines.check import rows_hash

BATCH = 256


def write(path: str, folder: str) -> None:
    """The rows' arrays, each of the length that all rows have in common."""
    file = pq.ParquetFile(path)
    names = [name for name in file.schema_arrow.names if pa.types.is_list(file.schema_arrow.field(name).type)]
    out = None
    for batch in file.iter_batches(1_000, columns=names):
        columns = {name: np.stack(batch.column(name).to_numpy(zero_copy_only=False)) for name in names}
        kinds = {name: f"ndarray:{values.dtype.name}:{values.shape[1]}" for name, values in columns.items()}
        out = out or MDSWriter(out=folder, columns=kinds)
        for row in range(batch.num_rows):
            out.write({name: columns[name][row] for name in names})
    assert out is not None
    out.finish()


def seconds(loader: DataLoader[dict[str, Tensor]]) -> float:
    begin = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - begin


def hashed(loader: DataLoader[dict[str, Tensor]]) -> int:
    return sum(rows_hash({name: values.numpy() for name, values in b.items()}) for b in loader) % 2**64


if __name__ == "__main__":
    path, folder, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    write(path, folder)
    dataset = StreamingDataset(local=folder, shuffle=True, batch_size=BATCH)
    loader = DataLoader(dataset, BATCH, num_workers=workers, persistent_workers=workers > 0)
    for line in sys.stdin:
        print(f"answer {(seconds if line.strip() == 'seconds' else hashed)(loader)}", flush=True)
