"""Training rows from histories, without tables: the codes are the histories' own numbers."""

from collections.abc import Sequence

import numpy as np
import torch

from tests.oracles.strands import Event
from training.batch import Rows, gap_code


def rows_of(histories: Sequence[Sequence[Event]], pad: int = 0) -> Rows:
    """Whole histories as rows, aligned left; every event with an earlier one is a target."""
    length = max(map(len, histories)) + pad
    shape = (len(histories), length)

    def column(name: str) -> torch.Tensor:
        values = torch.zeros(shape, dtype=torch.int32)
        for at, events in enumerate(histories):
            values[at, : len(events)] = torch.tensor([getattr(event, name) for event in events])
        return values

    ts = torch.zeros(shape, dtype=torch.int64)
    read_at = torch.full(shape, -1, dtype=torch.int32)
    query_gap = torch.zeros(shape, dtype=torch.int8)
    new_session = torch.zeros(shape, dtype=torch.bool)
    for at, events in enumerate(histories):
        times = np.array([event.ts for event in events])
        ts[at, : len(events)] = torch.from_numpy(times // 1_000_000)
        read = np.searchsorted(times, times) - 1
        read_at[at, : len(events)] = torch.from_numpy(read.astype(np.int32))
        for place, last in enumerate(read.tolist()):
            if last >= 0:
                query_gap[at, place] = gap_code(ts[at, place] - ts[at, last])
                new_session[at, place] = events[place].session != events[last].session
    return Rows(
        item=column("item"),
        category=column("category"),
        type=column("mode"),
        mode=column("mode"),
        session=column("session"),
        theme=column("theme_running"),
        session_theme=column("theme_session"),
        ts=ts,
        length=torch.tensor([len(events) for events in histories], dtype=torch.int32),
        read_at=read_at,
        query_gap=query_gap,
        new_session=new_session,
        loss_mask=read_at >= 0,
        row_id=torch.arange(len(histories)),
        user_id=torch.arange(len(histories)),
    )
