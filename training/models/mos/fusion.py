"""How the experts are put together: a gate, and what is mixed by it."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, log_softmax

from training.losses import HIDDEN
from training.models.mos.experts import GLOBAL, ExpertStates

Fusion = Literal["mixture", "vector"]
"""``mixture``: a mixture of softmaxes, log p = logsumexp_e(log g_e + log softmax(h_e · E)), which keeps each
expert's candidates alive (our choice; Yang et al. 2018 for the form). ``vector``: one state Σ_e g_e h_e."""


class Gate(nn.Module):
    """Log-weights of the experts from each one's state, the global state and its rank (our choice).

    The last map has no bias: it would shift all experts alike.
    """

    def __init__(self, dim: int, experts: int) -> None:
        super().__init__()
        self.own, self.context = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.rank = nn.Parameter(torch.zeros(experts, dim))
        self.out = nn.Linear(dim, 1, bias=False)

    def forward(self, found: ExpertStates) -> Tensor:
        """(N, E) float32, -1e9 for absent experts."""
        context = self.context(found.states[:, GLOBAL])[:, None]
        logits = self.out(gelu(self.own(found.states) + context + self.rank))[..., 0].float()
        return log_softmax(logits.masked_fill(~found.present, HIDDEN), dim=-1)


def fuse(fusion: Fusion, states: Tensor, log_gates: Tensor) -> tuple[Tensor, Tensor]:
    """States and log-weights to score with, from those of the experts (N, E, d), (N, E)."""
    if fusion == "mixture":
        return states, log_gates
    fused = (states * log_gates.exp()[..., None].to(states.dtype)).sum(dim=1, keepdim=True)
    return fused, torch.zeros_like(log_gates[:, :1])
