"""The strands of any prefix of a row, built where the rows are; the semantics are ``features.strands``'.

A prefix's strands are its S most recent distinct keys, newest first, each with its last T events. Keys
below the family's smallest form no strand. For themes, sessions before that of the last visible event count
by their final theme and that event's own session by its running theme, so nothing behind the prefix is read.

One stable sort by (key, place) per row and family lays the events of every key out as a contiguous slice,
in which those of a prefix are contiguous too: a question costs a scan for the newest event of each key and
S * T look-ups. Rows are aligned left. All shapes are static. Our choice (DESIGN.md, terms).
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from features.codes import FIRST_INDEX, NO_POSITION, PADDING
from features.spec import FamilySpec
from training.batch import Rows

KEYS: Final = {"session": "session", "category": "category", "mode": "mode", "theme": "session_theme"}
"""Family -> the field of the rows that holds the key of an event of a closed session."""


class Strands(NamedTuple):
    """The strands of one family for N prefixes."""

    pos: Tensor  # (N, S, T) int32 places in the row, ascending, right-aligned, -1 where empty
    key: Tensor  # (N, S) int32 newest first, 0 where empty
    mask: Tensor  # (N, S, T) bool: there is an event


class Links(NamedTuple):
    """Events of B rows linked by key; all (B, L) int64."""

    order: Tensor  # places by (key, place)
    slot: Tensor  # where a place stands in order
    rank: Tensor  # events of the same key before a place
    following: Tensor  # next place with the same key, L where there is none


def strands(rows: Rows, row: Tensor, end: Tensor, family: FamilySpec) -> Strands:
    """Strands of the prefixes ``[0, end)`` (N,) of rows ``row`` (N,), with S and T those of the family.

    ``end`` is ``Samples.end``; nothing at or behind it is read, nor the final theme of the session of the
    event before it. Where ``end`` is 0 the strands are empty.
    """
    row, end = row.long(), end.long()
    if family.name == "recent":
        pos = (end[:, None] + torch.arange(-family.length, 0, device=end.device)).clamp(min=NO_POSITION)
        return _found(pos[:, None], (end > 0)[:, None])
    key = getattr(rows, KEYS[family.name])
    links = link(key)
    places = torch.arange(key.shape[1], device=key.device)
    if family.name == "theme":
        return _theme(rows, row, end, family, links)
    newest = (places < end[:, None]) & (links.following[row] >= end[:, None])  # (N, L)
    newest &= key[row] >= family.min_key
    last = latest(newest, family.strands)
    pos = _places(links, row, last, family.length)
    return _found(pos, torch.where(last >= 0, key[row[:, None], last.clamp(min=0)], PADDING))


def theme_mask(rows: Rows) -> Tensor:
    """(B, L, L) bool: [i, j] is True where event j is in the theme strand of the prefix that ends with i.

    For models that read all prefixes at once from one masked pass over the rows. Event j is visible to i
    where it is not later and both are in one session, or j's session was over before i's and its final
    theme is i's running theme. Padding sees padding only, so that no row of the mask is empty.

    A strand of one theme's sessions is PAPERS.md [P]; the mask, and the open session in it, are our choice.
    """
    places = torch.arange(rows.session.shape[1], device=rows.session.device)
    own = rows.session[:, :, None] == rows.session[:, None, :]
    same = (rows.theme[:, :, None] == rows.session_theme[:, None, :]) & (rows.theme >= FIRST_INDEX)[
        :, :, None
    ]
    return (own | same) & (places[:, None] >= places)


def session_starts(session: Tensor) -> Tensor:
    """(B, L) int64: the place at which each event's session begins in its row.

    >>> session_starts(torch.tensor([[4, 4, 5, 7, 7]])).tolist()
    [[0, 0, 2, 3, 3]]
    """
    places = torch.arange(session.shape[1], device=session.device)
    begins = pad(session[:, 1:] != session[:, :-1], (1, 0), value=True)
    return torch.where(begins, places, 0).cummax(dim=1).values


def link(key: Tensor) -> Links:
    """Link the events of every row by key."""
    length = key.shape[1]
    places = torch.arange(length, device=key.device)
    ranked, order = key.sort(dim=1, stable=True)
    begins = pad(ranked[:, 1:] != ranked[:, :-1], (1, 0), value=True)
    first = torch.where(begins, places, 0).cummax(dim=1).values
    following = torch.where(pad(begins[:, 1:], (0, 1), value=True), length, order.roll(-1, dims=1))
    slot, rank, after = (
        torch.empty_like(order).scatter(1, order, values)
        for values in (places.expand_as(order), places - first, following)
    )
    return Links(order, slot, rank, after)


def latest(mask: Tensor, count: int) -> Tensor:
    """(N, count) int64: the last true places of ``mask`` (N, L), latest first, -1 where there are fewer."""
    places = torch.arange(mask.shape[1], device=mask.device)
    here = min(count, mask.shape[1])
    found = torch.where(mask, places, NO_POSITION).topk(here, dim=1).values
    return pad(found, (0, count - here), value=NO_POSITION)


def _theme(rows: Rows, row: Tensor, end: Tensor, family: FamilySpec, links: Links) -> Strands:
    """Closed sessions by their final theme, behind the open session by its running theme."""
    final = rows.session_theme[row]  # (N, L)
    places = torch.arange(final.shape[1], device=final.device)
    before = (end - 1).clamp(min=0)
    opened = session_starts(rows.session)[row, before]  # (N,)
    running = rows.theme[row, before]
    own = (running >= FIRST_INDEX) & (end > 0)

    newest = (places < opened[:, None]) & (links.following[row] >= opened[:, None]) & (end > 0)[:, None]
    newest &= final >= FIRST_INDEX
    running_theme = (final == running[:, None]) & own[:, None]
    others = latest(newest & ~running_theme, family.strands)  # (N, S)
    closed = latest(newest & running_theme, 1)  # (N, 1)
    last = torch.where(own[:, None], torch.cat([closed, others[:, :-1]], dim=1), others)
    key = torch.where(last >= 0, final.gather(1, last.clamp(min=0)), PADDING)
    key[:, :1] = torch.where(own, running, key[:, 0])[:, None]

    taken = pad(torch.where(own, end - opened, 0)[:, None], (0, family.strands - 1))  # (N, S) open events
    pos = _places(links, row, last, family.length, taken)
    step = torch.arange(family.length - 1, -1, -1, device=end.device)  # (T,) 0 is the newest
    pos = torch.where(step < taken[..., None], (end[:, None] - 1 - step)[:, None], pos)
    return _found(pos, key)


def _places(links: Links, row: Tensor, last: Tensor, length: int, taken: Tensor | None = None) -> Tensor:
    """(N, S, T) places of ``last`` (N, S) and before it with its key, to the left of ``taken`` (N, S)."""
    back = torch.arange(length - 1, -1, -1, device=last.device).expand(*last.shape, -1)
    if taken is not None:
        back = back - taken[..., None]
    in_row, at = row[:, None], last.clamp(min=0)
    there = (back >= 0) & (back <= links.rank[in_row, at][..., None]) & (last >= 0)[..., None]
    slot = torch.where(there, links.slot[in_row, at][..., None] - back, 0)
    return torch.where(there, links.order[in_row[..., None], slot], NO_POSITION)


def _found(pos: Tensor, key: Tensor) -> Strands:
    return Strands(pos.to(torch.int32), key.to(torch.int32), pos >= 0)
