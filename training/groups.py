"""Batches grouped by category: M samples of one category share their negatives (ULIM, PAPERS.md [D]).

Positive and negatives then share the category, so that a model can't tell them apart by it. Groups are
drawn from a pool of rows; samples that fill no group of their category get negatives of their own, as
groups of one, and none is ever dropped. The category is that of the target's item, in whose index
retrieval will look for it. Batch composition: our choice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from features.codes import FIRST_INDEX, NO_POSITION
from training.batch import Batch, Groups, Rows, Samples, all_targets
from training.batching import Counts, Plan
from training.in_category import InCategory
from training.layers.gather import distinct_categories, recent_places, visible
from training.negatives import SharedNegatives
from training.rows import concat, take
from training.strands import latest

LONG: Final = 64
SHORT: Final = 100
POINTERS: Final = 32
"""Events of a category, latest events and distinct categories of a sample (TRAINING.md)."""


@dataclass(frozen=True)
class GroupRule:
    """G groups of M samples with K negatives each; samples left over get ``own_negatives`` each."""

    groups: int = 8
    samples: int = 16
    negatives: int = 512
    own_negatives: int = 64
    pool_rows: int = 4096

    @property
    def size(self) -> int:
        """N, samples of a batch."""
        return self.groups * self.samples


@dataclass(frozen=True)
class _Pool:
    """Rows of every padded length and all their targets; a sample's row counts over all lengths."""

    rows: list[Rows]
    first: list[int]  # number of the first row of each length
    samples: Samples
    length: Tensor  # (N,) padded length of each sample's row
    category: Tensor  # (N,) of the target's item


class GroupBatches:
    """Batches of G groups of M samples, and of samples that are groups of one."""

    def __init__(self, rule: GroupRule, in_category: InCategory, shared: SharedNegatives | None) -> None:
        self._rule, self._in_category, self._shared = rule, in_category, shared
        self._held: dict[int, list[Rows]] = {}
        self._count = 0

    def add(self, rows: dict[int, Rows], generator: Generator) -> Iterator[Plan]:
        """Plans for all samples of the pool once it is full."""
        for length, part in rows.items():
            self._held.setdefault(length, []).append(part)
            self._count += len(part.length)
        if self._count >= self._rule.pool_rows:
            yield from self.finish(generator)

    def finish(self, generator: Generator) -> Iterator[Plan]:
        """Plans for all samples held, in random order."""
        if not self._count:
            return
        pool = self._pool()
        grouped, own = _group(pool.category, pool.length, self._rule.samples, generator)
        longest = pool.length[grouped].amax(dim=1)
        by_length = longest.argsort(stable=True)  # groups arrive in random order within a length
        rule = self._rule
        shared = torch.split(grouped[by_length], rule.groups)
        single = torch.split(own[:, None], rule.size)
        plans = [self._plan(pool, chosen, rule.groups, rule.negatives) for chosen in shared if len(chosen)]
        plans += [self._plan(pool, chosen, rule.size, rule.own_negatives) for chosen in single if len(chosen)]
        for at in torch.randperm(len(plans), generator=generator).tolist():
            yield plans[at]

    def most_steps(self, counts: Counts) -> int:
        """All batches full, and two that are not for each pool."""
        rows = sum(counts.rows.values())
        return counts.targets // self._rule.size + 2 * -(-rows // self._rule.pool_rows) if rows else 0

    def _pool(self) -> _Pool:
        rows = [concat(self._held[length]) for length in sorted(self._held)]
        self._held, self._count = {}, 0
        first, samples, lengths = [0], [], []
        for part in rows:
            found = all_targets(part)
            samples.append(replace(found, row=found.row + first[-1]))
            lengths.append(torch.full_like(found.row, part.item.shape[1]))
            first.append(first[-1] + len(part.length))
        joined = _join(samples)
        category = self._in_category.item_category[joined.item.long()]
        return _Pool(rows, first, joined, torch.cat(lengths), category)

    def _plan(self, pool: _Pool, chosen: Tensor, groups: int, negatives: int) -> Plan:
        """A batch of the samples ``chosen`` (g, M), filled up to ``groups`` with repeats that don't count."""
        counted = torch.arange(groups) < len(chosen)
        filled = chosen[torch.arange(groups) % len(chosen)]

        def make(generator: Generator) -> Batch:
            index = filled.flatten()
            category = pool.category[filled[:, 0]]
            rows, row = _gather(pool, index)
            samples = replace(_pick(pool.samples, index), row=row)
            rows = _ask_only(rows, samples)
            drawn = self._in_category.draw(category, negatives, generator)
            long_pos, short_pos, pointer = histories(rows, samples, pool.category[index])
            found = Groups(
                category=category.to(torch.int32),
                negative=drawn.item,
                logq=drawn.logq,
                positive_logq=self._in_category.positive_logq(samples.item, negatives),
                mask=counted.repeat_interleave(filled.shape[1]),
                long_pos=long_pos,
                short_pos=short_pos,
                pointer_category=pointer,
            )
            shared = None if self._shared is None else self._shared.draw(rows, generator)
            return Batch(rows, samples, shared, found)

        return make


def histories(rows: Rows, samples: Samples, category: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What N samples see: events of ``category`` (N,), the latest events, and categories, newest first.

    ``long_pos`` (N, 64), ``short_pos`` (N, 100) and ``pointer_category`` (N, 32) of ``Groups``. Unknown
    categories have no events and are pointed at by none.
    """
    theirs = rows.category[samples.row]  # (N, L)
    own = visible(rows, samples) & (theirs == category[:, None]) & (category >= FIRST_INDEX)[:, None]
    long, short = latest(own, LONG).flip(1), recent_places(samples.end, SHORT)
    return long.to(torch.int32), short.to(torch.int32), distinct_categories(rows, samples, POINTERS)


def _group(category: Tensor, length: Tensor, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Groups (g, size) of samples of one category and, as far as possible, one length; and the rest (r,)."""
    order = torch.randperm(len(category), generator=generator)
    order = order[length[order].argsort(stable=True)]
    order = order[category[order].argsort(stable=True)]
    ranked = category[order]
    counts = torch.bincount(ranked)
    rank = torch.arange(len(order)) - (counts.cumsum(0) - counts)[ranked]
    # What is left over comes from either end, so that it is not always the longest rows.
    skipped = (counts % size)[ranked]
    offset = torch.randint(0, 2, (len(counts),), generator=generator)[ranked] * (counts[ranked] - skipped)
    left = (rank >= offset) & (rank < offset + skipped)
    groups = order[~left].view(-1, size)
    groups = groups[torch.randperm(len(groups), generator=generator)]
    rest = order[left]
    rest = rest[torch.randperm(len(rest), generator=generator)]
    return groups, rest[length[rest].argsort(stable=True)]


def _join(parts: list[Samples]) -> Samples:
    """Samples without candidates, one part after the other."""
    names = ("row", "end", "place", "item", "category", "query_ts", "query_gap", "new_session")
    return Samples(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _pick(samples: Samples, index: Tensor) -> Samples:
    return samples.map(lambda values: values[index])


def _gather(pool: _Pool, index: Tensor) -> tuple[Rows, Tensor]:
    """The rows of the samples ``index`` (N,), each once, padded to the longest; each sample's row there."""
    wanted, row = torch.unique(pool.samples.row[index], return_inverse=True)
    longest = int(pool.length[index].max())
    parts = []
    for number, rows in enumerate(pool.rows):
        inside = (wanted >= pool.first[number]) & (wanted < pool.first[number + 1])
        if bool(inside.any()):
            parts.append(_widen(take(rows, wanted[inside] - pool.first[number]), longest))
    return concat(parts), row


def _widen(rows: Rows, length: int) -> Rows:
    """The same rows with more padding."""
    more = length - rows.item.shape[1]
    if not more:
        return rows
    wide = rows.map(lambda values: pad(values, (0, more)) if values.ndim == 2 else values)
    return replace(wide, read_at=pad(rows.read_at, (0, more), value=NO_POSITION))


def _ask_only(rows: Rows, samples: Samples) -> Rows:
    """The rows with these samples as their only targets."""
    asked = torch.zeros_like(rows.loss_mask)
    asked[samples.row, samples.place.long()] = True
    return replace(
        rows,
        loss_mask=asked,
        read_at=rows.read_at.masked_fill(~asked, NO_POSITION),
        query_gap=rows.query_gap.masked_fill(~asked, 0),
        new_session=rows.new_session & asked,
    )
