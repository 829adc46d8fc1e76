"""How many samples a second does each loader hand to training, by the length of a history?

    python benchmarks/loader_lengths.py --lengths 64 256 1024 4096 --repeat 3

Rows of the tensor contract's ten arrays, each of one length, zstd Parquet. An epoch is every row once, in
shuffled batches of 256 as torch tensors: by our reader (Petastorm, one thread and two, and its check that no
row is lost), by plain pyarrow, by torch's DataLoader over tensors that lie in memory already, and by Mosaic's
StreamingDataset from its own format, with declared shapes (``make bench`` makes its environment). These two
run in the loop's own process, and with two workers that live on between epochs. First each loader has an
epoch to warm up, whose rows, all arrays of them, must have one hash; then they take turns. Prints medians of
samples/s and of events/s, and each loader as a share of plain pyarrow.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engines.check import rows_hash
from features.spec import SequenceSpec
from training.gold import EVENTS, TARGETS, Block, to_block
from training.pools import PoolKind
from training.reading import read_epoch
from training.table import SequenceFile

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"
BATCH, GROUP_BYTES, FILES = 256, 16 << 20, 4
Arrays = dict[str, torch.Tensor]


def write_rows(folder: Path, length: int, rows: int, spec: SequenceSpec) -> list[SequenceFile]:
    """Rows of random events in a few files, as the pipeline's writer types them."""
    rng = np.random.default_rng(length)
    targets = spec.shape(TARGETS[0], length)[0]
    widths = dict.fromkeys(EVENTS.values(), length) | dict.fromkeys(TARGETS, targets)
    group = max(BATCH, GROUP_BYTES // (length * 4 * len(EVENTS)))
    files = []
    for number in range(FILES):
        n = rows // FILES
        columns: dict[str, Any] = {
            "user_id": pa.array([f"user{number}-{row}" for row in range(n)]),
            "chunk": pa.array(np.zeros(n, np.int32)),
            "length": pa.array(np.full(n, length, np.int32)),
        }
        for name, width in widths.items():
            kind, top = (np.int64, 2**31) if name == "events__ts" else (np.int32, 50_000)
            values = rng.integers(0, min(top, width) if name in TARGETS else top, n * width).astype(kind)
            offsets = pa.array(np.arange(n + 1, dtype=np.int32) * width)
            columns[name] = pa.ListArray.from_arrays(offsets, pa.array(values))
        path = folder / f"rows-{number}.parquet"
        pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=group)
        files.append(SequenceFile(str(path), length, n))
    return files


def arrays(block: Block) -> dict[str, np.ndarray]:
    """The ten arrays of a block by their columns' names."""
    events = {column: block.events[name] for name, column in EVENTS.items()}
    return events | dict(zip(TARGETS, (block.target_pos, block.read_pos), strict=True))


def batches(blocks: Iterable[Block]) -> Iterator[Arrays]:
    """Shuffled batches of each block."""
    rng = np.random.default_rng(0)
    for block in blocks:
        order = rng.permutation(len(block))
        mixed = {name: torch.from_numpy(values[order]) for name, values in arrays(block).items()}
        for start in range(0, len(block), BATCH):
            yield {name: values[start : start + BATCH] for name, values in mixed.items()}


def plain(files: list[SequenceFile], spec: SequenceSpec) -> Iterator[Block]:
    """Row groups by pyarrow alone."""
    for file in files:
        parquet = pq.ParquetFile(file.uri)
        for number in range(parquet.num_row_groups):
            yield to_block(parquet.read_row_group(number), file.bucket, spec)


class InMemory(Dataset[Arrays]):
    """All rows as tensors; a batch is one indexing of each."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        parts = [arrays(block) for block in blocks]
        self.columns = {
            name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]
        }

    def __len__(self) -> int:
        return len(self.columns["events__item"])

    def __getitems__(self, rows: list[int]) -> Arrays:
        chosen = torch.tensor(rows)
        return {name: values[chosen] for name, values in self.columns.items()}


@dataclass(frozen=True)
class Loader:
    """``seconds`` takes an epoch's time, ``hashed`` is the hash of its rows; both run one."""

    seconds: Callable[[], float]
    hashed: Callable[[], int]


def here(make: Callable[[], Iterable[Arrays]]) -> Loader:
    """A loader whose epoch ``make`` starts in this process."""

    def seconds() -> float:
        begin = time.perf_counter()
        for _ in make():
            pass
        return time.perf_counter() - begin

    def hashed() -> int:
        return sum(rows_hash({k: v.numpy() for k, v in batch.items()}) for batch in make()) % 2**64

    return Loader(seconds, hashed)


class Mosaic:
    """engines/mosaic.py at work in its own environment; it ends with the block."""

    def __init__(self, files: list[SequenceFile], folder: Path, workers: int) -> None:
        whole = folder / f"all-{workers}.parquet"
        pq.write_table(pa.concat_tables(pq.read_table(file.uri) for file in files), whole, compression="zstd")
        program = str(ROOT / "benchmarks" / "engines" / "mosaic.py")
        words = [str(whole), str(folder / f"mds-{workers}"), str(workers)]
        self.process = subprocess.Popen(
            [str(PEERS), program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def loader(self) -> Loader:
        return Loader(lambda: float(self.answer("seconds")), lambda: int(self.answer("hash")))

    def answer(self, question: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(question, file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("answer "):
                return line.split()[1]
        raise RuntimeError(f"Mosaic ended with status {self.process.wait()}")


def compare(length: int, events: int, repeat: int) -> None:
    """Print a block of the table."""
    spec = SequenceSpec(pool=4096, buckets=(64, 256, 1024, 4096))
    with tempfile.TemporaryDirectory() as scratch:
        files = write_rows(Path(scratch), length, events // length, spec)
        rows = sum(file.rows for file in files)
        with Mosaic(files, Path(scratch), 0) as mosaic, Mosaic(files, Path(scratch), 2) as mosaic_of_two:
            others = {"mosaic": mosaic.loader(), "mosaic, 2 workers": mosaic_of_two.loader()}
            found = measure(loaders(files, spec) | others, repeat)
    first = median(found["pyarrow"])
    for name, seconds in found.items():
        took = median(seconds)
        figures = f"{rows / took:,.0f} | {rows * length / took / 1e6:,.1f} | {first / took:.2f}"
        print(f"| {length:,} | {name} | {figures} |", flush=True)


def loaders(files: list[SequenceFile], spec: SequenceSpec) -> dict[str, Loader]:
    """Those of this environment."""

    def ours(pool: PoolKind, workers: int) -> Loader:
        return here(lambda: batches(read_epoch(files, spec, 1, pool, workers)))

    memory = InMemory(plain(files, spec))

    def torch_loader(workers: int) -> Loader:
        loader = DataLoader(
            memory, BATCH, True, num_workers=workers, collate_fn=as_it_is, persistent_workers=workers > 0
        )
        return here(lambda: loader)

    return {
        "pyarrow": here(lambda: batches(plain(files, spec))),
        "seqloom, 1 thread": ours("dummy", 1),
        "seqloom, 2 threads": ours("thread", 2),
        "torch, in memory": torch_loader(0),
        "torch, in memory, 2 workers": torch_loader(2),
    }


def as_it_is(batch: Arrays) -> Arrays:
    return batch


def measure(found: dict[str, Loader], repeat: int) -> dict[str, list[float]]:
    """Seconds of each loader's epochs; RuntimeError where their rows are not the same."""
    hashes = {name: loader.hashed() for name, loader in found.items()}
    if len(set(hashes.values())) != 1:
        raise RuntimeError(f"the loaders handed out different rows: {hashes}")
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(repeat):
        for name, loader in found.items():
            seconds[name].append(loader.seconds())
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 256, 1024, 4096])
    parser.add_argument("--events", type=int, default=8_000_000, help="places in all rows of a length")
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    print("| length | loader | samples/s | M events/s | × pyarrow |\n| --- | --- | --- | --- | --- |")
    for length in asked.lengths:
        compare(length, asked.events, asked.repeat)


if __name__ == "__main__":
    main()
