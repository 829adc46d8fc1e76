"""Mosaic's StreamingDataset over the rows of one Parquet file: seconds of an epoch, for loader_lengths.py.

python mosaic.py ROWS.parquet LENGTH FOLDER REPEATS
"""

import json
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from streaming import MDSWriter, StreamingDataset
from torch.utils.data import DataLoader

path, length, folder, repeats = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
file = pq.ParquetFile(path)
names = [name for name in file.schema_arrow.names if pa.types.is_list(file.schema_arrow.field(name).type)]
kinds = {name: file.schema_arrow.field(name).type.value_type.to_pandas_dtype() for name in names}
with MDSWriter(out=folder, columns={name: f"ndarray:{np.dtype(kinds[name]).name}" for name in names}) as out:
    for batch in file.iter_batches(1_000, columns=names):
        columns = {name: np.stack(batch.column(name).to_numpy(zero_copy_only=False)) for name in names}
        for row in range(batch.num_rows):
            out.write({name: columns[name][row] for name in names})
dataset = StreamingDataset(local=folder, shuffle=True, batch_size=256)
seconds, total = [], 0
for _ in range(repeats):
    begin = time.perf_counter()
    total = sum(int(batch["events__item"].sum()) for batch in DataLoader(dataset, batch_size=256))
    seconds.append(time.perf_counter() - begin)
print(json.dumps({"seconds": seconds, "total": total}))
