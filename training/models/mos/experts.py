"""The experts: one shared encoder that sees the whole sequence, a short window or one theme's strand.

The three kinds are the paper's (PAPERS.md [P]); one encoder under three attention masks is our choice.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.batch import Rows, Samples
from training.layers.embed import INIT_STD
from training.layers.encoder import SequenceEncoder
from training.layers.query import QueryHead, read_states
from training.models.mos.router import Keys
from training.models.mos.strands import recent_strands, strand_places, theme_mask, window_mask

GLOBAL, WINDOW, FIRST_STRAND = 0, 1, 2
"""Places of the experts: the whole sequence, the window, then the strands, newest first."""


class ExpertStates(NamedTuple):
    """What the E = 2 + S experts say of N targets."""

    states: Tensor  # (N, E, d)
    present: Tensor  # (N, E) bool; the global and the window expert always are
    key: Tensor  # (N, S) int64 keys of the strands, 0 where there is none


class Experts(nn.Module):
    """States of the global, the window and the S theme experts over any backbone."""

    def __init__(
        self, encoder: SequenceEncoder, head: QueryHead, dim: int, strands: int, window: int
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.strands, self.window = strands, window
        self.start = nn.Parameter(torch.randn(dim) * INIT_STD)
        self.kind = nn.Parameter(torch.randn(3, dim) * INIT_STD)  # tells the encoder's three uses apart

    def forward(self, x: Tensor, rows: Rows, keys: Keys, samples: Samples) -> ExpertStates:
        """From event embeddings ``x`` (B, L, d): every place is encoded once under each of three masks."""
        window = window_mask(x.shape[1], self.window, x.device).expand(len(x), -1, -1)
        masks = torch.cat([window, theme_mask(rows.session, keys)])  # (2B, L, L)
        narrow = self.encoder(torch.cat([x, x]), masks)
        in_window, in_theme = narrow.chunk(2)
        row, end = samples.row.long(), samples.end
        strands = recent_strands(rows.session, keys, row, end, self.strands)
        of_strands = in_theme[row[:, None], strands.last.clamp(min=0)]  # (N, S, d)
        whole = [read_states(states, self.start, row, end) for states in (self.encoder(x), in_window)]
        return self._heads(torch.stack(whole, dim=1), of_strands, strands.key, samples)

    def packed(self, x: Tensor, rows: Rows, keys: Keys, samples: Samples, length: int) -> ExpertStates:
        """The same for few targets: window and strands are gathered to their last ``length`` (T) events.

        Costs L + window + S · T encoded events a target. It departs from ``forward`` where a strand is
        longer than T, and where a session's running key was another than its final one.
        """
        row, end = samples.row.long(), samples.end
        strands = recent_strands(rows.session, keys, row, end, self.strands)
        places = strand_places(rows.session, keys, row, end, strands, length)  # (N, S, T)
        of_strands = self._last(x, row, places)
        recent = self._last(x, row, recent_places(end, self.window)[:, None])
        whole = self._last(x, row, recent_places(end, x.shape[1])[:, None])
        absent = (end == 0)[:, None, None]
        both = torch.where(absent, self.start.to(x.dtype), torch.cat([whole, recent], dim=1))
        return self._heads(both, of_strands, strands.key, samples)

    def _last(self, x: Tensor, row: Tensor, places: Tensor) -> Tensor:
        """Last states (N, S, d) of strands at right-aligned ``places`` (N, S, T) of rows ``row`` (N,)."""
        events, valid = gather_events(x, row, places)
        states = self.encoder(events.flatten(0, 1), None, valid.flatten(0, 1))[:, -1]
        return states.view(*places.shape[:2], -1)

    def _heads(self, whole: Tensor, of_strands: Tensor, key: Tensor, samples: Samples) -> ExpertStates:
        """``whole`` (N, 2, d) and ``of_strands`` (N, S, d), each told its kind, meet the query."""
        kinds = torch.cat([self.kind[:2], self.kind[2:].expand(self.strands, -1)])  # (E, d)
        states = self.head(
            torch.cat([whole, of_strands], dim=1) + kinds, samples.query_gap, samples.new_session
        )
        return ExpertStates(states, torch.cat([torch.ones_like(key[:, :2]), key], dim=1) > 0, key)


def recent_places(end: Tensor, length: int) -> Tensor:
    """(N, T) int64: the last ``length`` (T) places before ``end`` (N,), ascending, -1 where fewer.

    >>> recent_places(torch.tensor([0, 2, 5]), 3).tolist()
    [[-1, -1, -1], [-1, 0, 1], [2, 3, 4]]
    """
    return (end.long()[:, None] + torch.arange(-length, 0, device=end.device)).clamp(min=-1)


def gather_events(x: Tensor, row: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Events (N, ..., d) of ``x`` (B, L, d) at ``places`` (N, ...) of ``row`` (N,); and which are there."""
    row = row.view(-1, *[1] * (places.dim() - 1))
    return x[row, places.clamp(min=0)], places >= 0
