"""Sums of probabilities by code, in log space: a scatter-add that does not underflow."""

import torch
from torch import Tensor


def scatter_logsumexp(log_value: Tensor, index: Tensor, size: int, empty: float) -> Tensor:
    """(N, size) log of the sum of ``exp(log_value)`` over the places j with that ``index``.

    ``log_value`` and ``index`` are (N, J); codes that no place names get ``empty``, and so do those whose
    values are all -inf. Gradients are finite where the values are.
    """
    index = index.long()
    top = torch.full((len(index), size), -torch.inf, dtype=log_value.dtype, device=log_value.device)
    top = top.scatter_reduce(1, index, log_value.detach(), "amax")
    found = top > -torch.inf
    top = torch.where(found, top, 0)
    total = torch.zeros_like(top).scatter_add(1, index, (log_value - top.gather(1, index)).exp())
    return torch.where(found, torch.where(found, total, 1).log() + top, empty)
