"""The experts: one shared encoder that sees the whole sequence, a short window or one theme's strand.

The three kinds are the paper's (PAPERS.md [P]); one encoder under three attention masks is our choice.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from features.codes import FIRST_INDEX
from features.spec import FamilySpec
from training.batch import Rows, Samples
from training.layers.embed import INIT_STD
from training.layers.encoder import SequenceEncoder
from training.layers.gather import gather_events, recent_places
from training.layers.query import QueryHead, read_states
from training.strands import Strands, strands, theme_mask

GLOBAL, FIRST_STRAND = 0, 2
"""Places of the experts: the whole sequence, the window (1), then the strands, newest first."""


class ExpertStates(NamedTuple):
    """What the E = 2 + S experts say of N targets."""

    states: Tensor  # (N, E, d)
    present: Tensor  # (N, E) bool; the global and the window expert always are
    key: Tensor  # (N, S) int32 keys of the strands, 0 where there is none


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

    def forward(self, x: Tensor, tagged: Rows, samples: Samples) -> ExpertStates:
        """From event embeddings ``x`` (B, L, d): every place is encoded once under each of three masks.

        ``tagged`` are the rows with the router's themes.
        """
        window = window_mask(x.shape[1], self.window, x.device).expand(len(x), -1, -1)
        masks = torch.cat([window, theme_mask(tagged)])  # (2B, L, L)
        in_window, in_theme = self.encoder(torch.cat([x, x]), masks).chunk(2)
        row, end = samples.row, samples.end
        found = self._strands(tagged, samples, 1)
        of_strands = in_theme[row.long()[:, None], found.pos[..., -1].clamp(min=0)]  # (N, S, d)
        whole = [read_states(states, self.start, row, end) for states in (self.encoder(x), in_window)]
        return self._heads(torch.stack(whole, dim=1), of_strands, found.key, samples)

    def packed(self, x: Tensor, tagged: Rows, samples: Samples, length: int) -> ExpertStates:
        """The same for few targets: window and strands are gathered, strands to their last ``length`` (T).

        Costs L + window + S · T encoded events a target; distances are those in the row. With one layer
        the states are those of ``forward`` wherever no strand has more than T events. Each further layer
        lets ``forward`` see beyond: behind the window, through the states of the window's first events,
        and, from an event at which the session's running theme was not its final one, into that theme's
        strand. Here nothing outside the gathered events is read.
        """
        row, end = samples.row, samples.end
        found = self._strands(tagged, samples, length)
        of_strands = self._last(x, row, found.pos)
        recent = self._last(x, row, recent_places(end, self.window)[:, None])
        whole = self._last(x, row, recent_places(end, x.shape[1])[:, None])
        absent = (end == 0)[:, None, None]
        both = torch.where(absent, self.start.to(x.dtype), torch.cat([whole, recent], dim=1))
        return self._heads(both, of_strands, found.key, samples)

    def _strands(self, tagged: Rows, samples: Samples, length: int) -> Strands:
        return strands(tagged, samples.row, samples.end, FamilySpec("theme", self.strands, length))

    def _last(self, x: Tensor, row: Tensor, places: Tensor) -> Tensor:
        """Last states (N, S, d) of strands at right-aligned ``places`` (N, S, T) of rows ``row`` (N,)."""
        events, valid = gather_events(x, row, places)
        events, valid, where = (part.flatten(0, 1) for part in (events, valid, places))
        states = self.encoder(events, None, valid, where)[:, -1]
        return states.view(*places.shape[:2], -1)

    def _heads(self, whole: Tensor, of_strands: Tensor, key: Tensor, samples: Samples) -> ExpertStates:
        """``whole`` (N, 2, d) and ``of_strands`` (N, S, d), each told its kind, meet the query."""
        kinds = torch.cat([self.kind[:2], self.kind[2:].expand(self.strands, -1)])  # (E, d)
        states = self.head(
            torch.cat([whole, of_strands], dim=1) + kinds, samples.query_gap, samples.new_session
        )
        return ExpertStates(states, torch.cat([torch.ones_like(key[:, :2]), key], dim=1) > 0, key)


def joined_strand(key: Tensor, tagged: Rows, samples: Samples) -> Tensor:
    """(N, S) bool: the strand, of those with keys ``key`` (N, S), that the target's session joins, if any.

    A strand is asked for the next item *of its theme*: only targets whose session has its key count. The
    final theme of the target's session is a label here, never an input. That strands have a loss of their
    own is our choice.
    """
    wanted = tagged.session_theme[samples.row.long(), samples.place.long()]
    return (key == wanted[:, None]) & (wanted >= FIRST_INDEX)[:, None]


def window_mask(length: int, window: int, device: torch.device) -> Tensor:
    """(1, L, L) bool: the last ``window`` places, the query's own included."""
    places = torch.arange(length, device=device)
    back = places[:, None] - places
    return ((back >= 0) & (back < window))[None]
