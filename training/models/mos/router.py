"""The theme-aware router: which strand each session belongs to, event by event."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from features.codes import FIRST_INDEX, NO_THEME, PADDING
from training.batch import Rows
from training.layers.embed import session_opens
from training.models.mos.codebook import Codebook
from training.models.mos.stages import Stage


class Keys(NamedTuple):
    """Strand key of each event, as theme codes: 0 padding, 1 none, 2 and up themes; (B, L) int64.

    ``final`` of the session that holds a prefix's last event tells what came after the prefix: there
    ``running`` counts, for all of its visible events.
    """

    running: Tensor
    final: Tensor


def session_ends(session: Tensor) -> Tensor:
    """(B, L) int64: place of the last event of each event's session in the row."""
    places = torch.arange(session.shape[1], device=session.device)
    last = torch.ones_like(session, dtype=torch.bool)
    last[:, :-1] = session[:, :-1] != session[:, 1:]
    far = torch.where(last, places, session.shape[1])
    return far.flip(1).cummin(dim=1).values.flip(1)


def running_session_vectors(rows: Rows, items: Tensor) -> tuple[Tensor, Tensor]:
    """Unit mean of the item vectors of each event's session so far (B, L, d), and whether there is one.

    ``items`` (V, d); unknown items have no say. No gradient flows: sessions are routed, not learned.
    """
    known = rows.item >= FIRST_INDEX  # (B, L)
    vectors = torch.where(known[..., None], items.detach()[rows.item.long()].float(), 0)
    sums = torch.cat([vectors, known[..., None].float()], dim=-1).cumsum(dim=1)  # (B, L, d + 1)
    places = torch.arange(rows.item.shape[1], device=sums.device)
    opened = torch.where(session_opens(rows.session), places, 0).cummax(dim=1).values  # (B, L)
    before = sums.gather(1, (opened - 1).clamp(min=0)[..., None].expand_as(sums))
    sums = sums - torch.where((opened > 0)[..., None], before, 0)
    return normalize(sums[..., :-1], dim=-1), sums[..., -1] > 0.5


class Router(nn.Module):
    """Themes of the pipeline first, then the nearest codes; a code's key is its index plus 2.

    The stage is kept with the weights, since a loaded model must route as it was trained to.
    """

    def __init__(self, codes: int, dim: int, *, revive_after: int = 200) -> None:
        super().__init__()
        self.codebook = Codebook(codes, dim)
        self.revive_after = revive_after
        self.stage = Stage.THEMES

    def get_extra_state(self) -> Tensor:
        """The stage, for the state dict."""
        return torch.tensor(int(self.stage))

    def set_extra_state(self, state: Tensor) -> None:
        """Take the stage from a state dict."""
        self.stage = Stage(int(state))

    def keys(self, rows: Rows, items: Tensor) -> Keys:
        """Strand keys of every event, given item vectors ``items`` (V, d)."""
        if self.stage == Stage.THEMES:
            self._check(rows)
            return Keys(rows.theme.long(), rows.session_theme.long())
        z, known = running_session_vectors(rows, items)
        running = torch.where(known, self.codebook.nearest(z) + FIRST_INDEX, NO_THEME)
        running = torch.where(rows.session == PADDING, PADDING, running)
        return Keys(running, running.gather(1, session_ends(rows.session)))

    @torch.no_grad()
    def learn(self, rows: Rows, keys: Keys, items: Tensor) -> None:
        """Move the codes towards the sessions of a training batch, unless they are fixed by now."""
        if self.stage == Stage.GATE:
            return
        z, known = running_session_vectors(rows, items)
        places = torch.arange(rows.item.shape[1], device=z.device)
        closing = (session_ends(rows.session) == places) & known & (keys.final >= FIRST_INDEX)
        z, closing = z.flatten(0, 1), closing.flatten()
        self.codebook.update(z, (keys.final.flatten() - FIRST_INDEX).clamp(min=0), closing)
        if self.stage == Stage.CODES:
            self.codebook.revive(z, closing, self.revive_after)

    def _check(self, rows: Rows) -> None:
        most = self.codebook.codes + FIRST_INDEX - 1
        if not torch.compiler.is_compiling() and rows.item.device.type == "cpu":
            found = int(rows.session_theme.max())
            if found > most:
                raise ValueError(
                    f"theme {found} has no code; raise codes to {found - FIRST_INDEX + 1} or more"
                )
