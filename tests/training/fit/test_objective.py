"""How many targets a batch's loss is a mean over."""

from dataclasses import replace

import torch

from tests.training.ulim.cases import grouped, random_rows
from training.batch import Batch, all_targets
from training.fit.objective import targets


def test_targets_are_trained_items_that_count() -> None:
    """Of groups: neither repeats that fill up a batch nor unknown items."""
    batch = grouped(random_rows(1))
    assert batch.samples is not None
    assert batch.groups is not None
    item = batch.samples.item.clone()
    item[::3] = 1
    some = replace(batch, samples=replace(batch.samples, item=item))
    mask = batch.groups.mask.tolist()
    counted = [place % 3 > 0 and of for place, of in enumerate(mask)]
    assert sum(counted) < sum(mask) < len(mask)
    assert targets(some) == sum(counted)
    assert targets(replace(some, groups=None)) == int((item >= 2).sum())


def test_without_samples_every_target_of_the_rows_is_asked() -> None:
    rows = random_rows(2)
    unknown = int((all_targets(rows).item == 1).sum())
    assert unknown
    assert targets(Batch(rows)) == int(rows.loss_mask.sum()) - unknown
    assert targets(Batch(rows, samples=all_targets(rows))) == targets(Batch(rows))
    assert targets(Batch(replace(rows, loss_mask=torch.zeros_like(rows.loss_mask)))) == 0
