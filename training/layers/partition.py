"""The normaliser of a softmax over items, without a tensor of states times items.

A mixture of E softmaxes has E times the logits of one. They are computed a slice of states at a time and
computed again for the gradient, as in Wijmans et al. 2024 (cut cross-entropy); the slices are our choice.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

HIDDEN = -1e9
"""The logit of an item left out."""

CPU_CELLS, DEVICE_CELLS = 1 << 20, 1 << 26
"""Logits held at once: what a core's cache holds, or what keeps an accelerator busy."""


class _LogPartition(torch.autograd.Function):
    """Of ``states`` (N, E, d); every pass over the logits but the product is in place, on a slice."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, bias: Tensor | None, hidden: Tensor | None
    ) -> Tensor:
        log_sum = torch.empty(states.shape[:2], dtype=torch.float32, device=states.device)
        for own in _slices(states, table):
            logits = _logits(states, table, bias, hidden, own)
            most = logits.amax(dim=-1, keepdim=True)
            log_sum[own] = logits.sub_(most).exp_().sum(dim=-1).log_() + most[..., 0]
        ctx.save_for_backward(states, table, bias, hidden, log_sum)
        return log_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        states, table, bias, hidden, log_sum = ctx.saved_tensors
        of_states, of_table = torch.empty_like(states), torch.zeros_like(table, dtype=torch.float32)
        for own in _slices(states, table):
            logits = _logits(states, table, bias, hidden, own)
            share = logits.sub_(log_sum[own][..., None]).exp_().mul_(grad[own][..., None]).to(states.dtype)
            of_states[own] = share @ table
            of_table += share.flatten(0, 1).T @ states[own].flatten(0, 1)
        return of_states, of_table.to(table.dtype), None, None


def log_partition(
    states: Tensor, table: Tensor, bias: Tensor | None = None, hidden: Tensor | None = None
) -> Tensor:
    """log Σ_v exp(states · table_v + bias_v) (N, ...) float32 of ``states`` (N, ..., d), ``table`` (V, d).

    ``bias`` (V,) float32 gets no gradient. Where ``hidden`` (N, V) bool the item is left out for all
    states of a target. The compiler fuses the plain formula by itself.
    """
    kind = states.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
    each, table = states.to(dtype)[:, None].flatten(1, -2), table.to(dtype)  # (N, E, d)
    if torch.compiler.is_compiling():
        found = _logits(each, table, bias, hidden, slice(None)).logsumexp(dim=-1)
    else:
        found = _LogPartition.apply(each, table, bias, hidden)  # type: ignore[no-untyped-call]
    return found.view(states.shape[:-1])


def _logits(states: Tensor, table: Tensor, bias: Tensor | None, hidden: Tensor | None, own: slice) -> Tensor:
    """(n, E, V) float32, newly made."""
    logits = (states[own] @ table.T).float()
    if bias is not None:
        logits = logits.add_(bias)
    return logits if hidden is None else logits.masked_fill_(hidden[own][:, None], HIDDEN)


def _slices(states: Tensor, table: Tensor) -> Iterator[slice]:
    cells = CPU_CELLS if states.device.type == "cpu" else DEVICE_CELLS
    step = max(1, cells // (len(table) * states.shape[1]))
    return (slice(at, at + step) for at in range(0, len(states), step))
