"""Softmax losses over the catalogue, whole or sampled, for one state or a mixture of several.

Codes 0 and 1 are never predicted. Shapes: N targets, E experts, d channels, V codes, K shared negatives.
Logits are taken to float32 before the softmax, so that autocast changes only the products.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from features.codes import FIRST_INDEX
from training.layers import partition
from training.layers.partition import log_partition

HIDDEN = partition.HIDDEN
"""A logit that no softmax sees; finite, so that gradients stay so where everything is hidden."""

FULL_SOFTMAX_ITEMS = 5_000
"""Vocabularies up to this size are normalised over in full (our choice)."""


class Mass(NamedTuple):
    """Logs of the probability of the target and of everything else, as estimated from a sample."""

    target: Tensor
    rest: Tensor


def full_log_probs(states: Tensor, table: Tensor) -> Tensor:
    """(..., V) float32 log softmax(states · table) of ``states`` (..., d); codes 0 and 1 are hidden."""
    logits = (states @ table.T.to(states.dtype)).float()
    hidden = torch.arange(table.shape[0], device=table.device) < FIRST_INDEX
    return log_softmax(logits.masked_fill(hidden, HIDDEN), dim=-1)


def full_log_prob(states: Tensor, table: Tensor, target: Tensor) -> Tensor:
    """Log-probability (N,) or (N, E) of ``target`` (N,) under each of ``states`` (N, d) or (N, E, d).

    A target of code 0 or 1 gets a number that means nothing.
    """
    return target_logit(states, table, target) - log_partition(states, table[FIRST_INDEX:])


def target_logit(states: Tensor, table: Tensor, target: Tensor) -> Tensor:
    """Products (N,) or (N, E), float32, of ``states`` (N, d) or (N, E, d) with the targets' vectors."""
    own = table[target.long()]
    return (states * (own if states.dim() == 2 else own[:, None])).sum(-1, dtype=torch.float32)


def sampled_log_prob(
    states: Tensor, table: Tensor, target: Tensor, shared_item: Tensor, shared_logq: Tensor
) -> Mass:
    """Estimates of the softmax from K shared negatives, shaped as ``full_log_prob``.

    Importance sampling (Bengio and Senécal 2008, eq. 9): a negative drawn ``exp(logq)`` times in the mean
    counts exp(logit - logq), which makes the sum over the negatives an unbiased estimate of the sum over
    all items but the target. Negatives equal to the target are left out.
    """
    hits = shared_item[None] == target[:, None]  # (N, K)
    own_logit = target_logit(states, table, target)
    rest_logit = log_partition(states, table[shared_item.long()], -shared_logq.float(), hits)
    total = torch.logaddexp(own_logit, rest_logit)
    return Mass(own_logit - total, rest_logit - total)


def mixture(log_gates: Tensor, log_prob: Tensor) -> Tensor:
    """log Σ_e exp(log_gates + log_prob) (N,) of gates and probabilities (N, E)."""
    return (log_gates + log_prob).logsumexp(-1)


def sampled_nll(mass: Mass, positive_logq: Tensor) -> Tensor:
    """Negative log of the chance (N,) that the target, not a negative, is the positive of the sample.

    The log-q corrected sampled softmax (Jean et al. 2015; TensorFlow's "candidate sampling" note): the
    target's term is divided by its own expected count too, exp(``positive_logq``) (N,). ``mass`` (N,) may be
    that of a mixture, since the estimates of its experts share their sample (our choice).
    """
    corrected = mass.target - positive_logq
    return torch.logaddexp(corrected, mass.rest) - corrected
