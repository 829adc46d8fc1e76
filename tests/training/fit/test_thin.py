"""Thinning the held-out targets, against the plain definition."""

from collections.abc import Iterator

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.fit.toy import rows
from training.batch import Rows
from training.fit.thin import thin
from training.rows import take


def _parts(held: Rows, size: int) -> Iterator[Rows]:
    for some in torch.arange(len(held.length)).split(size):
        yield take(held, some)


@given(
    users=st.lists(st.integers(-5, 5), min_size=1, max_size=40),
    targets=st.integers(1, 60),
    size=st.integers(1, 9),
    tokens=st.integers(1, 40),
)
def test_the_first_users_that_fit_are_kept_whole(
    users: list[int], targets: int, size: int, tokens: int
) -> None:
    held = rows(len(users), seed=len(users) + targets)
    held = Rows(**(vars(held) | {"user_id": torch.tensor(users)}))
    brings = {user: int(held.loss_mask[held.user_id == user].sum()) for user in users}
    kept: list[int] = []
    for user in sorted(brings):
        if kept and sum(brings[one] for one in kept) + brings[user] > targets:
            break
        kept.append(user)

    found = thin(_parts(held, size), targets, tokens)
    rows_found = sorted(int(row) for batch in found for row in batch.rows.row_id)
    assert rows_found == [row for row, user in enumerate(users) if user in kept]
    assert all(len(batch.rows.length) <= max(1, tokens // batch.rows.item.shape[1]) for batch in found)
    assert sum(len(batch.samples.row) for batch in found if batch.samples) == sum(brings[one] for one in kept)


def test_nothing_to_thin_is_nothing() -> None:
    assert thin(iter(()), 5, 100) == []
