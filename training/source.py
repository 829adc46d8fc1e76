"""Batches for evaluation, tests and serving: every target of a split exactly once, always in one order."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import torch

from features.spec import SequenceSpec
from training.batch import Batch, Rows, all_targets
from training.gold import Blocks, arrow_blocks, table_blocks
from training.rows import concat, expand, take
from training.splits import Split
from training.table import SequenceTable
from training.vocabulary import TrainVocabulary
from training.windows import WindowRule


@dataclass(frozen=True)
class RowSource:
    """Rows of a table or of Arrow data, read without Petastorm, without shuffling and without workers."""

    blocks: Blocks
    vocabulary: TrainVocabulary
    rule: WindowRule

    @classmethod
    def of_table(
        cls, table: SequenceTable, vocabulary: TrainVocabulary, rule: WindowRule | None = None
    ) -> "RowSource":
        """A pinned table, streamed by row group."""
        return cls(table_blocks(table), vocabulary, rule or WindowRule())

    @classmethod
    def of_arrow(
        cls, rows: pa.Table, spec: SequenceSpec, vocabulary: TrainVocabulary, rule: WindowRule | None = None
    ) -> "RowSource":
        """Rows in memory with the columns of ``features.rows.arrow_schema``."""
        return cls(arrow_blocks(rows, spec), vocabulary, rule or WindowRule())

    def rows(self, split: Split, tokens: int = 4096, *, known_only: bool = False) -> Iterator[Rows]:
        """Training rows of the split's targets in batches of about ``tokens`` places, padding included.

        Shorter rows come first within what one block gives, else in the table's order; each batch has one
        padded length.
        """
        held: dict[int, list[Rows]] = {length: [] for length in self.rule.lengths}
        for block in self.blocks():
            found = expand(block, self.vocabulary, split, self.rule, known_only=known_only)
            for length, rows in found.items():
                held[length].append(rows)
                yield from _full(held[length], max(1, tokens // length))
        for length, parts in held.items():
            if parts:
                yield from _pieces(parts, max(1, tokens // length))

    def batches(self, split: Split, tokens: int = 4096, *, known_only: bool = False) -> Iterator[Batch]:
        """``rows`` with all their targets as samples."""
        for rows in self.rows(split, tokens, known_only=known_only):
            yield Batch(rows, all_targets(rows))


def _full(parts: list[Rows], size: int) -> Iterator[Rows]:
    """Batches of ``size`` rows as far as the parts fill them; the rest stays in ``parts``."""
    count = sum(len(part.length) for part in parts)
    if count < size:
        return
    rows = concat(parts)
    whole = count - count % size
    for start in range(0, whole, size):
        yield take(rows, torch.arange(start, start + size))
    parts[:] = [take(rows, torch.arange(whole, count))] if whole < count else []


def _pieces(parts: list[Rows], size: int) -> Iterator[Rows]:
    """Batches of at most ``size`` rows with all that the parts hold."""
    rows = concat(parts)
    for start in range(0, len(rows.length), size):
        yield take(rows, torch.arange(start, min(start + size, len(rows.length))))
