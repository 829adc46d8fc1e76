"""The theme-aware router: which theme each session has, event by event.

A router that learns themes of sessions is the paper's (PAPERS.md [P]). The nearest code to a session's mean
item vector, and the running theme of a session that is still open, are our choice.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from features.codes import FIRST_INDEX, NO_THEME, PADDING
from training.batch import Rows, Samples
from training.models.mos.codebook import Codebook
from training.models.mos.stages import Stage
from training.strands import session_starts


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
    opened = session_starts(rows.session)  # (B, L)
    before = sums.gather(1, (opened - 1).clamp(min=0)[..., None].expand_as(sums))
    sums = sums - torch.where((opened > 0)[..., None], before, 0)
    return normalize(sums[..., :-1], dim=-1), sums[..., -1] > 0.5


def places_read(ends: Tensor, asked: Samples) -> Tensor:
    """(B, L) bool: sessions end here (``ends`` (B, L) of ``session_ends``), or a sample's last event is."""
    read = ends == torch.arange(ends.shape[1], device=ends.device)
    read[asked.row.long(), (asked.end.long() - 1).clamp(min=0)] = True
    return read


class Router(nn.Module):
    """Themes of the pipeline first, then the nearest codes; a code's theme is its index plus 2.

    A session's final theme is that of its last event in the row; nothing before a target's session reads
    what came after it, as with the pipeline's themes.

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

    def tagged(self, rows: Rows, items: Tensor, asked: Samples | None = None) -> Rows:
        """The rows with ``theme`` and ``session_theme`` as this router sees them, given ``items`` (V, d).

        With ``asked``, ``theme`` holds at the last event that each of those samples sees and at the ends
        of sessions, and is NO_THEME elsewhere: all that ``strands`` reads. Codes are then compared once
        for each session and each place asked, not for each event.
        """
        if self.stage == Stage.THEMES:
            self._check(rows)
            return rows
        z, known = running_session_vectors(rows, items)
        ends = session_ends(rows.session)
        if asked is not None:
            known &= places_read(ends, asked)
        known &= rows.session != PADDING
        running = torch.full_like(rows.theme, NO_THEME)
        if asked is None:
            running = torch.where(known, self.codebook.nearest(z) + FIRST_INDEX, running)
        else:
            running[known] = (self.codebook.nearest(z[known]) + FIRST_INDEX).to(running.dtype)
        running = torch.where(rows.session == PADDING, PADDING, running).to(rows.theme.dtype)
        return replace(rows, theme=running, session_theme=running.gather(1, ends))

    @torch.no_grad()
    def learn(self, tagged: Rows, items: Tensor) -> None:
        """Move the codes towards the sessions of a tagged training batch, unless they are fixed by now."""
        if self.stage == Stage.GATE:
            return
        z, known = running_session_vectors(tagged, items)
        places = torch.arange(tagged.item.shape[1], device=z.device)
        closing = (session_ends(tagged.session) == places) & known & (tagged.session_theme >= FIRST_INDEX)
        z, closing = z.flatten(0, 1), closing.flatten()
        code = (tagged.session_theme.flatten() - FIRST_INDEX).clamp(min=0)
        self.codebook.update(z, code, closing)
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
