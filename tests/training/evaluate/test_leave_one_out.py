"""Leave one out against each history's own order."""

import torch

from tests.training.evaluate.data import batches, histories, source
from tests.training.gold import hashed
from training.batch import Batch
from training.evaluate.leave_one_out import LastTargets
from training.windows import WindowRule

USERS = histories(6)


def loaded() -> list[Batch]:
    return batches(source(USERS, WindowRule(20, 5, (8, 20))))


def times(chosen: list[Batch]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for batch in chosen:
        row, place = batch.rows.loss_mask.nonzero(as_tuple=True)
        for user, ts in zip(
            batch.rows.user_id[row].tolist(), batch.rows.ts[row, place].tolist(), strict=True
        ):
            found.setdefault(user, []).append(ts)
    return {user: sorted(ts) for user, ts in found.items()}


def expected() -> dict[int, list[int]]:
    return {
        hashed(user): ts
        for user, events in USERS.items()
        if (ts := [event.ts // 1_000_000 for event in events if event.ts > events[0].ts])
    }


def test_each_user_has_one_last_target():
    last = LastTargets(loaded())
    for from_end in (0, 1):
        found = times(list(last.select(loaded(), from_end)))
        assert found == {user: [ts[-1 - from_end]] for user, ts in expected().items() if len(ts) > from_end}


def test_training_keeps_what_comes_before_and_nothing_after():
    last = LastTargets(loaded())
    kept = list(last.before(loaded(), 2))
    assert times(kept) == {user: ts[:-2] for user, ts in expected().items() if len(ts) > 2}
    for batch in kept:
        rows = batch.rows
        places = torch.arange(rows.item.shape[1])[None]
        held = places < rows.length[:, None]
        assert rows.loss_mask.any(1).all()
        assert torch.equal(torch.where(rows.loss_mask, places, 0).amax(1) + 1, rows.length.long())
        for name in ("item", "session", "ts", "theme"):
            values = getattr(rows, name)
            assert (values[~held] == 0).all() and (values[held] > 0).any()
        assert (rows.read_at[~rows.loss_mask] == -1).all()
        assert (rows.read_at[rows.loss_mask] >= 0).all()
