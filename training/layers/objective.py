"""The next-item loss of a batch's targets, for one state a target or a gated mixture of several."""

import torch
from torch import Tensor

from features.codes import FIRST_INDEX
from training.batch import Samples, Shared
from training.losses import (
    FULL_SOFTMAX_ITEMS,
    Mass,
    full_log_prob,
    full_log_probs,
    mixture,
    sampled_log_prob,
    sampled_nll,
)

CATALOGUE_CELLS = 1 << 26
"""Scores held at once while the catalogue is scored: 256 MiB of float32."""


def next_item_nll(
    states: Tensor, log_gates: Tensor, table: Tensor, samples: Samples, shared: Shared | None
) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of each target under the mixture (N,) and under each expert alone (N, E).

    ``states`` (N, E, d), ``log_gates`` (N, E), ``table`` (V, d). The softmax is full where there are no
    shared negatives or the vocabulary is small (``FULL_SOFTMAX_ITEMS``), sampled otherwise.
    """
    if shared is None or table.shape[0] <= FULL_SOFTMAX_ITEMS:
        log_prob = full_log_prob(states, table, samples.item)
        return -mixture(log_gates, log_prob), -log_prob
    mass = sampled_log_prob(states, table, samples.item, shared.item, shared.logq)
    logq = shared.positive_logq[samples.row, samples.place.long()]
    mixed = Mass(mixture(log_gates, mass.target), mixture(log_gates, mass.rest))
    return sampled_nll(mixed, logq), sampled_nll(mass, logq[:, None])


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Mean of ``values`` (N,) over ``where`` (N,) bool; 0 where it is nowhere true."""
    return torch.where(where, values, 0).sum() / where.sum().clamp(min=1)


def trained_items(samples: Samples) -> Tensor:
    """(N,) bool: the target's item can be predicted, being neither padding nor unknown."""
    return samples.item >= FIRST_INDEX


def hide_untrained(scores: Tensor) -> Tensor:
    """``scores`` (..., V) with -inf for codes 0 and 1."""
    hidden = torch.arange(scores.shape[-1], device=scores.device) < FIRST_INDEX
    return scores.masked_fill(hidden, -torch.inf)


def mixture_scores(states: Tensor, log_gates: Tensor, table: Tensor) -> Tensor:
    """(N, V) float32 log-probabilities of the catalogue under a mixture of softmaxes, codes 0 and 1 -inf.

    ``states`` (N, E, d) and ``log_gates`` (N, E); computed in slices of N that hold CATALOGUE_CELLS.
    """
    slice_size = max(1, CATALOGUE_CELLS // (states.shape[1] * table.shape[0]))
    parts = [
        (full_log_probs(some, table) + gates[..., None].float()).logsumexp(dim=1)
        for some, gates in zip(
            torch.split(states, slice_size), torch.split(log_gates, slice_size), strict=True
        )
    ]
    return hide_untrained(torch.cat(parts))
