"""Is the loader fast enough, does it lose rows, and does training wait for it?

python benchmarks/loader.py [--warehouse DIR] [--users 20000] [--repeats 3] [--epochs 0] [--steps 0]

Without --warehouse, a table of generated users is written to a temporary folder. Prints, for each pool:
- rows/s of row groups into NumPy blocks, and of whole epochs of batches, against the same work over a plain
  pyarrow reader in the same run (medians of --repeats, interleaved; rows are those of the table);
- with --epochs N: whether each of N epochs had every row of the table once;
- with --steps N: the share of time that the default MoS waits for batches, over N steps on this machine.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from deltalake import DeltaTable, write_deltalake

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from features.block import EventBlock
from features.chunks import arrow_schema, chunk_block
from features.spec import SequenceSpec
from training import loader as loading
from training.batch import Batch
from training.batchers import token_batches
from training.gold import Block, table_blocks
from training.loader import Loader, LoaderConfig
from training.models.mos import MoS
from training.pools import PoolKind
from training.reading import read_epoch
from training.splits import FOREVER, Split
from training.table import SequenceTable, open_published, open_table
from training.vocabulary import TrainVocabulary, learn_vocabulary

POOLS: tuple[tuple[PoolKind, int], ...] = (("dummy", 1), ("thread", 1), ("thread", 2), ("thread", 4))
FILE_ROWS = 2_000
ITEMS, CATEGORIES, THEMES = 20_000, 200, 20


def generated(users: int, folder: Path) -> SequenceTable:
    """A table of users with log-normal histories (median 60 events), as the pipeline lays it out."""
    spec, rng = SequenceSpec(), np.random.default_rng(0)
    for start in range(0, users, 2_000):
        sizes = np.clip(rng.lognormal(4.1, 0.9, min(2_000, users - start)), 2, 3_000).astype(np.int64)
        block, theme = _events(rng, sizes, start)
        rows, _ = chunk_block(block, theme, theme, spec)
        table = pa.Table.from_batches(rows, arrow_schema(spec))
        write_deltalake(str(folder), table, mode="append", partition_by=["length_bucket"])
    DeltaTable(str(folder)).optimize.compact(target_size=8 << 20)
    return open_table(str(folder), spec=spec)


def _events(rng: np.random.Generator, sizes: np.ndarray, first: int) -> tuple[EventBlock, np.ndarray]:
    n, starts = int(sizes.sum()), np.cumsum(sizes) - sizes
    ordinal = (np.arange(n) - np.repeat(starts, sizes) + 1).astype(np.int32)
    session = (1 + (ordinal - 1) // 8).astype(np.int32)
    theme = (2 + (np.repeat(np.arange(len(sizes)), sizes) + session * 7) % THEMES).astype(np.int32)
    item = (2 + (ITEMS * rng.random(n) ** 2)).astype(np.int32)
    kind = rng.integers(1, 5, n).astype(np.int32)
    ids = pa.array(np.arange(n).astype(str))
    block = EventBlock(
        [f"user{first + at}" for at in range(len(sizes))],
        np.append(starts, n),
        ids,
        (1_500_000_000 + ordinal.astype(np.int64) * 60) * 1_000_000,
        item,
        2 + item % CATEGORIES,
        kind + 1,
        kind,
        ordinal,
        session,
        continued=False,
        unfinished=False,
    )
    return block, theme


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def exhaust(items: Iterator[object]) -> None:
    for _ in items:
        pass


def compare(table: SequenceTable, make: Callable[[PoolKind, int], Loader], repeats: int) -> None:
    """Rows/s, each way once in every round."""

    def plain_reader(*_: object) -> Iterator[Block]:
        return table_blocks(table)()

    reading: dict[str, list[float]] = {}
    batches: dict[str, list[float]] = {}
    for _ in range(repeats):
        reading.setdefault("plain", []).append(timed(lambda: exhaust(table_blocks(table)())))
        loading.read_epoch = plain_reader  # type: ignore[assignment]
        batches.setdefault("plain", []).append(timed(lambda: exhaust(iter(make("dummy", 1)))))
        loading.read_epoch = read_epoch
        for pool, workers in POOLS:
            name = f"{pool} {workers}"
            epoch = read_epoch(table.files, table.spec, 1, pool, workers)
            reading.setdefault(name, []).append(timed(lambda epoch=epoch: exhaust(epoch)))  # type: ignore[misc]
            found = make(pool, workers)
            batches.setdefault(name, []).append(timed(lambda found=found: exhaust(iter(found))))  # type: ignore[misc]
    print(f"{'reader':12}{'reading, rows/s':>18}{'of plain':>10}{'batches, rows/s':>18}{'of plain':>10}")
    for name in reading:
        cells = []
        for times in (reading, batches):
            took = statistics.median(times[name])
            cells.append(f"{table.rows / took:18,.0f}{statistics.median(times['plain']) / took:10.2f}")
        print(f"{name:12}{''.join(cells)}")


def exact(table: SequenceTable, epochs: int) -> None:
    """Every row once in every epoch of every pool; row numbers, not only how many."""
    rows = np.sort(np.concatenate([block.row_id for block in table_blocks(table)()]))
    for pool, workers in POOLS:
        wrong = 0
        for epoch in range(epochs):
            found = [block.row_id for block in read_epoch(table.files, table.spec, epoch, pool, workers)]
            wrong += not np.array_equal(np.sort(np.concatenate(found)), rows)
        print(f"{pool} {workers}: {epochs - wrong} of {epochs} epochs had each of {len(rows):,} rows once")


def waiting(found: Loader, vocabulary: TrainVocabulary, steps: int) -> None:
    """Share of time that training waits, the first step left out: it starts the threads."""
    torch.manual_seed(0)
    model = MoS(vocabulary.sizes, codes=max(len(vocabulary.themes), 1))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def endless() -> Iterator[Batch]:
        while True:
            yield from found

    batches = endless()
    model.on_step(0, steps)
    for step in range(steps + 1):
        if step == 1:
            began, waited = time.perf_counter(), found.wait_seconds
        loss = model.training_loss(next(batches)).total
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    took = time.perf_counter() - began
    share = (found.wait_seconds - waited) / took
    print(f"MoS: {took / steps:.3f} s a step over {steps} steps, {share:.2%} of it waiting for data")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--warehouse")
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--steps", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.warehouse:
            table = open_published(given.warehouse)
        else:
            table = generated(given.users, Path(folder) / "table")
        vocabulary = learn_vocabulary(table_blocks(table), FOREVER)
        every = Split("all", -FOREVER, FOREVER)
        batches = token_batches(vocabulary)

        def make(pool: PoolKind, workers: int) -> Loader:
            config = LoaderConfig(pool=pool, workers=workers)
            return Loader(table, vocabulary, every, batches=batches, config=config)

        print(f"{table.rows:,} rows in {len(table.files)} files, {torch.get_num_threads()} threads")
        if given.repeats:
            compare(table, make, given.repeats)
        if given.epochs:
            exact(table, given.epochs)
        if given.steps:
            waiting(make("dummy", 1), vocabulary, given.steps)


if __name__ == "__main__":
    main()
