"""Small histories as batches; groups are filled by plain loops over the contract's words."""

from dataclasses import replace

import numpy as np
import torch

from training.batch import Batch, Groups, Rows, Samples, Shared, all_targets, gap_code
from training.layers.embed import Sizes
from training.layers.encoder import Shape
from training.models.ulim.model import Ulim

ITEMS, CATEGORIES = 42, 7  # codes, 0 and 1 included
ITEM_CATEGORY = torch.tensor([0, 1, *(2 + item % (CATEGORIES - 2) for item in range(2, ITEMS))])
SIZES = Sizes(ITEMS, CATEGORIES, 4, 5)
SHAPE = Shape(dim=16, layers=1, heads=2, ff=2, dropout=0.1)

Event = tuple[int, int, int]  # ts, item, session


def rows_of(histories: list[list[Event]], length: int | None = None) -> Rows:
    """Histories in order of time as rows; every event is a target."""
    length = length or max(len(history) for history in histories)
    size = (len(histories), length)
    item, session, ts = (torch.zeros(size, dtype=torch.int64) for _ in range(3))
    read_at = torch.full(size, -1)
    for row, history in enumerate(histories):
        for place, (when, what, where) in enumerate(history):
            ts[row, place], item[row, place], session[row, place] = when, what, where
            earlier = [at for at in range(place) if history[at][0] < when]
            read_at[row, place] = max(earlier, default=-1)
    real = item > 0
    seen = ts.gather(1, read_at.clamp(min=0))
    known = session.gather(1, read_at.clamp(min=0))
    return Rows(
        item=item.int(),
        category=ITEM_CATEGORY[item].int(),
        type=(real * (1 + item % 3)).int(),
        mode=(real * (1 + item % 4)).int(),
        session=session.int(),
        theme=real.int(),
        session_theme=real.int(),
        ts=ts,
        length=real.sum(1).int(),
        read_at=read_at.int(),
        query_gap=torch.where(read_at >= 0, gap_code(ts - seen), 31).to(torch.int8),
        new_session=(read_at < 0) | (session != known),
        loss_mask=real,
        row_id=torch.arange(len(histories)),
        user_id=torch.arange(len(histories)) % 5,
    )


def random_histories(seed: int, users: int = 6, longest: int = 40) -> list[list[Event]]:
    """Histories with equal times, unknown items and old sessions."""
    rng = np.random.default_rng(seed)
    histories = []
    for _ in range(users):
        ts, session, history = 1_000, 1, []
        for _ in range(int(rng.integers(1, longest + 1))):
            ts += int(rng.choice([0, 1, 60, 5_000]))
            session += int(rng.random() < 0.2)
            history.append((ts, int(rng.integers(1, ITEMS)), session))
        histories.append(history)
    return histories


def random_rows(seed: int, users: int = 6, longest: int = 40) -> Rows:
    return rows_of(random_histories(seed, users, longest))


def samples_of(rows: Rows, row: int, place: int) -> Samples:
    """The one target at that place."""
    mask = torch.zeros_like(rows.loss_mask)
    mask[row, place] = True
    return all_targets(replace(rows, loss_mask=mask))


def take(samples: Samples, index: torch.Tensor) -> Samples:
    return samples.map(lambda tensor: tensor[index])


def grouped(rows: Rows, size: int = 4, negatives: int = 12, seed: int = 0) -> Batch:
    """Groups of ``size`` targets of one category, the last one filled up; negatives are its items."""
    rng = np.random.default_rng(seed)
    every = all_targets(rows)
    index, mask, category = [], [], []
    for name in range(2, CATEGORIES):
        own = torch.nonzero(every.category == name)[:, 0].tolist()
        for start in range(0, len(own), size):
            part = own[start : start + size]
            mask += [True] * len(part) + [False] * (size - len(part))
            index += part + part[:1] * (size - len(part))
            category.append(name)
    samples = take(every, torch.tensor(index))
    negative = torch.zeros(len(category), negatives, dtype=torch.int32)
    for group, name in enumerate(category):
        items = torch.nonzero(name == ITEM_CATEGORY)[:, 0].numpy()
        drawn = rng.choice(items, min(negatives, 6), replace=True)
        negative[group, : len(drawn)] = torch.from_numpy(drawn)
    groups = Groups(
        category=torch.tensor(category, dtype=torch.int32),
        negative=negative,
        logq=torch.from_numpy(rng.normal(size=negative.shape).astype(np.float32)),
        positive_logq=torch.from_numpy(rng.normal(size=len(index)).astype(np.float32)),
        mask=torch.tensor(mask),
        long_pos=_places(rows, samples, 64, category, size),
        short_pos=_places(rows, samples, 100),
        pointer_category=_pointers(rows, samples),
    )
    shared = Shared(
        torch.from_numpy(rng.integers(2, ITEMS, 16).astype(np.int32)),
        torch.zeros(16),
        torch.zeros(rows.item.shape),
    )
    return Batch(rows, samples, shared, groups)


def _places(
    rows: Rows, samples: Samples, length: int, category: list[int] | None = None, size: int = 0
) -> torch.Tensor:
    pos = torch.full((len(samples.row), length), -1, dtype=torch.int32)
    for n, (row, end) in enumerate(zip(samples.row.tolist(), samples.end.tolist(), strict=True)):
        places = list(range(end))
        if category is not None:
            places = [at for at in places if rows.category[row, at] == category[n // size]]
        places = places[-length:]
        if places:
            pos[n, -len(places) :] = torch.tensor(places, dtype=torch.int32)
    return pos


def _pointers(rows: Rows, samples: Samples) -> torch.Tensor:
    found = torch.zeros(len(samples.row), 32, dtype=torch.int32)
    for n, (row, end) in enumerate(zip(samples.row.tolist(), samples.end.tolist(), strict=True)):
        names: list[int] = []
        for at in reversed(range(end)):
            name = int(rows.category[row, at])
            if name >= 2 and name not in names:
                names.append(name)
        found[n, : len(names)] = torch.tensor(names[:32], dtype=torch.int32)
    return found


def small_model(seed: int = 0) -> Ulim:
    """A model of random weights in eval mode; biases that start at 0 are moved, so that they are seen."""
    torch.manual_seed(seed)
    model = Ulim(SIZES, ITEM_CATEGORY, SHAPE, category_dim=8, searched=3).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model
