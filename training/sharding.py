"""Which part of a table each data-parallel rank reads, and how many batches that makes.

A length bucket with enough files is dealt out by file, so that no rank reads another's rows; a smaller one
is read by all, and each keeps the rows whose number falls to it. Ranks never get equal shares, but they
must take equal numbers of steps or wait for each other forever: the shares are counted once, and every rank
fills up to the largest number by repeating batches of its own. Our choice.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from training.batching import Batcher, Counts
from training.errors import ConfigError
from training.gold import Block, read_row_groups, to_block
from training.rows import kept_targets
from training.splits import Split
from training.table import SequenceFile, SequenceTable
from training.vocabulary import TrainVocabulary
from training.windows import WindowRule, cut

FILES_PER_RANK: Final = 4
"""A bucket is dealt out by file from so many files a rank on; below, shares would differ too much."""


@dataclass(frozen=True)
class Shard:
    """What one rank of ``world`` reads."""

    rank: int
    world: int
    files: tuple[SequenceFile, ...]
    striped: frozenset[int]  # buckets that all ranks read, each keeping its rows

    def keep(self, block: Block) -> Block:
        """The rows of a block that are this rank's."""
        if block.bucket not in self.striped:
            return block
        return block.take(np.flatnonzero(block.row_id % self.world == self.rank))


def shards(table: SequenceTable, world: int) -> list[Shard]:
    """A shard for each rank; together they hold every row once."""
    if world < 1:
        raise ConfigError(f"world = {world}; there is at least one rank")
    files: list[list[SequenceFile]] = [[] for _ in range(world)]
    striped = set()
    for bucket in table.buckets:
        own = table.in_bucket(bucket)
        if world > 1 and len(own) < FILES_PER_RANK * world:
            striped.add(bucket)
            for part in files:
                part.extend(own)
            continue
        rows = [0] * world
        for file in sorted(own, key=lambda file: (-file.rows, file.uri)):
            rank = rows.index(min(rows))
            files[rank].append(file)
            rows[rank] += file.rows
    return [Shard(rank, world, tuple(own), frozenset(striped)) for rank, own in enumerate(files)]


def equal_steps(
    table: SequenceTable,
    parts: Sequence[Shard],
    batcher: Batcher,
    *,
    vocabulary: TrainVocabulary,
    split: Split,
    rule: WindowRule,
) -> int:
    """Batches of an epoch that every rank can make; reads the table once, without Petastorm.

    ConfigError where a rank would have none.
    """
    owner = {file.uri: part for part in parts for file in part.files if file.bucket not in part.striped}
    rows = [Counter[int]() for _ in parts]
    targets = [0] * len(parts)
    for file in table.files:
        for bucket, group in read_row_groups([file]):
            block = to_block(group, bucket, table.spec)
            for part in [owner[file.uri]] if file.uri in owner else parts:
                found = count(part.keep(block), vocabulary, split, rule)
                rows[part.rank].update(found.rows)
                targets[part.rank] += found.targets
    steps = [batcher.most_steps(Counts(dict(own), n)) for own, n in zip(rows, targets, strict=True)]
    if not min(steps):
        raise ConfigError(
            f"rank {steps.index(0)} of {len(parts)} has no target to learn from; train on fewer devices"
        )
    return max(steps)


def count(block: Block, vocabulary: TrainVocabulary, split: Split, rule: WindowRule) -> Counts:
    """What ``training.rows.expand`` makes of a block for learning."""
    found = cut(kept_targets(block, vocabulary, split, known_only=True), rule)
    lengths = np.asarray(rule.lengths)[np.searchsorted(rule.lengths, found.length)]
    return Counts(dict(Counter(lengths.tolist())), len(found.window))
