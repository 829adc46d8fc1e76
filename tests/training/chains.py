"""Small histories whose themes are chains of items: on a return a chain resumes, or starts anywhere."""

import torch

from training.batch import Rows, gap_code
from training.layers.embed import Sizes

MINUTE, HOUR = 60, 3600


def chain_rows(
    users: int,
    *,
    sessions: int = 12,
    themes: int = 6,
    own: int = 4,
    items_per_theme: int = 40,
    hop: float = 0.8,
    resume: bool = True,
    seed: int = 0,
) -> tuple[Rows, torch.Tensor, Sizes]:
    """Rows, which targets (B, L) open a session after a return to its theme, and the vocabulary's sizes.

    Sessions hold 2 to 5 events. The next item of a theme is one or two steps further along its ring.
    """
    draw = torch.Generator().manual_seed(seed)

    def below(n: int) -> int:
        return int(torch.randint(n, (1,), generator=draw))

    histories = []
    for _ in range(users):
        mine = torch.randperm(themes, generator=draw)[:own].tolist()
        at = {theme: below(items_per_theme) for theme in mine}
        theme, clock, events, seen = mine[0], 0, [], set()
        for ordinal in range(1, sessions + 1):
            before = theme
            if ordinal > 1 and torch.rand(1, generator=draw) < hop:
                theme = [other for other in mine if other != theme][below(own - 1)]
            if not resume:
                at[theme] = below(items_per_theme)
            clock += HOUR * (2 + below(40))
            for step in range(2 + below(4)):
                at[theme] = (at[theme] + 1 + below(2)) % items_per_theme
                back = step == 0 and theme in seen and theme != before
                events.append((theme, at[theme], ordinal, clock, back))
                clock += MINUTE * (1 + below(5))
            seen.add(theme)
        histories.append(events)

    length = max(map(len, histories))
    columns = torch.zeros(5, users, length, dtype=torch.int64)
    for user, events in enumerate(histories):
        columns[:, user, : len(events)] = torch.tensor(events).T
    theme, step, session, ts, returns = columns
    real = session > 0
    count = real.sum(1)
    items = themes * items_per_theme + 2
    place = torch.arange(length).expand(users, -1)
    read_at = torch.where(real, place - 1, -1)
    gap = torch.zeros_like(ts)
    gap[:, 1:] = ts[:, 1:] - ts[:, :-1]
    opens = torch.ones_like(real)
    opens[:, 1:] = session[:, 1:] != session[:, :-1]
    code = torch.where(real, theme + 2, 0).int()
    one = real.int()
    rows = Rows(
        item=torch.where(real, theme * items_per_theme + step + 2, 0).int(),
        category=code,
        type=one * 2,
        mode=one,
        session=session.int(),
        theme=code,
        session_theme=code,
        ts=ts,
        length=count.int(),
        read_at=read_at.int(),
        query_gap=torch.where(place > 0, gap_code(gap), 31).to(torch.int8),
        new_session=opens,
        loss_mask=real & (place > 0),
        row_id=torch.arange(users),
        user_id=torch.arange(users),
    )
    return rows, returns.bool() & rows.loss_mask, Sizes(items, themes + 2, 3, 5)
