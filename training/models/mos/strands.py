"""Strands of any prefix of a row on the device, for keys that are learned; as ``features.strands``' theme.

A prefix's strands are its S most recent distinct keys, newest first: sessions before that of the last
visible event count by their final key, that event's own session by its running key.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from features.codes import FIRST_INDEX, NO_POSITION, PADDING
from training.layers.embed import session_opens
from training.models.mos.router import Keys


class Strands(NamedTuple):
    """The strands of N prefixes."""

    last: Tensor  # (N, S) int64 place of each strand's last event, -1 where there is no strand
    key: Tensor  # (N, S) int64, newest first, 0 where there is no strand


def theme_mask(session: Tensor, keys: Keys) -> Tensor:
    """(B, L, L) bool: [i, j] is True where event j is in the strand of event i's running key.

    Event j is visible where it is not later than i and of i's session, or of an earlier session whose
    final key is i's running key. Events without a key see their own session only.
    """
    places = torch.arange(session.shape[1], device=session.device)
    same_session = session[:, :, None] == session[:, None, :]
    keyed = (keys.running >= FIRST_INDEX)[:, :, None]
    same_key = (keys.running[:, :, None] == keys.final[:, None, :]) & keyed
    return (same_session | same_key) & (places[:, None] >= places)


def window_mask(length: int, window: int, device: torch.device) -> Tensor:
    """(1, L, L) bool: the last ``window`` places, the query's own included."""
    places = torch.arange(length, device=device)
    back = places[:, None] - places
    return ((back >= 0) & (back < window))[None]


def next_of_key(key: Tensor) -> Tensor:
    """(B, L) int64: place of the next event with the same key in the row, L where there is none."""
    length = key.shape[1]
    order = key.long().sort(dim=1, stable=True).indices  # by (key, place)
    ranked = key.gather(1, order)
    follows = torch.full_like(order, length)
    follows[:, :-1] = torch.where(ranked[:, 1:] == ranked[:, :-1], order[:, 1:], length)
    return torch.empty_like(order).scatter_(1, order, follows)


def recent_strands(session: Tensor, keys: Keys, row: Tensor, end: Tensor, most: int) -> Strands:
    """The ``most`` (S) newest strands of the prefixes [0, end) (N,) of rows ``row`` (N,)."""
    row, last = row.long(), (end.long() - 1).clamp(min=0)
    places = torch.arange(session.shape[1], device=session.device)
    opened = torch.where(session_opens(session), places, 0).cummax(dim=1).values[row, last]  # (N,)
    running = keys.running[row, last]
    seen = end > 0
    own = (running >= FIRST_INDEX) & seen

    final = keys.final[row]  # (N, L)
    newest = (places < opened[:, None]) & (next_of_key(keys.final)[row] >= opened[:, None])
    newest &= (final >= FIRST_INDEX) & seen[:, None] & ~((final == running[:, None]) & own[:, None])
    newest = newest | ((places == last[:, None]) & own[:, None])
    most_here = min(most, session.shape[1])
    found = torch.where(newest, places, NO_POSITION).topk(most_here, dim=1).values
    found = torch.nn.functional.pad(found, (0, most - most_here), value=NO_POSITION)  # (N, S)
    key = final.gather(1, found.clamp(min=0))
    key[:, :1] = torch.where(own[:, None], running[:, None], key[:, :1])
    return Strands(found, torch.where(found >= 0, key, PADDING))


def strand_places(  # noqa: PLR0917
    session: Tensor, keys: Keys, row: Tensor, end: Tensor, strands: Strands, length: int
) -> Tensor:
    """(N, S, T) int64: the last ``length`` (T) places of each strand, ascending, -1 on the left if fewer."""
    row, last = row.long(), (end.long() - 1).clamp(min=0)
    places = torch.arange(session.shape[1], device=session.device)
    open_session = session[row] == session[row, last][:, None]  # (N, L)
    key = torch.where(open_session, keys.running[row, last][:, None], keys.final[row])
    member = (key[:, None] == strands.key[..., None]) & (strands.last >= 0)[..., None]  # (N, S, L)
    member &= places < end[:, None, None]
    fits = min(length, session.shape[1])
    found = torch.where(member, places, NO_POSITION).topk(fits, dim=2).values.flip(2)
    return torch.nn.functional.pad(found, (length - fits, 0), value=NO_POSITION)
