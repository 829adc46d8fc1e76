"""The loss of the long-term vectors: a softmax within the category of a group.

Source: PAPERS.md, ULIM [D]: positive and negatives share the category, and the negatives are shared by
the group, so that the model can't tell them apart by category ("category leakage"). The log-q correction
is that of ``training.losses``.
"""

import torch
from torch import Tensor

from features.codes import FIRST_INDEX
from training.losses import HIDDEN


def in_category_softmax(
    states: Tensor, table: Tensor, target: Tensor, positive_logq: Tensor, *, negative: Tensor, logq: Tensor
) -> Tensor:
    """Negative log-likelihood (N,) of each target among itself and the negatives of its group.

    ``states`` (N, d) and ``target`` (N,) stand group after group, N = G * M; ``table`` (V, d);
    ``positive_logq`` (N,); ``negative`` (G, K) items with codes below 2 where there are fewer; ``logq``
    (G, K). Negatives equal to a sample's target are hidden from it. A target without any negative left
    costs 0.
    """
    groups = negative.shape[0]
    grouped = states.reshape(groups, -1, states.shape[1])  # (G, M, d)
    offered = table[negative.long()].to(states.dtype)  # (G, K, d)
    negative_logit = torch.einsum("gmd,gkd->gmk", grouped, offered).float() - logq[:, None]
    item = target.reshape(groups, -1)
    hidden = (negative[:, None] == item[:, :, None]) | (negative < FIRST_INDEX)[:, None]  # (G, M, K)
    rest = negative_logit.masked_fill(hidden, HIDDEN).logsumexp(-1).flatten()
    positive = (states * table[target.long()].to(states.dtype)).sum(-1, dtype=torch.float32) - positive_logq
    return torch.logaddexp(positive, rest) - positive
