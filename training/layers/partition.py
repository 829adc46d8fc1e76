"""The normaliser of a softmax over the catalogue, without a tensor of states times items.

A mixture of E softmaxes has E times the logits of one. They are computed a slice of states at a time and
computed again for the gradient, as in Wijmans et al. 2024 (cut cross-entropy); the slices are our choice.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CPU_CELLS, DEVICE_CELLS = 1 << 20, 1 << 26
"""Logits held at once: what a core's cache holds, or what keeps an accelerator busy."""


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor) -> Tensor:
        parts = [(some @ table.T).float().logsumexp(dim=-1) for some in _slices(states, table)]
        log_sum = torch.cat(parts)
        ctx.save_for_backward(states, table, log_sum)
        return log_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        states, table, log_sum = ctx.saved_tensors
        of_states, of_table = torch.empty_like(states), torch.zeros_like(table, dtype=torch.float32)
        at = 0
        for some in _slices(states, table):
            own = slice(at, at + len(some))
            share = (some @ table.T).float().sub_(log_sum[own, None]).exp_().mul_(grad[own, None])
            share = share.to(states.dtype)
            of_states[own] = share @ table
            of_table += share.T @ some
            at += len(some)
        return of_states, of_table.to(table.dtype)


def log_partition(states: Tensor, table: Tensor) -> Tensor:
    """log Σ_v exp(states · table_v) (...) float32 of ``states`` (..., d) and ``table`` (V, d).

    The compiler fuses the plain formula by itself.
    """
    kind = states.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
    states, table = states.to(dtype), table.to(dtype)
    if torch.compiler.is_compiling():
        return (states @ table.T).float().logsumexp(dim=-1)
    found: Tensor = _LogPartition.apply(states.flatten(0, -2), table)  # type: ignore[no-untyped-call]
    return found.view(states.shape[:-1])


def _slices(states: Tensor, table: Tensor) -> tuple[Tensor, ...]:
    cells = CPU_CELLS if states.device.type == "cpu" else DEVICE_CELLS
    return torch.split(states, max(1, cells // len(table)))
